package queue

import (
	"warren/fsm/command"
	"warren/fsm/internal/due"
)

// Counters count what happened to a queue since it was declared.
type Counters struct {
	Published     uint64 // messages that entered
	Delivered     uint64 // given to consumers that acknowledge
	DeliveredAuto uint64 // given to consumers that do not
	Got           uint64 // given to basic.get with acknowledgement
	GotAuto       uint64 // given to basic.get without
	GotEmpty      uint64 // basic.get on the empty queue
	Redelivered   uint64 // of the four above, those that were not the first time
	Acked         uint64
	Rejected      uint64 // settled with Reject
	Requeued      uint64 // came back from a channel
	Purged        uint64
}

// A Queue is one queue of a vhost. Its exported fields may be read by all;
// Counters, Owner and Spec belong to the caller as the rest belongs to the queue.
type Queue struct {
	ID      uint64               // unique in the machine, never used again
	Spec    command.QueueDeclare // as first declared
	Owner   command.Owner        // of an exclusive queue: epoch and connection
	Created uint64               // log index at which it was declared
	Counters

	store     *Store
	messages  sequence[*command.Message]
	lanes     []lane  // by falling priority, never empty
	one       [1]lane // lanes of a queue without priorities
	ready     int
	bytes     uint64 // of the bodies of ready messages
	unacked   int
	unackedB  uint64
	parked    int
	parkedB   uint64
	delayed   int // come back, and wait: see retry.go
	delayedB  uint64
	consumers []*Consumer // by ID; those that are gone stay while they have deliveries
	live      int         // consumers that are not gone
	single    bool        // has one active consumer at a time: see active.go
	active    *Consumer   // of a queue with a single active consumer
	rival     *Consumer   // of higher priority than active, waits for it to settle
	unchosen  bool        // in store.unchosen
	dedup     *Dedup      // nil: any message is taken
	window    bool        // see Deduplicate
	levels    []level     // consumers that wait, highest priority first
	dirty     bool        // in store.dirty
	deleted   bool
	settings  Settings
	used      int64     // when a client last used it, for Settings.Expires
	expiry    due.Index // its chunks that have deadlines
	timer     due.Item  // in store.Timers
	died      deathbed
}

// NewQueue returns an empty queue.
func (s *Store) NewQueue(id uint64, spec command.QueueDeclare) *Queue {
	q := &Queue{ID: id, Spec: spec, store: s, settings: DefaultSettings(), used: s.now}
	q.makeLanes(0)
	return q
}

// UseArguments gives those of the queue's arguments their effect that this package knows:
// x-max-priority and x-single-active-consumer. In the logs of old versions they had none, so a
// new queue is without. What an old queue holds counts as of the highest priority.
func (q *Queue) UseArguments() {
	if highest := q.Spec.MaxPriority(); highest > 0 && len(q.lanes) == 1 {
		old := q.lanes[0]
		q.makeLanes(highest)
		q.lanes[0] = old
	}
	single, _ := q.Spec.Args.Get("x-single-active-consumer")
	q.single = single == true
	q.choose()
}

// Ready returns the number of messages that wait for a consumer.
func (q *Queue) Ready() int { return q.ready }

// ReadyBytes returns the size of the bodies of the ready messages.
func (q *Queue) ReadyBytes() uint64 { return q.bytes }

// Unacked returns the number of messages given out and not settled.
func (q *Queue) Unacked() int { return q.unacked }

// UnackedBytes returns the size of the bodies of the unacked messages.
func (q *Queue) UnackedBytes() uint64 { return q.unackedB }

// Consumers returns the number of consumers.
func (q *Queue) Consumers() int { return q.live }

// ExclusivelyConsumed reports whether its one consumer asked to be the only one.
func (q *Queue) ExclusivelyConsumed() bool {
	if q.live != 1 {
		return false
	}
	alone := false
	q.EachConsumer(func(c *Consumer) { alone = c.Spec.Exclusive })
	return alone
}

// EachConsumer calls f for the consumers, the oldest first.
func (q *Queue) EachConsumer(f func(*Consumer)) {
	for _, c := range q.consumers {
		if !c.gone {
			f(c)
		}
	}
}

// Push puts a message behind all others of its priority. It expires after ttl milliseconds, or
// when the queue's own TTL is over; None: not of itself.
func (q *Queue) Push(m *command.Message, ttl int64) {
	l := &q.lanes[q.laneOf(m)]
	c, slot := q.messages.add(&q.store.messages, l.next, m)
	c.readyBits.set(slot)
	c.ready++
	c.bytes += cost(m)
	q.store.resident += cost(m)
	n := l.next
	l.next++
	l.ready++
	q.ready++
	q.bytes += uint64(len(m.Body))
	q.Published++
	q.store.touch(q)
	if own := q.settings.TTL; own >= 0 && (ttl < 0 || own < ttl) {
		ttl = own
	}
	if ttl >= 0 {
		at := q.store.now + ttl
		c.setDeadline(slot, at)
		q.expect(c, at)
	}
	if q.over() {
		q.wake(0)
	}
	if w := q.store.Watch; w != nil {
		w.Entered(q, n)
	}
}

// head finds the first ready message: its chunk and slot. There must be one.
func (q *Queue) head() (at, slot int) {
	l := q.headLane()
	at = q.messages.find(l.first)
	for ; ; at++ {
		c := q.messages.chunks[at]
		if c.ready == 0 {
			continue
		}
		from := 0
		if l.first > c.base {
			from = int(l.first - c.base)
		}
		if slot = c.readyBits.next(from); slot < chunkSize {
			l.first = c.base + uint64(slot)
			return at, slot
		}
	}
}

// handout is a message that somebody gets.
type handout struct {
	m     *command.Message // nil: it is away, and whoever gets it is served elsewhere
	size  uint32           // of its body
	again bool             // it was delivered before
	tries Tries
}

// handOut looks at the message at a place. It is brought to memory when the clients of
// that epoch are served here.
func (q *Queue) handOut(at, slot int, epoch uint64) (h handout) {
	if c := q.messages.chunks[at]; c.at(slot) == nil && !q.store.serves(epoch) {
		h.size = c.sizes.at(slot)
	} else {
		h.m = q.message(at, slot)
		h.size = uint32(len(h.m.Body))
	}
	c := q.messages.chunks[at]
	h.again, h.tries = c.again.has(slot), c.triesOf(slot)
	return h
}

// takeHead removes the first ready message, for good.
func (q *Queue) takeHead(epoch uint64) (n uint64, h handout) {
	at, slot := q.head()
	n = q.messages.chunks[at].base + uint64(slot)
	h = q.handOut(at, slot, epoch)
	q.removeReady(at, slot)
	return n, h
}

// removeReady removes the message that head found.
func (q *Queue) removeReady(at, slot int) {
	l := q.laneAt(q.messages.chunks[at].base)
	l.ready--
	l.first++
	q.ready--
	q.bytes -= uint64(q.remove(at, slot))
}

// takeOut removes the ready message at a place, wherever it stands.
func (q *Queue) takeOut(at, slot int) {
	q.laneAt(q.messages.chunks[at].base).ready--
	q.ready--
	q.bytes -= uint64(q.remove(at, slot))
}

// remove removes the message at a place and returns the size of its body.
func (q *Queue) remove(at, slot int) int {
	c := q.messages.writable(&q.store.messages, at)
	size := bodySize(c, slot)
	if m := c.at(slot); m != nil {
		c.bytes -= cost(m)
		q.store.resident -= cost(m)
	}
	q.left(c.base + uint64(slot))
	q.messages.remove(&q.store.messages, at, slot)
	return size
}

// lendHead makes the first ready message unacknowledged.
func (q *Queue) lendHead(epoch uint64) (n uint64, h handout) {
	at, slot := q.head()
	n = q.messages.chunks[at].base + uint64(slot)
	h = q.handOut(at, slot, epoch)
	q.lend(at, slot)
	q.laneAt(n).first = n + 1
	return n, h
}

// lend makes the ready message at a place unacknowledged.
func (q *Queue) lend(at, slot int) {
	c := q.messages.writable(&q.store.messages, at)
	c.readyBits.clear(slot)
	c.ready--
	size := uint64(bodySize(c, slot))
	q.laneAt(c.base).ready--
	q.ready--
	q.bytes -= size
	q.unacked++
	q.unackedB += size
}

// settle ends one delivery of the message with sequence n. why is for those that come back.
func (q *Queue) settle(n uint64, outcome command.Outcome, why cause) {
	at, slot, ok := q.messages.lookup(n)
	if !ok {
		panic("queue: a delivery refers to a message that is not there")
	}
	if outcome == command.Requeue || outcome == command.Return {
		q.giveBack(at, slot, why)
		return
	}
	base := q.messages.chunks[at].base
	if outcome == command.Reject {
		q.perish(at, slot, Rejected)
	}
	q.unacked--
	q.unackedB -= uint64(q.remove(at, slot))
	if outcome == command.Reject {
		q.Rejected++
	} else {
		q.Acked++
	}
	if at < len(q.messages.chunks) && thin(q.messages.chunks[at], base) {
		q.evict(at)
	}
}

// giveBack makes an unacknowledged message ready again, in its old place, unless it has to wait.
func (q *Queue) giveBack(at, slot int, why cause) {
	c := q.messages.writable(&q.store.messages, at)
	d := c.deadline(slot)
	if d != 0 && d < q.store.now {
		q.tooLate(at, slot)
		return
	}
	q.Requeued++
	var tries Tries
	if q.store.counting {
		tries = c.count(slot, why != lost)
		if limit := q.settings.DeliveryLimit; limit >= 0 && why != lost && int64(tries.Failed) > limit {
			q.limited(at, slot)
			return
		}
	}
	size := uint64(bodySize(c, slot))
	c.again.set(slot)
	q.unacked--
	q.unackedB -= size
	if d != 0 {
		q.expect(c, d)
	}
	if ms := q.settings.delay(why, tries); ms > 0 {
		q.putOff(c, slot, size, q.store.now+ms)
		return
	}
	q.makeReady(c, slot, size)
}

// makeReady makes a message ready again that was unacknowledged or waited.
func (q *Queue) makeReady(c *page, slot int, size uint64) {
	n := c.base + uint64(slot)
	c.readyBits.set(slot)
	c.ready++
	q.ready++
	q.bytes += size
	l := q.laneAt(n)
	l.ready++
	l.first = min(l.first, n)
	q.store.touch(q)
	if q.over() {
		q.wake(0)
	}
}

// tooLate ends a message that comes back when its time is up.
func (q *Queue) tooLate(at, slot int) {
	q.perish(at, slot, Expired)
	q.unacked--
	q.unackedB -= uint64(q.remove(at, slot))
	q.Requeued++
}

// Purge removes the messages that nobody holds and returns how many there were: those that are ready, wait or are parked.
func (q *Queue) Purge() int {
	n := q.ready + q.parked + q.delayed
	for q.ready > 0 {
		q.removeReady(q.head())
	}
	q.purgeAside()
	q.Purged += uint64(n)
	return n
}

// Delete empties the queue for good and ends its consumers. It returns the number
// of messages that were ready. Deliveries of its messages count as settled from now on.
func (q *Queue) Delete() int {
	n := q.ready
	q.deleted = true
	q.timer.Remove()
	q.store.rejecting -= refusing(&q.settings)
	for _, c := range q.consumers {
		c.orphan()
	}
	q.consumers, q.levels, q.live = nil, nil, 0
	q.active, q.rival, q.dedup = nil, nil, nil
	for _, c := range q.messages.chunks {
		q.reuse(c)
	}
	q.messages = sequence[*command.Message]{}
	for i := range q.lanes {
		q.lanes[i].ready = 0
	}
	q.ready, q.bytes, q.unacked, q.unackedB = 0, 0, 0, 0
	q.parked, q.parkedB, q.delayed, q.delayedB = 0, 0, 0, 0
	return n
}

// reuse cleans a chunk of a deleted queue for the pool, if that will keep it: the
// garbage collector does not care, and cleaning millions of messages would take its time.
func (q *Queue) reuse(c *page) {
	p := &q.store.messages
	q.store.resident -= c.bytes
	if c.generation == p.generation && len(p.free) < maxFree {
		clear(c.values)
		c.live, c.ready = 0, 0
		c.present, c.readyBits, c.again = bitmap{}, bitmap{}, bitmap{}
	}
	p.put(c)
}

// Add adds the counts of another queue.
func (c *Counters) Add(other *Counters) {
	theirs := other.list()
	for i, n := range c.list() {
		*n += *theirs[i]
	}
}
