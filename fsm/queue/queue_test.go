package queue

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"warren/fsm/command"
	"warren/fsm/internal/stream"
)

// taker remembers what was delivered.
type taker struct{ got []string }

func (k *taker) Deliver(c *Consumer, ordinal uint64, redelivered bool, _ Tries, m *command.Message, _ uint32) {
	k.got = append(k.got, fmt.Sprintf("%s %d %s %v", c.Spec.Tag, ordinal, m.Body, redelivered))
}

func newQueue() (*Store, *Queue) {
	s := NewStore(nil)
	return s, s.NewQueue(1, command.QueueDeclare{Name: "q"})
}

func fill(s *Store, q *Queue, n int) {
	for i := range n {
		q.Push(s.NewMessage("", nil, nil, fmt.Appendf(nil, "%d", i)), None)
	}
}

// push adds messages that cost the same.
func push(s *Store, q *Queue, n int) {
	for range n {
		q.Push(s.NewMessage("", nil, nil, make([]byte, 4)), None)
	}
}

// held returns the number of messages of push in memory.
func held(s *Store) int64 { return s.Resident() / (messageCost + 4) }

func check(t *testing.T, q *Queue, channels ...*Channel) {
	t.Helper()
	var census Census
	err := census.Queue(q)
	for _, ch := range channels {
		if err == nil {
			err = census.Channel(ch)
		}
	}
	if err == nil {
		err = census.Verdict([]*Queue{q})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestManyChunks takes messages of many chunks, gives some back, and sees them
// come again in the original order.
func TestManyChunks(t *testing.T) {
	const n = 5*chunkSize + 17
	s, q := newQueue()
	fill(s, q, n)
	ch := s.NewChannel(command.Owner{})
	for range n - 10 {
		ch.Get(q)
	}
	check(t, q, ch)
	// Every third goes back, the rest is done with.
	for o := uint64(1); o <= ch.Ordinal; o++ {
		outcome := command.Ack
		if o%3 == 0 {
			outcome = command.Requeue
		}
		ch.Settle(o, o, outcome)
	}
	check(t, q, ch)
	var want, got []string
	for i := range n {
		if i >= n-10 || (i+1)%3 == 0 {
			want = append(want, fmt.Sprint(i))
		}
	}
	for {
		m := q.Get().Message
		if m == nil {
			break
		}
		got = append(got, string(m.Body))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d messages came back, %d expected, or in another order", len(got), len(want))
	}
	if held(s) != 0 {
		t.Errorf("%d messages are left", held(s))
	}
}

// TestReleaseAtAnyEnd checks that messages go with purge, delete and reject.
func TestReleaseAtAnyEnd(t *testing.T) {
	s, q := newQueue()
	push(s, q, 3000)
	ch := s.NewChannel(command.Owner{})
	for range 1500 {
		ch.Get(q)
	}
	if n := q.Purge(); n != 1500 || held(s) != 1500 {
		t.Fatalf("%d purged, %d messages left", n, held(s))
	}
	ch.Settle(1, 100, command.Reject)
	check(t, q, ch)
	if held(s) != 1400 || q.Rejected != 100 {
		t.Fatalf("%d rejected, %d messages left", q.Rejected, held(s))
	}
	push(s, q, 10)
	if n := q.Delete(); n != 10 || held(s) != 0 {
		t.Fatalf("%d deleted, %d messages left", n, held(s))
	}
	ch.Recover() // nothing is there any more
	if held(s) != 0 {
		t.Fatalf("%d messages left", held(s))
	}
}

// TestHostileRanges checks that settling the widest range again and again costs
// nothing once all is settled.
func TestHostileRanges(t *testing.T) {
	s, q := newQueue()
	fill(s, q, 2*chunkSize)
	ch := s.NewChannel(command.Owner{})
	for range 2 * chunkSize {
		ch.Get(q)
	}
	ch.Settle(0, ^uint64(0), command.Ack)
	for range 1_000_000 {
		ch.Settle(0, ^uint64(0), command.Requeue)
	}
	check(t, q, ch)
	if q.Acked != 2*chunkSize || q.Unacked() != 0 {
		t.Errorf("%d acked, %d unacked", q.Acked, q.Unacked())
	}
}

// TestPriorityLevels checks who is served first, and that equals take turns.
func TestPriorityLevels(t *testing.T) {
	s, q := newQueue()
	ch := s.NewChannel(command.Owner{})
	add := func(id uint64, tag string, priority int64, prefetch uint32) {
		s.Consume(id, command.Consume{Tag: tag, Limit: 100, Prefetch: prefetch}, priority, q, ch)
	}
	add(1, "low", 0, 0)
	add(2, "a", 7, 2)
	add(3, "b", 7, 1)
	fill(s, q, 5)
	var k taker
	s.Assign(&k)
	want := []string{"a 1 0 false", "b 2 1 false", "a 3 2 false", "low 4 3 false", "low 5 4 false"}
	if !slices.Equal(k.got, want) {
		t.Errorf("got %v", k.got)
	}
	check(t, q, ch)
}

// TestManyPriorities checks that priorities that nobody uses any more cost nothing.
func TestManyPriorities(t *testing.T) {
	s, q := newQueue()
	ch := s.NewChannel(command.Owner{})
	for i := range uint64(1000) {
		spec := command.Consume{Tag: "t", Limit: 1}
		c := s.Consume(i+1, spec, int64(i*7919%1000), q, ch)
		if i%2 == 0 {
			fill(s, q, 1)
			s.Assign(new(taker))
		}
		check(t, q, ch)
		c.Cancel()
	}
	if len(q.levels) != 0 {
		t.Errorf("%d lines for nobody", len(q.levels))
	}
}

// TestWriterBesideChange writes a capture while the queue goes on: run with -race.
func TestWriterBesideChange(t *testing.T) {
	s, q := newQueue()
	fill(s, q, 3*chunkSize)
	ch := s.NewChannel(command.Owner{})
	for range chunkSize {
		ch.Get(q)
	}
	write := func(c Contents, l Ledger) []byte {
		var b bytes.Buffer
		w := stream.NewWriter(&b)
		c.Write(w, nil)
		l.Write(w, func(*Queue) bool { return true })
		if _, err := w.Close(); err != nil {
			t.Error(err)
		}
		return b.Bytes()
	}
	s.Freeze()
	contents, ledger := q.Capture(), ch.Capture()
	want := write(contents, ledger)
	done := make(chan []byte)
	go func() { done <- write(contents, ledger) }()
	ch.Settle(1, 500, command.Ack)
	ch.Recover()
	fill(s, q, chunkSize)
	for range 2 * chunkSize {
		q.Get()
	}
	if got := <-done; !bytes.Equal(got, want) {
		t.Error("the capture has changed")
	}
	check(t, q, ch)
}
