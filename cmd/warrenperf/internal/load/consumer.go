package load

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"warren/cmd/warrenperf/internal/client"
	"warren/protocol"
)

// A consumer takes messages from its queues on one connection, with one goroutine.
type consumer struct {
	stats
	o        *Options
	number   int      // among the consumers
	queue    int      // the number of its first queue, for the tracker
	queues   []string // names
	conn     *client.Conn
	tracker  *tracker // nil without Verify
	received *atomic.Uint64

	stopping atomic.Bool
	ended    chan struct{}

	// Under mu.
	finished bool // the limit is reached
	begun    int  // subscriptions that the broker has answered
	leaving  bool // the goroutine ends by itself
	err      error

	// The goroutine's own.
	message partial
	count   uint64 // deliveries
	lastTag uint64
	unacked int
	frames  []byte // acks to send
	arrived []delivered
	order   latest
}

// A partial is a message whose frames have not all come.
type partial struct {
	open        bool
	header      bool // seen
	left        uint64
	first       bool // the next body frame is the first
	redelivered bool
}

func newConsumer(o *Options, number, queue int, queues []string, conn *client.Conn, t *tracker, received *atomic.Uint64) (*consumer, error) {
	c := &consumer{o: o, number: number, queue: queue, queues: queues, conn: conn, tracker: t, received: received, ended: make(chan struct{})}
	if o.QoS > 0 {
		if _, err := client.Call[*protocol.BasicQosOk](conn, &protocol.BasicQos{PrefetchCount: uint16(o.QoS)}); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// start subscribes and consumes.
func (c *consumer) start() {
	go func() {
		defer close(c.ended)
		err := c.consume()
		c.mu.Lock()
		defer c.mu.Unlock()
		if err != nil {
			c.err = fmt.Errorf("consumer %d: %w", c.number+1, err)
		}
	}()
}

func (c *consumer) consume() error {
	defer c.conn.Drop()
	var subscribe []byte
	for i, name := range c.queues {
		m := &protocol.BasicConsume{Queue: name, ConsumerTag: fmt.Sprint("c", i), NoAck: c.o.AutoAck}
		subscribe = protocol.AppendMethod(subscribe, client.Channel, m)
	}
	if err := c.conn.Write(subscribe); err != nil {
		return err
	}
	for {
		f, err := c.conn.Reader.ReadFrame()
		if errors.Is(err, os.ErrDeadlineExceeded) && c.stopping.Load() {
			return c.leave()
		}
		if err != nil {
			return err
		}
		c.mu.Lock()
		err = c.burst(f, now())
		finished := c.finished
		c.mu.Unlock()
		if err != nil {
			return err
		}
		if len(c.frames) > 0 {
			if err := c.conn.Write(c.frames); err != nil {
				return err
			}
			c.frames = c.frames[:0]
		}
		if finished || c.stopping.Load() {
			return c.leave()
		}
	}
}

// leave acknowledges what was received and closes the connection.
func (c *consumer) leave() error {
	c.mu.Lock()
	c.leaving = true
	c.mu.Unlock()
	if c.unacked > 0 {
		c.frames = protocol.AppendAck(c.frames[:0], client.Channel, c.lastTag, true)
		c.mu.Lock()
		c.cur.Acked += uint64(c.unacked)
		c.mu.Unlock()
		c.unacked = 0
		if err := c.conn.Write(c.frames); err != nil {
			return err
		}
	}
	if err := c.conn.Close(c.o.Shutdown); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// burst takes all frames that one read brought. mu is held.
func (c *consumer) burst(f protocol.Frame, at int64) error {
	before := c.count
	err := c.each(f, at)
	if n := c.count - before; n > 0 {
		c.cur.Received += n
		c.received.Add(n)
		c.last = at
	}
	if len(c.arrived) > 0 {
		c.tracker.receive(c.queue, c.arrived, &c.order)
		c.arrived = c.arrived[:0]
	}
	return err
}

// each goes through the frames, up to the limit.
func (c *consumer) each(f protocol.Frame, at int64) error {
	for {
		if err := c.frame(f, at); err != nil {
			return err
		}
		if c.o.CMessages > 0 && c.count >= c.o.CMessages {
			c.finished = true
			return nil
		}
		if !c.conn.Reader.FrameBuffered() {
			return nil
		}
		var err error
		if f, err = c.conn.Reader.ReadFrame(); err != nil {
			return err
		}
	}
}

var errOrder = errors.New("broker sent the frames of a message in a wrong order")

func (c *consumer) frame(f protocol.Frame, at int64) error {
	m := &c.message
	switch f.Type {
	case protocol.FrameBody:
		if !m.open || !m.header || uint64(len(f.Payload)) > m.left {
			return errOrder
		}
		if m.first {
			m.first = false
			c.stamp(f.Payload, at)
		}
		m.left -= uint64(len(f.Payload))
	case protocol.FrameHeader:
		const bodySizeAt = 4
		if !m.open || m.header || len(f.Payload) < bodySizeAt+8 {
			return errOrder
		}
		m.header, m.first = true, true
		m.left = binary.BigEndian.Uint64(f.Payload[bodySizeAt:])
	case protocol.FrameMethod:
		if id, _ := protocol.PeekID(f.Payload); id != protocol.IDBasicDeliver {
			return c.other(id, f)
		}
		if m.open {
			return errOrder
		}
		return c.deliver(f.Payload)
	default:
		return nil
	}
	if m.left == 0 {
		c.complete()
	}
	return nil
}

// deliver reads the delivery tag and the redelivered flag of a basic.deliver.
func (c *consumer) deliver(payload []byte) error {
	const tagAt = 4 // behind class and method; the consumer tag is a short string
	if len(payload) <= tagAt || len(payload) < tagAt+1+int(payload[tagAt])+9 {
		return errOrder
	}
	rest := payload[tagAt+1+int(payload[tagAt]):]
	c.lastTag = binary.BigEndian.Uint64(rest)
	c.message = partial{open: true, redelivered: rest[8]&1 != 0}
	return nil
}

// stamp reads what the producer wrote into the body's first bytes.
func (c *consumer) stamp(body []byte, at int64) {
	if len(body) < stampSize {
		return
	}
	published := int64(binary.BigEndian.Uint64(body))
	if !c.message.redelivered {
		c.cur.endToEnd.Add(since(published, at))
	}
	if c.tracker != nil && len(body) >= numberSize {
		id := messageID(binary.BigEndian.Uint64(body[stampSize:]))
		c.arrived = append(c.arrived, delivered{id: id, stamp: published, redelivered: c.message.redelivered})
	}
}

// complete counts a message, and acknowledges when enough are due.
func (c *consumer) complete() {
	if c.message.redelivered {
		c.cur.Redelivered++
	}
	c.message = partial{}
	c.count++
	if c.o.AutoAck {
		return
	}
	c.unacked++
	if c.unacked >= c.o.MultiAck {
		c.frames = protocol.AppendAck(c.frames, client.Channel, c.lastTag, c.unacked > 1)
		c.cur.Acked += uint64(c.unacked)
		c.unacked = 0
	}
}

func (c *consumer) other(id protocol.ID, f protocol.Frame) error {
	if id == protocol.IDBasicConsumeOk {
		c.begun++
		return nil
	}
	event, err := c.conn.Handle(f)
	if event == client.Blocked {
		c.cur.Blocked++
	}
	return err
}

// interrupt asks the goroutine to end; wait for ended.
func (c *consumer) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping.Store(true)
	if !c.leaving { // else the deadline would cut its good-bye short
		_ = c.conn.SetReadDeadline(time.Unix(1, 0)) // fails only when the socket is closed already
	}
}

// subscribed reports whether all its queues send it messages, or it failed.
func (c *consumer) subscribed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err != nil || c.begun == len(c.queues)
}

func (c *consumer) done() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err != nil || c.finished
}

func (c *consumer) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
