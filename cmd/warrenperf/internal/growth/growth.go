// Package growth measures how a broker's throughput and latency change with what
// grows: the size of messages, the number of queues and of connections, the backlog
// that stands in a queue, the nodes. It keeps the figures in a file and writes
// tables and plots of them.
package growth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"warren/cmd/warrenperf/internal/client"
	"warren/cmd/warrenperf/internal/load"
)

// A Setup is what a measurement is told.
type Setup struct {
	URIs     []client.Endpoint
	Time     time.Duration // of each of a point's two runs
	Warmup   time.Duration // before each
	Log      io.Writer
	Progress io.Writer // nil: none
}

// A Point is what was measured at one step of an axis.
type Point struct {
	Axis  string `json:"axis"`
	Value int    `json:"value"` // 0: nothing, on the axis of the backlog

	Throughput float64 `json:"throughput"`             // messages published, confirmed, delivered and acked, a second
	Bytes      float64 `json:"bytes_rate"`             // their bodies
	Servers    float64 `json:"server_cores"`           // what the nodes used meanwhile
	Resident   uint64  `json:"largest_resident_bytes"` // of the largest node, behind it
	Rate       float64 `json:"latency_rate"`           // messages a second of the run for latencies
	ConfirmP50 float64 `json:"confirm_p50_ms"`         // -1: not measured
	ConfirmP99 float64 `json:"confirm_p99_ms"`         // …
	ArriveP50  float64 `json:"end_to_end_p50_ms"`      // …
	ArriveP99  float64 `json:"end_to_end_p99_ms"`      // …
	Samples    uint64  `json:"latency_samples"`        // deliveries that the latencies are of
	Fill       float64 `json:"fill_throughput"`        // of what the backlog grew by, confirmed messages a second; 0: none
	Error      string  `json:"error,omitempty"`        // why figures are missing
	Server     string  `json:"server"`                 // product and version
	Seconds    float64 `json:"seconds"`                // of each run
}

const missing = -1

// An Axis is one thing that grows.
type Axis struct {
	Name   string
	Title  string
	label  string // of the steps
	values []int
	text   func(int) string
	load   func(o *load.Options, value int)
}

// latencyBytes bounds the bodies a second of the run for latencies: it is to show what a
// broker does with time to spare.
const (
	latencyRate  = 100
	latencyBytes = 20e6
)

// Axes returns all axes, in the order in which they are best measured.
func Axes() []Axis {
	return []Axis{
		{
			Name: "size", Title: "Size of a message", label: "bytes of body",
			values: []int{16, 256, 1 << 10, 4 << 10, 16 << 10, 128 << 10, 1 << 20}, text: bytes,
			load: func(o *load.Options, v int) { o.Size = v },
		}, {
			Name: "queues", Title: "Queues, used in turn", label: "queues",
			values: []int{1, 10, 100, 1000, 10_000}, text: count,
			load: func(o *load.Options, v int) { o.Queues, o.Spread = v, true },
		}, {
			Name: "connections", Title: "Connections, half of them publish to the queue and half consume from it", label: "connections",
			values: []int{2, 10, 100, 500, 2000}, text: count,
			load: connections,
		}, {
			Name: backlogAxis, Title: "Backlog of 1 KiB messages in another queue", label: "messages that wait",
			values: []int{0, 10_000, 100_000, 1_000_000, 5_000_000}, text: count,
			load: func(*load.Options, int) {},
		}, {
			Name: "nodes", Title: "Nodes of the cluster", label: "nodes",
			values: []int{1, 3, 5}, text: count,
			load: func(*load.Options, int) {},
		},
	}
}

const backlogAxis = "backlog"

// connections shares one window and one prefetch count between all clients: what
// is under way is the same at each step.
func connections(o *load.Options, v int) {
	o.Producers, o.Consumers = v/2, v/2
	o.Confirm = max(2000/o.Producers, 1)
	o.QoS = max(4000/o.Consumers, 2)
	o.MultiAck = max(o.QoS/20, 1)
}

// Find returns the axis with the name.
func Find(name string) (Axis, error) {
	axes := Axes()
	i := slices.IndexFunc(axes, func(a Axis) bool { return a.Name == name })
	if i < 0 {
		return Axis{}, fmt.Errorf("there is no axis %q", name)
	}
	return axes[i], nil
}

// Choose returns the steps up to most, which bounds what a run costs; 0: all.
func (a Axis) Choose(most int) []int {
	if most == 0 {
		return a.values
	}
	return slices.DeleteFunc(slices.Clone(a.values), func(v int) bool { return v > most })
}

// options of a step: two producers and two consumers on one queue, 1 KiB, but for
// what the axis changes.
func (a Axis) options(s Setup, value int) load.Options {
	o := load.Options{
		URIs: s.URIs, Queues: 1, QueuePattern: "warrenperf-growth-%d", Quorum: true, Persistent: true,
		Producers: 2, Consumers: 2, Size: 1 << 10, Confirm: 1000, QoS: 2000, MultiAck: 100,
		Time: s.Time, Warmup: s.Warmup, IdleTimeout: 30 * time.Second, Shutdown: 30 * time.Second,
	}
	a.load(&o, value)
	// What is under way is bounded in bytes too.
	const flight = 16 << 20
	o.Confirm = min(o.Confirm, max(flight/max(o.Size, 1), 4))
	o.QoS = min(o.QoS, max(2*o.Confirm, 2))
	o.MultiAck = min(o.MultiAck, max(o.QoS/10, 1))
	return o
}

// Measure measures the steps of an axis and hands over each point when it is
// there. A step that fails is a point with an Error; the error is that of ctx.
func (a Axis) Measure(ctx context.Context, s Setup, values []int, done func(Point) error) error {
	stock := &stock{setup: s}
	for _, v := range values {
		p := Point{Axis: a.Name, Value: v, Seconds: s.Time.Seconds(),
			ConfirmP50: missing, ConfirmP99: missing, ArriveP50: missing, ArriveP99: missing}
		err := a.point(ctx, s, v, stock, &p)
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), stock.remove(ctx))
		}
		if err != nil {
			p.Error = err.Error()
		}
		fmt.Fprintf(s.Log, "%s %s: %.0f msg/s, confirm p50 %.2f ms p99 %.2f ms, end to end p50 %.2f ms p99 %.2f ms, %d MiB %s\n",
			a.Name, a.text(v), p.Throughput, p.ConfirmP50, p.ConfirmP99, p.ArriveP50, p.ArriveP99, p.Resident>>20, p.Error)
		if err := done(p); err != nil {
			return errors.Join(err, stock.remove(ctx))
		}
	}
	return stock.remove(ctx)
}

// point makes the two runs of a step: at a modest rate first, which leaves the
// queues about empty for the one as fast as can be.
func (a Axis) point(ctx context.Context, s Setup, value int, stock *stock, p *Point) (err error) {
	if a.Name == backlogAxis {
		if p.Fill, err = stock.fill(ctx, value); err != nil {
			return err
		}
	}
	o := a.options(s, value)
	remove, err := load.Prepare(ctx, o)
	if err != nil {
		return err
	}
	o.Predeclared = true
	defer func() { err = errors.Join(err, remove(ctx)) }()
	p.Rate = min(latencyRate, latencyBytes/float64(max(o.Size, 1)))
	modest := o
	modest.Rate, modest.MultiAck = p.Rate/float64(o.Producers), 1
	r, err := run(ctx, modest, s)
	if err != nil {
		return err
	}
	if l := r.Confirm; l != nil {
		p.ConfirmP50, p.ConfirmP99 = ms(l.P50), ms(l.P99)
	}
	if l := r.EndToEnd; l != nil {
		p.ArriveP50, p.ArriveP99, p.Samples = ms(l.P50), ms(l.P99), l.Count
	}
	if r, err = run(ctx, o, s); err != nil {
		return err
	}
	p.Server, p.Throughput, p.Bytes, p.Servers = r.Server, r.Acked, r.Acked*float64(o.Size), r.CPU.Servers
	if len(r.Resident) > 0 {
		p.Resident = slices.Max(r.Resident)
	}
	return nil
}

func ms(d load.Millis) float64 { return time.Duration(d).Seconds() * 1e3 }

func run(ctx context.Context, o load.Options, s Setup) (*load.Report, error) {
	r, err := load.Run(ctx, o, s.Progress)
	if err != nil {
		return nil, err
	}
	return r, r.Failed()
}

// A stock is the queue whose messages nobody takes. It grows from step to step.
type stock struct {
	setup   Setup
	there   int
	removal func(context.Context) error
}

func (k *stock) options() load.Options {
	return load.Options{
		URIs: k.setup.URIs, Queues: 1, Queue: "warrenperf-growth-backlog", Quorum: true, Persistent: true,
		Producers: 2, Size: 1 << 10, Confirm: 1000, MultiAck: 1,
		IdleTimeout: 30 * time.Second, Shutdown: 30 * time.Second,
	}
}

// fill brings the queue to so many messages and returns how fast.
func (k *stock) fill(ctx context.Context, messages int) (float64, error) {
	o := k.options()
	if k.removal == nil {
		var err error
		if k.removal, err = load.Prepare(ctx, o); err != nil {
			return 0, err
		}
	}
	if messages <= k.there {
		return 0, nil
	}
	o.Predeclared = true
	o.PMessages = uint64(messages-k.there) / uint64(o.Producers)
	r, err := run(ctx, o, k.setup)
	if err != nil {
		return 0, fmt.Errorf("fill: %w", err)
	}
	k.there = messages
	return r.Confirmed, nil
}

func (k *stock) remove(ctx context.Context) error {
	if k.removal == nil {
		return nil
	}
	return k.removal(ctx)
}
