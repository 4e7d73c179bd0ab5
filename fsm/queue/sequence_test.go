package queue

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// model is what a sequence ought to hold.
type model map[uint64]int

func (m model) numbers() []uint64 {
	var all []uint64
	for n := range m {
		all = append(all, n)
	}
	slices.Sort(all)
	return all
}

func (m model) clone() model {
	c := make(model)
	for n, v := range m {
		c[n] = v
	}
	return c
}

func contents(chunks []*chunk[int]) (numbers []uint64, values []int) {
	s := sequence[int]{chunks: chunks}
	s.each(func(n uint64, v int) {
		numbers = append(numbers, n)
		values = append(values, v)
	})
	return numbers, values
}

func sameAs(m model, chunks []*chunk[int]) error {
	numbers, values := contents(chunks)
	if want := m.numbers(); !slices.Equal(numbers, want) {
		return fmt.Errorf("holds %v and not %v", numbers, want)
	}
	for i, n := range numbers {
		if values[i] != m[n] {
			return fmt.Errorf("number %d is %d and not %d", n, values[i], m[n])
		}
	}
	return nil
}

// TestSequenceAgainstModel does random things to a sequence, over many chunks with gaps
// between them, and checks that captures stay as they were.
func TestSequenceAgainstModel(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 0))
		var p pool[int]
		var s sequence[int]
		m := make(model)
		type capture struct {
			chunks []*chunk[int]
			want   model
		}
		var captures []capture
		next := uint64(r.IntN(3000)) + 1
		for step := range 3000 {
			switch k := r.IntN(100); {
			case k < 55:
				next += 1 + uint64(r.IntN(3))
				if r.IntN(50) == 0 {
					next += uint64(r.IntN(5000))
				}
				s.add(&p, next, step)
				m[next] = step
			case k < 90:
				n := uint64(r.Int64N(int64(next) + 10))
				if all := m.numbers(); r.IntN(4) > 0 && len(all) > 0 {
					n = all[r.IntN(len(all))]
				}
				at, slot, ok := s.lookup(n)
				if want, there := m[n]; ok != there {
					t.Fatalf("seed %d: lookup %d says %v", seed, n, ok)
				} else if ok {
					if v := s.remove(&p, at, slot); v != want {
						t.Fatalf("seed %d: removed %d and not %d", seed, v, want)
					}
					delete(m, n)
				}
			case k < 97:
				from := uint64(r.Int64N(int64(next) + 1))
				to := from + uint64(r.IntN(3000))
				if r.IntN(8) == 0 {
					from, to = 0, ^uint64(0)
				}
				removeRange(t, &s, &p, m, from, to)
			default:
				captures = append(captures, capture{slices.Clone(s.chunks), m.clone()})
				p.freeze()
			}
			if s.count != len(m) {
				t.Fatalf("seed %d, step %d: counts %d and not %d", seed, step, s.count, len(m))
			}
		}
		if err := sameAs(m, s.chunks); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for i, c := range captures {
			if err := sameAs(c.want, c.chunks); err != nil {
				t.Fatalf("seed %d: capture %d changed: %v", seed, i, err)
			}
		}
	}
}

func removeRange(t *testing.T, s *sequence[int], p *pool[int], m model, from, to uint64) {
	t.Helper()
	var got []uint64
	s.removeRange(p, from, to, func(n uint64, v int) {
		if m[n] != v {
			t.Fatalf("number %d is %d and not %d", n, v, m[n])
		}
		got = append(got, n)
	})
	var want []uint64
	for _, n := range m.numbers() {
		if n >= from && n <= to {
			want = append(want, n)
			delete(m, n)
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("range %d to %d removed %v and not %v", from, to, got, want)
	}
}

// TestSequenceCost checks that a sequence keeps no memory for what is gone, and
// that one old value among many gone ones costs one chunk.
func TestSequenceCost(t *testing.T) {
	var p pool[int]
	var s sequence[int]
	s.add(&p, 1, 1)
	for n := uint64(2); n < 100*chunkSize; n++ {
		s.add(&p, n, 1)
		at, slot, _ := s.lookup(n)
		s.remove(&p, at, slot)
	}
	if len(s.chunks) > 2 {
		t.Errorf("%d chunks for one value", len(s.chunks))
	}
	at, slot, ok := s.lookup(1)
	if !ok {
		t.Fatal("the old value is gone")
	}
	s.remove(&p, at, slot)
	if s.count != 0 || len(p.free) > maxFree {
		t.Errorf("%d values, %d free chunks", s.count, len(p.free))
	}
}

// TestSequenceAllocatesNothing checks that values passing through reuse chunks.
func TestSequenceAllocatesNothing(t *testing.T) {
	var p pool[int]
	var s sequence[int]
	n := uint64(0)
	pass := func() {
		for range 10 * chunkSize {
			n++
			s.add(&p, n, 1)
			at, slot, _ := s.lookup(n)
			s.remove(&p, at, slot)
		}
	}
	pass()
	if got := testing.AllocsPerRun(5, pass); got > 1 {
		t.Errorf("%v allocations for %d values", got, 10*chunkSize)
	}
}

// TestEmptyChunkOfCapture checks that an empty chunk which a capture shares is
// not used for other numbers.
func TestEmptyChunkOfCapture(t *testing.T) {
	var p pool[int]
	var s sequence[int]
	s.add(&p, 1, 1)
	s.add(&p, chunkSize+1, 2)
	at, slot, _ := s.lookup(chunkSize + 1)
	s.remove(&p, at, slot)
	captured := slices.Clone(s.chunks)
	p.freeze()
	s.add(&p, 5*chunkSize, 3) // puts the empty chunk aside
	s.add(&p, 6*chunkSize, 4)
	if err := sameAs(model{1: 1}, captured); err != nil {
		t.Error(err)
	}
}
