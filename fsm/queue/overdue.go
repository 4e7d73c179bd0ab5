package queue

import (
	"cmp"
	"slices"

	"warren/fsm/command"
)

// A client may keep a delivery for some time only without settling it
// (https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout). What it keeps for longer goes back to
// the queue.
//
// When each delivery was lent is not kept. The ordinals of a channel grow with time, so a channel has marks: from
// an ordinal on, all were lent at a time, up to the next mark. That time is the one of the
// log entry, rounded up to lendGrain: it depends on the entry alone, so machines that keep other
// marks for what is settled long since agree on it.
//
// A consumer stands in Store.Timers with a time at which its oldest delivery may be overdue, and so does a channel
// for what basic.get took. As always there, that time may be too early.

// lendGrain is the grain of the times at which deliveries are lent, in milliseconds: a delivery may be kept
// for up to so much longer than its timeout says.
const lendGrain = 100

// TimeoutArgument is the argument of a queue and of a consumer that says how long an unsettled
// delivery may be kept, in milliseconds.
const TimeoutArgument = "x-consumer-timeout"

// maxTimeout bounds timeouts, so that sums with the clock cannot overflow.
const maxTimeout = 1 << 52

// A mark says that the deliveries of a channel from an ordinal on were lent at a time, in
// milliseconds since the Unix epoch.
type mark struct {
	from uint64
	at   int64
}

// SetTiming says whether deliveries can be overdue, which they cannot be in early versions of
// the machine.
func (s *Store) SetTiming(on bool) { s.timing = on }

// lendTime is when a delivery of an entry with the stamp ms counts as lent.
func lendTime(ms int64) int64 {
	if rest := ms % lendGrain; rest > 0 && ms < maxNumber {
		return ms + lendGrain - rest
	}
	return ms
}

// stamp notes that the delivery with the last ordinal was lent now, and awaits the time at
// which it may be overdue.
func (ch *Channel) stamp(d delivery) {
	at := ch.store.lent
	if n := len(ch.marks); n == 0 || ch.marks[n-1].at != at {
		ch.mark(at)
	}
	c := d.consumer
	if c == nil {
		ch.awaitGet(d, at)
		return
	}
	c.hold(ch.Ordinal)
	if p := c.patience(); p > 0 && !c.timer.Awaits(at+p) {
		ch.store.Timers.Wake(&c.timer, c, c.ID, at+p)
	}
}

// mark adds a mark at the last ordinal. When the list is full, marks go of which all is settled.
func (ch *Channel) mark(at int64) {
	if len(ch.marks) == cap(ch.marks) {
		ch.thin()
	}
	ch.marks = append(ch.marks, mark{ch.Ordinal, at})
}

// thin drops marks of which all is settled, and makes room for as many as stay.
func (ch *Channel) thin() {
	kept := ch.marks[:0]
	for i, m := range ch.marks {
		end := ch.Ordinal
		if i+1 < len(ch.marks) {
			end = ch.marks[i+1].from
		}
		if n, ok := ch.deliveries.next(m.from); ok && n < end {
			kept = append(kept, m)
		}
	}
	ch.marks = slices.Grow(kept, len(kept)+4)
}

// lentAt returns when a delivery was lent.
func (ch *Channel) lentAt(ordinal uint64) int64 {
	i, exact := slices.BinarySearchFunc(ch.marks, ordinal, func(m mark, n uint64) int { return cmp.Compare(m.from, n) })
	if !exact {
		i--
	}
	return ch.marks[i].at
}

// ownTimeout returns the timeout that a consumer asks for, in milliseconds; None: it asks for none.
func ownTimeout(c *command.Consume) int64 {
	n, ok := command.Integer(c.Args, TimeoutArgument)
	if !ok || n <= 0 {
		return None
	}
	return min(n, maxTimeout)
}

// patience returns for how long the consumer may keep a delivery, in milliseconds. It is not above 0 when
// that is for ever.
func (c *Consumer) patience() int64 {
	if c.own > 0 {
		return c.own
	}
	return c.Queue.settings.AckTimeout
}

// Timeout returns for how long the consumer may keep a delivery, in milliseconds; false: for ever.
func (c *Consumer) Timeout() (ms int64, ok bool) {
	p := c.patience()
	return p, p > 0
}

// first returns the ordinal of the oldest delivery of the consumer. There must be one.
func (c *Consumer) first() uint64 {
	for !c.keeps(c.held[0]) {
		c.held = c.held[1:]
	}
	return c.held[0]
}

func (c *Consumer) keeps(ordinal uint64) bool {
	_, _, there := c.Channel.deliveries.lookup(ordinal)
	return there
}

// hold notes a new delivery. Between those of a consumer there may be very many of others, so they are not looked for. When
// the list is full, those go that are settled.
func (c *Consumer) hold(ordinal uint64) {
	if len(c.held) == cap(c.held) {
		c.held = slices.DeleteFunc(c.held, func(n uint64) bool { return !c.keeps(n) })
		c.held = slices.Grow(c.held, len(c.held)+4)
	}
	c.held = append(c.held, ordinal)
}

// Due returns when the oldest delivery of the consumer is overdue.
func (c *Consumer) Due() (int64, bool) {
	p := c.patience()
	if c.unacked == 0 || p <= 0 || !c.Queue.store.timing {
		return 0, false
	}
	return c.Channel.lentAt(c.first()) + p, true
}

// await makes the machine look after the consumer in time.
func (c *Consumer) await() {
	if at, ok := c.Due(); ok {
		c.Queue.store.Timers.Wake(&c.timer, c, c.ID, at)
	}
}

// Gone reports whether the consumer has ended, and only what it holds is left of it.
func (c *Consumer) Gone() bool { return c.gone }

// Expired reports whether the consumer was ended by Expire.
func (c *Consumer) Expired() bool { return c.expired }

// Expire ends the consumer because it has kept a delivery for too long.
func (c *Consumer) Expire() {
	c.expired = true
	c.Cancel()
}

// TakeBack gives deliveries that the consumer has kept for too long back to the queue, the oldest first, as
// far as the budget goes. That does not count for the delivery limit.
func (c *Consumer) TakeBack(b *Budget) {
	wasFull := c.Channel.full()
	for !c.Queue.pauses(b) {
		if at, ok := c.Due(); !ok || at > c.Queue.store.now {
			break
		}
		c.Channel.takeBack(c.first(), b)
	}
	if wasFull {
		c.Channel.wake()
	}
}

// takeBack gives a delivery back to its queue, and remembers that.
func (ch *Channel) takeBack(ordinal uint64, b *Budget) {
	at, slot, _ := ch.deliveries.lookup(ordinal)
	d := ch.deliveries.remove(&ch.store.deliveries, at, slot)
	ch.taken.add(&ch.store.taken, ordinal, struct{}{})
	d.queue.spendReturn(d.sequence, b)
	ch.ending(d, command.Requeue, ByTimeout)
	ch.settle(d, command.Requeue, lost)
}

// spendReturn is for a message that comes back: it may have to be dead-lettered.
func (q *Queue) spendReturn(n uint64, b *Budget) {
	at, slot, _ := q.messages.lookup(n)
	c := q.messages.chunks[at]
	if d := c.deadline(slot); d != 0 && d < q.store.now && q.settings.DeadLetters {
		b.spendRead(q, c, slot)
		return
	}
	b.spend(0)
}

// Taken reports whether a delivery with an ordinal from from to to was taken back from the client, which has not
// settled it since.
func (ch *Channel) Taken(from, to uint64) bool {
	n, ok := ch.taken.next(from)
	return ok && n <= to
}

// forgetTaken notes that the client has settled deliveries, among which some may have been taken back before.
func (ch *Channel) forgetTaken(from, to uint64) {
	ch.taken.removeRange(&ch.store.taken, from, to, func(uint64, struct{}) {})
}

// eachGet calls f for what basic.get took, by ordinal, until that returns false. What is of
// deleted queues is left out.
func (ch *Channel) eachGet(f func(ordinal uint64, d *delivery) bool) {
	n := ch.oldestGet
	isGet := func(d *delivery) bool { return d.consumer == nil }
	for left := ch.gets; left > 0; left-- {
		next, ok := ch.deliveries.search(n, isGet)
		if !ok {
			return
		}
		if left == ch.gets {
			ch.oldestGet = next
		}
		n = next + 1
		if d := ch.deliveries.get(next); !d.queue.deleted && !f(next, d) {
			return
		}
	}
}

// HoldsGets reports whether the channel holds something that basic.get took.
func (ch *Channel) HoldsGets() (any bool) {
	ch.eachGet(func(uint64, *delivery) bool {
		any = true
		return false
	})
	return any
}

// awaitGet awaits that what basic.get just took is overdue.
func (ch *Channel) awaitGet(d delivery, at int64) {
	if ch.gets == 0 {
		ch.oldestGet = ch.Ordinal
	}
	if p := d.queue.settings.AckTimeout; p > 0 {
		ch.store.Timers.Wake(&ch.timer, ch, ch.ID, at+p)
	}
}

// Due returns when something that basic.get took is overdue.
func (ch *Channel) Due() (first int64, ok bool) {
	if ch.gets == 0 || !ch.store.timing {
		return 0, false
	}
	ch.eachGet(func(n uint64, d *delivery) bool {
		if p := d.queue.settings.AckTimeout; p > 0 {
			if at := ch.lentAt(n) + p; !ok || at < first {
				first, ok = at, true
			}
		}
		return true
	})
	return first, ok
}

// AwaitGets makes the machine look after what basic.get took in time. It is to be called when the
// settings of a queue have changed.
func (ch *Channel) AwaitGets() {
	if at, ok := ch.Due(); ok {
		ch.store.Timers.Wake(&ch.timer, ch, ch.ID, at)
	}
}

// TakeBackGets gives what basic.get took, and the client has kept for too long, back to its queues, as far
// as the budget goes. It returns the queue of the first, nil when there was none.
func (ch *Channel) TakeBackGets(b *Budget) (first *Queue) {
	var overdue []uint64
	ch.eachGet(func(n uint64, d *delivery) bool {
		if p := d.queue.settings.AckTimeout; p > 0 && ch.lentAt(n)+p <= ch.store.now {
			overdue = append(overdue, n)
		}
		return len(overdue) < b.left
	})
	for _, n := range overdue {
		q := ch.deliveries.get(n).queue
		if q.pauses(b) {
			break
		}
		if first == nil {
			first = q
		}
		ch.takeBack(n, b)
	}
	return first
}

// BeginTiming lets what the channel holds count as lent now: nobody knows since when it does.
func (ch *Channel) BeginTiming() {
	if n, ok := ch.deliveries.next(0); ok {
		ch.marks = []mark{{n, ch.store.lent}}
	}
	for _, c := range ch.consumers {
		c.held = nil
	}
	ch.deliveries.each(func(n uint64, d delivery) {
		if d.consumer != nil {
			d.consumer.hold(n)
		}
	})
	ch.awaitAll()
}

// awaitAll awaits all that may be overdue some time.
func (ch *Channel) awaitAll() {
	for _, c := range ch.consumers {
		c.await()
	}
	ch.AwaitGets()
}
