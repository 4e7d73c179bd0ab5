package queue

import (
	"fmt"
	"testing"

	"warren/fsm/command"
	"warren/fsm/internal/due"
)

// timed returns a store in which deliveries can be overdue, and a queue of it with this timeout.
func timed(timeout int64) (*Store, *Queue) {
	s, q := newQueue()
	s.SetTiming(true)
	settings := DefaultSettings()
	settings.AckTimeout = timeout
	q.SetSettings(settings)
	return s, q
}

// TestMarksAreFew keeps one delivery while many others come and go, and checks that what is known of
// their times does not grow, and that the time of the one is kept.
func TestMarksAreFew(t *testing.T) {
	s, q := timed(1 << 40)
	ch := s.NewChannel(command.Owner{})
	k := new(taker)
	c := s.Consume(2, command.Consume{Tag: "t", Limit: 1 << 40}, 0, q, ch)
	s.SetNow(450)
	push(s, q, 1)
	s.Assign(k)
	for i := range int64(10_000) {
		s.SetNow(1000 + i*50)
		push(s, q, 3)
		s.Assign(k)
		ch.Settle(ch.Ordinal-2, ch.Ordinal, command.Ack)
	}
	check(t, q, ch)
	if len(ch.marks) > 10 {
		t.Errorf("%d marks for one delivery", len(ch.marks))
	}
	if at, ok := c.Due(); !ok || at != 500+1<<40 {
		t.Errorf("overdue at %d, %v", at, ok)
	}
	// Many that stay need as many as there are times, and no more.
	for i := range int64(1000) {
		s.SetNow(1_000_000 + i*10)
		push(s, q, 2)
		s.Assign(k)
		ch.Settle(ch.Ordinal, ch.Ordinal, command.Ack)
	}
	check(t, q, ch)
	if n := len(ch.marks); n < 100 || n > 120 {
		t.Errorf("%d marks for a hundred times", n)
	}
}

// TestOldestOfEach lets two consumers of a channel and a get take turns, and checks that each is
// looked after by what it holds itself.
func TestOldestOfEach(t *testing.T) {
	s, q := timed(1000)
	ch := s.NewChannel(command.Owner{})
	ch.ID = 9
	k := new(taker)
	a := s.Consume(2, command.Consume{Tag: "a", Limit: 1 << 40}, 0, q, ch)
	b := s.Consume(3, command.Consume{Tag: "b", Limit: 1 << 40}, 0, q, ch)
	for i := range int64(4000) { // a gets the odd ordinals, b the even ones
		s.SetNow(100 * i)
		push(s, q, 1)
		s.Assign(k)
	}
	c := s.NewQueue(4, command.QueueDeclare{Name: "other"})
	c.SetSettings(q.settings)
	push(s, c, 1)
	ch.Get(c)
	for o := uint64(1); o < 3000; o += 2 {
		ch.Settle(o, o, command.Ack)
	}
	ch.Settle(2, 2, command.Ack)
	for _, want := range []struct {
		of due.Timed
		at int64
	}{{a, 3000*100 + 1000}, {b, 3*100 + 1000}, {ch, 3999*100 + 1000}} {
		if at, ok := want.of.Due(); !ok || at != want.at {
			t.Errorf("overdue at %d, want %d", at, want.at)
		}
	}
	budget := NewBudget(10)
	b.Expire()
	b.TakeBack(&budget)
	if !budget.Spent() || b.Unacked() != 1989 || q.Ready() != 10 || !ch.Taken(4, 4) || ch.Taken(24, 24) || ch.Taken(2, 2) {
		t.Errorf("%d unsettled and %d ready after a budget of ten", b.Unacked(), q.Ready())
	}
	budget = NewBudget(10_000)
	b.TakeBack(&budget)
	if b.Unacked() != 5 {
		t.Errorf("%d unsettled", b.Unacked())
	}
	ch.Settle(0, ch.Ordinal, command.Ack)
	if ch.taken.count != 0 || b.Unacked() != 0 || ch.gets != 0 {
		t.Errorf("%d are still taken back, %d unsettled, %d gets", ch.taken.count, b.Unacked(), ch.gets)
	}
	for _, of := range []due.Timed{a, b, ch} {
		if at, ok := of.Due(); ok {
			t.Errorf("overdue at %d", at)
		}
	}
}

// BenchmarkDeliverSettle gives messages to a consumer and settles them, with and without looking after how
// long each is out; a new time comes with every 64 of them.
func BenchmarkDeliverSettle(b *testing.B) {
	for _, on := range []bool{false, true} {
		b.Run(fmt.Sprintf("timing=%v", on), func(b *testing.B) {
			s, q := timed(1 << 40)
			s.SetTiming(on)
			ch := s.NewChannel(command.Owner{})
			s.Consume(2, command.Consume{Tag: "t", Limit: 1 << 60}, 0, q, ch)
			m := s.NewMessage("", nil, nil, make([]byte, 4))
			var k nobody
			for n := 0; b.Loop(); n++ {
				if n%64 == 0 {
					s.SetNow(int64(n))
					ch.Settle(0, ch.Ordinal, command.Ack)
				}
				q.Push(m, None)
				s.Assign(k)
			}
		})
	}
}

// nobody takes deliveries and forgets them.
type nobody struct{}

func (nobody) Deliver(*Consumer, uint64, bool, Tries, *command.Message, uint32) {}

// TestOverdueAmongMany: what a consumer holds is found without a look at what the channel's other consumers hold, of which there may
// be millions between two deliveries of its own; and the list for that is not longer than what it holds.
func TestOverdueAmongMany(t *testing.T) {
	s := NewStore(nil)
	s.SetTiming(true)
	s.SetNow(1000)
	bulk, few := s.NewQueue(1, command.QueueDeclare{Name: "bulk"}), s.NewQueue(2, command.QueueDeclare{Name: "few"})
	settings := DefaultSettings()
	settings.AckTimeout = 1000
	few.SetSettings(settings)
	ch := s.NewChannel(command.Owner{})
	const consumers, between = 100, 5000
	for i := range consumers {
		s.Consume(uint64(10+i), command.Consume{Tag: fmt.Sprint(i), Limit: 1 << 40}, 0, few, ch)
	}
	s.Consume(5, command.Consume{Tag: "bulk", Limit: 1 << 40}, 0, bulk, ch)
	push := func(q *Queue, n int) {
		for range n {
			q.Push(s.NewMessage("x", nil, nil, nil), None)
		}
		s.Assign(nobody{})
	}
	push(few, consumers)
	push(bulk, between)
	s.SetNow(1900)
	push(few, consumers)
	ch.Settle(1, consumers, command.Ack)
	s.SetNow(2100)
	if what := s.Timers.Next(2100); what != nil {
		t.Fatalf("%v is overdue", what)
	}
	if at, ok := s.Timers.Peek(); !ok || at != 2900 {
		t.Errorf("the next are overdue at %d, not at 2900", at)
	}
	s.SetNow(2900)
	for range consumers {
		c, _ := s.Timers.Next(2900).(*Consumer)
		if c == nil || c.Queue != few || c.first() <= consumers+between {
			t.Fatalf("%+v is overdue", c)
		}
		b := NewBudget(10)
		c.Expire()
		c.TakeBack(&b)
	}
	if s.Timers.Next(2900) != nil || few.Unacked() != 0 || few.Ready() != consumers {
		t.Errorf("%d are unacknowledged, %d are ready", few.Unacked(), few.Ready())
	}
	bulkConsumer := ch.Consumer("bulk")
	for range 50 {
		push(bulk, 1000)
		ch.Settle(0, ch.Ordinal-10, command.Ack)
	}
	if n := cap(bulkConsumer.held); n > 2*between {
		t.Errorf("the list of a consumer that holds %d has room for %d", bulkConsumer.unacked, n)
	}
}
