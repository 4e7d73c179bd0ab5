package load

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"warren/cmd/warrenperf/internal/client"
	"warren/cmd/warrenperf/internal/hist"
	"warren/protocol"
)

// DeclareReport is the outcome of declaring queues, one at a time on each
// connection, and of deleting them again.
type DeclareReport struct {
	Server   string   `json:"server"`
	Seconds  float64  `json:"seconds"`
	Declared uint64   `json:"declared"`
	Rate     float64  `json:"rate"`        // declarations a second
	Delete   float64  `json:"delete_rate"` // deletions a second, 0 when the queues are kept
	Latency  *Latency `json:"declaration_latency,omitempty"`
	CPU      CPU      `json:"cpu"`
	Errors   []string `json:"errors,omitempty"`
}

// Failed returns why the run counts as failed, or nil.
func (r *DeclareReport) Failed() error { return (&Report{Errors: r.Errors}).Failed() }

// Print writes the summary for people.
func (r *DeclareReport) Print(w io.Writer) error {
	fmt.Fprintf(w, "%s, %.1f s: %d queues declared, %.0f a second, deleted %.0f a second; CPU in cores: generator %.2f, servers %.2f\n",
		r.Server, r.Seconds, r.Declared, r.Rate, r.Delete, r.CPU.Generator, r.CPU.Servers)
	PrintLatencies(w, "latency", map[string]*Latency{"declaration": r.Latency})
	for _, e := range r.Errors {
		fmt.Fprintln(w, "error:", e)
	}
	return nil
}

// Declarations declares queues on o.Producers connections at once: o.PMessages on
// each, or as many as o.Time allows. The queues are named by o.QueuePattern.
func Declarations(ctx context.Context, o Options) (*DeclareReport, error) {
	o.Queues, o.MultiAck, o.Exchange = 1, 1, ""
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.Time == 0 && o.PMessages == 0 {
		return nil, errEndless("count")
	}
	conns := make([]*client.Conn, 0, o.Producers)
	defer func() {
		for _, c := range conns {
			c.Drop()
		}
	}()
	for i := range o.Producers {
		c, err := client.Dial(ctx, o.URIs[i%len(o.URIs)], fmt.Sprintf("warrenperf-declare-%d", i+1))
		if err != nil {
			return nil, err
		}
		conns = append(conns, c)
	}
	d := &declarer{o: &o, conns: conns, declared: make([]uint64, len(conns))}
	m := newMeter(&o)
	begin := time.Now()
	if o.Time > 0 {
		d.deadline = begin.Add(o.Time)
	}
	d.each(func(i int) error { return d.declare(ctx, i) })
	elapsed := time.Since(begin)
	report := &DeclareReport{Server: conns[0].Server, Seconds: elapsed.Seconds(), CPU: m.read(), Latency: latency(&d.took)}
	for _, n := range d.declared {
		report.Declared += n
	}
	report.Rate = float64(report.Declared) / elapsed.Seconds()
	if !o.KeepQueues {
		begin = time.Now()
		d.each(d.remove)
		report.Delete = float64(report.Declared) / time.Since(begin).Seconds()
	}
	report.Errors = d.errors
	return report, ctx.Err()
}

// A declarer works on all connections at once.
type declarer struct {
	o        *Options
	conns    []*client.Conn
	declared []uint64 // by connection
	deadline time.Time

	mu     sync.Mutex // guards what follows
	took   hist.Histogram
	errors []string
}

// each runs f for every connection.
func (d *declarer) each(f func(i int) error) {
	var wg sync.WaitGroup
	for i := range d.conns {
		wg.Go(func() {
			if err := f(i); err != nil {
				d.mu.Lock()
				defer d.mu.Unlock()
				d.errors = append(d.errors, fmt.Sprintf("connection %d: %s", i+1, err))
			}
		})
	}
	wg.Wait()
}

// name is that of the n-th queue of a connection; numbers do not meet.
func (d *declarer) name(i int, n uint64) string {
	return d.o.name(n*uint64(len(d.conns)) + uint64(i) + 1)
}

func (d *declarer) declare(ctx context.Context, i int) error {
	for n := uint64(0); d.o.PMessages == 0 || n < d.o.PMessages; n++ {
		at := time.Now()
		if ctx.Err() != nil || !d.deadline.IsZero() && !at.Before(d.deadline) {
			return nil
		}
		if err := declareQueue(d.conns[i], d.o, d.name(i, n)); err != nil {
			return err
		}
		took := time.Since(at)
		d.declared[i]++
		d.mu.Lock()
		d.took.Add(took)
		d.mu.Unlock()
	}
	return nil
}

func (d *declarer) remove(i int) error {
	for n := range d.declared[i] {
		if _, err := client.Call[*protocol.QueueDeleteOk](d.conns[i], &protocol.QueueDelete{Queue: d.name(i, n)}); err != nil {
			return err
		}
	}
	return d.conns[i].Close(d.o.Shutdown)
}
