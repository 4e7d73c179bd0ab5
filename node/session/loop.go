package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"warren/fsm/command"
	"warren/protocol"
)

const (
	// maxHeld is how many bytes of frames may wait behind synchronous methods. Then
	// nothing is read until one of the methods is answered.
	maxHeld = 1 << 20
	// frameCost is what a held frame costs besides its payload, in bytes.
	frameCost = 64
	// maxFlight is the most publishes of a connection without a result.
	maxFlight = 1 << 16
	// roomFrames is how many frames are handled between two questions for room, at
	// most; a large publish asks at once.
	roomFrames, roomBytes = 32, 32 << 10
	// keepEvents is the longest list of events that is kept for reuse.
	keepEvents = 4096
)

// loop takes a turn whenever something happens that is not the reader's to bring, until
// the connection has ended.
func (c *connection) loop(ctx context.Context) {
	defer c.deadline.Stop()
	var ticks <-chan time.Time
	if c.heartbeat > 0 {
		ticker := time.NewTicker(c.heartbeat / 2)
		defer ticker.Stop()
		ticks = ticker.C
	}
	stopped := ctx.Done()
	for {
		room, ended := c.take(nil)
		if ended {
			return
		}
		select {
		case <-c.s.inbox.wake:
			continue
		case done := <-c.written:
			c.mine.Lock()
			c.spare = done.w
			if done.err != nil {
				c.lost(fmt.Errorf("write to the client: %w", done.err))
			}
		case <-room:
			c.mine.Lock()
			if c.room == room {
				c.room, c.unasked = nil, roomFrames // our turn: who asks again stands at the end
			}
		case <-ticks:
			c.mine.Lock()
			c.beat()
		case <-c.deadline.C:
			c.mine.Lock()
			c.late()
		case <-stopped:
			stopped = nil
			c.mine.Lock()
			c.forced(protocol.ConnectionForced, "broker forced connection closure with reason 'shutdown'")
		}
		c.mine.Unlock()
	}
}

// take takes a turn: it does all that can be done, hands the outcome to the writer, and what was
// proposed to the log. b is what the reader brought, if it is the reader's turn. It
// returns what the loop has to wait for besides, and whether the connection has ended.
func (c *connection) take(b *burst) (room <-chan struct{}, ended bool) {
	c.mine.Lock()
	defer c.mine.Unlock()
	if c.ended {
		return nil, true
	}
	if b != nil {
		c.hasBurst, c.frames, c.readErr = true, b.frames, b.err
	}
	c.work()
	c.flush()
	c.cfg.Proposer.Send()
	if c.state == stateDraining && c.gone && c.idle() {
		c.ended = true
	}
	return c.room, c.ended
}

// work handles all that is at hand: requests, what the log brought, frames.
func (c *connection) work() {
	c.note(time.Now())
	c.handleEvents()
	c.handleFrames()
	c.finishGathered()
	c.tally()
}

// handleEvents takes what the log brought. While the socket is slow it stays in
// the inbox, and no consumer is given more credit.
func (c *connection) handleEvents() {
	if c.full() {
		c.handleRequests(c.s.inbox.takeRequests())
		return
	}
	for !c.ended {
		if c.handled == len(c.events) {
			var asked requests
			c.events, asked = c.s.inbox.take(c.reusable())
			c.handled = 0
			c.handleRequests(asked)
			if len(c.events) == 0 {
				return
			}
		}
		for c.handled < len(c.events) {
			if c.full() {
				return
			}
			c.handled++
			c.event(&c.events[c.handled-1])
		}
	}
}

// reusable returns the list of handled events for reuse, cleared of what it refers
// to, unless it is far too large for what there was.
func (c *connection) reusable() []event {
	if cap(c.events) > keepEvents || len(c.events) < cap(c.events)/16 {
		return nil
	}
	clear(c.events)
	return c.events
}

func (c *connection) handleRequests(r requests) {
	for _, answer := range r.infos {
		answer <- c.info()
	}
	if r.blocked != nil {
		c.setBlocked(*r.blocked)
	}
	if r.checkUser {
		c.checkUser()
	}
	if r.count && !c.counted {
		c.count()
	}
	if r.close != nil {
		c.forced(r.close.code, r.close.text)
	}
}

// forced closes the connection because the operator or the node wants it: no
// error of the session.
func (c *connection) forced(code uint16, text string) {
	if c.state == stateRunning {
		c.log.Info("closing connection", "code", code, "reason", text)
		c.shut(&protocol.Error{Code: code, Text: text})
	}
}

// event handles what the log brought.
func (c *connection) event(e *event) {
	switch e.kind {
	case evPublished:
		c.flight.land(int(e.count))
		if ch := c.channelOf(e.token); ch != nil {
			ch.logged -= int(e.count)
			ch.published(e.token, uint64(e.count))
			if e.unroutable > 0 {
				ch.count(CountDropped, uint64(e.unroutable))
			}
		}
	case evResult:
		c.result(e.token, e.result)
	case evDeliver:
		if ch := c.channels[e.channel]; ch != nil && ch.open {
			ch.deliver(e)
		}
	case evCancel:
		if ch := c.channels[e.channel]; ch != nil && ch.open {
			ch.cancelled(e.tag)
		}
	case evOverdue:
		if ch := c.channels[e.channel]; ch != nil && ch.open {
			ch.overdue(e.tag, e.timeout)
		}
	case evEpochLost:
		c.epochLost()
	case evRestored:
		c.restored(e.state)
	case evReply:
		c.deliverReply(e.reply)
	case evTaken:
		c.deliverShortcut(e)
	case evLate:
		c.shortcutLate(e.shortcut)
	case evShortcut:
		c.shortcutDone(e.shortcut, e.answer)
	case evReplied:
		c.replying.land(e.reply.size())
		if ch := c.channelOf(e.reply.token); ch != nil && ch.open {
			ch.replied(e.reply, e.delivered)
		}
	}
}

// channelOf returns the channel that a result belongs to, nil when it has been
// closed since.
func (c *connection) channelOf(t token) *channel {
	ch := c.channels[t.channel()]
	if ch == nil || ch.incarnation != t.incarnation() {
		return nil
	}
	return ch
}

func (c *connection) result(t token, r *command.Result) {
	ch := c.channelOf(t)
	switch t.purpose() {
	case forPublish:
		c.flight.land(1)
		if ch != nil && ch.open {
			ch.logged--
			ch.publishResult(t, r)
		}
	case forMethod:
		if r.Kind == command.KindCommit {
			c.flight.land(1)
		}
		switch {
		case ch == nil || !ch.open:
		case t.settles():
			ch.settled(r)
		default:
			ch.answered(r)
		}
	case forChannelClose:
		if ch != nil {
			ch.machineClosed()
		}
	case forConnectionClose:
		if c.state == stateFinishing {
			c.closeOk()
		}
	}
}

// handleFrames handles the frames that were held back and then those of the
// burst, as long as there is room for what they cause.
func (c *connection) handleFrames() {
	for len(c.replay) > 0 && c.mayHandle() {
		f := c.replay[0]
		if !c.frame(f, true) {
			return
		}
		if len(c.replay) > 0 { // not, when the frame closed the connection
			c.replay[0] = protocol.Frame{}
			c.replay = c.replay[1:]
			c.held -= len(f.Payload) + frameCost
		}
	}
	if len(c.replay) > 0 || !c.hasBurst {
		return
	}
	for len(c.frames) > 0 {
		// Heartbeats cause nothing, so they need no room: were they left, a client that takes nothing any more because
		// it is gone would not be missed.
		free := c.state == stateRunning && !c.ended && isHeartbeat(c.frames[0])
		if !free && (c.held > maxHeld || !c.mayHandle()) || !c.frame(c.frames[0], false) {
			return
		}
		c.frames = c.frames[1:]
	}
	if c.readErr != nil && c.shortcuts > 0 && c.state == stateRunning {
		return // what the client sent before it hung up waits behind them
	}
	c.endBurst()
}

func isHeartbeat(f protocol.Frame) bool { return f.Type == protocol.FrameHeartbeat && f.Channel == 0 }

// mayHandle reports whether another frame may be handled now.
func (c *connection) mayHandle() bool {
	if c.state != stateRunning {
		return !c.ended
	}
	if c.full() || c.room != nil || c.flying() {
		return false
	}
	return c.hasRoom()
}

// flying reports whether as much as may be is published without an outcome.
func (c *connection) flying() bool {
	return c.flight.full(c.cfg.MaxInFlight) || c.replying.full(c.cfg.MaxInFlight)
}

// hasRoom asks the proposer for room, though not for each frame.
func (c *connection) hasRoom() bool {
	if c.unasked > 0 {
		c.unasked--
		return true
	}
	c.room = c.cfg.Proposer.Room()
	if c.room != nil {
		return false
	}
	c.unasked = roomFrames
	return true
}

// frame handles one frame. It returns false when the frame has to wait at the
// head of the line. kept says that the payload stays valid.
func (c *connection) frame(f protocol.Frame, kept bool) bool {
	switch {
	case c.state != stateRunning:
		c.closingFrame(f)
		return true
	case f.Channel == 0:
		if c.shortcuts > 0 && isClose(f) {
			return false // what the client sent before it waits behind them
		}
		c.connectionFrame(f)
		return true
	case f.Type == protocol.FrameHeartbeat:
		c.fail(protocol.UnexpectedFrameError(f))
		return true
	}
	return c.channelFrame(f, kept)
}

// endBurst gives the buffer back to the reader, and handles the error with which
// the burst ended, if it did.
func (c *connection) endBurst() {
	for _, ch := range c.dirty {
		ch.content.own()
	}
	c.hasBurst, c.frames = false, nil
	c.resume <- struct{}{} // has room: the reader waits for it
	err := c.readErr
	if err == nil {
		return
	}
	c.readErr = nil
	var broken *protocol.Error
	if errors.As(err, &broken) {
		c.fail(broken)
		// The client's close-ok cannot be found in what follows, so wait less.
		c.deadline.Reset(min(refusalDelay, c.cfg.CloseTimeout))
		return
	}
	c.lost(err)
}

// lost handles the end of the socket.
func (c *connection) lost(err error) {
	c.gone = true
	switch c.state {
	case stateRunning:
		c.finishGathered()
		c.dropChannels()
		c.leave()
		c.err = c.lostError(err)
		c.ended = true
	case stateDraining:
		if c.spare == nil || c.out.Buffered() > 0 {
			return // perhaps the client waits for the rest, and only closed its half
		}
		c.ended = true
	default:
		c.ended = true
	}
}

func (c *connection) lostError(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("missed heartbeats from client, timeout: %s", c.heartbeat)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe):
		return errors.New("client unexpectedly closed the TCP connection")
	}
	return fmt.Errorf("connection to the client broke: %w", err)
}

// beat sends a heartbeat when nothing went out since the last tick.
func (c *connection) beat() {
	if c.quiet && c.idle() && (c.state == stateRunning || c.state == stateFinishing) {
		c.out.Shrink()
		c.spare.Shrink()
		c.out.Heartbeat()
	}
	c.quiet = true
}

// late is the end of the time that closing may take.
func (c *connection) late() {
	switch c.state {
	case stateFinishing:
		c.log.Warn("the cluster did not take note of the closed connection in time", "timeout", c.cfg.CloseTimeout)
		c.closeOk()
	case stateClosing, stateDraining:
		c.ended = true
	}
}

// finishGathered sends the acknowledgements that were gathered to the machine, and
// the confirms to the client.
func (c *connection) finishGathered() {
	kept := c.dirty[:0]
	for _, ch := range c.dirty {
		ch.flushSettles()
		ch.flushConfirms()
		ch.dirty = ch.content.unfinished()
		if ch.dirty {
			kept = append(kept, ch)
		}
	}
	clear(c.dirty[len(kept):])
	c.dirty = kept
}

// A flight is the publishes of a connection that have no result yet, by size.
// Results come in the order of the publishes.
type flight struct {
	sizes []int32
	head  int
	bytes int
}

func (f *flight) full(limit int) bool {
	n := len(f.sizes) - f.head
	return n >= maxFlight || n > 0 && f.bytes >= limit
}

func (f *flight) start(size int) {
	if f.head == len(f.sizes) {
		f.sizes, f.head = f.sizes[:0], 0
	} else if f.head > 1024 && f.head > len(f.sizes)/2 {
		f.sizes, f.head = f.sizes[:copy(f.sizes, f.sizes[f.head:])], 0
	}
	f.sizes = append(f.sizes, int32(size))
	f.bytes += size
}

func (f *flight) land(n int) {
	for range min(n, len(f.sizes)-f.head) {
		f.bytes -= int(f.sizes[f.head])
		f.head++
	}
}
