package session

import (
	"bytes"
	"time"

	"warren/fsm/command"
	"warren/protocol"
	"warren/protocol/wire"
)

const (
	// maxShortcut is the largest message that takes a shortcut, in bytes: for what is
	// larger the log costs little beside the transport, and others wait less.
	maxShortcut = 256 << 10
	// maxTaken is how many bytes of messages may have come to a session by shortcuts
	// and wait for its loop. What is more is queued.
	maxTaken = 1 << 20
	// maxPlaces is how many queues a connection remembers.
	maxPlaces = 256
	// placeRest is how many messages go through the log at most before a queue that had
	// no shortcut is looked at again: 1 at first, then 3, 7 …
	placeRest = 63
	// holdTime is how long a channel waits for what became of its message. Then the node
	// of the queue is in trouble, and only what may not overtake the message waits.
	holdTime = 100 * time.Millisecond
	// lookAhead is how many frames behind a publish are searched for another one.
	lookAhead = 64
)

// A Place is where an exclusive queue lives.
type Place struct {
	Queue uint64 // its id in the machine
	Epoch uint64 // the owner's epoch and connection
	Conn  uint64
	Node  [16]byte // id of the owner's node
}

// Shortcuts hands messages for exclusive queues to the sessions that consume them,
// past the log. See DESIGN.md, "Messages that need no log".
type Shortcuts interface {
	// Place returns where a message for the queue could be handed to, as far as this
	// node knows; false when it has to go through the log.
	Place(vhost, queue string) (Place, bool)
	// Send hands over a message. It does not block. Pending: Answer will be called, once.
	Send(*Shortcut) Outcome
}

// An Answer is what became of a message that took a shortcut and was Pending.
type Answer uint8

// The answers.
const (
	NotTaken Answer = iota // for certain: it has to go through the log
	Taken                  // the session that consumes the queue has it, or the queue is gone with it
	Unknown                // nobody can tell
)

// A Shortcut is a message for an exclusive queue on its way past the log. Nobody
// changes it once it is sent.
type Shortcut struct {
	To    Place
	VHost string
	Key   []byte // the queue's name
	// Properties and Body are as published.
	Properties, Body []byte
	// Channel, Incarnation and Number tell the message from all others of the sender's
	// connection From; the numbers of a channel grow.
	From                 uint64
	Channel, Incarnation uint16
	Number               uint64

	// Answer takes what became of a message that was Pending, from any goroutine.
	Answer func(*Shortcut, Answer)

	token       token
	mandatory   bool
	keyed       bool // only of one that is kept behind another: see command.Publish
	late        *time.Timer
	behind      []*Shortcut // for the same queue, to go through the log when the answer is here
	behindKeyed bool        // one of them is for other queues too
}

// Size is what the message takes up while it waits, in bytes.
func (s *Shortcut) Size() int { return len(s.Key) + len(s.Properties) + len(s.Body) + replyCost }

// Done tells who sent the message what became of it.
func (s *Shortcut) Done(a Answer) { s.Answer(s, a) }

// publish is the command for a message that has to go through the log.
func (s *Shortcut) publish() *command.Publish {
	return &command.Publish{
		VHost: []byte(s.VHost), Key: s.Key, Mandatory: s.mandatory, Keyed: s.keyed,
		Properties: s.Properties, Body: s.Body,
	}
}

// shortcutAnswered takes the answer for a message that this session sent, from any
// goroutine. When the loop has ended nobody but us can put it in the log.
func (s *Session) shortcutAnswered(m *Shortcut, a Answer) {
	m.late.Stop()
	if !s.inbox.add(event{kind: evShortcut, shortcut: m, answer: a}) {
		s.saveShortcut(m, a)
		s.cfg.Proposer.Send()
	}
}

// saveShortcuts takes the answers among events that the loop has left unhandled.
func (s *Session) saveShortcuts(events []event) {
	for i := range events {
		if e := &events[i]; e.kind == evShortcut {
			s.saveShortcut(e.shortcut, e.answer)
		}
	}
}

// saveShortcut does what the loop would do with an answer if it still ran.
func (s *Session) saveShortcut(m *Shortcut, a Answer) {
	if a == NotTaken {
		s.cfg.Proposer.Propose(m.publish(), nil, 0)
	}
	for _, b := range m.behind {
		s.cfg.Proposer.Propose(b.publish(), nil, 0)
	}
}

// TakeShortcut hands a message to the consumer of a channel. It returns false when
// there is no room for it or the session has ended. It may be called from any
// goroutine; the caller has to see to the order among the effects of log entries.
func (s *Session) TakeShortcut(m *Shortcut, channel uint16, tag string) bool {
	b := &s.inbox
	b.mu.Lock()
	if b.closed || b.taken > 0 && b.taken+m.Size() > maxTaken {
		b.mu.Unlock()
		return false
	}
	b.taken += m.Size()
	first := b.append(event{kind: evTaken, channel: channel, tag: tag, shortcut: m})
	b.mu.Unlock()
	if first {
		b.signal()
	}
	return true
}

// deliverShortcut sends a message that took a shortcut to its consumer. The machine
// knows nothing of it, so it takes no credit.
func (c *connection) deliverShortcut(e *event) {
	b, m := &c.s.inbox, e.shortcut
	b.mu.Lock()
	b.taken -= m.Size()
	b.mu.Unlock()
	ch := c.channels[e.channel]
	if ch == nil || !ch.open || ch.consumers[e.tag] == nil {
		return // as any message for a consumer without acknowledgements that has just gone
	}
	ch.count(CountDeliveredAuto, 1)
	c.out.Deliver(ch.number, e.tag, ch.record(0), false, "", m.Key)
	c.out.Content(ch.number, m.Properties, m.Body)
	if taps := c.tapping(); taps != nil {
		ch.tapDeliver(taps, ch.consumers[e.tag].queue, "", m.Key, m.Properties, m.Body, false)
	}
}

// A spot is what a connection remembers of a queue that it publishes to.
type spot struct {
	Place
	ok   bool
	rest int // after the last failure, in messages
	left int // of the rest
}

// failed lets the queue rest.
func (p *spot) failed() {
	p.ok, p.rest = false, min(2*p.rest+1, placeRest)
	p.left = p.rest
}

// place returns where messages for a queue go past the log, false when they don't.
func (c *connection) place(key []byte) (Place, bool) {
	p := c.places[string(key)]
	switch {
	case p != nil && p.ok:
		return p.Place, true
	case p != nil && p.left > 0:
		p.left--
		return Place{}, false
	case p == nil:
		if len(c.places) >= maxPlaces || c.places == nil {
			c.places = make(map[string]*spot)
		}
		p = new(spot)
		c.places[string(key)] = p
	}
	if p.Place, p.ok = c.cfg.Shortcuts.Place(c.vhost, string(key)); !p.ok {
		p.failed()
	}
	return p.Place, p.ok
}

// tried takes note whether a message was taken.
func (c *connection) tried(key []byte, taken bool) {
	switch p := c.places[string(key)]; {
	case p == nil:
	case taken:
		p.rest = 0
	default:
		p.failed()
	}
}

// shortcut tries to hand the message whose content is complete to the consumer of
// its queue. It returns false when it has to go through the log.
func (ch *channel) shortcut(body []byte) bool {
	t, c := &ch.content, ch.c
	if ch.unresolved != nil {
		return ch.queueBehind(body)
	}
	if c.cfg.Shortcuts == nil || len(t.exchange) > 0 || ch.tx != nil || ch.logged > 0 || len(body) > maxShortcut ||
		ch.gathered.any && ch.gathered.outcome != command.Ack || c.publishFollows(ch.number) || !plain(t.properties) {
		return false
	}
	to, ok := c.place(t.key)
	if !ok {
		return false
	}
	m := ch.newShortcut(to, body)
	m.late = time.AfterFunc(holdTime, func() { c.s.inbox.add(event{kind: evLate, shortcut: m}) })
	switch c.cfg.Shortcuts.Send(m) {
	case Delivered:
		m.late.Stop()
		ch.sent++
		c.tried(t.key, true)
		ch.published(m.token, 1)
	case Pending:
		ch.sent++
		c.replying.start(m.Size())
		c.shortcuts++
		// What the channel brings next waits, so that nothing overtakes the message.
		ch.waiting = &waiting{id: protocol.IDBasicPublish, shortcut: m}
	default:
		m.late.Stop()
		c.tried(t.key, false)
		return false
	}
	return true
}

// newShortcut copies the content, which lies in the reader's buffer.
func (ch *channel) newShortcut(to Place, body []byte) *Shortcut {
	t, c := &ch.content, ch.c
	b := make([]byte, 0, len(t.key)+len(t.properties)+len(body))
	cut := func(s []byte) []byte {
		at := len(b)
		b = append(b, s...)
		return b[at:len(b):len(b)]
	}
	return &Shortcut{
		To: to, VHost: c.vhost, Key: cut(t.key), Properties: cut(t.properties), Body: cut(body),
		From: c.cfg.ID, Channel: ch.number, Incarnation: ch.incarnation, Number: ch.sent + 1,
		token:     newToken(ch.number, ch.incarnation, forPublish, ch.sent+1),
		mandatory: t.mandatory, keyed: t.keyed, Answer: c.s.shortcutAnswered,
	}
}

// routing are the headers that have a say in whether a message goes to its queue, or
// when. One with further keys (CC, BCC) never comes here: see publishKeyed.
var routing = []string{"x-delay", "x-deduplication-header"}

// plain reports whether a message goes to its queue, and now.
func plain(properties []byte) bool {
	if wire.Present(properties)&wire.FlagHeaders == 0 {
		return true
	}
	for _, name := range routing {
		if _, ok := wire.Header(properties, name); ok {
			return false
		}
	}
	return true
}

// publishFollows reports whether the client has sent another publish on the channel
// already: then it does not wait for this one, and the log has the throughput.
func (c *connection) publishFollows(channel uint16) bool {
	if c.readErr != nil {
		return true // the client has hung up: what it sent is put away at once
	}
	for _, list := range [][]protocol.Frame{c.replay, c.frames} {
		for i := range min(len(list), lookAhead) {
			if list[i].Channel == channel && isPublish(list[i]) {
				return true
			}
		}
	}
	return false
}

// shortcutDone takes what became of a message that was pending.
func (c *connection) shortcutDone(m *Shortcut, a Answer) {
	c.replying.land(m.Size())
	c.shortcuts--
	ch := c.channelOf(m.token)
	if ch != nil && !ch.open {
		ch = nil
	}
	if ch != nil {
		ch.waiting, ch.unresolved = nil, nil
	}
	c.tried(m.Key, a == Taken)
	switch {
	case a == NotTaken:
		c.proposeFor(ch, m)
	case a == Taken && ch != nil:
		ch.published(m.token, 1)
	case a == Unknown && ch != nil:
		c.fail(protocol.Errorf(protocol.ConnectionForced, protocol.IDBasicPublish,
			"nobody can tell whether a message reached queue '%s', whose node cannot be reached; connect again", m.Key))
		return
	}
	for _, b := range m.behind {
		c.replying.land(b.Size())
		c.proposeFor(ch, b)
	}
	if ch != nil {
		ch.release()
	}
}

// proposeFor puts a message in the log for a channel, which is nil when it is gone.
func (c *connection) proposeFor(ch *channel, m *Shortcut) {
	if ch == nil {
		c.cfg.Proposer.Propose(m.publish(), nil, 0)
		return
	}
	ch.propose(m.publish(), m.token)
}

// shortcutLate lets a channel go on whose message has no answer yet.
func (c *connection) shortcutLate(m *Shortcut) {
	ch := c.channelOf(m.token)
	if ch == nil || !ch.open || ch.waiting == nil || ch.waiting.shortcut != m {
		return
	}
	ch.waiting, ch.unresolved = nil, m
	ch.release()
}

// queueBehind keeps a message for the same queue as one without an answer, and all
// that come after one that is for other queues too. All others go through the log.
func (ch *channel) queueBehind(body []byte) bool {
	t, first := &ch.content, ch.unresolved
	same := first.behindKeyed || bytes.Equal(t.key, first.Key)
	if t.keyed {
		for _, key := range command.FurtherKeys(t.properties) {
			same = same || bytes.Equal(key, first.Key)
		}
	}
	if !same {
		return false
	}
	m := ch.newShortcut(Place{}, body)
	ch.sent++
	ch.c.replying.start(m.Size())
	first.behind = append(first.behind, m)
	first.behindKeyed = first.behindKeyed || t.keyed
	return true
}

// publishInOrder sends the content to the log, unless it has to stay behind a message
// without an answer.
func (ch *channel) publishInOrder(body []byte) {
	if ch.unresolved == nil || !ch.queueBehind(body) {
		ch.proposePublish(body)
	}
}

// mayOvertake reports whether a frame may be handled while a message of its channel
// has no answer: settles, and publishes to the default exchange, where the key tells
// which queue they are for.
func mayOvertake(f protocol.Frame) bool {
	if f.Type != protocol.FrameMethod {
		return true
	}
	switch id, _ := protocol.PeekID(f.Payload); id {
	case protocol.IDBasicAck, protocol.IDBasicNack, protocol.IDBasicReject:
		return true
	case protocol.IDBasicPublish:
		var v protocol.PublishView
		return v.Parse(f.Payload) == nil && len(v.Exchange) == 0
	}
	return false
}
