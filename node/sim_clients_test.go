package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/chaos/history"
)

// put runs a client that ends with stop, take one that ends with leave.
func (s *sim) put(f func())  { s.in.Go(f) }
func (s *sim) take(f func()) { s.out.Go(f) }

// A link is one connection of a client with one channel.
type link struct {
	*sim
	to     *member
	number int // of the channel in the history
	conn   *amqp.Connection
	ch     *amqp.Channel
	raw    net.Conn
	closed chan *amqp.Error // of the connection
	chDown chan *amqp.Error // of the channel
}

// dial connects to a node.
func (s *sim) dial(m *member) (*link, error) {
	ctx, cancel := context.WithTimeout(s.quit, 3*time.Second)
	defer cancel()
	l := &link{sim: s, to: m}
	var err error
	if l.raw, err = s.client.Dial(ctx, m.ip+":5672"); err != nil {
		return nil, err
	}
	if err := l.raw.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, err
	}
	l.conn, err = amqp.Open(l.raw, amqp.Config{
		SASL:  []amqp.Authentication{&amqp.PlainAuth{Username: DefaultUser, Password: DefaultPass}},
		Vhost: "/", Heartbeat: 5 * time.Second, Locale: "en_US",
	})
	if err != nil {
		_ = l.raw.Close() // it may be closed already
		return nil, err
	}
	l.closed = l.conn.NotifyClose(make(chan *amqp.Error, 1))
	context.AfterFunc(s.quit, l.cut)
	if l.ch, err = l.conn.Channel(); err != nil {
		l.cut()
		return nil, err
	}
	l.chDown = l.ch.NotifyClose(make(chan *amqp.Error, 1))
	l.number = s.Channel()
	return l, nil
}

// cut ends the connection without a word.
func (l *link) cut() { _ = l.raw.Close() }

// errLeft ends a link that may hold messages which are not settled: they come back, marked.
var errLeft = errors.New("the client left")

// keep has work done on a link until it returns nil or ctx is over. It connects to one node at first, and after
// an error to the next ones in turn.
func (s *sim) keep(ctx context.Context, home int, work func(l *link) error) {
	for try := home; ctx.Err() == nil; try++ {
		members := s.all()
		l, err := s.dial(members[try%len(members)])
		if err != nil {
			sleep(ctx, 20*time.Millisecond)
			continue
		}
		if err = work(l); err == nil {
			l.end()
			return
		}
		l.broken(err)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// end closes the connection in order.
func (l *link) end() {
	l.Add(history.Event{Kind: history.Ended, Channel: l.number, Note: l.to.name()})
	_ = l.conn.CloseDeadline(time.Now().Add(5 * time.Second))
	l.cut()
}

// broken writes down why a link failed, and judges it: a broker says 320 when it closes connections for reasons
// of its own; everything else that it says is about what the client did, and these clients do nothing
// wrong. On a node to which nothing was done no link fails.
func (l *link) broken(err error) {
	var all []error
	for _, c := range []chan *amqp.Error{l.chDown, l.closed} {
		select {
		case e := <-c:
			if e != nil {
				all = append(all, e)
			}
		case <-time.After(20 * time.Millisecond):
		}
	}
	_ = l.conn.CloseDeadline(time.Now())
	l.cut()
	for _, e := range append(all, err) {
		var said *amqp.Error
		if errors.As(e, &said) && said.Server && said.Code != amqp.ConnectionForced {
			l.complain("error", "channel %d on %s was closed with %v", l.number, l.to.name(), said)
		}
	}
	l.mu.Lock()
	spared := !l.to.hurt
	l.mu.Unlock()
	if spared && !errors.Is(err, errLeft) && l.quit.Err() == nil {
		l.complain("error", "channel %d on %s, to which nothing was done, ended with %v %v", l.number, l.to.name(), err, all)
	}
	l.Add(history.Event{Kind: history.Broken, Channel: l.number, Note: fmt.Sprintf("%s: %v %v", l.to.name(), err, all)})
}

// sync has a synchronous method answered: what was sent before is in the log then. It needs a queue that
// is there.
func (l *link) sync(queue string) error {
	if _, err := l.ch.QueueDeclarePassive(queue, true, false, false, false, nil); err != nil {
		return err
	}
	l.Add(history.Event{Kind: history.Synced, Channel: l.number})
	return nil
}

// setUp has something made on any node, again until it works; making it twice must do no harm.
func (s *sim) setUp(work func(ch *amqp.Channel) error) {
	home := s.random.IntN(s.nodes)
	var err error
	ok := await(patience, func() bool {
		members := s.all()
		var l *link
		if l, err = s.dial(members[home%len(members)]); err == nil {
			err = work(l.ch)
			_ = l.conn.CloseDeadline(time.Now().Add(time.Second))
			l.cut()
		}
		home++
		return err == nil
	})
	if !ok {
		s.complain("set up", "%v", err)
	}
}

func declare(ch *amqp.Channel, queue string, args amqp.Table) error {
	_, err := ch.QueueDeclare(queue, true, false, false, false, args)
	return err
}

// body makes the body of a message: its number, and a filling whose length and content follow from it, so that
// whoever gets it sees whether it is whole.
func body(message uint64) []byte {
	b := strconv.AppendUint(nil, message, 10)
	return append(append(b, ' '), filling(message)...)
}

func filling(message uint64) []byte {
	mixed := message * 0x9e3779b97f4a7c15
	return bytes.Repeat([]byte{byte('a' + mixed>>32%26)}, int(mixed>>56)) // to 255
}

// numberOf reads a body, and complains when something is wrong with it.
func (s *sim) numberOf(b []byte) uint64 {
	text, rest, ok := strings.Cut(string(b), " ")
	number, err := strconv.ParseUint(text, 10, 64)
	if !ok || err != nil || rest != string(filling(number)) {
		s.complain("corrupted", "a body of %d bytes that nobody sent: %.40q", len(b), b)
	}
	return number
}

// A publisher sends messages with confirms until the load stops. What was not confirmed when a link breaks is not sent again: it
// may have happened or not.
type publisher struct {
	*sim
	workload string
	home     int
	next     func(random *rand.Rand) publishing
}

// A publishing is one message to send.
type publishing struct {
	exchange, key string
	to            []string // queues that it has to arrive in
	mandatory     bool
	transient     bool
	expiration    string
}

const (
	pace   = 15 * time.Millisecond // between two messages of a publisher
	window = 16                    // of its messages wait for their confirms, at most
)

func (p *publisher) run() {
	random := p.source()
	p.keep(p.stop, p.home, func(l *link) error { return p.publish(l, random) })
}

func (p *publisher) publish(l *link, random *rand.Rand) error {
	confirms := l.ch.NotifyPublish(make(chan amqp.Confirmation, 2*window))
	returns := l.ch.NotifyReturn(make(chan amqp.Return, 2*window))
	if err := l.ch.Confirm(false); err != nil {
		return err
	}
	var pending []uint64
	tick := time.NewTicker(pace)
	defer tick.Stop()
	stop := p.stop.Done()
	for stop != nil || len(pending) > 0 {
		var ready <-chan time.Time
		if len(pending) < window && stop != nil {
			ready = tick.C
		}
		select {
		case <-stop:
			stop = nil
		case <-p.quit.Done():
			return errLeft
		case <-ready:
			id, err := p.send(l, p.next(random))
			if err != nil {
				return err
			}
			pending = append(pending, id)
		case c, ok := <-confirms:
			if !ok {
				return errors.New("the channel is closed")
			}
			p.takeReturns(l, returns)
			if len(pending) == 0 {
				return fmt.Errorf("a confirm too many: %+v", c)
			}
			kind := history.Confirmed
			if !c.Ack {
				kind = history.Nacked
			}
			p.Add(history.Event{Kind: kind, Channel: l.number, Message: pending[0]})
			pending = pending[1:]
			p.done(p.workload)
		}
	}
	return nil
}

func (p *publisher) send(l *link, m publishing) (uint64, error) {
	id := p.Message()
	p.Add(history.Event{Kind: history.Published, Channel: l.number, Message: id, To: m.to, Mandatory: m.mandatory})
	msg := amqp.Publishing{Body: body(id), Expiration: m.expiration, DeliveryMode: amqp.Persistent}
	if m.transient {
		msg.DeliveryMode = amqp.Transient
	}
	return id, l.ch.Publish(m.exchange, m.key, m.mandatory, false, msg)
}

// takeReturns writes down the returns that came before a confirm.
func (p *publisher) takeReturns(l *link, returns <-chan amqp.Return) {
	for {
		select {
		case r, ok := <-returns:
			if !ok {
				return
			}
			p.Add(history.Event{Kind: history.Returned, Channel: l.number, Message: p.numberOf(r.Body), Note: r.ReplyText})
		default:
			return
		}
	}
}

// A consumer takes messages until the load leaves, and settles them.
type consumer struct {
	*sim
	home     int
	queue    string
	prefetch int
	requeue  float64 // part of the messages that it gives back, when they come for the first time
	reject   bool    // refuse all, for dead-lettering
	get      bool    // with basic.get
}

const (
	syncEvery = 10                     // settled messages, or
	syncTime  = 100 * time.Millisecond // after that a consumer makes sure
)

func (c *consumer) run() {
	random := c.source()
	c.keep(c.leave, c.home, func(l *link) error {
		c.Add(history.Event{Kind: history.Consuming, Channel: l.number, Queue: c.queue, Note: l.to.name()})
		if c.get {
			return c.getAll(l, random)
		}
		return c.consume(l, random)
	})
}

func (c *consumer) consume(l *link, random *rand.Rand) error {
	if err := l.ch.Qos(c.prefetch, 0, false); err != nil {
		return err
	}
	deliveries, err := l.ch.Consume(c.queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	tick := time.NewTicker(syncTime)
	defer tick.Stop()
	settled := 0
	for {
		select {
		case <-c.leave.Done():
			return l.sync(c.queue)
		case d, ok := <-deliveries:
			if !ok {
				return errors.New("deliveries ended")
			}
			if err := c.settle(l, random, d); err != nil {
				return err
			}
			if settled++; settled < syncEvery {
				continue
			}
		case <-tick.C:
			if settled == 0 {
				continue
			}
		}
		if err := l.sync(c.queue); err != nil {
			return err
		}
		settled = 0
	}
}

func (c *consumer) getAll(l *link, random *rand.Rand) error {
	settled := 0
	for c.leave.Err() == nil {
		d, ok, err := l.ch.Get(c.queue, false)
		if err != nil {
			return err
		}
		if ok {
			if err := c.settle(l, random, d); err != nil {
				return err
			}
			settled++
		}
		if settled > 0 && (!ok || settled >= syncEvery) {
			if err := l.sync(c.queue); err != nil {
				return err
			}
			settled = 0
		}
		if !ok {
			sleep(c.leave, 2*pace)
		}
	}
	return nil
}

// settle writes a delivery down and answers it.
func (c *consumer) settle(l *link, random *rand.Rand, d amqp.Delivery) error {
	e := history.Event{Kind: history.Delivered, Channel: l.number, Queue: c.queue, Message: c.numberOf(d.Body), Redelivered: d.Redelivered}
	c.Add(e)
	e.Redelivered = false
	switch {
	case c.reject:
		e.Kind = history.Rejected
		c.Add(e)
		return d.Reject(false)
	case !d.Redelivered && random.Float64() < c.requeue:
		e.Kind = history.Requeued
		c.Add(e)
		return d.Nack(false, true)
	default:
		e.Kind = history.Acked
		c.Add(e)
		return d.Ack(false)
	}
}
