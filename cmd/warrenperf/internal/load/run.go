// Package load makes load on an AMQP 0-9-1 broker with producers and consumers,
// each on a connection of its own, and measures rates and latencies. What it does
// per message allocates nothing: a message is a copied template, times stand in a
// ring, bursts of frames share one lock and one look at the clock.
package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"warren/cmd/warrenperf/internal/client"
)

// poll is how often the end of a run is looked for. Rates of runs that end by
// count do not depend on it: they end with their last event.
const poll = 10 * time.Millisecond

// Run makes the load that o describes and returns what was measured; also, as far
// as it goes, when ctx ends. Each second it writes a line to progress, which may
// be nil. The error is of the set-up or of ctx; errors of single clients are in
// the report.
func Run(ctx context.Context, o Options, progress io.Writer) (*Report, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.Time == 0 && o.Producers > 0 && o.PMessages == 0 {
		return nil, errEndless("pmessages")
	}
	if o.Time == 0 && o.Producers == 0 && o.CMessages == 0 {
		return nil, errEndless("cmessages")
	}
	if err := declare(ctx, &o); err != nil {
		return nil, fmt.Errorf("declare: %w", err)
	}
	var t *tracker
	if o.Verify {
		t = newTracker(o.Producers, o.Queues, now())
	}
	report, err := runPhase(ctx, &o, phase{progress: progress, tracker: t})
	if report != nil && t != nil {
		report.Verify = t.result(o.queueOfProducer())
	}
	return report, errors.Join(err, cleanUp(ctx, &o))
}

// cleanUp removes the topology, also when ctx has ended.
func cleanUp(ctx context.Context, o *Options) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), client.Timeout)
	defer cancel()
	if err := remove(ctx, o); err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	return nil
}

// queueOfProducer says which queue a producer's messages go to; nil when all.
func (o *Options) queueOfProducer() func(int) int {
	if o.everyQueue() {
		return nil
	}
	return func(producer int) int { return producer % o.Queues }
}

// A phase is a part of a run with clients of its own.
type phase struct {
	progress io.Writer
	tracker  *tracker
	offset   int    // of the first client among the URIs
	expect   uint64 // deliveries with which it ends, 0: as the producers' messages demand
}

// A runner carries out one phase.
type runner struct {
	phase
	o         *Options
	producers []*producer
	consumers []*consumer
	received  atomic.Uint64
	server    string
	begun     int64     // when the first client began, or with producers the first of these
	beganAt   time.Time // the same
	idleErr   error
}

func runPhase(ctx context.Context, o *Options, p phase) (*Report, error) {
	r := &runner{phase: p, o: o}
	if err := r.connect(ctx); err != nil {
		r.drop()
		return nil, err
	}
	m := newMeter(o) // before the start: it looks through all processes
	report := &Report{Server: r.server}
	r.start(ctx)
	m.restart()
	err := r.measure(ctx, m, report)
	r.finish(ctx)
	report.Errors = append(report.Errors, r.errors()...)
	return report, err
}

// connect makes all clients; each is ready, none has begun.
func (r *runner) connect(ctx context.Context) error {
	names := r.o.names()
	share := func(i, clients int) (queues []string) {
		for _, q := range r.o.share(i, clients) {
			queues = append(queues, names[q])
		}
		return queues
	}
	dial := func(i int, name string) (*client.Conn, error) {
		uris := r.o.URIs
		c, err := client.Dial(ctx, uris[(r.offset+i)%len(uris)], name)
		if err == nil {
			r.server = c.Server
		}
		return c, err
	}
	for i := range r.o.Producers {
		c, err := dial(i, fmt.Sprintf("warrenperf-producer-%d", i+1))
		if err != nil {
			return err
		}
		p, err := newProducer(r.o, i, share(i, r.o.Producers), c, r.tracker)
		if err != nil {
			c.Drop()
			return err
		}
		r.producers = append(r.producers, p)
	}
	for i := range r.o.Consumers {
		c, err := dial(r.o.Producers+i, fmt.Sprintf("warrenperf-consumer-%d", i+1))
		if err != nil {
			return err
		}
		k, err := newConsumer(r.o, i, i%len(names), share(i, r.o.Consumers), c, r.tracker, &r.received)
		if err != nil {
			c.Drop()
			return err
		}
		r.consumers = append(r.consumers, k)
	}
	return nil
}

// drop closes the connections of clients that have not begun.
func (r *runner) drop() {
	for _, p := range r.producers {
		p.conn.Drop()
	}
	for _, c := range r.consumers {
		c.conn.Drop()
	}
}

// start begins; producers with a rate are spread over one interval. They begin when
// all consumers have subscribed: with thousands of queues that takes a while, and
// under their load much longer.
func (r *runner) start(ctx context.Context) {
	r.begun, r.beganAt = now(), time.Now()
	for _, c := range r.consumers {
		c.start()
	}
	if len(r.producers) > 0 {
		r.await(ctx, 10*client.Timeout, func() bool {
			return !slices.ContainsFunc(r.consumers, func(c *consumer) bool { return !c.subscribed() })
		})
	}
	begin := now()
	if len(r.producers) > 0 {
		r.begun, r.beganAt = begin, time.Now()
	}
	for i, p := range r.producers {
		var phase float64
		if r.o.Rate > 0 {
			phase = float64(i) / float64(len(r.producers)) / r.o.Rate * 1e9
		}
		p.start(begin + int64(phase))
	}
}

// measure waits for the end of the measurement and fills the report.
func (r *runner) measure(ctx context.Context, m *meter, report *Report) error {
	begin, beginStamp := r.beganAt, r.begun
	lastLine := begin
	warm := r.o.Warmup == 0
	var total, second sample
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	var err error
	for end := false; !end; {
		select {
		case <-ctx.Done():
			err, end = ctx.Err(), true
		case <-ticker.C:
		}
		at := time.Now()
		// Ask first: what ended the run is then in the last sample.
		end = end || r.ended() || warm && r.o.Time > 0 && at.Sub(begin) >= r.o.Time
		if over := at.Sub(lastLine); over >= time.Second || end {
			second.reset()
			r.take(&second)
			total.merge(&second)
			if r.progress != nil && over >= time.Second {
				progressLine(r.progress, at.Sub(begin), &second, over)
			}
			lastLine = at
		}
		if !warm && at.Sub(begin) >= r.o.Warmup {
			r.take(&second)
			total.reset()
			warm, begin, beginStamp, lastLine = true, at, now(), at
			m.restart()
		}
	}
	elapsed := time.Since(begin)
	if last := r.recent(); err == nil && r.ended() && last > beginStamp {
		elapsed = since(beginStamp, last)
	}
	report.fill(&total, elapsed, r.o.Size)
	report.CPU, report.Resident = m.read(), m.resident()
	return err
}

// take moves the figures of all clients to a sample.
func (r *runner) take(into *sample) {
	for _, p := range r.producers {
		p.take(into)
	}
	for _, c := range r.consumers {
		c.take(into)
	}
}

// recent returns when the last confirm or delivery came.
func (r *runner) recent() (last int64) {
	for _, p := range r.producers {
		last = max(last, p.recent())
	}
	for _, c := range r.consumers {
		last = max(last, c.recent())
	}
	return last
}

// ended reports whether all that was to be done is done, or can never be done.
func (r *runner) ended() bool {
	for _, p := range r.producers {
		if !p.done() {
			return false
		}
	}
	if len(r.consumers) == 0 {
		return true
	}
	ended := true
	for _, c := range r.consumers {
		ended = ended && c.done()
	}
	if ended || r.o.CMessages > 0 {
		return ended
	}
	if len(r.producers) == 0 && r.expect == 0 {
		return false
	}
	return r.drained()
}

// drained reports whether the consumers have what they can expect, or wait in vain.
func (r *runner) drained() bool {
	expect := r.expect
	for _, p := range r.producers {
		expect += p.reached() * uint64(r.o.copies())
	}
	if r.received.Load() >= expect && !r.missing() {
		return true
	}
	quiet := since(max(r.recent(), r.begun), now())
	if quiet > r.o.IdleTimeout {
		r.idleErr = fmt.Errorf("no message came for %s, %d of %d were received", r.o.IdleTimeout, r.received.Load(), expect)
		return true
	}
	return false
}

// missing reports whether a confirmed message has not come. Counts do not tell
// when there are duplicates.
func (r *runner) missing() bool {
	return r.tracker != nil && r.tracker.result(r.o.queueOfProducer()).Lost > 0
}

// finish ends all clients: producers first, so that their outstanding messages
// are confirmed, and with Verify the consumers when these have come too.
func (r *runner) finish(ctx context.Context) {
	for _, p := range r.producers {
		p.pause()
	}
	r.await(ctx, r.o.Shutdown, func() bool {
		for _, p := range r.producers {
			if !p.idle() {
				return false
			}
		}
		return true
	})
	if r.tracker != nil && len(r.consumers) > 0 && r.o.CMessages == 0 {
		r.await(ctx, 0, r.drained)
	}
	for _, p := range r.producers {
		p.close(r.o.Shutdown)
	}
	for _, c := range r.consumers {
		c.interrupt()
	}
	for _, c := range r.consumers {
		select {
		case <-c.ended:
		case <-time.After(2 * r.o.Shutdown):
			c.conn.Drop()
			<-c.ended
		}
	}
}

// await waits for a condition, until ctx ends, at most so long (0: for ever).
func (r *runner) await(ctx context.Context, most time.Duration, done func() bool) {
	deadline := time.Now().Add(most)
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for !done() && ctx.Err() == nil && (most == 0 || time.Now().Before(deadline)) {
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// errors returns what went wrong with single clients.
func (r *runner) errors() (texts []string) {
	for _, p := range r.producers {
		if err := p.failure(); err != nil {
			texts = append(texts, err.Error())
		}
	}
	for _, c := range r.consumers {
		if err := c.failure(); err != nil {
			texts = append(texts, err.Error())
		}
	}
	if r.idleErr != nil {
		texts = append(texts, r.idleErr.Error())
	}
	return texts
}
