// Package suite measures brokers side by side: the same rows of work, one broker
// after the other, several times, and the ratios of their figures.
package suite

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"warren/cmd/warrenperf/internal/client"
	"warren/cmd/warrenperf/internal/load"
	"warren/cmd/warrenperf/internal/proc"
)

// A Figure is one number of a row, and what is asked of its ratio to the peer's.
type Figure struct {
	Name  string
	Unit  string
	Goal  float64 // of value / peer's value; 0: none
	Lower bool    // less is better: the goal is an upper bound
}

// met reports whether a ratio reaches the goal.
func (f Figure) met(ratio float64) bool {
	if f.Lower {
		return ratio <= f.Goal
	}
	return ratio >= f.Goal
}

// goal tells what is asked.
func (f Figure) goal() string {
	switch {
	case f.Goal == 0:
		return ""
	case f.Lower:
		return fmt.Sprintf("≤ %.4g", f.Goal)
	}
	return fmt.Sprintf("≥ %.4g", f.Goal)
}

// A Setup is what a row is told.
type Setup struct {
	URIs     []client.Endpoint
	Time     time.Duration
	Warmup   time.Duration
	Messages uint64 // of the backlog
	Settle   time.Duration
	Progress io.Writer // nil: none
}

// A Row is one kind of work. It returns one value for each of its figures.
type Row struct {
	Name    string
	About   string
	Figures []Figure
	once    bool // a second run would tell nothing new
	run     func(ctx context.Context, s Setup) ([]float64, error)
}

// The row that is compared with Raft's ceiling, and its messages' bytes.
const (
	largeRow  = "16k"
	largeSize = 16 << 10
)

const (
	perSecond = "msg/s"
	millis    = "ms"
)

// Rows returns all rows in their order. The queues are quorum queues, messages
// persistent and confirmed, but for the calls, whose queues are transient.
func Rows() []Row {
	return []Row{
		throughput("16b", "16 B, one queue, 2 producers, 2 consumers", 8, 1, 2, 2, 16),
		throughput("1k", "1 KiB, one queue, 2 producers, 2 consumers", 5, 1, 2, 2, 1<<10),
		throughput(largeRow, "16 KiB, one queue, 2 producers, 2 consumers", 1.3, 1, 2, 2, largeSize),
		throughput("queues", "1 KiB, four queues, 4 producers, 4 consumers", 5, 4, 4, 4, 1<<10),
		fanOut(),
		backlog(),
		steady(),
		calls("rpc", "calls, exclusive reply queue", false),
		calls("rpc-direct", "calls, direct reply-to", true),
		declarations(),
		memory(),
	}
}

// Choose returns the rows with the names, all for none.
func Choose(names []string) ([]Row, error) {
	all := Rows()
	if len(names) == 0 {
		return all, nil
	}
	var rows []Row
	for _, name := range names {
		i := slices.IndexFunc(all, func(r Row) bool { return r.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no row %q", name)
		}
		rows = append(rows, all[i])
	}
	return rows, nil
}

// options are what all rows share: the window of 1,000 and an ack each 100.
func (s Setup) options() load.Options {
	return load.Options{
		URIs: s.URIs, Queues: 1, QueuePattern: "warrenperf-suite-%d", Quorum: true, Persistent: true,
		Size: 1 << 10, Confirm: 1000, QoS: 2000, MultiAck: 100,
		Time: s.Time, Warmup: s.Warmup, IdleTimeout: 20 * time.Second, Shutdown: 20 * time.Second,
	}
}

func throughput(name, about string, goal float64, queues, producers, consumers, size int) Row {
	return Row{
		Name: name, About: about,
		Figures: []Figure{{Name: about, Unit: perSecond, Goal: goal}},
		run: func(ctx context.Context, s Setup) ([]float64, error) {
			o := s.options()
			o.Queues, o.Producers, o.Consumers, o.Size = queues, producers, consumers, size
			r, err := measure(ctx, o, s.Progress)
			if err != nil {
				return nil, err
			}
			return []float64{r.Acked}, nil
		},
	}
}

func measure(ctx context.Context, o load.Options, progress io.Writer) (*load.Report, error) {
	r, err := load.Run(ctx, o, progress)
	if err != nil {
		return nil, err
	}
	return r, r.Failed()
}

func fanOut() Row {
	const about = "256 B, fan-out to 5 queues, deliveries"
	return Row{
		Name: "fanout", About: about,
		Figures: []Figure{{Name: about, Unit: perSecond, Goal: 8}},
		run: func(ctx context.Context, s Setup) ([]float64, error) {
			o := s.options()
			o.Exchange, o.Type, o.Queues = "warrenperf-suite", "fanout", 5
			o.Producers, o.Consumers, o.Size = 2, 5, 256
			r, err := measure(ctx, o, s.Progress)
			if err != nil {
				return nil, err
			}
			return []float64{r.Acked}, nil
		},
	}
}

func backlog() Row {
	return Row{
		Name: "backlog", About: "1 KiB, fill a queue, then drain it",
		Figures: []Figure{
			{Name: "backlog of 1 KiB: fill", Unit: perSecond, Goal: 5},
			{Name: "backlog of 1 KiB: drain", Unit: perSecond, Goal: 5},
		},
		run: func(ctx context.Context, s Setup) ([]float64, error) {
			o := s.options()
			o.Producers, o.Consumers, o.Verify = 2, 2, true
			b, err := load.Backlog(ctx, o, s.Messages, s.Progress, nil)
			if err != nil {
				return nil, err
			}
			if err := b.Failed(); err != nil {
				return nil, err
			}
			return []float64{b.Fill.Confirmed, b.Drain.Acked}, nil
		},
	}
}

// steady has a producer and a consumer on each of up to three nodes.
func steady() Row {
	figure := func(name string) Figure {
		return Figure{Name: "100 msg/s of 1 KiB: " + name, Unit: millis, Goal: 1, Lower: true}
	}
	return Row{
		Name: "steady", About: "100 messages a second, clients on all nodes: latencies",
		Figures: []Figure{figure("confirm p50"), figure("confirm p99"), figure("end-to-end p50"), figure("end-to-end p99")},
		run: func(ctx context.Context, s Setup) ([]float64, error) {
			o := s.options()
			o.Producers, o.Consumers, o.MultiAck = 3, 3, 1
			o.Rate = 100 / float64(o.Producers)
			r, err := measure(ctx, o, s.Progress)
			if err != nil {
				return nil, err
			}
			if r.Confirm == nil || r.EndToEnd == nil {
				return nil, errNothing
			}
			return []float64{ms(r.Confirm.P50), ms(r.Confirm.P99), ms(r.EndToEnd.P50), ms(r.EndToEnd.P99)}, nil
		},
	}
}

var errNothing = fmt.Errorf("no message came")

func ms(d load.Millis) float64 { return time.Duration(d).Seconds() * 1e3 }

func calls(name, about string, direct bool) Row {
	return Row{
		Name: name, About: about,
		Figures: []Figure{{Name: about + ": p50", Unit: millis, Goal: 2, Lower: true}},
		run: func(ctx context.Context, s Setup) ([]float64, error) {
			o := load.RPCOptions{Options: s.options(), Clients: 1, Servers: 1, DirectReplyTo: direct}
			o.Quorum, o.Persistent, o.Size, o.QoS = false, false, 16, 0
			r, err := load.RPC(ctx, o, s.Progress)
			if err != nil {
				return nil, err
			}
			if err := r.Failed(); err != nil {
				return nil, err
			}
			if r.RoundTrip == nil {
				return nil, errNothing
			}
			return []float64{ms(r.RoundTrip.P50)}, nil
		},
	}
}

func declarations() Row {
	const about = "queue declarations, one connection"
	return Row{
		Name: "declare", About: about,
		Figures: []Figure{{Name: about, Unit: "1/s", Goal: 20}},
		run: func(ctx context.Context, s Setup) ([]float64, error) {
			o := s.options()
			o.Producers, o.QueuePattern = 1, "warrenperf-suite-declare-%d"
			r, err := load.Declarations(ctx, o)
			if err != nil {
				return nil, err
			}
			return []float64{r.Rate}, r.Failed()
		},
	}
}

// memory looks at the brokers' processes when the load of the rows before is over.
func memory() Row {
	const about = "resident memory a node, idle after load"
	return Row{
		Name: "memory", About: about, once: true,
		Figures: []Figure{{Name: about, Unit: "MiB", Goal: 0.25, Lower: true}},
		run: func(ctx context.Context, s Setup) ([]float64, error) {
			select {
			case <-time.After(s.Settle):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			var addrs []string
			for _, u := range s.URIs {
				addrs = append(addrs, u.Addr())
			}
			pids := proc.Listeners(addrs)
			if len(pids) == 0 {
				return nil, fmt.Errorf("no process of this machine is seen that listens on %v", addrs)
			}
			var sum uint64
			for _, pid := range pids {
				b, err := proc.Resident(pid)
				if err != nil {
					return nil, err
				}
				sum += b
			}
			return []float64{float64(sum) / float64(len(pids)) / (1 << 20)}, nil
		},
	}
}
