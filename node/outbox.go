package node

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"warren/cluster"
)

const (
	// outboxBatch is how many bytes of parcels go in one call, at most, unless a single
	// one is larger.
	outboxBatch = 1 << 20
	// outboxMax is the largest parcel that another node can be sent, as it has to go
	// in one call.
	outboxMax = cluster.MaxCall - 4096
	// outboxBytes is how many bytes of parcels may wait for one node.
	outboxBytes = 64 << 20
)

var (
	// errParcels says that another node sent a list of parcels, or of answers, that is none.
	errParcels = errors.New("malformed list")
	// errNotSent is what becomes of a parcel that waited while a call failed.
	errNotSent = errors.New("not sent, as the call before it failed")
)

// A parcel is a small message from a session for another node, which answers with
// one byte.
type parcel interface {
	Size() int // bytes, about
	// Append appends the parcel as it goes from node to node.
	Append([]byte) []byte
	// Done takes the answer, or why there is none.
	Done(answer byte, err error)
}

// An outbox sends parcels to other nodes in calls of one method, for each node one
// after the other. What comes while a call is under way goes with the next one, so a
// single parcel waits for nothing, and order is kept.
type outbox struct {
	method string
	log    *slog.Logger
	member func(node string) bool // whether it is part of the cluster
	call   func(ctx context.Context, node, method string, payload []byte) ([]byte, error)
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu     sync.Mutex
	closed bool
	links  map[uuid.UUID]*outboxLink
}

// An outboxLink is what waits for one node.
type outboxLink struct {
	node    uuid.UUID
	waiting []parcel
	bytes   int
	running bool // a goroutine sends
	broken  bool // the last call failed
}

func newOutbox(n *Node, method string) *outbox {
	ctx, cancel := context.WithCancel(context.Background())
	return &outbox{
		method: method, log: n.log, ctx: ctx, cancel: cancel,
		links: make(map[uuid.UUID]*outboxLink),
		member: func(id string) bool {
			for _, m := range n.cluster.Members() {
				if m.ID == id {
					return true
				}
			}
			return false
		},
		call: func(ctx context.Context, node, method string, payload []byte) ([]byte, error) {
			return n.cluster.Call(ctx, node, method, payload)
		},
	}
}

// close ends what is under way; whoever waits for it is told.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.cancel()
	o.work.Wait()
}

// send takes a parcel for a node. It returns false when there is no such node in the
// cluster, or no room: then Done is not called.
func (o *outbox) send(to uuid.UUID, p parcel) bool {
	if p.Size() > outboxMax {
		o.log.Warn("a message is too large for another node", "method", o.method, "to", to, "bytes", p.Size(), "max_bytes", outboxMax)
		return false
	}
	l := o.link(to)
	if l == nil {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || l.bytes > 0 && l.bytes+p.Size() > outboxBytes {
		return false
	}
	l.waiting = append(l.waiting, p)
	l.bytes += p.Size()
	if !l.running {
		l.running = true
		o.work.Add(1)
		go o.run(l)
	}
	return true
}

// later calls f after a pause, or when the outbox is closed, on a goroutine that
// close waits for. It returns false when it is closed already.
func (o *outbox) later(pause time.Duration, f func()) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return false
	}
	o.work.Add(1)
	go func() {
		defer o.work.Done()
		timer := time.NewTimer(pause)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-o.ctx.Done():
		}
		f()
	}()
	return true
}

// link returns the link to a node, nil when there is no such node in the cluster:
// a name can be made up.
func (o *outbox) link(to uuid.UUID) *outboxLink {
	o.mu.Lock()
	l := o.links[to]
	o.mu.Unlock()
	if l != nil {
		return l
	}
	if !o.member(to.String()) {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if l = o.links[to]; l == nil {
		l = &outboxLink{node: to}
		o.links[to] = l
	}
	return l
}

// run sends what waits for a node, until nothing does.
func (o *outbox) run(l *outboxLink) {
	defer o.work.Done()
	for {
		batch := o.next(l)
		if batch == nil {
			return
		}
		answers, err := o.deliver(l.node.String(), batch)
		for i, p := range batch {
			if err != nil {
				p.Done(0, err)
			} else {
				p.Done(answers[i], nil)
			}
		}
		o.note(l, len(batch), err)
	}
}

// next takes the next batch off a link, or ends its goroutine.
func (o *outbox) next(l *outboxLink) []parcel {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, size := 0, 0
	for n < len(l.waiting) && (n == 0 || size+l.waiting[n].Size() <= outboxBatch) {
		size += l.waiting[n].Size()
		n++
	}
	if n == 0 {
		l.running, l.waiting = false, nil
		return nil
	}
	batch := l.waiting[:n:n]
	l.waiting = l.waiting[n:]
	l.bytes -= size
	return batch
}

// note takes in how a call ended. When it failed, what waited meanwhile is not sent
// either: to try on would hold up those who sent it for as long again.
func (o *outbox) note(l *outboxLink, count int, err error) {
	o.mu.Lock()
	first := err != nil && !l.broken
	l.broken = err != nil
	var left []parcel
	if err != nil {
		left, l.waiting, l.bytes = l.waiting, nil, 0
	}
	o.mu.Unlock()
	for _, p := range left {
		p.Done(0, errNotSent)
	}
	if err == nil || o.ctx.Err() != nil {
		return
	}
	if first {
		o.log.Warn("a call to a node failed", "method", o.method, "to", l.node, "messages", count+len(left), "err", err)
	}
	if !o.member(l.node.String()) {
		o.forget(l)
	}
}

// forget removes the link to a node that is not part of the cluster any more.
// send may still hold it: what it adds is sent, or fails, as ever.
func (o *outbox) forget(l *outboxLink) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.links, l.node)
}

// deliver sends a batch and returns the byte for each parcel.
func (o *outbox) deliver(node string, batch []parcel) ([]byte, error) {
	size := 0
	for _, p := range batch {
		size += p.Size()
	}
	payload := make([]byte, 0, size)
	for _, p := range batch {
		payload = p.Append(payload)
	}
	answers, err := o.call(o.ctx, node, o.method, payload)
	if err == nil && len(answers) != len(batch) {
		err = errParcels
	}
	return answers, err
}

// A parcelCursor reads from the front of b. Behind the end it reads nothing.
type parcelCursor struct {
	b   []byte
	bad bool
}

func (c *parcelCursor) take(n int) []byte {
	if n > len(c.b) {
		c.bad, c.b = true, nil
		return nil
	}
	v := c.b[:n]
	c.b = c.b[n:]
	return v
}

// number reads a number of so many octets, 8 at most.
func (c *parcelCursor) number(octets int) uint64 {
	n := uint64(0)
	for _, o := range c.take(octets) {
		n = n<<8 | uint64(o)
	}
	return n
}

// length reads a length of so many octets, 4 at most.
func (c *parcelCursor) length(octets int) int { return int(c.number(octets)) }

// appendMessage appends what all parcels end with: vhost and key each with an octet for its length, properties and
// body each with a long.
func appendMessage(b []byte, vhost string, key, properties, body []byte) []byte {
	b = append(b, byte(len(vhost)))
	b = append(b, vhost...)
	b = append(b, byte(len(key)))
	b = append(b, key...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(properties)))
	b = append(b, properties...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	return append(b, body...)
}

// message reads what appendMessage wrote, into memory of its own: it may be kept for much longer than the others of its list.
func (c *parcelCursor) message() (vhost string, key, properties, body []byte) {
	vhost = string(c.take(c.length(1)))
	key, properties, body = c.take(c.length(1)), c.take(c.length(4)), c.take(c.length(4))
	kept := make([]byte, 0, len(key)+len(properties)+len(body))
	cut := func(s []byte) []byte {
		at := len(kept)
		kept = append(kept, s...)
		return kept[at:len(kept):len(kept)]
	}
	return vhost, cut(key), cut(properties), cut(body)
}
