package session

import (
	"sync"

	"warren/fsm/command"
)

type eventKind uint8

const (
	// evPublished: count publishes, beginning with that of the token, are done.
	evPublished eventKind = iota
	// evResult: any other result.
	evResult
	evDeliver
	evCancel
	// evOverdue: a delivery was not settled in time, and taken back.
	evOverdue
	evEpochLost
	evRestored
	// evReply: a direct reply for a channel of this connection.
	evReply
	// evTaken: a message for a consumer that took a shortcut.
	evTaken
	// evShortcut: what became of a message of this connection that took a shortcut.
	evShortcut
	// evLate: a message that took a shortcut has no answer yet.
	evLate
	// evReplied: what became of a direct reply that this connection sent.
	evReplied
)

// An event is what the log brought for this connection.
type event struct {
	kind        eventKind
	redelivered bool
	more        bool   // evDeliver
	delivered   bool   // evReplied
	channel     uint16 // evDeliver, evCancel, evOverdue
	count       uint32 // evPublished
	unroutable  uint32 // evPublished: of them, those that no queue took
	token       token  // evPublished, evResult
	ordinal     uint64 // evDeliver
	acquired    uint32 // evDeliver
	failed      uint32 // evDeliver
	timeout     uint64 // evOverdue: milliseconds
	tag         string
	message     *command.Message
	result      *command.Result
	state       *command.ConnState
	reply       *Reply // evReply, evReplied
	shortcut    *Shortcut
	answer      Answer // evShortcut
}

// requests are what other goroutines want of the session.
type requests struct {
	close   *closeRequest
	blocked *string // the reason; empty: unblocked; nil: no change
	infos   []chan<- Info

	checkUser bool // close the connection if its user is gone
	count     bool // see Session.Count
}

type closeRequest struct {
	code uint16
	text string
}

// An inbox carries events and requests to the loop. It is the one thing of a
// session that other goroutines write to. Credit bounds the deliveries in it, the
// limit of unanswered publishes the results, and MaxReplies the direct replies.
type inbox struct {
	wake chan struct{} // capacity 1: something is here

	mu      sync.Mutex
	closed  bool
	events  []event
	asked   requests
	replies replyBox
	taken   int // bytes of messages that took a shortcut
}

func newInbox() inbox { return inbox{wake: make(chan struct{}, 1)} }

func (b *inbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// add appends an event. Only the first after a take wakes the loop. It returns false
// when the loop has ended.
func (b *inbox) add(e event) bool {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return false
	}
	first := b.append(e)
	b.mu.Unlock()
	if first {
		b.signal()
	}
	return true
}

// append reports whether the event is the first. Called with the lock held.
func (b *inbox) append(e event) bool {
	b.events = append(b.events, e)
	return len(b.events) == 1
}

// addPublished appends the event that one publish is done, or counts it in the
// event before, when that is of the publish before. unroutable is 1 when no queue took it.
func (b *inbox) addPublished(t token, unroutable uint32) {
	b.mu.Lock()
	if n := len(b.events); n > 0 && !b.closed {
		e := &b.events[n-1]
		if e.kind == evPublished && e.token+token(e.count) == t && uint64(t)&publishMask != 0 {
			e.count++
			e.unroutable += unroutable
			b.mu.Unlock()
			return
		}
	}
	b.mu.Unlock()
	b.add(event{kind: evPublished, token: t, count: 1, unroutable: unroutable})
}

// ask changes the requests. It reports whether the loop still runs.
func (b *inbox) ask(change func(*requests)) bool {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return false
	}
	change(&b.asked)
	b.mu.Unlock()
	b.signal()
	return true
}

// take empties the inbox. spare becomes the inbox's next list.
func (b *inbox) take(spare []event) ([]event, requests) {
	b.mu.Lock()
	defer b.mu.Unlock()
	events, asked := b.events, b.asked
	b.events, b.asked = spare[:0], requests{}
	return events, asked
}

// takeRequests takes the requests and leaves the events.
func (b *inbox) takeRequests() requests {
	b.mu.Lock()
	defer b.mu.Unlock()
	asked := b.asked
	b.asked = requests{}
	return asked
}

// close drops all that comes later, and returns what is here.
func (b *inbox) close() ([]event, requests) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.replies.awaited = nil
	events, asked := b.events, b.asked
	b.events, b.asked = nil, requests{}
	return events, asked
}

// Result takes the answer to a command of this session.
func (s *Session) Result(t uint64, r *command.Result) {
	tok := token(t)
	if tok.purpose() == forPublish && r.Err == nil && (!r.Lost || r.Applied && !r.Unsure) && !r.Rejected && r.Message == nil {
		unroutable := uint32(0)
		if r.Unroutable {
			unroutable = 1
		}
		s.inbox.addPublished(tok, unroutable)
		return
	}
	kept := *r
	s.inbox.add(event{kind: evResult, token: tok, result: &kept})
}

// Effect takes a delivery for a consumer of this connection, or what else became of it.
func (s *Session) Effect(e *command.Effect) {
	switch e.Kind {
	case command.EffectDeliver:
		s.inbox.add(event{
			kind: evDeliver, channel: e.To.Number, tag: e.Tag,
			ordinal: e.Ordinal, redelivered: e.Redelivered, more: e.More, acquired: e.Acquired, failed: e.Failed, message: e.Message,
		})
	case command.EffectCancel:
		s.inbox.add(event{kind: evCancel, channel: e.To.Number, tag: e.Tag})
	case command.EffectOverdue:
		s.inbox.add(event{kind: evOverdue, channel: e.To.Number, tag: e.Tag, timeout: e.Nonce})
	}
}

// EpochLost says that the cluster has removed what this connection had in it.
func (s *Session) EpochLost() { s.inbox.add(event{kind: evEpochLost}) }

// Restored says what the machine holds of this connection after a snapshot
// took the place of entries that were not seen.
func (s *Session) Restored(c *command.ConnState) {
	e := event{kind: evRestored, state: new(command.ConnState)}
	if c != nil {
		*e.state = *c
		e.state.Channels = append([]command.ChannelState(nil), c.Channels...)
	}
	s.inbox.add(e)
}
