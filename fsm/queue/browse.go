package queue

import (
	"warren/fsm/command"
)

// A State is what a message of a queue waits for.
type State uint8

// The states of a message; they are bits.
const (
	IsReady   State = 1 << iota // for a consumer
	IsUnacked                   // given out, and not settled
	IsParked                    // kept for an operator: it came back too often
	IsDelayed                   // it came back, and waits until it is given out again
)

// A Browsed is a message as it stands in a queue.
type Browsed struct {
	Sequence    uint64
	State       State
	Redelivered bool  // it was given out before
	Tries       Tries // how often it came back
	Expires     int64 // milliseconds since the Unix epoch; 0: never
	Message     *command.Message
}

// What one Browse looks at: messages, and bytes of records that it reads. The machine waits for it.
const (
	browseLooks = 10_000
	browseBytes = 16 << 20
)

// Browse hands the messages in some states to f from sequence from on, in the order of the queue, until f returns false. It
// reads those that are away and changes nothing. It returns the sequence at which to go on, 0 when it has seen all:
// it looks at so many only that the machine need not wait long.
func (q *Queue) Browse(from uint64, states State, f func(Browsed) bool) (next uint64, err error) {
	away := newAwayReader(q, browseBytes)
	looks := 0
	for at := q.messages.find(from); at < len(q.messages.chunks); at++ {
		c := q.messages.chunks[at]
		slot := 0
		if from > c.base {
			slot = int(from - c.base)
		}
		for slot = c.present.next(slot); slot < chunkSize; slot = c.present.next(slot + 1) {
			n, state := c.base+uint64(slot), stateOf(c, slot)
			if state&states == 0 {
				continue
			}
			if looks == browseLooks {
				return n, nil
			}
			looks++
			m, err := away.message(c, slot)
			if m == nil {
				return n, err
			}
			b := Browsed{n, state, c.again.has(slot), c.triesOf(slot), c.deadline(slot), m}
			if !f(b) {
				return n, nil
			}
		}
	}
	return 0, nil
}

func stateOf(c *page, slot int) State {
	switch {
	case c.readyBits.has(slot):
		return IsReady
	case c.parked.has(slot):
		return IsParked
	case c.waitsUntil(slot) != 0:
		return IsDelayed
	}
	return IsUnacked
}

// An awayReader reads messages that are away, each record once, up to a number of bytes.
type awayReader struct {
	q     *Queue
	left  int
	parts map[command.Record]*peeker
}

func newAwayReader(q *Queue, bytes int) awayReader {
	return awayReader{q: q, left: bytes, parts: make(map[command.Record]*peeker)}
}

// message returns a message, nil when that would take another record and enough was read. The error is an *Unreadable.
func (r *awayReader) message(c *page, slot int) (*command.Message, error) {
	if m := c.at(slot); m != nil {
		return m, nil
	}
	i, err := c.partOf(slot)
	if err != nil {
		return nil, &Unreadable{Queue: r.q.Spec.Name, Err: err}
	}
	p := &c.parts[i]
	k := r.parts[p.record]
	if k == nil {
		if len(r.parts) > 0 && int(p.record.Size) > r.left {
			return nil, nil
		}
		r.left -= int(p.record.Size)
		k = new(peeker)
		r.parts[p.record] = k
	}
	m, err := k.message(r.q.store.records, c, slot)
	if err != nil {
		return nil, &Unreadable{Queue: r.q.Spec.Name, Err: err}
	}
	return m, nil
}
