package session

import (
	"bytes"

	"warren/fsm/command"
	"warren/protocol"
)

// A channel is an AMQP channel. It belongs to the connection's loop.
type channel struct {
	c                   *connection
	number, incarnation uint16

	open         bool // neither side has closed it
	awaitCloseOk bool // we sent channel.close
	awaitMachine bool // ChannelClose is under way
	oweCloseOk   bool // to the client, when the machine has closed the channel

	known   bool // the machine may hold something of this channel
	waiting *waiting
	held    []protocol.Frame // came while waiting
	dirty   bool             // is in the connection's list

	content   content
	lastQueue string // most recently declared
	consumers map[string]*consumer
	awaiting  *replyConsumer // of direct replies; nil: there is none
	prefetch  uint32         // of consumers to come
	global    uint32         // of the channel

	deliveryTag uint64 // the last one given out
	ordinal     uint64 // the last one seen
	more        bool   // other messages of its queue were ready behind it
	unacked     unackedList
	settling    int // settles that were proposed when nothing else was left, and have no result yet
	gathered    gathered
	recovering  bool // a Recover is under way

	writable writable // the exchange last published to
	sent     uint64   // publishes sent on
	logged   int      // of those, the proposed ones without a result
	confirms confirms
	tx       *transaction

	unresolved *Shortcut // is late with its answer; nil: none is

	counts Counts
	noted  noted[Counts]
}

// waiting is the synchronous method whose result the channel waits for.
type waiting struct {
	id       protocol.ID
	shortcut *Shortcut             // it is not a method but this message that is waited for
	done     func(*command.Result) // the result is not an error
}

func (ch *channel) name() command.Channel {
	return command.Channel{Conn: ch.c.cfg.ID, Number: ch.number}
}

func (ch *channel) send(m protocol.Method) { ch.c.out.Method(ch.number, m) }

// reply sends an answer, unless the client did not want one.
func (ch *channel) reply(noWait bool, m protocol.Method) {
	if !noWait {
		ch.send(m)
	}
}

// touch puts the channel in the list of those that finishGathered looks at.
func (ch *channel) touch() {
	if !ch.dirty {
		ch.dirty = true
		ch.c.dirty = append(ch.c.dirty, ch)
	}
}

// call proposes the command of a synchronous method. Until its result is here
// later frames of the channel are held back. What the user may not do is refused.
func (ch *channel) call(id protocol.ID, cmd command.Command, done func(*command.Result)) {
	if err := ch.c.permits.check(cmd); err != nil {
		ch.fail(refused(id, err))
		return
	}
	ch.flushSettles()
	ch.waiting = &waiting{id: id, done: done}
	ch.c.cfg.Proposer.Propose(cmd, ch.c.s, uint64(newToken(ch.number, ch.incarnation, forMethod, 0)))
}

// keeps says that the machine will hold something of this channel.
func (ch *channel) keeps() { ch.known, ch.c.known = true, true }

// answered takes the result of the synchronous method.
func (ch *channel) answered(r *command.Result) {
	w := ch.waiting
	if w == nil {
		return
	}
	ch.waiting = nil
	switch {
	case r.Lost:
		ch.c.fail(lostAnswer(w.id, r))
		return
	case r.Err != nil:
		ch.fail(refused(w.id, r.Err))
		return
	}
	w.done(r)
	if ch.waiting == nil {
		ch.release()
	}
}

// release lets the frames that were held back come again.
func (ch *channel) release() {
	if len(ch.held) == 0 {
		return
	}
	if len(ch.c.replay) == 0 {
		ch.c.replay = ch.held
	} else {
		ch.c.replay = append(ch.c.replay, ch.held...)
	}
	ch.held = nil
}

// hold keeps a frame until the channel goes on.
func (ch *channel) hold(f protocol.Frame, kept bool) {
	if !kept {
		f.Payload = bytes.Clone(f.Payload)
	}
	ch.held = append(ch.held, f)
	ch.c.held += len(f.Payload) + frameCost
}

// channelFrame handles a frame of a channel other than 0. It returns false when
// it has to wait at the head of the line.
func (c *connection) channelFrame(f protocol.Frame, kept bool) bool {
	ch := c.channels[f.Channel]
	switch {
	case ch == nil:
		c.openChannel(f)
	case !ch.open && ch.awaitCloseOk:
		ch.closingFrame(f)
	case !ch.open || ch.waiting != nil:
		ch.hold(f, kept)
	case ch.unresolved != nil && !mayOvertake(f):
		ch.waiting = &waiting{id: protocol.IDBasicPublish, shortcut: ch.unresolved}
		ch.hold(f, kept)
	case c.blocked != "" && isPublish(f):
		c.publisher = true
		c.tellBlocked()
		return false
	default:
		ch.frame(f)
	}
	return true
}

func isPublish(f protocol.Frame) bool {
	id, _ := protocol.PeekID(f.Payload)
	return f.Type == protocol.FrameMethod && id == protocol.IDBasicPublish
}

func isClose(f protocol.Frame) bool {
	id, _ := protocol.PeekID(f.Payload)
	return f.Type == protocol.FrameMethod && id == protocol.IDConnectionClose
}

// openChannel handles a frame of a channel that is not open: only channel.open
// may come.
func (c *connection) openChannel(f protocol.Frame) {
	if f.Type != protocol.FrameMethod {
		c.fail(protocol.Errorf(protocol.UnexpectedFrame, 0, "expected method frame, got non method frame instead"))
		return
	}
	m, err := protocol.ParseMethod(f.Payload)
	if err != nil {
		c.failWith(err)
		return
	}
	if _, ok := m.(*protocol.ChannelOpen); !ok {
		c.fail(protocol.Errorf(protocol.ChannelError, m.ID(), "expected 'channel.open'"))
		return
	}
	if err := c.addChannel(); err != nil {
		c.fail(err)
		return
	}
	c.incarnation++
	ch := &channel{c: c, number: f.Channel, incarnation: c.incarnation, open: true, consumers: make(map[string]*consumer)}
	c.channels[f.Channel] = ch
	c.s.open.add(f.Channel)
	c.tellChannel("channel.created", f.Channel)
	if c.counted {
		ch.countChannel()
		return
	}
	ch.send(&protocol.ChannelOpenOk{})
}

// frame handles a frame of an open channel that waits for nothing.
func (ch *channel) frame(f protocol.Frame) {
	var err error
	switch f.Type {
	case protocol.FrameMethod:
		err = ch.methodFrame(f.Payload)
	case protocol.FrameHeader:
		err = ch.headerFrame(f.Payload)
	case protocol.FrameBody:
		err = ch.bodyFrame(f.Payload)
	default:
		err = protocol.UnexpectedFrameError(f)
	}
	if err != nil {
		ch.failWith(err)
	}
}

// methodFrame handles a method. Those that come often are read without allocating.
func (ch *channel) methodFrame(payload []byte) error {
	if err := ch.content.expectsMethod(); err != nil {
		return err
	}
	id, _ := protocol.PeekID(payload)
	switch id {
	case protocol.IDBasicPublish:
		return ch.basicPublish(payload)
	case protocol.IDBasicAck, protocol.IDBasicNack, protocol.IDBasicReject:
		return ch.settleFrame(payload)
	}
	m, err := protocol.ParseMethod(payload)
	if err != nil {
		return err
	}
	return ch.method(m)
}

func (ch *channel) method(m protocol.Method) error {
	switch m := m.(type) {
	case *protocol.ChannelOpen:
		return protocol.Errorf(protocol.ChannelError, m.ID(), "second 'channel.open' seen")
	case *protocol.ChannelClose:
		ch.clientClose(m)
		return nil
	case *protocol.ChannelFlow:
		return ch.flow(m)
	case *protocol.AccessRequest:
		ch.send(&protocol.AccessRequestOk{Ticket: 1})
		return nil
	}
	switch m.ID().Class() {
	case protocol.ClassExchange:
		return ch.exchangeMethod(m)
	case protocol.ClassQueue:
		return ch.queueMethod(m)
	case protocol.ClassBasic:
		return ch.basicMethod(m)
	case protocol.ClassConfirm:
		return ch.confirmMethod(m)
	case protocol.ClassTx:
		return ch.txMethod(m)
	case protocol.ClassConnection:
		return protocol.Errorf(protocol.CommandInvalid, m.ID(), "%s on channel %d", m.ID(), ch.number)
	}
	return unimplemented(m)
}

func unimplemented(m protocol.Method) error {
	return protocol.Errorf(protocol.CommandInvalid, m.ID(), "unimplemented method")
}

// flow is channel.flow: nobody can be stopped by it, as in RabbitMQ.
func (ch *channel) flow(m *protocol.ChannelFlow) error {
	if !m.Active {
		return protocol.Errorf(protocol.NotImplemented, m.ID(), "active=false")
	}
	ch.send(&protocol.ChannelFlowOk{Active: true})
	return nil
}

// clientClose is channel.close from the client. Its close-ok comes when the machine
// has taken back what the channel held.
func (ch *channel) clientClose(m *protocol.ChannelClose) {
	if m.ReplyCode != protocol.ReplySuccess {
		ch.c.log.Info("client closed the channel", "channel", ch.number, "code", m.ReplyCode, "text", m.ReplyText)
	}
	ch.flushSettles()
	ch.flushConfirms()
	ch.drop()
	ch.oweCloseOk = true
	ch.closeInMachine()
	ch.finish()
}

// fail closes the channel with an error, or the connection when the error is a
// connection's.
func (ch *channel) fail(e *protocol.Error) {
	if !ch.open {
		return
	}
	if e.Connection() {
		ch.c.fail(e)
		return
	}
	ch.c.log.Warn("channel error", "channel", ch.number, "code", e.Code, "text", e.ReplyText())
	ch.flushSettles()
	ch.flushConfirms()
	ch.drop()
	ch.send(e.Close())
	ch.awaitCloseOk = true
	ch.closeInMachine()
	ch.release() // to be ignored, but for a close
}

func (ch *channel) failWith(err error) {
	if e, ok := err.(*protocol.Error); ok {
		ch.fail(e)
		return
	}
	ch.c.failWith(err)
}

// drop forgets what an open channel keeps.
func (ch *channel) drop() {
	ch.open = false
	ch.waiting, ch.unresolved = nil, nil
	ch.content.drop(ch.c)
	if ch.tx != nil {
		ch.c.charge(-ch.tx.size())
		ch.tx = nil
	}
	ch.awaitNone()
	ch.gathered = gathered{}
	ch.c.cfg.Tally.consumers.Add(-int64(len(ch.consumers)))
	ch.consumers = nil
	ch.unacked.clear()
}

func (ch *channel) closeInMachine() {
	if !ch.known {
		return
	}
	ch.awaitMachine = true
	ch.c.cfg.Proposer.Propose(&command.ChannelClose{Channel: ch.name()}, ch.c.s,
		uint64(newToken(ch.number, ch.incarnation, forChannelClose, 0)))
}

// machineClosed says that the machine has let go of the channel.
func (ch *channel) machineClosed() {
	ch.awaitMachine = false
	ch.finish()
}

// closingFrame handles a frame that came after we sent channel.close: all but
// close and close-ok are passed over.
func (ch *channel) closingFrame(f protocol.Frame) {
	if f.Type != protocol.FrameMethod {
		return
	}
	switch id, _ := protocol.PeekID(f.Payload); id {
	case protocol.IDChannelClose:
		ch.send(&protocol.ChannelCloseOk{})
	case protocol.IDChannelCloseOk:
		ch.awaitCloseOk = false
		ch.finish()
	}
}

// finish removes a closed channel when nothing is awaited any more. The number may
// be opened again from then on, and frames that were held are for that.
func (ch *channel) finish() {
	if ch.open || ch.awaitCloseOk || ch.awaitMachine {
		return
	}
	if ch.oweCloseOk {
		ch.send(&protocol.ChannelCloseOk{})
	}
	ch.c.dropChannel(ch.number)
	ch.release()
}
