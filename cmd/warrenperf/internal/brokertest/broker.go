// Package brokertest is a broker for the tests of the load generator: as much of
// AMQP 0-9-1 as that uses, in memory, and with faults on demand. It stores no
// properties but passes them through, and knows one vhost.
package brokertest

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"warren/protocol"
	"warren/protocol/wire"
)

// Faults are what a Broker does wrong. Counts are of publishes over all
// connections; 0 is never.
type Faults struct {
	LoseEvery      int    // confirm, and forget the message
	DoubleEvery    int    // enqueue twice
	NackEvery      int    // refuse
	CloseAfter     int    // close the publisher's connection with 541
	Silent         bool   // never confirm
	Reverse        bool   // confirm in pairs, the later one first
	BlockFirst     bool   // block a publisher at its first publish, and unblock it
	RefuseDeclare  bool   // close the channel at queue.declare
	CancelAfter    int    // cancel a consumer behind so many deliveries
	RefusePassword string // close the socket when this password comes
}

// A Broker listens on an address of its own.
type Broker struct {
	Addr   string
	faults Faults

	mu        sync.Mutex
	room      *sync.Cond // a queue got shorter, or lost its consumers
	conns     map[*conn]bool
	queues    map[string]*queue
	bindings  map[string][]binding // by exchange
	exchanges map[string]string    // types
	published int
	names     int
	wg        sync.WaitGroup
}

type binding struct{ key, queue string }

type queue struct {
	name      string
	ready     []message
	consumers []*consumer
	owner     *conn // of an exclusive queue
}

type message struct {
	exchange, key string
	properties    []byte
	body          []byte
	redelivered   bool
}

type consumer struct {
	conn      *conn
	tag       string
	noAck     bool
	delivered int
}

type conn struct {
	b    *Broker
	sock net.Conn

	// Under Broker.mu.
	out        []byte
	wake       *sync.Cond
	closed     bool
	confirming bool
	seq        uint64 // publishes since confirm.select
	held       uint64 // a confirm that waits for the next, with Reverse
	prefetch   int
	tag        uint64 // the last delivery tag
	settled    uint64 // all tags up to it are acknowledged
	unacked    map[uint64]unacked
	blockedYet bool

	// The reader's own.
	publish    protocol.BasicPublish
	properties []byte
	body       []byte
	left       uint64
}

type unacked struct {
	m message
	q *queue
}

// Start listens, until the test ends.
func Start(t testing.TB, f Faults) *Broker {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &Broker{Addr: l.Addr().String(), faults: f, conns: map[*conn]bool{}, queues: map[string]*queue{},
		bindings: map[string][]binding{}, exchanges: map[string]string{}}
	b.room = sync.NewCond(&b.mu)
	b.wg.Go(func() {
		for {
			sock, err := l.Accept()
			if err != nil {
				return
			}
			b.accept(sock)
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		b.mu.Lock()
		for c := range b.conns {
			_ = c.sock.Close()
		}
		b.mu.Unlock()
		b.wg.Wait()
	})
	return b
}

// URI is where to connect to.
func (b *Broker) URI() string { return "amqp://" + b.Addr }

// Left returns the names of queues and exchanges that are still there.
func (b *Broker) Left() (names []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name := range b.queues {
		names = append(names, name)
	}
	for name := range b.exchanges {
		names = append(names, name)
	}
	return names
}

// Connections returns how many connections are open.
func (b *Broker) Connections() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.conns)
}

func (b *Broker) accept(sock net.Conn) {
	c := &conn{b: b, sock: sock, unacked: map[uint64]unacked{}}
	c.wake = sync.NewCond(&b.mu)
	b.mu.Lock()
	b.conns[c] = true
	b.mu.Unlock()
	b.wg.Go(c.write)
	b.wg.Go(func() {
		_ = c.read() // the client's end, or ours
		b.mu.Lock()
		defer b.mu.Unlock()
		b.forget(c)
	})
}

// forget requeues what the connection held. mu is held.
func (b *Broker) forget(c *conn) {
	delete(b.conns, c)
	c.closed = true
	c.wake.Broadcast()
	for name, q := range b.queues {
		if q.owner == c {
			delete(b.queues, name)
			continue
		}
		kept := q.consumers[:0]
		for _, k := range q.consumers {
			if k.conn != c {
				kept = append(kept, k)
			}
		}
		q.consumers = kept
	}
	back := map[*queue][]message{}
	for tag := c.settled + 1; tag <= c.tag; tag++ {
		if u, ok := c.unacked[tag]; ok {
			u.m.redelivered = true
			back[u.q] = append(back[u.q], u.m)
		}
	}
	for q, messages := range back {
		q.ready = append(messages, q.ready...)
		b.deliver(q)
	}
	b.room.Broadcast()
}

// write sends what stands in out, and closes the socket behind the last of it.
func (c *conn) write() {
	defer func() { _ = c.sock.Close() }()
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	for {
		for len(c.out) == 0 && !c.closed {
			c.wake.Wait()
		}
		if len(c.out) == 0 {
			return
		}
		out := c.out
		c.out = nil
		c.b.mu.Unlock()
		_, err := c.sock.Write(out)
		c.b.mu.Lock()
		if err != nil {
			return
		}
	}
}

// send queues frames. mu is held.
func (c *conn) send(channel uint16, methods ...protocol.Method) {
	for _, m := range methods {
		c.out = protocol.AppendMethod(c.out, channel, m)
	}
	c.wake.Signal()
}

const frameMax = 8192 // small: large bodies come in several frames

func (c *conn) read() error {
	r := protocol.NewReader(c.sock)
	if err := r.ReadProtocolHeader(); err != nil {
		return err
	}
	r.SetFrameMax(frameMax)
	c.b.mu.Lock()
	c.send(0, &protocol.ConnectionStart{VersionMinor: 9, Mechanisms: "PLAIN", Locales: "en_US",
		ServerProperties: wire.Table{{Name: "product", Value: "Fake"}, {Name: "version", Value: "1"}}})
	c.b.mu.Unlock()
	for {
		f, err := r.ReadFrame()
		if err != nil {
			return err
		}
		c.b.mu.Lock()
		err = c.frame(f)
		c.b.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

func (c *conn) frame(f protocol.Frame) error {
	switch f.Type {
	case protocol.FrameMethod:
		m, err := protocol.ParseMethod(f.Payload)
		if err != nil {
			return err
		}
		return c.method(f.Channel, m)
	case protocol.FrameHeader:
		h, err := protocol.ParseContentHeader(f.Payload)
		if err != nil {
			return err
		}
		c.properties, c.left, c.body = append([]byte(nil), h.Properties...), h.BodySize, nil
	case protocol.FrameBody:
		c.body = append(c.body, f.Payload...)
		c.left -= uint64(len(f.Payload))
	}
	if f.Type != protocol.FrameHeartbeat && c.left == 0 {
		c.published(f.Channel)
		for c.b.crowded() {
			c.b.room.Wait()
		}
	}
	return nil
}

func (c *conn) method(channel uint16, m protocol.Method) error {
	b := c.b
	switch m := m.(type) {
	case *protocol.ConnectionStartOk:
		if p := b.faults.RefusePassword; p != "" && strings.HasSuffix(m.Response, "\x00"+p) {
			return fmt.Errorf("login refused")
		}
		c.send(0, &protocol.ConnectionTune{ChannelMax: 2047, FrameMax: frameMax, Heartbeat: 60})
	case *protocol.ConnectionOpen:
		c.send(0, &protocol.ConnectionOpenOk{})
	case *protocol.ConnectionClose:
		c.send(0, &protocol.ConnectionCloseOk{})
		return fmt.Errorf("closed")
	case *protocol.ChannelOpen:
		c.send(channel, &protocol.ChannelOpenOk{})
	case *protocol.ConfirmSelect:
		c.confirming = true
		c.send(channel, &protocol.ConfirmSelectOk{})
	case *protocol.BasicQos:
		c.prefetch = int(m.PrefetchCount)
		c.send(channel, &protocol.BasicQosOk{})
	case *protocol.ExchangeDeclare:
		b.exchanges[m.Exchange] = m.Type
		c.send(channel, &protocol.ExchangeDeclareOk{})
	case *protocol.ExchangeDelete:
		delete(b.exchanges, m.Exchange)
		delete(b.bindings, m.Exchange)
		c.send(channel, &protocol.ExchangeDeleteOk{})
	case *protocol.QueueDeclare:
		c.declare(channel, m)
	case *protocol.QueueBind:
		b.bindings[m.Exchange] = append(b.bindings[m.Exchange], binding{m.RoutingKey, m.Queue})
		c.send(channel, &protocol.QueueBindOk{})
	case *protocol.QueueDelete:
		delete(b.queues, m.Queue)
		c.send(channel, &protocol.QueueDeleteOk{})
	case *protocol.BasicConsume:
		c.consume(channel, m)
	case *protocol.BasicAck:
		c.ack(m)
	case *protocol.BasicPublish:
		c.publish, c.left = *m, 1<<62
	}
	return nil
}

func (c *conn) declare(channel uint16, m *protocol.QueueDeclare) {
	if c.b.faults.RefuseDeclare {
		c.send(channel, protocol.Errorf(protocol.PreconditionFailed, m.ID(), "not today").Close())
		return
	}
	name := m.Queue
	if name == "" {
		c.b.names++
		name = fmt.Sprintf("amq.gen-%d", c.b.names)
	}
	if c.b.queues[name] == nil {
		q := &queue{name: name}
		if m.Exclusive {
			q.owner = c
		}
		c.b.queues[name] = q
	}
	c.send(channel, &protocol.QueueDeclareOk{Queue: name})
}

func (c *conn) consume(channel uint16, m *protocol.BasicConsume) {
	q := c.b.queues[m.Queue]
	if m.Queue == "amq.rabbitmq.reply-to" {
		q = &queue{name: fmt.Sprintf("reply-%p", c), owner: c}
		c.b.queues[q.name] = q
	}
	if q == nil {
		c.send(channel, protocol.Errorf(protocol.NotFound, m.ID(), "no queue '%s'", m.Queue).Close())
		return
	}
	if m.ConsumerTag == "" {
		m.ConsumerTag = "tag"
	}
	q.consumers = append(q.consumers, &consumer{conn: c, tag: m.ConsumerTag, noAck: m.NoAck})
	c.send(channel, &protocol.BasicConsumeOk{ConsumerTag: m.ConsumerTag})
	c.b.deliver(q)
}

func (c *conn) ack(m *protocol.BasicAck) {
	touched := map[*queue]bool{}
	first := m.DeliveryTag
	if m.Multiple {
		first = c.settled + 1
		c.settled = max(c.settled, m.DeliveryTag)
	}
	for tag := first; tag <= m.DeliveryTag; tag++ {
		if u, ok := c.unacked[tag]; ok {
			delete(c.unacked, tag)
			touched[u.q] = true
		}
	}
	for q := range touched {
		c.b.deliver(q)
	}
	c.b.room.Broadcast()
}

// crowded reports whether publishers should wait for consumers, so that the test
// does not measure how memory is copied.
func (b *Broker) crowded() bool {
	for _, q := range b.queues {
		if len(q.consumers) > 0 && len(q.ready) > 1000 {
			return true
		}
	}
	return false
}

func every(n, count int) bool { return n > 0 && count%n == 0 }

// published takes a whole message.
func (c *conn) published(channel uint16) {
	b := c.b
	b.published++
	n := b.published
	m := message{exchange: c.publish.Exchange, key: c.publish.RoutingKey, properties: c.properties, body: c.body}
	nack := every(b.faults.NackEvery, n)
	if !nack && !every(b.faults.LoseEvery, n) {
		routed := c.route(m)
		if every(b.faults.DoubleEvery, n) {
			c.route(m)
		}
		if !routed && c.publish.Mandatory {
			c.out = protocol.AppendReturn(c.out, channel, protocol.NoRoute, "NO_ROUTE", m.exchange, []byte(m.key))
			c.out = protocol.AppendHeader(c.out, channel, protocol.ClassBasic, uint64(len(m.body)), m.properties)
			c.out = protocol.AppendBody(c.out, channel, m.body, frameMax)
		}
	}
	if b.faults.BlockFirst && !c.blockedYet {
		c.blockedYet = true
		c.send(0, &protocol.ConnectionBlocked{Reason: "test"}, &protocol.ConnectionUnblocked{})
	}
	if c.confirming && !b.faults.Silent {
		c.confirm(channel, nack)
	}
	if b.faults.CloseAfter > 0 && n == b.faults.CloseAfter {
		c.send(0, protocol.Errorf(protocol.InternalError, 0, "test").Close())
	}
}

func (c *conn) confirm(channel uint16, nack bool) {
	c.seq++
	switch {
	case nack:
		c.out = protocol.AppendNack(c.out, channel, c.seq, false)
	case c.b.faults.Reverse && c.held == 0:
		c.held = c.seq
	case c.b.faults.Reverse:
		c.out = protocol.AppendAck(c.out, channel, c.seq, false)
		c.out = protocol.AppendAck(c.out, channel, c.held, false)
		c.held = 0
	default:
		// Every other confirm covers the one before: a repeat must change nothing.
		c.out = protocol.AppendAck(c.out, channel, c.seq, c.seq%2 == 0)
	}
	c.wake.Signal()
}

// route enqueues a message and reports whether it came into a queue.
func (c *conn) route(m message) (routed bool) {
	b := c.b
	names := []string{m.key}
	if m.exchange != "" {
		names = nil
		for _, bind := range b.bindings[m.exchange] {
			if b.exchanges[m.exchange] == "fanout" || bind.key == m.key {
				names = append(names, bind.queue)
			}
		}
	}
	if m.key == "amq.rabbitmq.reply-to" {
		names = nil
	}
	for _, name := range names {
		q := b.queues[name]
		if q == nil {
			continue
		}
		routed = true
		copied := m
		if strings.Contains(string(m.properties), "amq.rabbitmq.reply-to") {
			copied.properties = c.replyTo(m.properties)
		}
		q.ready = append(q.ready, copied)
		b.deliver(q)
	}
	return routed
}

// replyTo gives a request the address of its sender.
func (c *conn) replyTo(properties []byte) []byte {
	p, err := wire.ParseProperties(properties)
	if err != nil {
		return properties
	}
	p.ReplyTo = fmt.Sprintf("reply-%p", c)
	return wire.AppendProperties(nil, &p)
}

// deliver hands ready messages to consumers in turn. mu is held.
func (b *Broker) deliver(q *queue) {
	for len(q.ready) > 0 {
		k := q.next()
		if k == nil {
			return
		}
		m := q.ready[0]
		q.ready = q.ready[1:]
		c := k.conn
		c.tag++
		if !k.noAck {
			c.unacked[c.tag] = unacked{m, q}
		}
		c.out = protocol.AppendDeliver(c.out, 1, k.tag, c.tag, m.redelivered, m.exchange, []byte(m.key))
		c.out = protocol.AppendHeader(c.out, 1, protocol.ClassBasic, uint64(len(m.body)), m.properties)
		c.out = protocol.AppendBody(c.out, 1, m.body, frameMax)
		k.delivered++
		if b.faults.CancelAfter > 0 && k.delivered == b.faults.CancelAfter {
			c.send(1, &protocol.BasicCancel{ConsumerTag: k.tag, NoWait: true})
		}
		c.wake.Signal()
	}
}

// next returns the consumer whose turn it is, nil when none has credit.
func (q *queue) next() *consumer {
	for i, k := range q.consumers {
		if k.noAck || k.conn.prefetch == 0 || len(k.conn.unacked) < k.conn.prefetch {
			q.consumers = append(append(q.consumers[:i:i], q.consumers[i+1:]...), k)
			return k
		}
	}
	return nil
}
