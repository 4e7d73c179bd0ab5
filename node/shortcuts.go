package node

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"warren/cluster"
	"warren/fsm"
	"warren/node/session"
)

const (
	// shortcutWait is how long a message waits for this node to apply what its sender's
	// node has applied. Then it is not taken.
	shortcutWait = 5 * time.Millisecond
	// shortcutPatience is how long a node asks for what became of a message when the link
	// broke. A node that cannot be reached is removed from the cluster much sooner.
	shortcutPatience = time.Minute
	// shortcutMemory is how long the outcome of a sender's last message is known: longer
	// than anyone asks.
	shortcutMemory = 2*shortcutPatience + 10*time.Second
	// shortcutSenders is how many senders' outcomes are known at most.
	shortcutSenders = 1 << 16
	// pruneEvery is how long there is between two searches for those that nobody asks for:
	// they walk over all, and no entry is applied meanwhile.
	pruneEvery = time.Second
	// firstAsk and lastAsk bound the pause between two questions.
	firstAsk, lastAsk = 5 * time.Millisecond, 500 * time.Millisecond
)

// shortcuts hands messages for exclusive queues to the sessions that consume them,
// on this node at once, on another one by the outbox.
type shortcuts struct {
	node    uuid.UUID
	process uint64 // drawn by lot: connections are numbered anew by each process
	replica interface {
		View(func(*fsm.Machine))
		Between(func(*fsm.Machine))
		Handed() uint64
		Reach(ctx context.Context, index uint64) bool
	}
	epoch   func() uint64
	session func(conn uint64) (*session.Session, bool)
	out     *outbox

	outcomes outcomes // replica.Between guards it
}

var _ session.Shortcuts = (*shortcuts)(nil)

func newShortcuts(n *Node, node uuid.UUID) *shortcuts {
	return &shortcuts{
		node: node, process: rand.Uint64(), session: n.sessions.Get, out: newOutbox(n, callShortcuts),
		epoch: func() uint64 { return n.proposer.Epoch() },
	}
}

func (p *shortcuts) close() { p.out.close() }

// Place is session.Shortcuts.
func (p *shortcuts) Place(vhost, queue string) (place session.Place, ok bool) {
	var s fsm.Shortcut
	p.replica.View(func(m *fsm.Machine) { s, ok = m.Shortcut(vhost, queue) })
	if !ok {
		return place, false
	}
	node, err := uuid.Parse(s.Node)
	if err != nil {
		return place, false
	}
	return session.Place{Queue: s.Queue, Epoch: s.Consumer.Epoch, Conn: s.Consumer.Conn, Node: node}, true
}

// Send is session.Shortcuts.
func (p *shortcuts) Send(m *session.Shortcut) session.Outcome {
	to := uuid.UUID(m.To.Node)
	if to == p.node {
		taken := false
		p.replica.Between(func(machine *fsm.Machine) { taken = p.take(machine, m) })
		if taken {
			return session.Delivered
		}
		return session.Gone
	}
	if p.out.send(to, &shortcutParcel{Shortcut: m, p: p, index: p.replica.Handed()}) {
		return session.Pending
	}
	return session.Gone
}

// take hands a message to its consumer if that would be given it next by the machine,
// whose effects are all handed on.
func (p *shortcuts) take(machine *fsm.Machine, m *session.Shortcut) bool {
	s, ok := machine.Shortcut(m.VHost, string(m.Key))
	if !ok || s.Queue != m.To.Queue || s.Consumer.Epoch != m.To.Epoch || s.Consumer.Conn != m.To.Conn || s.Consumer.Epoch != p.epoch() {
		return false
	}
	owner, ok := p.session(m.To.Conn)
	return ok && owner.TakeShortcut(m, s.Consumer.Number, s.Tag)
}

// answer is the handler of callShortcuts.
func (p *shortcuts) answer(ctx context.Context, _ string, payload []byte) ([]byte, error) {
	var some []askedShortcut
	for len(payload) > 0 {
		a, rest, err := parseShortcut(payload)
		if err != nil {
			return nil, err
		}
		a.m.To.Node = p.node
		some, payload = append(some, a), rest
	}
	ctx, cancel := context.WithTimeout(ctx, shortcutWait)
	defer cancel()
	answers := make([]byte, len(some))
	for i, a := range some {
		p.replica.Reach(ctx, a.index) // take looks for itself
		p.replica.Between(func(machine *fsm.Machine) {
			if p.outcomes.once(a.sender, a.m.Number, time.Now(), func() bool {
				return machine.Index() >= a.index && p.take(machine, a.m)
			}) {
				answers[i] = 1
			}
		})
	}
	return answers, nil
}

// A shortcutParcel is a message on its way. The answer is 1 when it was taken.
type shortcutParcel struct {
	*session.Shortcut
	p     *shortcuts
	index uint64    // the sender's node has applied
	since time.Time // of the first answer that was lost; zero: none was
	pause time.Duration
}

// Append appends the sender (process, connection, channel and its incarnation), the
// number of the message, the index, the queue (id, epoch and connection of its owner),
// all as numbers of eight octets but for the two of two, then the message.
func (s *shortcutParcel) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, s.p.process)
	b = binary.BigEndian.AppendUint64(b, s.From)
	b = binary.BigEndian.AppendUint16(b, s.Channel)
	b = binary.BigEndian.AppendUint16(b, s.Incarnation)
	for _, n := range []uint64{s.Number, s.index, s.To.Queue, s.To.Epoch, s.To.Conn} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return appendMessage(b, s.VHost, s.Key, s.Properties, s.Body)
}

// An askedShortcut is a shortcutParcel as it arrives.
type askedShortcut struct {
	m      *session.Shortcut
	sender shortcutSender
	index  uint64
}

// parseShortcut reads what Append wrote, and returns what follows. The message is a copy.
func parseShortcut(b []byte) (a askedShortcut, rest []byte, err error) {
	c := parcelCursor{b: b}
	a.sender = shortcutSender{
		process: c.number(8), conn: c.number(8), channel: uint16(c.number(2)), incarnation: uint16(c.number(2)),
	}
	m := &session.Shortcut{Number: c.number(8)}
	a.m, a.index = m, c.number(8)
	m.From, m.Channel, m.Incarnation = a.sender.conn, a.sender.channel, a.sender.incarnation
	m.To = session.Place{Queue: c.number(8), Epoch: c.number(8), Conn: c.number(8)}
	m.VHost, m.Key, m.Properties, m.Body = c.message()
	if c.bad {
		return a, nil, errParcels
	}
	return a, c.b, nil
}

// Done takes the answer, or finds out what it would have been.
func (s *shortcutParcel) Done(answer byte, err error) {
	switch {
	case err == nil && answer == 1:
		s.Shortcut.Done(session.Taken)
	case err == nil, s.since.IsZero() && neverSent(err):
		s.Shortcut.Done(session.NotTaken)
	default:
		if s.since.IsZero() {
			s.since, s.pause = time.Now(), firstAsk
		}
		s.askAgain()
	}
}

// neverSent reports whether a call that ended with the error was not carried out, for certain.
func neverSent(err error) bool {
	for _, e := range []error{errNotSent, cluster.ErrClosed, cluster.ErrNoMethod, cluster.ErrNotMember, cluster.ErrTooLarge} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false // a node that is unreachable may have become so after the call had left
}

// askAgain sends the message again after a pause: its node remembers whether it took
// it. When the queue is gone nobody needs to know: whatever was in it is gone too.
func (s *shortcutParcel) askAgain() {
	o := s.p.out
	ask := func() {
		gone := false
		s.p.replica.View(func(m *fsm.Machine) { gone = !m.HasExclusiveQueue(s.To.Epoch, s.To.Conn, s.To.Queue) })
		switch {
		case gone:
			s.Shortcut.Done(session.Taken)
		case o.ctx.Err() != nil, time.Since(s.since) > shortcutPatience:
			s.Shortcut.Done(session.Unknown)
		case !o.send(s.To.Node, s):
			s.askAgain()
		}
	}
	pause := s.pause
	s.pause = min(2*pause, lastAsk)
	if !o.later(pause, ask) {
		s.Shortcut.Done(session.Unknown)
	}
}

// A shortcutSender is a channel of a node.
type shortcutSender struct {
	process, conn        uint64
	channel, incarnation uint16
}

// outcomes remembers what became of each sender's last message, so that it can be asked
// for again when the answer was lost on the way. A sender asks for its last one only.
type outcomes struct {
	last   map[shortcutSender]shortcutOutcome
	prune  int       // at so many those that nobody asks for are dropped
	pruned time.Time // when that was last done
}

type shortcutOutcome struct {
	number uint64
	at     time.Time
	taken  bool
}

// once calls take for a message that is new, and returns what it returned. For a
// message that is not it returns that again; one before the last is not taken, as
// its sender has its answer.
func (o *outcomes) once(from shortcutSender, number uint64, now time.Time, take func() bool) bool {
	last, known := o.last[from]
	switch {
	case known && number == last.number:
		return last.taken
	case known && number < last.number, !known && !o.room(now):
		return false
	}
	taken := take()
	o.last[from] = shortcutOutcome{number: number, at: now, taken: taken}
	return taken
}

// room reports whether another sender can be remembered.
func (o *outcomes) room(now time.Time) bool {
	if o.last == nil {
		o.last, o.prune = make(map[shortcutSender]shortcutOutcome), 1024
	}
	if len(o.last) < o.prune {
		return true
	}
	if now.Sub(o.pruned) < pruneEvery {
		return len(o.last) < shortcutSenders
	}
	o.pruned = now
	for from, last := range o.last {
		if now.Sub(last.at) > shortcutMemory {
			delete(o.last, from)
		}
	}
	o.prune = min(max(1024, 2*len(o.last)), shortcutSenders)
	return len(o.last) < shortcutSenders
}
