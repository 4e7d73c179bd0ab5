package queue

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"warren/fsm/command"
	"warren/fsm/internal/stream"
)

// A late is what a model knows of a delayed message.
type late struct {
	at int64
	id string
}

// TestDelayed delays messages at random, cancels some and takes what is due, with messages on
// disk and the whole loaded anew whenever chance wants it, beside a model: a sorted list.
func TestDelayed(t *testing.T) {
	for seed := range uint64(5) {
		r := rand.New(rand.NewPCG(seed, 3))
		p := newPages()
		s := NewStore(p)
		d := s.NewDelayed(1, "/")
		now := int64(spansFrom) + r.Int64N(1<<40)
		var model []late
		number := 0
		for step := range 120 {
			s.SetNow(now)
			switch r.IntN(6) {
			case 0, 1:
				for range r.IntN(700) {
					number++
					id := fmt.Sprint(number)
					at := now + 1 + r.Int64N(1<<r.IntN(30))
					d.Add(s.NewMessage(id[:1], []byte(id), nil, make([]byte, r.IntN(50))), now, at)
					model = append(model, late{at: at, id: id})
				}
			case 2:
				now += r.Int64N(1 << r.IntN(24))
				s.SetNow(now)
				b := NewBudget(1 << 30)
				slices.SortStableFunc(model, func(a, b late) int { return int(a.at - b.at) })
				var last int64
				for m, _ := d.Next(now, &b); m != nil; m, _ = d.Next(now, &b) {
					i := slices.IndexFunc(model, func(l late) bool { return l.id == string(m.Key) })
					if i < 0 || model[i].at > now || model[i].at < last {
						t.Fatalf("seed %d, step %d: message %s came at the wrong time", seed, step, m.Key)
					}
					last = model[i].at
					model = slices.Delete(model, i, i+1)
				}
				if i := slices.IndexFunc(model, func(l late) bool { return l.at <= now }); i >= 0 {
					t.Fatalf("seed %d, step %d: %+v did not come", seed, step, model[i])
				}
			case 3:
				for range min(10, d.Len()) {
					a := d.order[r.IntN(len(d.order))]
					if m := d.Cancel(a.n); m != nil {
						model = slices.DeleteFunc(model, func(l late) bool { return l.id == string(m.Key) })
					}
				}
			case 4:
				p.checkpoint(t, s, d.q)
			case 5:
				s.Evict()
			}
			if d.Len() != len(model) {
				t.Fatalf("seed %d, step %d: %d are delayed and not %d", seed, step, d.Len(), len(model))
			}
			if err := d.Check(); err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
			check(t, d.q)
			if step%20 == 19 {
				s, d = reloadDelayed(t, p, s, d, now)
			}
		}
		d.Delete()
		if len(p.live) != 0 || s.Resident() != 0 {
			t.Fatalf("seed %d: %d records and %d bytes are left", seed, len(p.live), s.Resident())
		}
	}
}

// reloadDelayed saves all and loads it into a new store.
func reloadDelayed(t *testing.T, p *pages, s *Store, d *Delayed, now int64) (*Store, *Delayed) {
	t.Helper()
	var b bytes.Buffer
	s.Freeze()
	w := stream.NewWriter(&b)
	p.refs = nil
	d.q.Write(w)
	changes := d.q.Capture().Save(w, p, nil)
	d.Capture(now).Write(w)
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	s.Stored(changes)
	refs := p.refs
	to := NewStore(p)
	to.SetNow(now)
	l := NewLoader(to, 1)
	r := stream.NewReader(&b)
	q := l.Queue(r)
	l.Pages(r, func() (command.Record, error) {
		next := refs[0]
		refs = refs[1:]
		return next, nil
	}, q)
	again := l.Delayed(r, q)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	d.Delete()
	return to, again
}

// TestFirstIsBounded checks that a look at delayed messages reads a bounded number of bytes, each record
// once, and says that there are more.
func TestFirstIsBounded(t *testing.T) {
	p := newPages()
	s := NewStore(p)
	d := s.NewDelayed(1, "/")
	now := int64(spansFrom) + 1<<39
	for i := range int64(40) { // of two classes, in turn
		d.Add(s.NewMessage("x", nil, nil, make([]byte, 1<<20)), now, now+2000+i)
		d.Add(s.NewMessage("x", nil, nil, make([]byte, 10)), now-1<<20, now+2000+i)
	}
	p.checkpoint(t, s, d.q)
	s.Evict()
	p.reads = 0
	seen := 0
	more := d.First(func(DelayedMessage) bool { seen++; return true })
	if !more || p.reads > 20 || seen < 20 || seen > 40 {
		t.Errorf("%d of 80 seen in %d reads, more: %v", seen, p.reads, more)
	}
	if more := d.First(func(DelayedMessage) bool { return false }); more {
		t.Error("more, though nobody wants more")
	}
	for i := range int64(2 * firstLooks) {
		d.Add(s.NewMessage("x", nil, nil, nil), now, now+1+i%1000)
	}
	seen = 0
	if more = d.First(func(DelayedMessage) bool { seen++; return true }); !more || seen != firstLooks {
		t.Errorf("%d seen, more: %v", seen, more)
	}
}

// TestDelayedSpans checks that a span that is over is known to be, and that the messages of full spans
// find room.
func TestDelayedSpans(t *testing.T) {
	now := int64(spansFrom) + 1<<39
	for _, delay := range []int64{1, 1000, 60_000, 86_400_000, 1<<32 - 1} {
		key, width := spanOf(now, now+delay)
		if over(key, now+delay) || !over(key, now+delay+1<<width) {
			t.Errorf("a span of %d ms ends at the wrong time", int64(1)<<width)
		}
		if int64(1)<<width > max(delay/16, 1<<firstSpan) {
			t.Errorf("a delay of %d ms has spans of %d", delay, int64(1)<<width)
		}
	}
	s := NewStore(nil)
	d := s.NewDelayed(1, "/")
	key, _ := spanOf(now, now+5)
	d.spans[key] = 1 << slotBits
	d.Add(s.NewMessage("", nil, nil, nil), now, now+5)
	if d.spans[key+1] != 1 || d.Check() != nil {
		t.Errorf("spans %v, %v", d.spans, d.Check())
	}
}

// BenchmarkDelayed delays a million messages for random times within an hour, saves them, and lets them
// come due. It reports the cost of a message for each, and the memory of one that is on disk.
func BenchmarkDelayed(b *testing.B) {
	const count = 1_000_000
	for b.Loop() {
		p := newPages()
		s := NewStore(p)
		d := s.NewDelayed(1, "/")
		r := rand.New(rand.NewPCG(1, 1))
		now := int64(spansFrom) + 1<<39
		body := make([]byte, 100)
		before := live()
		begin := b.Elapsed()
		for range count {
			d.Add(s.NewMessage("x", nil, nil, body), now, now+1+r.Int64N(3_600_000))
		}
		b.ReportMetric(float64((b.Elapsed()-begin).Nanoseconds())/count, "ns/add")
		s.Freeze()
		changes := d.q.Capture().Save(stream.NewWriter(io.Discard), p, nil)
		s.Stored(changes)
		s.Evict()
		stored := 0
		for _, data := range p.data {
			stored += len(data)
		}
		b.ReportMetric(float64(int64(live()-before)-int64(stored))/count, "B/delayed")
		b.ReportMetric(float64(len(d.q.messages.chunks)), "chunks")
		s.SetLimit(64 << 20)
		begin = b.Elapsed()
		budget := NewBudget(1 << 40)
		for range 3600 {
			now += 1000
			s.SetNow(now)
			for m, _ := d.Next(now, &budget); m != nil; m, _ = d.Next(now, &budget) {
			}
			s.Trim()
		}
		b.ReportMetric(float64((b.Elapsed()-begin).Nanoseconds())/count, "ns/due")
		if d.Len() != 0 {
			b.Fatalf("%d are left", d.Len())
		}
		b.ReportMetric(float64(p.reads), "reads")
	}
}

// live returns the bytes in use after a garbage collection.
func live() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
