package integration

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A flow is one publisher with confirms and one consumer with acks, on different
// nodes, with a queue of their own. Messages are numbered from 1; what happened to
// each number is written down and judged at the end (see check).
type flow struct {
	queue string
	pub   *loadPublisher
	con   *loadConsumer
}

// startFlow declares a durable queue and starts a publisher on one node and a
// consumer on another. Should one of these go, its client moves to a refuge.
func startFlow(t testing.TB, c *cluster, pubOn, conOn *node) *flow {
	t.Helper()
	queue := unique(t)
	ch := open(t, pubOn)
	if _, err := ch.QueueDeclare(queue, true, false, false, false, nil); err != nil {
		t.Fatalf("declare: %v", err)
	}
	f := &flow{queue: queue}
	f.con = &loadConsumer{cluster: c, queue: queue, node: conOn}
	f.pub = &loadPublisher{cluster: c, queue: queue, node: pubOn, history: newHistory()}
	if err := f.con.start(); err != nil {
		t.Fatalf("start consumer: %v", err)
	}
	if err := f.pub.start(); err != nil {
		t.Fatalf("start publisher: %v", err)
	}
	return f
}

// window is how many publishes of a publisher wait for their confirms at most.
const window = 64

// A history is what a publisher knows of its messages.
type history struct {
	mu        sync.Mutex
	published uint64          // the highest number sent
	confirmed map[uint64]bool // numbers that the broker confirmed
	repeated  map[uint64]bool // numbers sent again after a lost connection
	confirms  uint64          // how many, for progress
	last      time.Time       // of the last confirm
	longest   time.Duration   // between two confirms in a row
	moved     int             // reconnects
	errs      []error         // closes and errors, all of them
}

func newHistory() *history {
	return &history{confirmed: map[uint64]bool{}, repeated: map[uint64]bool{}}
}

func (h *history) confirm(seq uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if !h.last.IsZero() {
		h.longest = max(h.longest, now.Sub(h.last))
	}
	h.last = now
	h.confirmed[seq] = true
	h.confirms++
}

func (h *history) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.errs = append(h.errs, err)
}

func (h *history) count() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.confirms
}

// silence returns the longest pause between two confirms since the last call.
func (h *history) silence() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	longest := h.longest
	h.longest = 0
	return longest
}

// A loadPublisher publishes numbered messages as fast as its window allows.
type loadPublisher struct {
	cluster *cluster
	queue   string
	node    *node  // where it began
	pad     string // goes along in a header, to make messages larger
	*history

	pending []uint64 // sent and not confirmed, in order; its goroutine's own
	stopped chan struct{}
	done    chan struct{}
}

func (p *loadPublisher) start() error {
	p.stopped, p.done = make(chan struct{}), make(chan struct{})
	s, err := p.connect(p.node)
	if err != nil {
		return err
	}
	go p.run(s)
	return nil
}

// home is the node that it is connected to.
func (p *loadPublisher) home() *node {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.node
}

// stop lets what is under way be confirmed and ends the publisher.
func (p *loadPublisher) stop() {
	close(p.stopped)
	<-p.done
}

// A session is one connection of a load client.
type session struct {
	conn     *amqp.Connection
	ch       *amqp.Channel
	closed   chan *amqp.Error // of the connection
	chClosed chan *amqp.Error
	confirms chan amqp.Confirmation
}

func connectLoad(n *node) (*session, error) {
	conn, err := amqp.DialConfig(n.url, amqp.Config{Dial: amqp.DefaultDial(5 * time.Second), Heartbeat: 30 * time.Second})
	if err != nil {
		return nil, err
	}
	ch, err := conn.Channel()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &session{
		conn: conn, ch: ch,
		closed:   conn.NotifyClose(make(chan *amqp.Error, 1)),
		chClosed: ch.NotifyClose(make(chan *amqp.Error, 1)),
	}, nil
}

func (p *loadPublisher) connect(n *node) (*session, error) {
	s, err := connectLoad(n)
	if err != nil {
		return nil, err
	}
	s.confirms = s.ch.NotifyPublish(make(chan amqp.Confirmation, 2*window))
	if err := s.ch.Confirm(false); err != nil {
		return nil, errors.Join(err, s.conn.Close())
	}
	return s, nil
}

func (p *loadPublisher) run(s *session) {
	defer close(p.done)
	for {
		err := p.publishOn(s)
		_ = s.conn.Close() // broken, or ours to end
		if err == nil {
			return
		}
		p.fail(fmt.Errorf("publisher on %s: %w", p.node.name, err))
		if s = p.refuge(); s == nil {
			return
		}
	}
}

// refuge connects to any node that serves, and sends again what was not confirmed.
func (p *loadPublisher) refuge() *session {
	var s *session
	err := waitFor(patience, func() error {
		var err error
		for _, n := range p.cluster.nodes {
			if s, err = p.connect(n); err == nil {
				p.mu.Lock()
				p.node = n
				p.mu.Unlock()
				return nil
			}
		}
		return err
	})
	if err != nil {
		p.fail(fmt.Errorf("publisher finds no node: %w", err))
		return nil
	}
	p.mu.Lock()
	p.moved++
	for _, seq := range p.pending {
		p.repeated[seq] = true
	}
	p.mu.Unlock()
	return s
}

// always is ready in every select; a nil channel is so in none.
var always = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// publishOn publishes until it is stopped and all is confirmed (nil), or the
// session fails. What an earlier session left unconfirmed goes first.
func (p *loadPublisher) publishOn(s *session) error {
	unsent := p.pending
	p.pending = nil
	defer func() { p.pending = append(p.pending, unsent...) }()
	stopped, tag := p.stopped, uint64(0)
	for stopped != nil || len(p.pending)+len(unsent) > 0 {
		var room chan struct{}
		if len(p.pending) < window && (stopped != nil || len(unsent) > 0) {
			room = always
		}
		select {
		case <-stopped:
			stopped = nil
		case conf, ok := <-s.confirms:
			if !ok || !p.confirmNext(conf, &tag) {
				return errors.Join(fmt.Errorf("confirm %+v (open %v)", conf, ok), closeReason(s))
			}
		case <-room:
			var seq uint64
			if len(unsent) > 0 {
				seq, unsent = unsent[0], unsent[1:]
			} else {
				seq = p.number()
			}
			if err := p.send(s, seq); err != nil {
				return errors.Join(err, closeReason(s))
			}
		case <-time.After(patience):
			return fmt.Errorf("no confirm for %v", patience)
		}
	}
	return nil
}

// number takes the next number.
func (p *loadPublisher) number() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.published++
	return p.published
}

func (p *loadPublisher) send(s *session, seq uint64) error {
	p.pending = append(p.pending, seq)
	var headers amqp.Table
	if p.pad != "" {
		headers = amqp.Table{"pad": p.pad}
	}
	return s.ch.PublishWithContext(context.Background(), "", p.queue, true, false, amqp.Publishing{
		DeliveryMode: amqp.Persistent, Headers: headers, Body: strconv.AppendUint(nil, seq, 10),
	})
}

// confirmNext takes a confirm: they come one by one, in order.
func (p *loadPublisher) confirmNext(conf amqp.Confirmation, tag *uint64) bool {
	*tag++
	if !conf.Ack || conf.DeliveryTag != *tag || len(p.pending) == 0 {
		return false
	}
	p.confirm(p.pending[0])
	p.pending = p.pending[1:]
	return true
}

// closeReason is what the broker said when it closed the connection or channel.
func closeReason(s *session) error {
	for _, c := range []chan *amqp.Error{s.closed, s.chClosed} {
		select {
		case e := <-c:
			if e != nil {
				return e
			}
		case <-time.After(time.Second):
		}
	}
	return nil
}

// An arrival is one delivery as the consumer saw it.
type arrival struct {
	seq         uint64
	redelivered bool
}

// A loadConsumer acknowledges numbered messages and writes down their order.
type loadConsumer struct {
	cluster *cluster
	queue   string
	node    *node

	mu       sync.Mutex
	arrivals []arrival
	moved    int
	errs     []error

	stopped chan struct{}
	done    chan struct{}
}

func (c *loadConsumer) start() error {
	c.stopped, c.done = make(chan struct{}), make(chan struct{})
	s, deliveries, err := c.connect(c.node)
	if err != nil {
		return err
	}
	go c.run(s, deliveries)
	return nil
}

func (c *loadConsumer) connect(n *node) (*session, <-chan amqp.Delivery, error) {
	s, err := connectLoad(n)
	if err != nil {
		return nil, nil, err
	}
	if err := s.ch.Qos(100, 0, false); err != nil {
		return nil, nil, errors.Join(err, s.conn.Close())
	}
	deliveries, err := s.ch.Consume(c.queue, "", false, false, false, false, nil)
	if err != nil {
		return nil, nil, errors.Join(err, s.conn.Close())
	}
	return s, deliveries, nil
}

func (c *loadConsumer) run(s *session, deliveries <-chan amqp.Delivery) {
	defer close(c.done)
	for {
		err := c.consumeOn(deliveries)
		if err == nil {
			_ = s.conn.Close()
			return
		}
		err = errors.Join(err, closeReason(s))
		_ = s.conn.Close()
		c.fail(fmt.Errorf("consumer on %s: %w", c.node.name, err))
		err = waitFor(patience, func() error {
			var err error
			for _, n := range c.cluster.nodes {
				if s, deliveries, err = c.connect(n); err == nil {
					c.node = n
					return nil
				}
			}
			return err
		})
		if err != nil {
			c.fail(fmt.Errorf("consumer finds no node: %w", err))
			return
		}
		c.mu.Lock()
		c.moved++
		c.mu.Unlock()
	}
}

func (c *loadConsumer) consumeOn(deliveries <-chan amqp.Delivery) error {
	for {
		select {
		case <-c.stopped:
			return nil
		case d, ok := <-deliveries:
			if !ok {
				return errors.New("deliveries ended")
			}
			seq, err := strconv.ParseUint(string(d.Body), 10, 64)
			if err != nil {
				return err
			}
			c.mu.Lock()
			c.arrivals = append(c.arrivals, arrival{seq, d.Redelivered})
			c.mu.Unlock()
			if err := d.Ack(false); err != nil {
				return err
			}
		}
	}
}

func (c *loadConsumer) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errs = append(c.errs, err)
}

func (c *loadConsumer) stop() {
	close(c.stopped)
	<-c.done
}

// progress waits until every flow has that many more confirms.
func progress(t testing.TB, flows []*flow, more uint64) {
	t.Helper()
	for _, f := range flows {
		target := f.pub.count() + more
		eventually(t, "confirms of the publisher on "+f.pub.home().name, func() error {
			if n := f.pub.count(); n < target {
				return fmt.Errorf("%d confirms, want %d", n, target)
			}
			return nil
		})
	}
}

// finish stops the publisher, waits until the consumer has all that was
// confirmed, stops it, and deletes the queue.
func (f *flow) finish(t testing.TB) {
	t.Helper()
	f.pub.stop()
	err := waitFor(patience, f.complete)
	f.con.stop()
	if err != nil {
		t.Errorf("queue %s: %v", f.queue, err)
	}
}

// complete returns an error while something confirmed has not arrived.
func (f *flow) complete() error {
	f.con.mu.Lock()
	seen := map[uint64]bool{}
	for _, a := range f.con.arrivals {
		seen[a.seq] = true
	}
	f.con.mu.Unlock()
	f.pub.mu.Lock()
	defer f.pub.mu.Unlock()
	missing, first := 0, uint64(0)
	for seq := range f.pub.confirmed {
		if !seen[seq] {
			missing++
			if first == 0 || seq < first {
				first = seq
			}
		}
	}
	if missing > 0 {
		return fmt.Errorf("%d of %d confirmed messages are missing, the first is %d", missing, len(f.pub.confirmed), first)
	}
	return nil
}

// loss says which of a flow's clients were connected to a node that went.
type loss struct{ publisher, consumer bool }

// check judges a finished flow. Only a client whose node went may have seen an
// error; only what its publisher sent again may be there twice, and only what its
// consumer held may come again, marked redelivered.
func (f *flow) check(l loss) []error {
	errs := f.complete()
	var all []error
	if errs != nil {
		all = append(all, errs)
	}
	if !l.publisher {
		all = append(all, f.pub.errs...)
	}
	if !l.consumer {
		all = append(all, f.con.errs...)
	}
	return append(all, checkArrivals(f.con.arrivals, f.pub.published, f.pub.repeated, l.consumer)...)
}

// checkArrivals judges the deliveries of one queue with one publisher and one
// consumer at a time.
func checkArrivals(arrivals []arrival, published uint64, repeated map[uint64]bool, redeliveries bool) []error {
	var errs []error
	complain := func(format string, args ...any) {
		if len(errs) < 10 {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	first := map[uint64]int{} // deliveries not marked redelivered, by number
	highest := uint64(0)
	for i, a := range arrivals {
		switch {
		case a.seq == 0 || a.seq > published:
			complain("delivery %d: message %d was never published", i, a.seq)
		case a.redelivered:
			if !redeliveries {
				complain("delivery %d: message %d is marked redelivered, but its consumer never left", i, a.seq)
			}
			continue
		}
		first[a.seq]++
		if n := first[a.seq]; n > 1 {
			if !repeated[a.seq] {
				complain("delivery %d: message %d came %d times", i, a.seq, n)
			}
			continue
		}
		if a.seq < highest && !repeated[a.seq] {
			complain("delivery %d: message %d came after %d", i, a.seq, highest)
		}
		highest = max(highest, a.seq)
	}
	return errs
}
