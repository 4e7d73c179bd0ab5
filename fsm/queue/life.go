package queue

import (
	"fmt"
	"slices"

	"warren/fsm/command"
	"warren/fsm/internal/due"
)

// A Reason is why a message died.
type Reason string

// Why messages die, in RabbitMQ's words (https://www.rabbitmq.com/docs/dlx).
const (
	Rejected Reason = "rejected"
	Expired  Reason = "expired"
	MaxLen   Reason = "maxlen"
	TooOften Reason = "delivery_limit"
)

// A Dead message has left its queue and is to be dead-lettered.
type Dead struct {
	Queue    *Queue
	Message  *command.Message
	Reason   Reason
	Sequence uint64 // that it had in the queue; 0: it was never in it
}

// life is what a chunk knows of how long its messages may wait. Slices are changed
// in place, so a copy of the chunk has its own.
type life struct {
	deadlines []int64 // by slot, in milliseconds since the Unix epoch; 0, or beyond the end: none
	timer     *chunkTimer
	tries     []Tries // by slot; beyond the end: none
	waits     []int64 // by slot, as deadlines: when a message that came back is ready again
	parked    bitmap  // present, and kept for an operator
}

// Tries counts what became of a message before the present delivery.
type Tries struct {
	Acquired uint32 // times that it was given to a consumer or a get, and came back
	Failed   uint32 // of those, the ones that count for the delivery limit
}

// own gives a copy of a chunk slices of its own.
func (l *life) own() {
	l.deadlines = slices.Clone(l.deadlines)
	l.tries = slices.Clone(l.tries)
	l.waits = slices.Clone(l.waits)
}

// deadline returns when the message in a slot expires, 0 for never.
func (l *life) deadline(slot int) int64 { return moment(l.deadlines, slot) }

func (l *life) setDeadline(slot int, at int64) { setMoment(&l.deadlines, slot, at) }

// moment returns the time of a slot, 0 for none.
func moment(times []int64, slot int) int64 {
	if slot < len(times) {
		return times[slot]
	}
	return 0
}

func setMoment(times *[]int64, slot int, at int64) {
	for len(*times) <= slot {
		*times = append(*times, 0)
	}
	(*times)[slot] = at
}

// forget clears what is known of a slot.
func (l *life) forget(slot int) {
	if slot < len(l.deadlines) {
		l.deadlines[slot] = 0
	}
	if slot < len(l.tries) {
		l.tries[slot] = Tries{}
	}
	if slot < len(l.waits) {
		l.waits[slot] = 0
	}
	l.parked.clear(slot)
}

// triesOf returns what is known of the deliveries of a slot.
func (l *life) triesOf(slot int) Tries {
	if slot < len(l.tries) {
		return l.tries[slot]
	}
	return Tries{}
}

// count counts that the message of a slot came back.
func (l *life) count(slot int, failed bool) Tries {
	for len(l.tries) <= slot {
		l.tries = append(l.tries, Tries{})
	}
	t := &l.tries[slot]
	t.Acquired++
	if failed {
		t.Failed++
	}
	return *t
}

// end drops all, as the chunk goes.
func (l *life) end() {
	if l.timer != nil {
		l.timer.Remove()
	}
}

// A chunkTimer is a chunk in the index of its queue.
type chunkTimer struct {
	due.Item
	q    *Queue
	base uint64
}

// Due returns when the first message expires that nobody holds, or has waited.
func (t *chunkTimer) Due() (first int64, ok bool) {
	at, ok := t.q.messages.chunk(t.base)
	if !ok {
		return 0, false
	}
	c := t.q.messages.chunks[at]
	ok = false
	for slot, d := range c.deadlines {
		if d != 0 && (c.readyBits.has(slot) || c.waitsUntil(slot) != 0) && (!ok || d < first) {
			first, ok = d, true
		}
	}
	for _, w := range c.waits {
		if w != 0 && (!ok || w < first) {
			first, ok = w, true
		}
	}
	return first, ok
}

// expect makes the queue look after a chunk at a time. The chunk must be writable.
func (q *Queue) expect(c *page, at int64) {
	if c.timer == nil {
		c.timer = &chunkTimer{q: q, base: c.base}
	}
	q.expiry.Wake(&c.timer.Item, c.timer, c.base, at)
	q.wake(at)
}

// wake makes the machine look after the queue at a time.
func (q *Queue) wake(at int64) { q.store.Timers.Wake(&q.timer, q, q.ID, at) }

// Due returns when something is next to happen to the queue: it is too long, a message
// expires, or the queue does.
func (q *Queue) Due() (int64, bool) {
	if q.over() {
		return 0, true
	}
	first, ok := int64(0), false
	if what, at := q.expiry.First(); what != nil {
		first, ok = at, true
	}
	if at, unused := q.expires(); unused && (!ok || at < first) {
		first, ok = at, true
	}
	return first, ok
}

// expires returns when the queue goes if nobody uses it until then.
func (q *Queue) expires() (int64, bool) {
	if q.settings.Expires < 0 || q.live > 0 {
		return 0, false
	}
	return q.used + q.settings.Expires, true
}

// Unused reports whether nobody has used the queue for so long that it is to go.
func (q *Queue) Unused() bool {
	at, ok := q.expires()
	return ok && at <= q.store.now
}

// Use says that a client uses the queue.
func (q *Queue) Use() {
	q.used = q.store.now
	if q.settings.Expires >= 0 {
		q.wake(q.used + q.settings.Expires)
	}
}

// A Budget bounds what one log entry does because of time and limits.
type Budget struct{ left int }

// NewBudget allows so many messages of up to 4 KiB each; larger ones count for more.
func NewBudget(n int) Budget { return Budget{n} }

// Spent reports whether nothing is left.
func (b *Budget) Spent() bool { return b.left <= 0 }

func (b *Budget) spend(size int) { b.left -= 1 + size>>12 }

// readCost is what reading a record counts for: so an entry reads 250 at most, of up to 1 MiB each.
const readCost = 128 << 10

// A deathbed is where the last message of a queue died in an entry that was to be dead-lettered.
type deathbed struct {
	entry, base uint64
	slot        int
}

// spendRead is for a message that is to be dead-lettered: it may be away, and what stands beside
// it is read with it. What is away is each node's own affair and the budget is not, so all pay
// for what may have to be read: for a chunk, and for what lies between two messages of one.
func (b *Budget) spendRead(q *Queue, c *page, slot int) {
	from, size := 0, readCost
	if q.died.entry == q.store.entry && q.died.base == c.base {
		from, size = q.died.slot+1, 0
	}
	q.died = deathbed{q.store.entry, c.base, slot}
	for s := c.present.next(from); s <= slot && size < readCost; s = c.present.next(s + 1) {
		size += bodySize(c, s)
	}
	b.spend(max(min(size, readCost), bodySize(c, slot)))
}

// Spend takes n messages off that are in memory, or copies of one.
func (b *Budget) Spend(n int) { b.left -= n }

// limited takes a message out that came back once too often: to be dead-lettered, or
// kept aside where nobody but an operator gets at it. It is unacknowledged.
func (q *Queue) limited(at, slot int) {
	q.unacked--
	if q.settings.DeadLetters {
		q.perish(at, slot, TooOften)
		q.unackedB -= uint64(q.remove(at, slot))
		return
	}
	c := q.messages.writable(&q.store.messages, at)
	size := uint64(bodySize(c, slot))
	q.unackedB -= size
	q.park(c, slot, size)
}

func (q *Queue) park(c *page, slot int, size uint64) {
	c.parked.set(slot)
	q.parked++
	q.parkedB += size
	if w := q.store.Watch; w != nil {
		w.SetAside(q, c.base+uint64(slot), true, 0)
	}
}

// Parked returns the number of messages that are kept aside, because they came back more
// often than the delivery limit allows and the queue has nowhere to dead-letter them.
func (q *Queue) Parked() int { return q.parked }

// ParkedBytes returns the size of their bodies.
func (q *Queue) ParkedBytes() uint64 { return q.parkedB }

// purgeAside removes what is parked or waits.
func (q *Queue) purgeAside() {
	for at := 0; q.parked+q.delayed > 0; {
		c := q.messages.chunks[at]
		if slot := c.parked.next(0); slot < chunkSize {
			q.parked--
			q.parkedB -= uint64(q.remove(at, slot))
		} else if slot := c.nextWaiting(); slot < chunkSize {
			q.takeDelayed(at, slot)
		} else {
			at++
		}
	}
}

// deadAtOnce bounds the messages that die before the caller has to bury them: that has a
// price too.
const deadAtOnce = 64

// Act lets the messages go that are too many, and those whose time is up, within the budget. It
// returns true when enough are dead for now: the caller is to take them and to call it again.
func (q *Queue) Act(b *Budget) (again bool) {
	for q.over() && !q.pauses(b) {
		at, slot := q.head()
		q.die(at, slot, MaxLen, b)
	}
	for !q.pauses(b) {
		what := q.expiry.Next(q.store.now)
		if what == nil {
			return false
		}
		q.expireChunk(what.(*chunkTimer).base, b)
	}
	return !b.Spent()
}

func (q *Queue) pauses(b *Budget) bool { return b.Spent() || len(q.store.dead) >= deadAtOnce }

// expireChunk lets the messages of a chunk go whose time is up, and makes those ready that have waited, in order.
func (q *Queue) expireChunk(base uint64, b *Budget) {
	for slot := 0; !q.pauses(b); slot++ {
		at, ok := q.messages.chunk(base)
		if !ok {
			return
		}
		slot = q.messages.chunks[at].nextDue(slot, q.store.now)
		if slot == chunkSize {
			return
		}
		if d := q.messages.chunks[at].deadline(slot); d != 0 && d <= q.store.now {
			q.die(at, slot, Expired, b)
		} else {
			b.spend(0)
			q.tryAgain(at, slot)
		}
	}
}

// nextDue returns the first slot from slot on of a message whose time is up, or that has waited.
func (c *chunk[T]) nextDue(slot int, now int64) int {
	for slot = c.present.next(slot); slot < chunkSize; slot = c.present.next(slot + 1) {
		w, d := c.waitsUntil(slot), c.deadline(slot)
		if w != 0 && w <= now || d != 0 && d <= now && (w != 0 || c.readyBits.has(slot)) {
			return slot
		}
	}
	return chunkSize
}

// die takes a message that nobody holds out of the queue, to be dead-lettered if the queue does that.
func (q *Queue) die(at, slot int, reason Reason, b *Budget) {
	c := q.messages.chunks[at]
	if q.settings.DeadLetters {
		b.spendRead(q, c, slot)
	} else {
		b.spend(bodySize(c, slot))
	}
	q.perish(at, slot, reason)
	if c.waitsUntil(slot) != 0 {
		q.takeDelayed(at, slot)
		return
	}
	q.takeOut(at, slot)
}

// TakeDead returns what died since the last call, in order. It is valid until the
// next message dies.
func (s *Store) TakeDead() []Dead {
	d := s.dead
	s.dead = s.dead[:0]
	return d
}

// SetNow begins a log entry at a time, in milliseconds since the Unix epoch. It never goes back.
func (s *Store) SetNow(ms int64) {
	s.now, s.lent = ms, lendTime(ms)
	s.entry++
}

// checkLife checks that all that is to happen to the queue is known to the indexes, and
// that nothing is kept of messages that went.
func (q *Queue) checkLife() error {
	for _, c := range q.messages.chunks {
		t := chunkTimer{q: q, base: c.base}
		if at, ok := t.Due(); ok && (c.timer == nil || !c.timer.Awaits(at)) {
			return fmt.Errorf("queue %q does not await that a message expires at %d", q.Spec.Name, at)
		}
		for slot, d := range c.deadlines {
			if d != 0 && !c.present.has(slot) {
				return fmt.Errorf("queue %q keeps the deadline of a message that went", q.Spec.Name)
			}
		}
		for slot, w := range c.waits {
			if w != 0 && (!c.present.has(slot) || c.readyBits.has(slot) || c.parked.has(slot)) {
				return fmt.Errorf("queue %q lets a message wait that is ready, parked or went", q.Spec.Name)
			}
		}
	}
	if at, ok := q.Due(); ok && !q.timer.Awaits(at) {
		return fmt.Errorf("nobody awaits what happens to queue %q at %d", q.Spec.Name, at)
	}
	return nil
}
