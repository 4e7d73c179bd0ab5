package queue

import (
	"warren/fsm/command"
)

// A Step says what Scan does with a message.
type Step uint8

// What Scan does with a message.
const (
	Leave Step = iota // it stays
	Take              // it leaves the queue for good
	Stop              // it stays, and so do all that follow
)

// Scan hands the ready messages to f, or those that are parked, from sequence from on and in their order, as far as the
// budget allows. It returns the sequence of the message at which to go on, 0 when none is left. What is
// away is read and stays away. f must not take messages out of the queue itself.
func (q *Queue) Scan(from uint64, parked bool, b *Budget, f func(n uint64, m *command.Message) Step) (next uint64) {
	for n := from; ; n++ {
		at, slot, ok := q.seek(n, parked)
		if !ok {
			return 0
		}
		n = q.messages.chunks[at].base + uint64(slot)
		if b.Spent() {
			return n
		}
		b.spendRead(q, q.messages.chunks[at], slot)
		switch f(n, q.last(at, slot)) {
		case Stop:
			return n
		case Take:
			q.take(n, parked)
		}
	}
}

// seek returns the place of the first message from sequence n on that is ready, or parked.
func (q *Queue) seek(n uint64, parked bool) (at, slot int, ok bool) {
	for at = q.messages.find(n); at < len(q.messages.chunks); at++ {
		c := q.messages.chunks[at]
		bits := &c.readyBits
		if parked {
			bits = &c.parked
		}
		from := 0
		if n > c.base {
			from = int(n - c.base)
		}
		if slot = bits.next(from); slot < chunkSize {
			return at, slot, true
		}
	}
	return 0, 0, false
}

// take removes a message that is ready, or parked.
func (q *Queue) take(n uint64, parked bool) {
	at, slot, _ := q.messages.lookup(n)
	if !parked {
		q.takeOut(at, slot)
		return
	}
	q.parked--
	q.parkedB -= uint64(q.remove(at, slot))
}

// Release forgets the value of a message that is about to leave, so that the queue may have it anew.
func (q *Queue) Release(n uint64) { q.left(n) }

// Full reports whether one more message with a body of so many bytes would be too much: it would be refused, or another
// would have to go.
func (q *Queue) Full(size int) bool {
	s := &q.settings
	return s.MaxLength >= 0 && int64(q.ready) >= s.MaxLength || s.MaxBytes >= 0 && q.bytes+uint64(size) > uint64(s.MaxBytes)
}
