package queue

import (
	"fmt"
	"math/bits"
)

// A Census is what Check finds out about a set of queues and channels. Start
// with an empty one, count all queues, then all channels, then ask for the verdict.
// It is for tests, and walks over everything.
type Census struct {
	holds map[*Message]uint32
	lent  map[*Queue]map[uint64]bool // sequences of unacked messages; true: a delivery refers to it
}

// Messages returns the number of different messages seen.
func (s *Census) Messages() int { return len(s.holds) }

func (b *bitmap) count() int {
	n := 0
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}

// within reports whether every bit of b is set in other.
func (b *bitmap) within(other *bitmap) bool {
	for i := range b {
		if b[i]&^other[i] != 0 {
			return false
		}
	}
	return true
}

// Queue checks a queue in itself and counts its messages.
func (s *Census) Queue(q *Queue) error {
	if s.holds == nil {
		s.holds = make(map[*Message]uint32)
		s.lent = make(map[*Queue]map[uint64]bool)
	}
	lent := make(map[uint64]bool)
	s.lent[q] = lent
	count, ready := 0, 0
	var bytes, unackedBytes uint64
	for i, c := range q.messages.chunks {
		if err := c.check(); err != nil {
			return fmt.Errorf("queue %q, chunk %d: %w", q.Spec.Name, i, err)
		}
		if c.live == 0 && i < len(q.messages.chunks)-1 {
			return fmt.Errorf("queue %q keeps an empty chunk", q.Spec.Name)
		}
		count, ready = count+c.live, ready+c.ready
		c.each(func(slot int) {
			m := c.values[slot]
			s.holds[m]++
			if c.readyBits.has(slot) {
				bytes += uint64(m.Body.Size)
				return
			}
			unackedBytes += uint64(m.Body.Size)
			lent[c.base+uint64(slot)] = false
		})
	}
	if count != q.messages.count || ready != q.ready || count-ready != q.unacked ||
		bytes != q.bytes || unackedBytes != q.unackedB {
		return fmt.Errorf("queue %q counts %d of %d messages ready, its chunks have %d of %d",
			q.Spec.Name, q.ready, q.ready+q.unacked, ready, count)
	}
	return q.checkConsumers()
}

func (c *chunk[T]) check() error {
	switch {
	case c.present.count() != c.live || c.readyBits.count() != c.ready:
		return fmt.Errorf("%d live and %d ready, bitmaps have %d and %d",
			c.live, c.ready, c.present.count(), c.readyBits.count())
	case !c.readyBits.within(&c.present) || !c.again.within(&c.present):
		return fmt.Errorf("an empty slot has flags")
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
		q.messages.each(func(n uint64, m *Message) {
			if s.lent[q][n] {
				claimed++
			}
		})
		if claimed != q.unacked {
			return fmt.Errorf("queue %q: channels hold %d of %d unacked messages", q.Spec.Name, claimed, q.unacked)
		}
		if err := s.checkHolds(q); err != nil {
			return err
		}
	}
	return nil
}

func (s *Census) checkHolds(q *Queue) error {
	var err error
	q.messages.each(func(n uint64, m *Message) {
		if m.refs != s.holds[m] {
			err = fmt.Errorf("message %d of queue %q is held %d times, counts %d", n, q.Spec.Name, s.holds[m], m.refs)
		}
	})
	return err
}
