package queue

import (
	"slices"

	"warren/fsm/command"
	"warren/fsm/internal/due"
)

// A Consumer is one consumer of a queue, on one channel.
type Consumer struct {
	ID       uint64          // unique in the machine, never used again
	Spec     command.Consume // as asked for; Spec.Limit is the first limit only
	Priority int64           // higher ones are served first
	Queue    *Queue
	Channel  *Channel

	Limit     uint64 // see command.Credit
	Delivered uint64 // deliveries since it began
	unacked   uint32 // deliveries not settled

	own     int64    // its own timeout: see ownTimeout
	held    []uint64 // ordinals of its deliveries, in order, among those of some that are settled: see overdue.go
	timer   due.Item // in the store's Timers
	expired bool     // gone, because it kept a delivery for too long

	gone       bool // cancelled, with deliveries in flight
	waiting    bool // in a level of the queue
	prev, next *Consumer
}

// A level is the line of the consumers of one priority, in the order in which they
// get the next messages. It is never empty. Those that cannot take a message may stand in it; they
// step out when it is their turn.
type level struct {
	priority   int64
	head, tail *Consumer
}

// Unacked returns the number of its deliveries that are not settled.
func (c *Consumer) Unacked() int { return int(c.unacked) }

// open reports whether the consumer may be given one more message.
func (c *Consumer) open() bool {
	if c.Delivered >= c.Limit || c.Queue.single && c.Queue.serving() != c {
		return false
	}
	if c.Spec.NoAck {
		return true
	}
	if c.Spec.Prefetch != 0 && c.unacked >= c.Spec.Prefetch {
		return false
	}
	return !c.Channel.full()
}

// wake puts the consumer in line when it can take a message.
func (c *Consumer) wake() {
	if c.gone || c.waiting || !c.open() {
		return
	}
	c.Queue.enqueue(c)
	c.Queue.store.touch(c.Queue)
}

// enqueue puts a consumer at the end of the line of its priority.
func (q *Queue) enqueue(c *Consumer) {
	l := q.level(c.Priority)
	c.waiting, c.prev, c.next = true, l.tail, nil
	if l.tail == nil {
		l.head = c
	} else {
		l.tail.next = c
	}
	l.tail = c
}

// level returns the line of a priority, which it makes when there is none.
func (q *Queue) level(priority int64) *level {
	at := 0
	for at < len(q.levels) && q.levels[at].priority > priority {
		at++
	}
	if at == len(q.levels) || q.levels[at].priority != priority {
		q.levels = slices.Insert(q.levels, at, level{priority: priority})
	}
	return &q.levels[at]
}

// dequeue takes a consumer out of line. A line that is empty goes: clients may
// use any number of priorities.
func (q *Queue) dequeue(c *Consumer) {
	l := q.level(c.Priority)
	if c.prev == nil {
		l.head = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		l.tail = c.prev
	} else {
		c.next.prev = c.prev
	}
	if l.head == nil {
		q.levels = slices.DeleteFunc(q.levels, func(l level) bool { return l.head == nil })
	}
	c.waiting, c.prev, c.next = false, nil, nil
}

// turn returns the consumer that gets the next message, nil when none can.
func (q *Queue) turn() *Consumer {
	for len(q.levels) > 0 {
		c := q.levels[0].head
		if c.open() {
			return c
		}
		q.dequeue(c)
	}
	return nil
}

// assign gives ready messages to consumers until one or the other runs out.
func (q *Queue) assign(sink Sink) {
	for q.ready > 0 {
		c := q.turn()
		if c == nil {
			return
		}
		q.deliver(c, sink)
		if c.next != nil || !c.open() {
			q.dequeue(c)
			c.wake()
		}
	}
}

// deliver gives the first message to a consumer.
func (q *Queue) deliver(c *Consumer, sink Sink) {
	c.Delivered++
	epoch := c.Channel.Owner.Epoch
	if c.Spec.NoAck {
		n, h := q.takeHead(epoch)
		q.DeliveredAuto++
		q.countAgain(h.again)
		sink.Deliver(c, 0, h.again, h.tries, h.m, h.size)
		q.given(n, &h, c, c.Channel, 0)
		return
	}
	n, h := q.lendHead(epoch)
	q.Delivered++
	q.countAgain(h.again)
	c.unacked++
	ordinal := c.Channel.lend(delivery{queue: q, sequence: n, consumer: c})
	sink.Deliver(c, ordinal, h.again, h.tries, h.m, h.size)
	q.given(n, &h, c, c.Channel, ordinal)
}

func (q *Queue) countAgain(again bool) {
	if again {
		q.Redelivered++
	}
}

// Consume adds a consumer to a queue and a channel. Its tag must be new on the
// channel.
func (s *Store) Consume(id uint64, spec command.Consume, priority int64, q *Queue, ch *Channel) *Consumer {
	c := &Consumer{ID: id, Spec: spec, Priority: priority, Queue: q, Channel: ch, Limit: spec.Limit, own: ownTimeout(&spec)}
	c.join()
	q.choose()
	c.wake()
	return c
}

// join enters the consumer in the lists of its queue and channel.
func (c *Consumer) join() {
	c.Queue.consumers = append(c.Queue.consumers, c)
	c.Channel.consumers = append(c.Channel.consumers, c)
	if !c.gone {
		c.Queue.live++
		c.Channel.tags[c.Spec.Tag] = c
	}
}

// Cancel ends the consumer. Its deliveries in flight stay with the channel. Who follows it as the active one
// is decided by Assign, so only once when many go.
func (c *Consumer) Cancel() {
	if c.gone {
		return
	}
	if c.waiting {
		c.Queue.dequeue(c)
	}
	c.gone = true
	c.Queue.live--
	if c.Queue.live == 0 {
		c.Queue.Use()
	}
	delete(c.Channel.tags, c.Spec.Tag)
	c.forget()
	if q := c.Queue; (c == q.active || c == q.rival) && !q.unchosen {
		q.unchosen = true
		c.Queue.store.unchosen = append(c.Queue.store.unchosen, q)
	}
}

// forget drops a consumer that is gone when its last delivery is settled.
func (c *Consumer) forget() {
	if !c.gone || c.unacked > 0 {
		return
	}
	c.timer.Remove()
	c.Queue.consumers = without(c.Queue.consumers, c)
	c.Channel.consumers = without(c.Channel.consumers, c)
}

// orphan ends a consumer because its queue is being deleted: what it held counts
// as settled.
func (c *Consumer) orphan() {
	if !c.gone {
		c.gone = true
		delete(c.Channel.tags, c.Spec.Tag)
	}
	c.waiting, c.prev, c.next = false, nil, nil
	c.timer.Remove()
	wasFull := c.Channel.full()
	c.Channel.unacked -= c.unacked
	c.unacked = 0
	c.Channel.consumers = without(c.Channel.consumers, c)
	if wasFull {
		c.Channel.wake()
	}
}

// without removes a consumer from a list ordered by ID.
func without(list []*Consumer, c *Consumer) []*Consumer {
	i, ok := slices.BinarySearchFunc(list, c.ID, byID)
	if !ok {
		return list
	}
	return slices.Delete(list, i, i+1)
}

func byID(c *Consumer, id uint64) int {
	switch {
	case c.ID < id:
		return -1
	case c.ID > id:
		return 1
	default:
		return 0
	}
}

// SetLimit raises the consumer's limit (see command.Credit).
func (c *Consumer) SetLimit(limit uint64) {
	if limit > c.Limit {
		c.Limit = limit
		c.wake()
	}
}

// Taker returns the consumer that would be given the next message for good if that
// came now: the only one of an empty queue, without acknowledgements and with room.
// It is nil when there is none such.
func (q *Queue) Taker() *Consumer {
	if q.ready > 0 || q.live != 1 || len(q.levels) == 0 {
		return nil
	}
	c := q.levels[0].head
	if !c.Spec.NoAck || !c.open() {
		return nil
	}
	return c
}
