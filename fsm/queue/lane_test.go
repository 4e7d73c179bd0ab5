package queue

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"warren/fsm/command"
	"warren/fsm/internal/stream"
	"warren/protocol/wire"
)

// ranked returns a property list with a priority.
func ranked(priority int) []byte {
	return wire.AppendProperties(nil, &wire.Properties{Present: wire.FlagPriority, Priority: uint8(priority)})
}

// ranking makes a queue with priorities.
func ranking(s *Store, highest int) *Queue {
	q := s.NewQueue(1, command.QueueDeclare{Name: "q", Args: wire.Table{{Name: "x-max-priority", Value: int32(highest)}}})
	q.UseArguments()
	return q
}

// A rankedMessage is what a model of a queue with priorities knows of a message.
type rankedMessage struct{ priority, number int }

// before orders as a queue with priorities does.
func before(a, b rankedMessage) int {
	return cmp.Or(cmp.Compare(b.priority, a.priority), cmp.Compare(a.number, b.number))
}

// TestPriorities runs a queue of many chunks with priorities, on disk whenever chance
// wants it, beside a model: a sorted list.
func TestPriorities(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 1))
		p := newPages()
		s := NewStore(p)
		const highest = 5
		q := ranking(s, highest)
		ch := s.NewChannel(command.Owner{})
		var ready []rankedMessage
		lent := make(map[uint64]rankedMessage)
		number := 0
		for step := range 60 {
			n := r.IntN(2 * chunkSize)
			switch r.IntN(7) {
			case 0, 1:
				for range n {
					number++
					m := rankedMessage{r.IntN(highest + 3), number}
					q.Push(s.NewMessage("", fmt.Append(nil, number), ranked(m.priority), make([]byte, r.IntN(9))), None)
					m.priority = min(m.priority, highest)
					ready = append(ready, m)
				}
				slices.SortFunc(ready, before)
			case 2, 3:
				for range min(n, len(ready)) {
					g := ch.Get(q)
					if string(g.Message.Key) != fmt.Sprint(ready[0].number) {
						t.Fatalf("seed %d, step %d: message %s came and not %v", seed, step, g.Message.Key, ready[0])
					}
					lent[g.Ordinal] = ready[0]
					ready = ready[1:]
				}
			case 4:
				outcome := []command.Outcome{command.Ack, command.Requeue, command.Requeue}[r.IntN(3)]
				from := ch.Ordinal - min(ch.Ordinal, uint64(r.IntN(3*chunkSize)))
				for o := from; o <= from+uint64(n); o++ {
					if m, ok := lent[o]; ok && outcome == command.Requeue {
						ready = append(ready, m)
					}
					delete(lent, o)
				}
				slices.SortFunc(ready, before)
				ch.Settle(from, from+uint64(n), outcome)
			case 5:
				p.checkpoint(t, s, q)
			case 6:
				s.Evict()
			}
			if q.Ready() != len(ready) || q.Unacked() != len(lent) {
				t.Fatalf("seed %d, step %d: %d ready and not %d", seed, step, q.Ready(), len(ready))
			}
			if step%8 == 0 {
				check(t, q, ch)
			}
		}
		for _, m := range ready[:min(len(ready), 100)] {
			if g := q.Get(); string(g.Message.Key) != fmt.Sprint(m.number) {
				t.Fatalf("seed %d: message %s came and not %v", seed, g.Message.Key, m)
			}
		}
		q.Delete()
		if len(p.live) != 0 || s.Resident() != 0 {
			t.Fatalf("seed %d: %d records and %d bytes are left", seed, len(p.live), s.Resident())
		}
	}
}

// TestPrioritiesInSnapshots saves and loads a queue with priorities in both forms.
func TestPrioritiesInSnapshots(t *testing.T) {
	p := newPages()
	s := NewStore(p)
	q := ranking(s, 9)
	for i := range 3 * chunkSize {
		q.Push(s.NewMessage("", fmt.Append(nil, i), ranked(i%10), nil), None)
	}
	for range 100 {
		q.Get()
	}
	var pages, whole bytes.Buffer
	s.Freeze()
	w := stream.NewWriter(&pages)
	q.Write(w)
	s.Stored(q.Capture().Save(w, p, nil))
	w.Close()
	w = stream.NewWriter(&whole)
	q.Write(w)
	q.Capture().Write(w, p)
	w.Close()
	refs := slices.Clone(p.refs)
	load := func(from io.Reader, read func(*Loader, *stream.Reader, *Queue)) *Queue {
		to := NewStore(p)
		l := NewLoader(to, 1)
		r := stream.NewReader(from)
		again := l.Queue(r)
		if r.Err() == nil {
			read(l, r, again)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		check(t, again)
		return again
	}
	a := load(&whole, func(l *Loader, r *stream.Reader, q *Queue) { l.Messages(r, q) })
	b := load(&pages, func(l *Loader, r *stream.Reader, q *Queue) {
		l.Pages(r, func() (command.Record, error) {
			next := refs[0]
			refs = refs[1:]
			return next, nil
		}, q)
	})
	late := func(q *Queue) { q.Push(q.store.NewMessage("", []byte("late"), ranked(7), nil), None) }
	late(q)
	late(a)
	late(b)
	for q.Ready() > 0 {
		want, one, two := q.Get(), a.Get(), b.Get()
		if string(one.Message.Key) != string(want.Message.Key) || string(two.Message.Key) != string(want.Message.Key) {
			t.Fatalf("%s and %s came, and not %s", one.Message.Key, two.Message.Key, want.Message.Key)
		}
	}
	if a.Ready() != 0 || b.Ready() != 0 {
		t.Errorf("%d and %d are left", a.Ready(), b.Ready())
	}
}

// TestLoadedChunkMadeAnew checks that what was stored of a chunk that a snapshot brought is not
// taken for that of one that was made in its place since.
func TestLoadedChunkMadeAnew(t *testing.T) {
	s, p, q := newPaged()
	push(s, q, 10)
	p.checkpoint(t, s, q)
	var b bytes.Buffer
	w := stream.NewWriter(&b)
	q.Write(w)
	refs := q.messages.chunks[0].parts
	q.Capture().Save(w, p, nil)
	w.Close()
	loaded := NewStore(p)
	l := NewLoader(loaded, 1)
	r := stream.NewReader(&b)
	again := l.Queue(r)
	l.Pages(r, func() (command.Record, error) { return refs[0].record, nil }, again)
	q.Delete()
	push(loaded, again, 1)
	loaded.Freeze()
	changes := again.Capture().Save(stream.NewWriter(io.Discard), p, nil)
	again.Purge()
	push(loaded, again, 1)
	loaded.Stored(changes)
	if c := census(t, again); c.Records() != len(p.live) {
		t.Errorf("%d records are referred to and %d there", c.Records(), len(p.live))
	}
}

// TestOldPriorities reads a queue with x-max-priority that was written when it had one order:
// what it held comes first, in that order.
func TestOldPriorities(t *testing.T) {
	var b bytes.Buffer
	w := stream.NewWriter(&b)
	old := ranking(NewStore(nil), 9)
	old.makeLanes(0)
	fill(old.store, old, 3)
	old.Write(w)
	old.store.Freeze()
	old.Capture().Write(w, nil)
	w.Close()
	s := NewStore(nil)
	l := NewLoader(s, 1)
	r := stream.NewReader(&b)
	q := l.Queue(r)
	l.Messages(r, q)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	q.UseArguments()
	q.Push(s.NewMessage("", nil, ranked(0), []byte("zero")), None)
	q.Push(s.NewMessage("", nil, ranked(9), []byte("nine")), None)
	check(t, q)
	for _, want := range []string{"0", "1", "2", "nine", "zero"} {
		if g := q.Get(); string(g.Message.Body) != want {
			t.Errorf("%s came and not %s", g.Message.Body, want)
		}
	}
}

// BenchmarkPriorities fills a queue of a million messages with priorities and takes one for each that comes.
func BenchmarkPriorities(b *testing.B) {
	for _, highest := range []int{0, 10, 255} {
		b.Run(fmt.Sprint(highest), func(b *testing.B) {
			s := NewStore(nil)
			q := ranking(s, highest)
			var lists [256][]byte
			for i := range lists {
				lists[i] = ranked(i)
			}
			r := rand.New(rand.NewPCG(1, 1))
			push := func() { q.Push(s.NewMessage("", nil, lists[r.IntN(highest+1)], nil), None) }
			for range 1_000_000 {
				push()
			}
			b.ReportAllocs()
			for b.Loop() {
				push()
				q.Get()
			}
		})
	}
}
