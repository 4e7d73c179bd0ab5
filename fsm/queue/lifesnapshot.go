package queue

import "warren/fsm/internal/stream"

// piece is about the most bytes of a piece of a section.
const piece = 64 << 10

// Deadlines encodes when the messages of captured queues expire, in pieces of bounded size:
// for each chunk that has one, queue, place of the chunk, count, and for each message
// its distance in slots and its deadline's distance in milliseconds.
func Deadlines(queues []Contents, emit func([]byte)) {
	eachPiece(queues, emit, func(c *page) int { return moments(c.deadlines) },
		func(w *stream.Writer, c *page, count int) { writeMoments(w, c.deadlines, count) })
}

// WriteWaits encodes, as Deadlines does, until when messages wait that came back.
func WriteWaits(queues []Contents, emit func([]byte)) {
	eachPiece(queues, emit, func(c *page) int { return moments(c.waits) },
		func(w *stream.Writer, c *page, count int) { writeMoments(w, c.waits, count) })
}

// eachPiece encodes something of those chunks of which there are so many of it, each behind queue
// and place of the chunk.
func eachPiece(queues []Contents, emit func([]byte), many func(*page) int, write func(*stream.Writer, *page, int)) {
	w := stream.NewBuffer(0)
	for _, v := range queues {
		for _, c := range v.chunks {
			if count := many(c); count > 0 {
				w.Uint(v.id)
				w.Uint(c.base / chunkSize)
				write(w, c, count)
			}
			if len(w.Buffered()) >= piece {
				emit(w.Buffered())
				w.Reset()
			}
		}
	}
	if len(w.Buffered()) > 0 {
		emit(w.Buffered())
	}
}

// moments returns the number of times that there are.
func moments(times []int64) (n int) {
	for _, at := range times {
		if at != 0 {
			n++
		}
	}
	return n
}

func writeMoments(w *stream.Writer, times []int64, count int) {
	w.Uint(uint64(count))
	slot, before := -1, int64(0)
	for s, d := range times {
		if d == 0 {
			continue
		}
		w.Uint(uint64(s - slot))
		w.Uint(zigzag(d - before))
		slot, before = s, d
	}
}

func zigzag(v int64) uint64   { return uint64(v)<<1 ^ uint64(v>>63) }
func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// Deadlines reads a piece of what Deadlines encoded.
func (l *Loader) Deadlines(r *stream.Reader) {
	l.eachPiece(r, func(q *Queue, c *page) {
		if c.deadlines != nil {
			r.Fail("deadlines of a chunk come twice")
			return
		}
		l.moments(r, c, func(slot int, at int64) bool {
			if c.deadline(slot) != 0 {
				return false
			}
			c.setDeadline(slot, at)
			if c.readyBits.has(slot) {
				q.expect(c, at)
			}
			return true
		})
	})
}

// Waits reads a piece of what WriteWaits encoded.
func (l *Loader) Waits(r *stream.Reader) {
	l.eachPiece(r, func(q *Queue, c *page) {
		if c.waits != nil {
			r.Fail("waits of a chunk come twice")
			return
		}
		l.moments(r, c, func(slot int, at int64) bool {
			if !c.readyBits.has(slot) {
				return false
			}
			q.unready(c, slot)
			q.putOff(c, slot, uint64(bodySize(c, slot)), at)
			return true
		})
	})
}

func (l *Loader) eachPiece(r *stream.Reader, f func(*Queue, *page)) {
	for r.More() {
		q := l.queues[r.Uint()]
		base := r.Bounded(maxNumber/chunkSize) * chunkSize
		if r.Err() != nil {
			return
		}
		if q == nil {
			r.Fail("a piece is of no queue")
			return
		}
		at, ok := q.messages.chunk(base)
		if !ok {
			r.Fail("a piece is of a chunk that is not there")
			return
		}
		f(q, q.messages.chunks[at])
	}
}

// moments reads what writeMoments wrote. set returns false for a message that cannot have the time.
func (l *Loader) moments(r *stream.Reader, c *page, set func(slot int, at int64) bool) {
	slot, before := -1, int64(0)
	count := r.Bounded(chunkSize)
	if count == 0 {
		r.Fail("a chunk has no times")
	}
	for ; count > 0 && r.Err() == nil; count-- {
		slot += int(r.Bounded(chunkSize))
		before += unzigzag(r.Uint())
		if r.Err() != nil {
			return
		}
		if slot < 0 || slot >= chunkSize || !c.present.has(slot) || before <= 0 || !set(slot, before) {
			r.Fail("a time is of no message")
			return
		}
	}
}

// tried returns the number of messages that came back some time.
func (c *chunk[T]) tried() (n int) {
	for slot := range c.tries {
		if c.tries[slot] != (Tries{}) {
			n++
		}
	}
	return n
}

// WriteTries encodes what became of messages that were given out and came back, in pieces as
// Deadlines does: distance in slots, acquired, failed, parked.
func WriteTries(queues []Contents, emit func([]byte)) {
	eachPiece(queues, emit, (*page).tried, writeTries)
}

func writeTries(w *stream.Writer, c *page, count int) {
	w.Uint(uint64(count))
	slot := -1
	for s, t := range c.tries {
		if t == (Tries{}) {
			continue
		}
		w.Uint(uint64(s - slot))
		w.Uint(uint64(t.Acquired))
		w.Uint(uint64(t.Failed))
		w.Byte(flag(c.parked.has(s)))
		slot = s
	}
}

// Tries reads a piece of what WriteTries wrote.
func (l *Loader) Tries(r *stream.Reader) {
	l.eachPiece(r, func(q *Queue, c *page) {
		if c.tries != nil {
			r.Fail("tries of a chunk come twice")
			return
		}
		l.tries(r, q, c)
	})
}

func (l *Loader) tries(r *stream.Reader, q *Queue, c *page) {
	slot := -1
	count := r.Bounded(chunkSize)
	if count == 0 {
		r.Fail("a chunk has no tries")
	}
	for ; count > 0 && r.Err() == nil; count-- {
		slot += int(r.Bounded(chunkSize))
		t := Tries{Acquired: uint32(r.Bounded(1<<32 - 1)), Failed: uint32(r.Bounded(1<<32 - 1))}
		parked := r.Flags(1) == 1
		if r.Err() != nil {
			return
		}
		if slot < 0 || slot >= chunkSize || !c.present.has(slot) || t.Acquired == 0 || c.triesOf(slot) != (Tries{}) ||
			parked && !c.readyBits.has(slot) {
			r.Fail("tries are of no message")
			return
		}
		for len(c.tries) <= slot {
			c.tries = append(c.tries, Tries{})
		}
		c.tries[slot] = t
		if parked {
			q.unready(c, slot)
			q.park(c, slot, uint64(bodySize(c, slot)))
		}
	}
}

// unready takes a message out of the ready ones, as it is read from a snapshot.
func (q *Queue) unready(c *page, slot int) {
	c.readyBits.clear(slot)
	c.ready--
	q.laneAt(c.base).ready--
	q.ready--
	q.bytes -= uint64(bodySize(c, slot))
}

// WriteUse writes when the queue was last used, if that matters.
func (q *Queue) WriteUse(w *stream.Writer) {
	if q.settings.Expires >= 0 {
		w.Uint(q.ID)
		w.Uint(uint64(q.used))
	}
}

// Uses reads what WriteUse wrote for all queues.
func (l *Loader) Uses(r *stream.Reader) {
	for r.More() {
		q, used := l.queues[r.Uint()], r.Bounded(maxNumber)
		if q == nil {
			r.Fail("the time of use is of no queue")
			return
		}
		q.used = int64(used)
	}
}
