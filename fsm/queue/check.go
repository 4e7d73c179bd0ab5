package queue

import (
	"fmt"

	"warren/fsm/command"
)

// A Census is what Check finds out about a set of queues and channels. Start
// with an empty one, count all queues, then all channels, then ask for the verdict.
// It is for tests, and walks over everything.
type Census struct {
	lent    map[*Queue]map[uint64]bool // sequences of unacked messages; true: a delivery refers to it
	records map[command.Record]bool
	cost    int64
}

// Records returns the number of records that the queues refer to.
func (s *Census) Records() int { return len(s.records) }

// Resident returns the cost of the messages in memory.
func (s *Census) Resident() int64 { return s.cost }

// inside reports whether every bit of b is set in other.
func (b *bitmap) inside(other *bitmap) bool {
	for i := range b {
		if b[i]&^other[i] != 0 {
			return false
		}
	}
	return true
}

// Queue checks a queue in itself and counts its messages.
func (s *Census) Queue(q *Queue) error {
	if s.lent == nil {
		s.lent = make(map[*Queue]map[uint64]bool)
		s.records = make(map[command.Record]bool)
	}
	lent := make(map[uint64]bool)
	s.lent[q] = lent
	if err := q.checkLife(); err != nil {
		return err
	}
	count, ready, parked, delayed := 0, 0, 0, 0
	lanes := make([]int, len(q.lanes))
	var bytes, unackedBytes, parkedBytes, delayedBytes uint64
	for i, c := range q.messages.chunks {
		err := c.check()
		if err == nil {
			err = s.disk(c)
		}
		if err != nil {
			return fmt.Errorf("queue %q, chunk %d: %w", q.Spec.Name, i, err)
		}
		if c.live == 0 && i < len(q.messages.chunks)-1 {
			return fmt.Errorf("queue %q keeps an empty chunk", q.Spec.Name)
		}
		if i > 0 && c.base <= q.messages.chunks[i-1].base {
			return fmt.Errorf("queue %q has chunk %d behind %d", q.Spec.Name, c.base, q.messages.chunks[i-1].base)
		}
		if c.live > 0 && !q.fits(c.base+uint64(c.present.end())-1) {
			return fmt.Errorf("queue %q, chunk %d: a message was never given out", q.Spec.Name, i)
		}
		count, ready = count+c.live, ready+c.ready
		lanes[c.base>>laneShift] += c.ready
		if l := q.laneAt(c.base); c.ready > 0 && c.base+uint64(c.readyBits.next(0)) < l.first {
			return fmt.Errorf("queue %q: message %d is ready before the first of its lane", q.Spec.Name, c.base+uint64(c.readyBits.next(0)))
		}
		c.each(func(slot int) {
			size := uint64(bodySize(c, slot))
			if c.readyBits.has(slot) {
				bytes += size
				return
			}
			if c.parked.has(slot) {
				parked, parkedBytes = parked+1, parkedBytes+size
				return
			}
			if c.waitsUntil(slot) != 0 {
				delayed, delayedBytes = delayed+1, delayedBytes+size
				return
			}
			unackedBytes += size
			lent[c.base+uint64(slot)] = false
		})
	}
	if count != q.messages.count || ready != q.ready || count-ready-parked-delayed != q.unacked || parked != q.parked || parkedBytes != q.parkedB ||
		delayed != q.delayed || delayedBytes != q.delayedB ||
		bytes != q.bytes || unackedBytes != q.unackedB {
		return fmt.Errorf("queue %q counts %d of %d messages ready, its chunks have %d of %d",
			q.Spec.Name, q.ready, q.ready+q.unacked, ready, count)
	}
	for i := range lanes {
		if lanes[i] != q.lanes[i].ready {
			return fmt.Errorf("queue %q counts %d ready messages in lane %d, has %d", q.Spec.Name, q.lanes[i].ready, i, lanes[i])
		}
	}
	if err := q.checkActive(); err != nil {
		return err
	}
	if err := q.checkDedup(); err != nil {
		return fmt.Errorf("queue %q: %w", q.Spec.Name, err)
	}
	return q.checkConsumers()
}

func (c *chunk[T]) check() error {
	switch {
	case c.present.count() != c.live || c.readyBits.count() != c.ready:
		return fmt.Errorf("%d live and %d ready, bitmaps have %d and %d",
			c.live, c.ready, c.present.count(), c.readyBits.count())
	case !c.readyBits.inside(&c.present) || !c.again.inside(&c.present):
		return fmt.Errorf("an empty slot has flags")
	}
	return nil
}

// disk checks what a chunk has in memory and on disk.
func (s *Census) disk(c *page) error {
	var held int64
	end := 0
	for i := range c.parts {
		p := &c.parts[i]
		if p.from < end || p.to <= p.from || p.to > c.stored || s.records[p.record] {
			return fmt.Errorf("part %d has slots %d to %d behind %d, or a record twice", i, p.from, p.to, end)
		}
		end = p.to
		s.records[p.record] = true
	}
	for slot := range c.values {
		if m := c.values[slot]; m != nil {
			held += cost(m)
			if !c.present.has(slot) {
				return fmt.Errorf("slot %d is empty and has a message", slot)
			}
		}
	}
	s.cost += held
	if held != c.bytes {
		return fmt.Errorf("messages in memory cost %d and not %d", held, c.bytes)
	}
	for slot := c.present.next(0); slot < chunkSize; slot = c.present.next(slot + 1) {
		_, err := c.partOf(slot)
		if slot < c.stored && err != nil || slot >= c.stored && (err == nil || c.at(slot) == nil) {
			return fmt.Errorf("message %d is neither in memory nor on disk, or on disk too soon", slot)
		}
	}
	return nil
}

// checkConsumers checks who waits, and that nobody waits for what is there.
func (q *Queue) checkConsumers() error {
	live, waiting := 0, 0
	for _, c := range q.consumers {
		switch {
		case c.Queue != q:
			return fmt.Errorf("queue %q has a consumer of another", q.Spec.Name)
		case c.gone && (c.unacked == 0 || c.waiting):
			return fmt.Errorf("queue %q keeps consumer %q, which is gone", q.Spec.Name, c.Spec.Tag)
		case !c.gone && c.open() && !c.waiting:
			return fmt.Errorf("consumer %q of queue %q could take messages and does not wait", c.Spec.Tag, q.Spec.Name)
		case !c.gone && c.open() && q.ready > 0:
			return fmt.Errorf("consumer %q of queue %q is not given what is ready", c.Spec.Tag, q.Spec.Name)
		case c.Delivered > c.Limit || c.Spec.Prefetch > 0 && c.unacked > c.Spec.Prefetch:
			return fmt.Errorf("consumer %q of queue %q was given too much", c.Spec.Tag, q.Spec.Name)
		}
		if !c.gone {
			live++
		}
		if c.waiting {
			waiting++
		}
	}
	lined := 0
	for i := range q.levels {
		if q.levels[i].head == nil {
			return fmt.Errorf("queue %q keeps an empty line", q.Spec.Name)
		}
		for c := q.levels[i].head; c != nil; c = c.next {
			lined++
		}
	}
	if live != q.live || waiting != lined {
		return fmt.Errorf("queue %q counts %d consumers and %d in line, has %d and %d", q.Spec.Name, q.live, lined, live, waiting)
	}
	return nil
}

// Channel checks a channel and the deliveries that it holds.
func (s *Census) Channel(ch *Channel) error {
	var err error
	held := make(map[*Consumer]uint32)
	total := uint32(0)
	ch.deliveries.each(func(n uint64, d delivery) {
		if d.queue.deleted || err != nil {
			return
		}
		claimed, ok := s.lent[d.queue][d.sequence]
		if !ok || claimed || n > ch.Ordinal {
			err = fmt.Errorf("delivery %d of channel %v refers to a message that is not lent once", n, ch.Owner)
			return
		}
		s.lent[d.queue][d.sequence] = true
		if d.consumer != nil {
			held[d.consumer]++
			total++
		}
	})
	if err != nil {
		return err
	}
	if err := ch.checkTimes(); err != nil {
		return err
	}
	if total != ch.unacked {
		return fmt.Errorf("channel %v counts %d unsettled, has %d", ch.Owner, ch.unacked, total)
	}
	for _, c := range ch.consumers {
		if held[c] != c.unacked || c.Channel != ch || !c.gone && ch.tags[c.Spec.Tag] != c {
			return fmt.Errorf("consumer %q of channel %v counts %d unsettled, has %d", c.Spec.Tag, ch.Owner, c.unacked, held[c])
		}
		delete(held, c)
	}
	if len(held) > 0 {
		return fmt.Errorf("channel %v holds deliveries of unknown consumers", ch.Owner)
	}
	return nil
}

// Verdict checks what can be told when all queues and channels were counted.
// Queues and channels are those of the calls before, in any order.
func (s *Census) Verdict(queues []*Queue) error {
	for _, q := range queues {
		for _, c := range q.consumers {
			if _, ok := s.lent[c.Queue]; !ok {
				return fmt.Errorf("consumer %q is on a queue that is gone", c.Spec.Tag)
			}
		}
		claimed := 0
		q.messages.each(func(n uint64, _ *command.Message) {
			if s.lent[q][n] {
				claimed++
			}
		})
		if claimed != q.unacked {
			return fmt.Errorf("queue %q: channels hold %d of %d unacked messages", q.Spec.Name, claimed, q.unacked)
		}
	}
	return nil
}

// checkTimes checks that it is known when all that the channel holds was lent, and that it
// is looked after in time.
func (ch *Channel) checkTimes() error {
	if !ch.store.timing {
		return nil
	}
	n, any := ch.deliveries.next(0)
	if any && (len(ch.marks) == 0 || ch.marks[0].from > n) {
		return fmt.Errorf("channel %v does not know when it was given delivery %d", ch.Owner, n)
	}
	for _, c := range ch.consumers {
		if at, ok := c.Due(); ok && !c.timer.Awaits(at) {
			return fmt.Errorf("nobody awaits that a delivery of consumer %q is overdue at %d", c.Spec.Tag, at)
		}
		if c.expired && !c.gone {
			return fmt.Errorf("consumer %q has expired and is there", c.Spec.Tag)
		}
	}
	if at, ok := ch.Due(); ok && (!ch.timer.Awaits(at) || ch.ID == 0) {
		return fmt.Errorf("nobody awaits that a get of channel %v is overdue at %d", ch.Owner, at)
	}
	var err error
	ch.taken.each(func(n uint64, _ struct{}) {
		if _, _, there := ch.deliveries.lookup(n); there || n > ch.Ordinal {
			err = fmt.Errorf("delivery %d of channel %v was taken back, and is there or never was", n, ch.Owner)
		}
	})
	return err
}
