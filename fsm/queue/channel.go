package queue

import (
	"slices"

	"warren/fsm/command"
	"warren/fsm/internal/due"
)

// A delivery is a message that a channel holds and has not settled. When its
// queue is deleted it stays in the books of the channel, but is nothing any more.
type delivery struct {
	queue    *Queue
	sequence uint64
	consumer *Consumer // nil for basic.get
}

// A Channel is an AMQP channel with consumers or unsettled deliveries.
type Channel struct {
	Owner    command.Owner
	Prefetch uint32 // for all consumers together, 0: no limit
	Ordinal  uint64 // the last one given out
	ID       uint64 // among what is due, of what basic.get took: unique among queues and consumers; 0: not given yet

	store      *Store
	unacked    uint32 // unsettled deliveries of consumers
	deliveries sequence[delivery]
	consumers  []*Consumer // by ID; those that are gone stay while they have deliveries
	tags       map[string]*Consumer

	marks     []mark             // when deliveries were lent: see overdue.go
	gets      int                // unsettled deliveries of basic.get
	oldestGet uint64             // none of them is before this
	timer     due.Item           // of gets, in store.Timers
	taken     sequence[struct{}] // deliveries that were taken back, and that the client has not settled since
}

// NewChannel returns a channel that holds nothing.
func (s *Store) NewChannel(owner command.Owner) *Channel {
	return &Channel{Owner: owner, store: s, tags: make(map[string]*Consumer)}
}

// Consumer returns the consumer with a tag, nil when there is none.
func (ch *Channel) Consumer(tag string) *Consumer { return ch.tags[tag] }

// EachConsumer calls f for the consumers, the oldest first.
func (ch *Channel) EachConsumer(f func(*Consumer)) {
	for _, c := range ch.consumers {
		if !c.gone {
			f(c)
		}
	}
}

// CancelAll ends all consumers, the oldest first, and calls f for each.
func (ch *Channel) CancelAll(f func(*Consumer)) {
	for _, c := range slices.Clone(ch.consumers) {
		if !c.gone {
			c.Cancel()
			f(c)
		}
	}
}

// full reports whether the channel's prefetch lets none of its consumers take a message.
func (ch *Channel) full() bool { return ch.Prefetch != 0 && ch.unacked >= ch.Prefetch }

// wake puts those consumers in line that can take a message again.
func (ch *Channel) wake() {
	if ch.full() {
		return
	}
	for _, c := range ch.consumers {
		c.wake()
	}
}

// SetPrefetch sets the channel's own prefetch.
func (ch *Channel) SetPrefetch(n uint32) {
	ch.Prefetch = n
	ch.wake()
}

// lend notes a delivery and returns its ordinal.
func (ch *Channel) lend(d delivery) uint64 {
	ch.Ordinal++
	ch.deliveries.add(&ch.store.deliveries, ch.Ordinal, d)
	if ch.store.timing {
		ch.stamp(d)
	}
	if d.consumer != nil {
		ch.unacked++
	} else {
		ch.gets++
	}
	return ch.Ordinal
}

// Settle settles the unsettled deliveries with ordinals from to to.
func (ch *Channel) Settle(from, to uint64, outcome command.Outcome) {
	wasFull := ch.full()
	ch.deliveries.removeRange(&ch.store.deliveries, from, to, func(_ uint64, d delivery) {
		ch.ending(d, outcome, ByClient)
		ch.settle(d, outcome, causeOf(outcome))
	})
	if ch.taken.count > 0 {
		ch.forgetTaken(from, to)
	}
	if wasFull {
		ch.wake()
	}
}

func (ch *Channel) settle(d delivery, outcome command.Outcome, why cause) {
	if d.consumer == nil {
		ch.gets--
	}
	if d.queue.deleted {
		return
	}
	d.queue.settle(d.sequence, outcome, why)
	c := d.consumer
	if c == nil {
		return
	}
	ch.unacked--
	c.unacked--
	if c.gone {
		c.forget()
		return
	}
	if c.unacked == 0 && c.Queue.rival != nil {
		c.Queue.choose()
	}
	c.wake()
}

// Recover puts all that is unsettled back in its queues.
func (ch *Channel) Recover() {
	ch.Settle(0, ch.Ordinal, command.Requeue)
	ch.timer.Remove()
}

// GiveBack is Recover for a channel whose node is gone: that is not the client's
// failure with its messages.
func (ch *Channel) GiveBack() {
	ch.deliveries.removeRange(&ch.store.deliveries, 0, ch.Ordinal, func(_ uint64, d delivery) {
		ch.ending(d, command.Requeue, ByNodeLoss)
		ch.settle(d, command.Requeue, lost)
	})
	ch.timer.Remove()
}

// Unsettled calls f for each unsettled delivery by ordinal. c is nil for what
// basic.get took. It reads messages that are away, and changes nothing. It panics
// with *Unreadable when one cannot be read.
func (ch *Channel) Unsettled(f func(ordinal uint64, q *Queue, c *Consumer, m *command.Message, redelivered bool, tries Tries)) {
	var away peeker
	ch.deliveries.each(func(n uint64, d delivery) {
		if d.queue.deleted {
			return
		}
		at, slot, _ := d.queue.messages.lookup(d.sequence)
		c := d.queue.messages.chunks[at]
		m, err := away.message(ch.store.records, c, slot)
		if err != nil {
			panic(&Unreadable{Queue: d.queue.Spec.Name, Err: err})
		}
		f(n, d.queue, d.consumer, m, c.again.has(slot), c.triesOf(slot))
	})
}

// A Got is what basic.get found.
type Got struct {
	Message     *command.Message // nil: the queue is empty
	Ordinal     uint64           // 0 without acknowledgement
	Redelivered bool
	Tries       Tries
}

// Get takes the first message of a queue for the channel, which has to settle it.
func (ch *Channel) Get(q *Queue) Got {
	if q.ready == 0 {
		q.GotEmpty++
		return Got{}
	}
	n, h := q.lendHead(here)
	q.Got++
	q.countAgain(h.again)
	ordinal := ch.lend(delivery{queue: q, sequence: n})
	q.given(n, &h, nil, ch, ordinal)
	return Got{Message: h.m, Ordinal: ordinal, Redelivered: h.again, Tries: h.tries}
}

// Get takes the first message of the queue for good.
func (q *Queue) Get() Got {
	if q.ready == 0 {
		q.GotEmpty++
		return Got{}
	}
	n, h := q.takeHead(here)
	q.GotAuto++
	q.countAgain(h.again)
	q.given(n, &h, nil, nil, 0)
	return Got{Message: h.m, Redelivered: h.again, Tries: h.tries}
}
