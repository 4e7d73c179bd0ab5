package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"warren/cmd/warrenperf/internal/client"
	"warren/cmd/warrenperf/internal/hist"
	"warren/protocol"
	"warren/protocol/wire"
)

// RPCOptions describe remote procedure calls in the manner of RabbitMQ's tutorial
// (https://www.rabbitmq.com/tutorials/tutorial-six-go): servers take requests
// from one queue with a prefetch count of 1, reply, then acknowledge; a client
// has one call under way.
type RPCOptions struct {
	Options           // URIs, Queue, Quorum, Persistent, Size, Rate (a client), Time, Warmup, Shutdown
	Clients       int // each with a reply queue of its own
	Servers       int
	DirectReplyTo bool   // amq.rabbitmq.reply-to in place of an exclusive queue
	Calls         uint64 // a client; 0: no limit
}

// directReplyTo is the pseudo-queue of https://www.rabbitmq.com/docs/direct-reply-to.
const directReplyTo = "amq.rabbitmq.reply-to"

// RPCReport is the outcome of calls.
type RPCReport struct {
	Server    string   `json:"server"`
	Seconds   float64  `json:"seconds"`
	Calls     uint64   `json:"calls"`
	Rate      float64  `json:"rate"` // calls a second
	RoundTrip *Latency `json:"round_trip_latency,omitempty"`
	CPU       CPU      `json:"cpu"`
	Errors    []string `json:"errors,omitempty"`
}

// Failed returns why the run counts as failed, or nil.
func (r *RPCReport) Failed() error { return (&Report{Errors: r.Errors}).Failed() }

// Print writes the summary for people.
func (r *RPCReport) Print(w io.Writer) error {
	fmt.Fprintf(w, "%s, %.1f s: %d calls, %.0f a second; CPU in cores: generator %.2f, servers %.2f\n",
		r.Server, r.Seconds, r.Calls, r.Rate, r.CPU.Generator, r.CPU.Servers)
	PrintLatencies(w, "latency", map[string]*Latency{"round trip": r.RoundTrip})
	for _, e := range r.Errors {
		fmt.Fprintln(w, "error:", e)
	}
	return nil
}

// RPC makes calls and measures their round trips.
func RPC(ctx context.Context, o RPCOptions, progress io.Writer) (*RPCReport, error) {
	o.Producers, o.Consumers, o.Queues, o.MultiAck = o.Clients, o.Servers, 1, 1
	o.QueuePattern = "warrenperf-rpc-%d"
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.Clients < 1 || o.Servers < 1 {
		return nil, badOption("calls need clients and servers")
	}
	if o.Time == 0 && o.Calls == 0 {
		return nil, errEndless("calls")
	}
	if err := declare(ctx, &o.Options); err != nil {
		return nil, fmt.Errorf("declare: %w", err)
	}
	r := &rpcRun{o: &o}
	report, err := r.run(ctx, progress)
	return report, errors.Join(err, cleanUp(ctx, &o.Options))
}

// An rpcRun is the clients and servers of one run.
type rpcRun struct {
	o       *RPCOptions
	peers   []*rpcPeer
	callers int // so many of peers are clients, the first ones
	stop    atomic.Bool
	left    atomic.Int64 // clients that have not ended
}

// An rpcPeer is a client or a server on a connection of its own.
type rpcPeer struct {
	name  string
	conn  *client.Conn
	reply string         // a client's reply queue
	mu    sync.Mutex     // guards hist and err
	hist  hist.Histogram // of round trips, since the last take
	err   error
	ended chan struct{}
}

func (r *rpcRun) run(ctx context.Context, progress io.Writer) (*RPCReport, error) {
	defer func() {
		for _, p := range r.peers {
			p.conn.Drop()
		}
	}()
	if err := r.connect(ctx); err != nil {
		return nil, err
	}
	m := newMeter(&r.o.Options)
	r.left.Store(int64(r.callers))
	for i, p := range r.peers {
		work := r.serve
		if i < r.callers {
			work = r.call
		}
		go func() {
			defer close(p.ended)
			err := work(p)
			p.mu.Lock()
			defer p.mu.Unlock()
			if err != nil && !r.stop.Load() {
				p.err = fmt.Errorf("%s: %w", p.name, err)
			}
		}()
	}
	report := &RPCReport{Server: r.peers[0].conn.Server}
	err := r.measure(ctx, m, report, progress)
	r.finish()
	for _, p := range r.peers {
		if p.err != nil {
			report.Errors = append(report.Errors, p.err.Error())
		}
	}
	return report, err
}

func (r *rpcRun) connect(ctx context.Context) error {
	queue := r.o.names()[0]
	for i := range r.o.Clients + r.o.Servers {
		p := &rpcPeer{name: fmt.Sprintf("RPC client %d", i+1), ended: make(chan struct{})}
		if i >= r.o.Clients {
			p.name = fmt.Sprintf("RPC server %d", i-r.o.Clients+1)
		}
		var err error
		if p.conn, err = client.Dial(ctx, r.o.URIs[i%len(r.o.URIs)], "warrenperf "+p.name); err != nil {
			return err
		}
		r.peers = append(r.peers, p)
		if i < r.o.Clients {
			err = r.prepareClient(p)
		} else {
			err = prepareServer(p, queue)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	r.callers = r.o.Clients
	return nil
}

func (r *rpcRun) prepareClient(p *rpcPeer) error {
	p.reply = directReplyTo
	if !r.o.DirectReplyTo {
		ok, err := client.Call[*protocol.QueueDeclareOk](p.conn, &protocol.QueueDeclare{Exclusive: true})
		if err != nil {
			return err
		}
		p.reply = ok.Queue
	}
	_, err := client.Call[*protocol.BasicConsumeOk](p.conn, &protocol.BasicConsume{Queue: p.reply, NoAck: true})
	return err
}

func prepareServer(p *rpcPeer, queue string) error {
	if _, err := client.Call[*protocol.BasicQosOk](p.conn, &protocol.BasicQos{PrefetchCount: 1}); err != nil {
		return err
	}
	_, err := client.Call[*protocol.BasicConsumeOk](p.conn, &protocol.BasicConsume{Queue: queue})
	return err
}

// call is the loop of a client.
func (r *rpcRun) call(p *rpcPeer) error {
	defer r.left.Add(-1)
	properties := &wire.Properties{Present: wire.FlagReplyTo | wire.FlagCorrelationID, ReplyTo: p.reply}
	if r.o.Persistent {
		properties.Present |= wire.FlagDeliveryMode
		properties.DeliveryMode = 2
	}
	queue, body := r.o.names()[0], filler(r.o.Size)
	pace := &pacer{rate: r.o.Rate, start: now()}
	for n := uint64(1); !r.stop.Load() && (r.o.Calls == 0 || n <= r.o.Calls); n++ {
		for count, wait := pace.due(now()); count == 0; count, wait = pace.due(now()) {
			time.Sleep(min(wait, 100*time.Millisecond)) // short: stop is looked at
			if r.stop.Load() {
				return nil
			}
		}
		pace.sent++
		properties.CorrelationID = fmt.Sprint(n)
		at := now()
		if err := p.publish(queue, wire.AppendProperties(nil, properties), body); err != nil {
			return err
		}
		m, err := p.receive()
		if err != nil {
			return err
		}
		if m.properties.CorrelationID != properties.CorrelationID {
			return fmt.Errorf("reply to call %q came for call %q", m.properties.CorrelationID, properties.CorrelationID)
		}
		p.mu.Lock()
		p.hist.Add(since(at, now()))
		p.mu.Unlock()
	}
	return nil
}

// serve is the loop of a server: it sends the body back.
func (r *rpcRun) serve(p *rpcPeer) error {
	for {
		m, err := p.receive()
		if err != nil {
			return err
		}
		properties := &wire.Properties{Present: wire.FlagCorrelationID, CorrelationID: m.properties.CorrelationID}
		p.conn.Writer.Ack(client.Channel, m.tag, false)
		if err := p.publish(m.properties.ReplyTo, wire.AppendProperties(nil, properties), m.body); err != nil {
			return err
		}
	}
}

func (p *rpcPeer) publish(key string, properties, body []byte) error {
	p.conn.Writer.Method(client.Channel, &protocol.BasicPublish{RoutingKey: key})
	p.conn.Writer.Content(client.Channel, properties, body)
	return p.conn.Writer.Flush()
}

// An rpcMessage is a request or a reply.
type rpcMessage struct {
	tag        uint64
	properties wire.Properties
	body       []byte
}

// receive waits for the next delivery.
func (p *rpcPeer) receive() (m rpcMessage, err error) {
	const nothing = -1
	left := nothing
	for left != 0 {
		f, err := p.conn.Reader.ReadFrame()
		if err != nil {
			return m, err
		}
		switch f.Type {
		case protocol.FrameMethod:
			if id, _ := protocol.PeekID(f.Payload); id != protocol.IDBasicDeliver {
				if _, err := p.conn.Handle(f); err != nil {
					return m, err
				}
				continue
			}
			var d protocol.BasicDeliver
			if err := protocol.ParseMethodInto(f.Payload, &d); err != nil {
				return m, err
			}
			m.tag = d.DeliveryTag
		case protocol.FrameHeader:
			h, err := protocol.ParseContentHeader(f.Payload)
			if err != nil {
				return m, err
			}
			if m.properties, err = wire.ParseProperties(h.Properties); err != nil {
				return m, err
			}
			if h.BodySize > maxSize {
				return m, errOrder
			}
			left = int(h.BodySize)
		case protocol.FrameBody:
			if left < len(f.Payload) {
				return m, errOrder
			}
			m.body = append(m.body, f.Payload...)
			left -= len(f.Payload)
		}
	}
	return m, nil
}

// measure takes the figures of the clients until the end.
func (r *rpcRun) measure(ctx context.Context, m *meter, report *RPCReport, progress io.Writer) error {
	begin, line := time.Now(), time.Now()
	var total, second hist.Histogram
	warm := r.o.Warmup == 0
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
		end = end || r.left.Load() == 0 || r.failed() || warm && r.o.Time > 0 && at.Sub(begin) >= r.o.Time
		warmed := !warm && at.Sub(begin) >= r.o.Warmup
		if over := at.Sub(line); over >= time.Second || end || warmed {
			r.take(&second)
			total.Merge(&second)
			if l := latency(&second); progress != nil && over >= time.Second && l != nil {
				fmt.Fprintf(progress, "%5.0fs  %.0f calls/s  round trip p50 %s p99 %s\n", at.Sub(begin).Seconds(),
					float64(l.Count)/over.Seconds(), l.P50, l.P99)
			}
			second.Reset()
			line = at
		}
		if warmed {
			total.Reset()
			warm, begin = true, at
			m.restart()
		}
	}
	report.Seconds = time.Since(begin).Seconds()
	report.Calls, report.RoundTrip, report.CPU = total.Count(), latency(&total), m.read()
	report.Rate = float64(report.Calls) / report.Seconds
	return err
}

func (r *rpcRun) take(into *hist.Histogram) {
	for _, p := range r.peers[:r.callers] {
		p.mu.Lock()
		into.Merge(&p.hist)
		p.hist.Reset()
		p.mu.Unlock()
	}
}

// failed reports whether a server has ended: no reply may ever come then.
func (r *rpcRun) failed() bool {
	for _, p := range r.peers[r.callers:] {
		select {
		case <-p.ended:
			return true
		default:
		}
	}
	return false
}

// finish ends the clients behind the reply that they wait for, then the servers.
func (r *rpcRun) finish() {
	r.stop.Store(true)
	deadline := time.NewTimer(r.o.Shutdown)
	defer deadline.Stop()
	for i, p := range r.peers {
		if i < r.callers {
			select {
			case <-p.ended:
			case <-deadline.C:
				deadline.Reset(0) // none of the others waits longer
			}
		}
	}
	for _, p := range r.peers {
		_ = p.conn.SendClose(r.o.Shutdown) // the socket may be gone already
	}
	for i, p := range r.peers {
		if i < r.callers {
			p.conn.Drop()
		}
		select {
		case <-p.ended:
		case <-time.After(r.o.Shutdown):
			p.conn.Drop()
			<-p.ended
		}
	}
}
