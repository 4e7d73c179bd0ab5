package load

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// BacklogReport is the outcome of filling queues and draining them again.
type BacklogReport struct {
	Fill  *Report `json:"fill"`
	Drain *Report `json:"drain,omitempty"` // nil when the fill failed; holds what was verified
}

// Failed is as that of Report, over both halves.
func (b *BacklogReport) Failed() error {
	for _, r := range []*Report{b.Fill, b.Drain} {
		if r == nil {
			continue
		}
		if err := r.Failed(); err != nil {
			return err
		}
	}
	return nil
}

// Print writes both summaries for people.
func (b *BacklogReport) Print(w io.Writer) error {
	fmt.Fprint(w, "fill: ")
	if err := b.Fill.Print(w); err != nil {
		return err
	}
	if b.Drain == nil {
		return nil
	}
	fmt.Fprint(w, "\ndrain: ")
	return b.Drain.Print(w)
}

// Backlog publishes messages in all and then consumes them all. In between it calls
// stands, which may be nil; its error ends the run.
func Backlog(ctx context.Context, o Options, messages uint64, progress io.Writer, stands func(context.Context) error) (*BacklogReport, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.Producers == 0 || o.Consumers == 0 || messages < uint64(o.Producers) {
		return nil, badOption("a backlog needs producers, consumers, and a message of each producer")
	}
	if o.Confirm == 0 {
		return nil, badOption("a backlog needs --confirm: its end is the last confirm")
	}
	if err := declare(ctx, &o); err != nil {
		return nil, fmt.Errorf("declare: %w", err)
	}
	b, err := backlog(ctx, o, messages, progress, stands)
	return b, errors.Join(err, cleanUp(ctx, &o))
}

func backlog(ctx context.Context, o Options, messages uint64, progress io.Writer, stands func(context.Context) error) (*BacklogReport, error) {
	var t *tracker
	if o.Verify {
		t = newTracker(o.Producers, o.Queues, now())
	}
	b := &BacklogReport{}
	fill := o
	fill.Consumers, fill.Time, fill.Warmup = 0, 0, 0
	fill.PMessages = messages / uint64(o.Producers)
	var err error
	if b.Fill, err = runPhase(ctx, &fill, phase{progress: progress, tracker: t}); err != nil && b.Fill == nil {
		return nil, err
	}
	if err != nil || b.Fill.Failed() != nil {
		return b, err
	}
	if stands != nil {
		if err := stands(ctx); err != nil {
			return b, err
		}
	}
	drain := o
	drain.Producers, drain.Time, drain.Warmup, drain.CMessages = 0, 0, 0, 0
	expect := b.Fill.Counts.Confirmed * uint64(o.copies())
	b.Drain, err = runPhase(ctx, &drain, phase{progress: progress, tracker: t, offset: o.Producers, expect: expect})
	if err == nil && t != nil {
		b.Drain.Verify = t.result(o.queueOfProducer())
	}
	return b, err
}
