package queue

import "warren/fsm/command"

// A Watcher is told what becomes of messages, in the order in which it happens. It looks on: it must change nothing of
// the store, and what it makes of it is no state. It costs one look at a nil pointer where there is none.
type Watcher interface {
	// Entered says that a message has come into a queue, with sequence n.
	Entered(q *Queue, n uint64)
	// Given says that a message goes to a client.
	Given(g *Given)
	// Settled says that a delivery of a message is about to end.
	Settled(ch *Channel, q *Queue, n uint64, outcome command.Outcome, by Settler)
	// SetAside says that a message which came back is not ready again: it is parked, or waits until a time, in
	// milliseconds since the Unix epoch.
	SetAside(q *Queue, n uint64, parked bool, until int64)
	// Dropped says that a message died in a queue that dead-letters nothing.
	Dropped(q *Queue, n uint64, reason Reason)
}

// Given is a message that goes to a client.
type Given struct {
	Queue       *Queue
	Sequence    uint64
	Consumer    *Consumer // nil: basic.get
	Channel     *Channel  // nil: basic.get without acknowledgement
	Ordinal     uint64    // see command.Effect; 0: there is nothing to settle
	Redelivered bool
	Tries       Tries
	Message     *command.Message // nil: it is away, and its client is another node's
}

// A Settler is whose doing the end of a delivery is.
type Settler uint8

// Whose doing the end of a delivery is.
const (
	ByClient   Settler = iota // the client's: it has settled, or its channel has ended
	ByNodeLoss                // its node was given up
	ByTimeout                 // the broker's: it was kept for too long
)

// given tells the watcher, if there is one.
func (q *Queue) given(n uint64, h *handout, c *Consumer, ch *Channel, ordinal uint64) {
	if w := q.store.Watch; w != nil {
		w.Given(&Given{q, n, c, ch, ordinal, h.again, h.tries, h.m})
	}
}

// ending tells the watcher, if there is one.
func (ch *Channel) ending(d delivery, outcome command.Outcome, by Settler) {
	if w := ch.store.Watch; w != nil && !d.queue.deleted {
		w.Settled(ch, d.queue, d.sequence, outcome, by)
	}
}

// perish ends the message at a place, which the caller is about to remove: it is dead-lettered if the queue does that.
func (q *Queue) perish(at, slot int, reason Reason) {
	n := q.messages.chunks[at].base + uint64(slot)
	if q.settings.DeadLetters {
		q.store.dead = append(q.store.dead, Dead{q, q.last(at, slot), reason, n})
	} else if w := q.store.Watch; w != nil {
		w.Dropped(q, n, reason)
	}
}
