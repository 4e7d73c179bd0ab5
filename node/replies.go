package node

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"sync"

	"github.com/google/uuid"

	"warren/cluster"
	"warren/node/session"
)

const (
	// replyBatch is how many bytes of direct replies go in one call, at most, unless
	// a single one is larger.
	replyBatch = 1 << 20
	// replyMax is the largest of them that another node can be sent, as it has to go
	// in one call.
	replyMax = cluster.MaxCall - 4096
	// replyQueueBytes is how many bytes of them may wait for one node.
	replyQueueBytes = 64 << 20
)

// errReplies says that another node sent a list of direct replies that is none.
var errReplies = errors.New("malformed direct replies")

// replies carries direct replies: to a session of this node at once, to another
// node in calls, one after the other. What comes while a call is under way goes
// with the next one, so a single reply waits for nothing, and order is kept.
type replies struct {
	node    uuid.UUID
	log     *slog.Logger
	session func(conn uint64) (*session.Session, bool)
	member  func(node string) bool // whether it is part of the cluster
	call    func(ctx context.Context, node, method string, payload []byte) ([]byte, error)
	ctx     context.Context
	cancel  context.CancelFunc
	senders sync.WaitGroup

	mu     sync.Mutex
	closed bool
	links  map[uuid.UUID]*replyLink
}

// A replyLink is what waits for one node.
type replyLink struct {
	node    uuid.UUID
	waiting []*session.Reply
	bytes   int
	running bool // a goroutine sends
	broken  bool // the last call failed
}

var _ session.Replies = (*replies)(nil)

func newReplies(n *Node, node uuid.UUID) *replies {
	ctx, cancel := context.WithCancel(context.Background())
	return &replies{
		node: node, log: n.log, session: n.sessions.Get, ctx: ctx, cancel: cancel,
		links: make(map[uuid.UUID]*replyLink),
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

// close ends what is under way; whoever waits for it is told that it is gone.
func (p *replies) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.senders.Wait()
}

// Node is the id of this node.
func (p *replies) Node() [16]byte { return p.node }

// Send is session.Replies.
func (p *replies) Send(r *session.Reply) session.Outcome {
	to := uuid.UUID(r.To.Node)
	if to == p.node {
		if p.take(r) {
			return session.Delivered
		}
		return session.Gone
	}
	l := p.link(to)
	if l == nil {
		return session.Gone
	}
	if r.Size() > replyMax {
		p.log.Warn("a direct reply is too large for another node", "to", to, "bytes", len(r.Body), "max_bytes", replyMax)
		return session.Gone
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || l.bytes > 0 && l.bytes+r.Size() > replyQueueBytes {
		return session.Gone
	}
	l.waiting = append(l.waiting, r)
	l.bytes += r.Size()
	if !l.running {
		l.running = true
		p.senders.Add(1)
		go p.run(l)
	}
	return session.Pending
}

// take hands a reply to a session of this node.
func (p *replies) take(r *session.Reply) bool {
	s, ok := p.session(r.To.Conn)
	return ok && s.TakeReply(r)
}

// link returns the link to a node, nil when there is no such node in the cluster:
// a name can be made up.
func (p *replies) link(to uuid.UUID) *replyLink {
	p.mu.Lock()
	l := p.links[to]
	p.mu.Unlock()
	if l != nil {
		return l
	}
	if !p.member(to.String()) {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if l = p.links[to]; l == nil {
		l = &replyLink{node: to}
		p.links[to] = l
	}
	return l
}

// run sends what waits for a node, until nothing does.
func (p *replies) run(l *replyLink) {
	defer p.senders.Done()
	for {
		batch := p.next(l)
		if batch == nil {
			return
		}
		taken, err := p.deliver(l.node.String(), batch)
		for i, r := range batch {
			r.Done(err == nil && taken[i] == 1)
		}
		p.note(l, len(batch), err)
	}
}

// next takes the next batch off a link, or ends its goroutine.
func (p *replies) next(l *replyLink) []*session.Reply {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, size := 0, 0
	for n < len(l.waiting) && (n == 0 || size+l.waiting[n].Size() <= replyBatch) {
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

// note takes in how a call ended. When it failed, what waited meanwhile is gone
// too: to try on would hold up those who sent it for as long again.
func (p *replies) note(l *replyLink, count int, err error) {
	p.mu.Lock()
	first := err != nil && !l.broken
	l.broken = err != nil
	var gone []*session.Reply
	if err != nil {
		gone, l.waiting, l.bytes = l.waiting, nil, 0
	}
	p.mu.Unlock()
	for _, r := range gone {
		r.Done(false)
	}
	if err == nil || p.ctx.Err() != nil {
		return
	}
	if first {
		p.log.Warn("direct replies to a node are lost", "to", l.node, "replies", count+len(gone), "err", err)
	}
	if !p.member(l.node.String()) {
		p.forget(l)
	}
}

// forget removes the link to a node that is not part of the cluster any more.
// Send may still hold it: what it adds is sent, or lost, as ever.
func (p *replies) forget(l *replyLink) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l.node)
}

// deliver sends a batch and returns a byte for each reply: 1 for one that was taken.
func (p *replies) deliver(node string, batch []*session.Reply) ([]byte, error) {
	size := 0
	for _, r := range batch {
		size += r.Size()
	}
	payload := make([]byte, 0, size)
	for _, r := range batch {
		payload = appendReply(payload, r)
	}
	taken, err := p.call(p.ctx, node, callReplies, payload)
	if err == nil && len(taken) != len(batch) {
		err = errReplies
	}
	return taken, err
}

// answer is the handler of callReplies.
func (p *replies) answer(_ context.Context, _ string, payload []byte) ([]byte, error) {
	var taken []byte
	for len(payload) > 0 {
		r, rest, err := parseReply(payload)
		if err != nil {
			return taken, err
		}
		payload = rest
		one := byte(0)
		if r.To.Node == p.node && p.take(r) {
			one = 1
		}
		taken = append(taken, one)
	}
	return taken, nil
}

// appendReply appends a reply as it goes from node to node: an octet that is 1 for
// a probe, vhost and name each with an octet, properties and body each with a
// long for their length.
func appendReply(b []byte, r *session.Reply) []byte {
	probe := byte(0)
	if r.Probe {
		probe = 1
	}
	b = append(b, probe, byte(len(r.VHost)))
	b = append(b, r.VHost...)
	b = append(b, byte(len(r.Name)))
	b = append(b, r.Name...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Properties)))
	b = append(b, r.Properties...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Body)))
	return append(b, r.Body...)
}

// parseReply reads what appendReply wrote, and returns what follows. The reply is
// a copy: it may wait for its client much longer than the others of its batch.
func parseReply(b []byte) (r *session.Reply, rest []byte, err error) {
	c := replyCursor{b: b}
	probe := c.take(1)
	vhost, name := c.take(c.length(1)), c.take(c.length(1))
	properties, body := c.take(c.length(4)), c.take(c.length(4))
	to, ok := session.ParseReplyName(name)
	if c.bad || !ok || probe[0] > 1 {
		return nil, nil, errReplies
	}
	kept := make([]byte, 0, len(name)+len(properties)+len(body))
	cut := func(s []byte) []byte {
		at := len(kept)
		kept = append(kept, s...)
		return kept[at:len(kept):len(kept)]
	}
	return &session.Reply{
		To: to, VHost: string(vhost), Probe: probe[0] == 1,
		Name: cut(name), Properties: cut(properties), Body: cut(body),
	}, c.b, nil
}

// A replyCursor reads from the front of b. Behind the end it reads nothing.
type replyCursor struct {
	b   []byte
	bad bool
}

func (c *replyCursor) take(n int) []byte {
	if n > len(c.b) {
		c.bad, c.b = true, nil
		return nil
	}
	v := c.b[:n]
	c.b = c.b[n:]
	return v
}

// length reads a length of so many octets.
func (c *replyCursor) length(octets int) int {
	n := 0
	for _, o := range c.take(octets) {
		n = n<<8 | int(o)
	}
	return n
}
