package session

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"

	"warren/fsm/command"
	"warren/protocol"
	"warren/protocol/wire"
)

// replyQueue is the pseudo-queue of direct replies. Behind it and a dot stands
// the address of a channel (https://www.rabbitmq.com/docs/direct-reply-to).
const replyQueue = "amq.rabbitmq.reply-to"

const replyPrefix = replyQueue + "."

// replyCost is what a direct reply costs besides its bytes, in bytes.
const replyCost = 512

// An Address names a channel of the cluster that awaits direct replies. Nobody can
// guess the key, so only who was given the name can send.
type Address struct {
	Node        [16]byte // its id
	Conn        uint64
	Channel     uint16
	Incarnation uint16
	Key         uint64
}

// addressSize is the length of an address in bytes: with base64 no byte is left over.
const addressSize = 16 + 8 + 2 + 2 + 8

// Name returns the routing key that leads to the address.
func (a Address) Name() string {
	b := make([]byte, 0, addressSize)
	b = append(b, a.Node[:]...)
	b = binary.BigEndian.AppendUint64(b, a.Conn)
	b = binary.BigEndian.AppendUint16(b, a.Channel)
	b = binary.BigEndian.AppendUint16(b, a.Incarnation)
	b = binary.BigEndian.AppendUint64(b, a.Key)
	return replyPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// ParseReplyName is the reverse of Address.Name. It returns false for what is no
// such name.
func ParseReplyName(name []byte) (a Address, ok bool) {
	text, ok := bytes.CutPrefix(name, []byte(replyPrefix))
	var b [addressSize]byte
	if !ok || len(text) != base64.RawURLEncoding.EncodedLen(addressSize) {
		return a, false
	}
	// Decode passes over line ends, so that fewer bytes may come out.
	if n, err := base64.RawURLEncoding.Decode(b[:], text); err != nil || n != addressSize {
		return a, false
	}
	copy(a.Node[:], b[:])
	a.Conn = binary.BigEndian.Uint64(b[16:])
	a.Channel = binary.BigEndian.Uint16(b[24:])
	a.Incarnation = binary.BigEndian.Uint16(b[26:])
	a.Key = binary.BigEndian.Uint64(b[28:])
	return a, true
}

// Replies carries direct replies from one connection to another.
type Replies interface {
	// Node is what stands for this node in an Address.
	Node() [16]byte
	// Send hands a reply to the channel that awaits it, wherever that is. It does
	// not block. The replies to one node arrive in the order of the calls.
	Send(*Reply) Outcome
}

// An Outcome is what became of a direct reply.
type Outcome uint8

// Outcomes of Replies.Send.
const (
	Gone      Outcome = iota // nobody awaits it, or not for certain, or too much waits
	Delivered                // the session that awaits it has it
	Pending                  // Reply.Done will be called, once
)

// noReplies is a broker without direct replies.
type noReplies struct{}

func (noReplies) Node() [16]byte      { return [16]byte{} }
func (noReplies) Send(*Reply) Outcome { return Gone }

// A Reply is a message for a channel that awaits direct replies, or only the
// question whether it does. Nobody changes it once it is sent.
type Reply struct {
	To         Address
	VHost      string
	Name       []byte // the routing key
	Properties []byte // as published
	Body       []byte
	Probe      bool // ask only

	// Answer takes what became of a reply that was Pending, from any goroutine; nil
	// when nobody waits for it.
	Answer func(r *Reply, delivered bool)

	token     token
	mandatory bool
	after     func(delivered bool) // not nil: more than a publish to confirm
}

// size is what the reply counts for while it waits, in bytes.
func (r *Reply) size() int { return len(r.Properties) + len(r.Body) + replyCost }

// Size is what the reply takes up while it waits, in bytes.
func (r *Reply) Size() int { return r.size() }

// Done tells who sent the reply what became of it.
func (r *Reply) Done(delivered bool) {
	if r.Answer != nil {
		r.Answer(r, delivered)
	}
}

// replied is the Answer of the replies that this session sends.
func (s *Session) replied(r *Reply, delivered bool) {
	s.inbox.add(event{kind: evReplied, reply: r, delivered: delivered})
}

// replying counts the direct replies, and the messages on shortcuts, of a connection
// that have no outcome yet.
type replying struct{ count, bytes int }

func (f *replying) full(limit int) bool {
	return f.count >= maxFlight || f.count > 0 && f.bytes >= limit
}
func (f *replying) start(size int) { f.count, f.bytes = f.count+1, f.bytes+size }
func (f *replying) land(size int)  { f.count, f.bytes = f.count-1, f.bytes-size }

// A replyConsumer is the consumer of direct replies of a channel.
type replyConsumer struct {
	tag  string
	to   Address
	name string
}

// replyBox is the part of an inbox that belongs to direct replies: who awaits them
// is known to other goroutines, so that a sender has its answer at once.
type replyBox struct {
	awaited map[uint16]Address // by channel
	vhost   string
	bytes   int  // of the replies in the inbox
	full    bool // some were refused since it was empty
}

// TakeReply hands a reply to the channel that it is for, or answers a probe. It
// returns false when no channel awaits it, or when more than MaxReplies bytes wait
// for the client. It may be called from any goroutine.
func (s *Session) TakeReply(r *Reply) bool {
	taken, first, overflow := s.inbox.takeReply(r, s.maxReplies())
	if taken && !r.Probe {
		s.keep(r.size())
	}
	if first {
		s.inbox.signal()
	}
	if overflow {
		s.log.Warn("the client does not read its direct replies: they are dropped",
			"channel", r.To.Channel, "max_bytes", s.cfg.MaxReplies)
	}
	return taken
}

// takeReply reports whether the reply was taken, whether it is the first event in
// the inbox, and whether it is the first that there is no room for.
func (b *inbox) takeReply(r *Reply, limit int) (taken, first, overflow bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	box := &b.replies
	to, ok := box.awaited[r.To.Channel]
	switch {
	case !ok || to != r.To || box.vhost != r.VHost:
		return false, false, false
	case r.Probe:
		return true, false, false
	case box.bytes > 0 && box.bytes+r.size() > limit:
		overflow, box.full = !box.full, true
		return false, false, overflow
	}
	box.bytes += r.size()
	return true, b.append(event{kind: evReply, reply: r}), false
}

// await lets replies to an address in.
func (b *inbox) await(to Address, vhost string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	if b.replies.awaited == nil {
		b.replies.awaited = make(map[uint16]Address)
	}
	b.replies.awaited[to.Channel], b.replies.vhost = to, vhost
}

// awaitNone keeps replies to a channel out.
func (b *inbox) awaitNone(channel uint16) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.replies.awaited, channel)
}

// replyHandled makes room for others.
func (b *inbox) replyHandled(r *Reply) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.replies.bytes -= r.size()
	if b.replies.bytes == 0 {
		b.replies.full = false
	}
}

// consumeReplies is basic.consume of the pseudo-queue. Its arguments and exclusive
// have no meaning.
func (ch *channel) consumeReplies(m *protocol.BasicConsume, tag string) error {
	switch {
	case !m.NoAck:
		return preconditionFailed(m.ID(), "reply consumer cannot acknowledge")
	case ch.awaiting != nil:
		return preconditionFailed(m.ID(), "reply consumer already set")
	}
	var key [8]byte
	rand.Read(key[:]) // never fails: crypto/rand.Read
	c := ch.c
	to := Address{
		Node: c.cfg.Replies.Node(), Conn: c.cfg.ID, Channel: ch.number, Incarnation: ch.incarnation,
		Key: binary.BigEndian.Uint64(key[:]),
	}
	ch.awaiting = &replyConsumer{tag: tag, to: to, name: to.Name()}
	c.s.inbox.await(to, c.vhost)
	ch.reply(m.NoWait, &protocol.BasicConsumeOk{ConsumerTag: tag})
	return nil
}

// awaitNone ends the consumer of direct replies.
func (ch *channel) awaitNone() {
	if ch.awaiting != nil {
		ch.awaiting = nil
		ch.c.s.inbox.awaitNone(ch.number)
	}
}

// deliverReply sends a direct reply to the consumer that it is for, if that is
// still there.
func (c *connection) deliverReply(r *Reply) {
	c.s.inbox.replyHandled(r)
	c.s.keep(-r.size())
	ch := c.channels[r.To.Channel]
	if ch == nil || !ch.open || ch.awaiting == nil || ch.awaiting.to != r.To {
		return
	}
	ch.count(CountDeliveredAuto, 1)
	c.out.Deliver(ch.number, ch.awaiting.tag, ch.record(0), false, "", r.Name)
	c.out.Content(ch.number, r.Properties, r.Body)
}

// setReplyTo puts the address of the channel in place of the name of the
// pseudo-queue in the reply-to of a message.
func (ch *channel) setReplyTo(properties []byte) ([]byte, error) {
	to, ok := wire.ShortProperty(properties, wire.FlagReplyTo)
	if !ok || string(to) != replyQueue {
		return properties, nil
	}
	if ch.awaiting == nil {
		return nil, preconditionFailed(protocol.IDBasicPublish, "fast reply consumer does not exist")
	}
	room := make([]byte, 0, len(properties)+len(ch.awaiting.name)-len(replyQueue))
	return wire.AppendReplaced(room, properties, wire.FlagReplyTo, ch.awaiting.name), nil
}

// isReply reports whether the content is for a channel and not for an exchange.
func (t *content) isReply() bool {
	return len(t.exchange) == 0 && isReplyName(t.key)
}

// publishReply sends the reply whose content is complete, or adds it to the open
// transaction.
func (ch *channel) publishReply(body []byte) {
	r := ch.newReply(body)
	if ch.tx != nil {
		ch.tx.publishes++
		ch.bufferReply(r)
		return
	}
	ch.sent++
	r.token = newToken(ch.number, ch.incarnation, forPublish, ch.sent)
	ch.sendReply(r)
}

// newReply copies the content, which lies in the reader's buffer.
func (ch *channel) newReply(body []byte) *Reply {
	t := &ch.content
	b := make([]byte, 0, len(t.key)+len(t.properties)+len(body))
	cut := func(s []byte) []byte {
		at := len(b)
		b = append(b, s...)
		return b[at:len(b):len(b)]
	}
	return &Reply{
		VHost: ch.c.vhost, Name: cut(t.key), Properties: cut(t.properties), Body: cut(body),
		Answer: ch.c.answer, mandatory: t.mandatory,
	}
}

// sendReply sends a reply, or a probe, to where its name leads.
func (ch *channel) sendReply(r *Reply) {
	outcome, ok := Gone, false
	if r.To, ok = ParseReplyName(r.Name); ok {
		outcome = ch.c.cfg.Replies.Send(r)
	}
	if outcome == Pending {
		ch.c.replying.start(r.size())
		return
	}
	ch.replied(r, outcome == Delivered)
}

// replied takes note of what became of a reply. As with any message that cannot
// be routed, it is returned when it is mandatory, and confirmed in any case.
func (ch *channel) replied(r *Reply, delivered bool) {
	if !delivered && r.mandatory {
		ch.giveBack(&command.Message{
			Key: r.Name, Properties: r.Properties, Body: r.Body,
		})
	}
	if r.after != nil {
		r.after(delivered)
		return
	}
	ch.published(r.token, 1)
}

// declareReplyQueue is queue.declare of the pseudo-queue, which is always there,
// or of the address of a channel: then it asks whether that awaits replies.
func (ch *channel) declareReplyQueue(m *protocol.QueueDeclare, name string) {
	id := m.ID()
	if name == replyQueue {
		ch.replyQueueThere(m, name)
		return
	}
	ch.waiting = &waiting{id: id}
	ch.sendReply(&Reply{
		VHost: ch.c.vhost, Name: []byte(name), Probe: true, Answer: ch.c.answer,
		token: newToken(ch.number, ch.incarnation, forMethod, 0),
		after: func(there bool) {
			ch.waiting = nil
			if !there {
				ch.fail(protocol.Errorf(protocol.NotFound, id, "no queue '%s' in vhost '%s'", name, ch.c.vhost))
				return
			}
			ch.replyQueueThere(m, name)
			ch.release()
		},
	})
}

// replyQueueThere answers with the counts that RabbitMQ gives.
func (ch *channel) replyQueueThere(m *protocol.QueueDeclare, name string) {
	ch.lastQueue = name
	ch.reply(m.NoWait, &protocol.QueueDeclareOk{Queue: name, ConsumerCount: 1})
}
