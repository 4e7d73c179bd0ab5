package queue

import (
	"cmp"
	"math/bits"
	"slices"
)

// chunkSize is the number of slots of a chunk. It bounds what one write after a
// capture copies, and what a single old message keeps from being freed.
const chunkSize = 1024

// A bitmap has a bit for each slot of a chunk.
type bitmap [chunkSize / 64]uint64

func (b *bitmap) has(i int) bool { return b[i>>6]&(1<<(i&63)) != 0 }
func (b *bitmap) set(i int)      { b[i>>6] |= 1 << (i & 63) }
func (b *bitmap) clear(i int)    { b[i>>6] &^= 1 << (i & 63) }

// next returns the first bit set at or after i, chunkSize when there is none.
func (b *bitmap) next(i int) int {
	for w := i >> 6; w < len(b); w++ {
		v := b[w]
		if w == i>>6 {
			v &= ^uint64(0) << (i & 63)
		}
		if v != 0 {
			return w<<6 + bits.TrailingZeros64(v)
		}
	}
	return chunkSize
}

// count returns the number of bits set.
func (b *bitmap) count() int {
	n := 0
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}

// within returns the number of bits set from from to to, to not included.
func (b *bitmap) within(from, to int) int {
	n := 0
	for w := from >> 6; w < len(b) && w<<6 < to; w++ {
		v := b[w]
		if w == from>>6 {
			v &= ^uint64(0) << (from & 63)
		}
		if w == to>>6 {
			v &= 1<<(to&63) - 1
		}
		n += bits.OnesCount64(v)
	}
	return n
}

// end returns the number of the slot behind the last bit set, 0 when there is none.
func (b *bitmap) end() int {
	for w := len(b) - 1; w >= 0; w-- {
		if b[w] != 0 {
			return w<<6 + bits.Len64(b[w])
		}
	}
	return 0
}

// A chunk holds the values numbered base to base+chunkSize-1. A value that is
// not present is zero, and so are its bits: an empty chunk is a clean one.
//
// Messages that are stored on disk may be away: present, with no value.
type chunk[T any] struct {
	generation uint64 // of the pool when the chunk was made or copied
	base       uint64 // a multiple of chunkSize
	live       int    // values present
	ready      int    // bits set in readyBits
	present    bitmap
	readyBits  bitmap
	again      bitmap // delivered before
	values     []T    // grows up to chunkSize; what is away may be beyond its end

	disk // of messages only
	life // of messages only
}

// at returns the value of a slot, zero when it is not there or away.
func (c *chunk[T]) at(slot int) (v T) {
	if slot < len(c.values) {
		v = c.values[slot]
	}
	return v
}

// A pool makes and reuses chunks, and tells which of them a capture may share.
type pool[T any] struct {
	generation uint64
	free       []*chunk[T]
	dropped    func(*disk) // takes what a chunk that goes has on disk; nil: nothing can be
}

// maxFree bounds the memory that a pool keeps for reuse (8 to 24 KiB a chunk).
const maxFree = 64

// freeze makes every chunk in use copied before its next change.
func (p *pool[T]) freeze() { p.generation++ }

func (p *pool[T]) get(base uint64) *chunk[T] {
	if n := len(p.free); n > 0 {
		c := p.free[n-1]
		p.free = p.free[:n-1]
		c.generation, c.base = p.generation, base
		return c
	}
	return &chunk[T]{generation: p.generation, base: base}
}

// put takes back an empty chunk, unless a capture may be reading it.
func (p *pool[T]) put(c *chunk[T]) {
	if len(c.parts) > 0 {
		p.dropped(&c.disk)
	}
	c.life.end()
	if c.generation == p.generation && len(p.free) < maxFree {
		c.disk, c.life = disk{}, life{}
		p.free = append(p.free, c)
	}
}

// A sequence holds values under growing numbers, of which most are taken out
// again from the front. It costs memory for the chunks that hold something, and
// time for what is there, whatever the numbers are.
type sequence[T any] struct {
	chunks []*chunk[T] // by base; only the last may be empty
	count  int
}

// find returns the index of the first chunk that ends behind n.
func (s *sequence[T]) find(n uint64) int {
	if len(s.chunks) == 0 || n < s.chunks[0].base {
		return 0
	}
	base := n &^ (chunkSize - 1)
	guess := (base - s.chunks[0].base) / chunkSize
	if guess < uint64(len(s.chunks)) && s.chunks[guess].base == base {
		return int(guess)
	}
	i, _ := slices.BinarySearchFunc(s.chunks, base, func(c *chunk[T], base uint64) int {
		return cmp.Compare(c.base, base)
	})
	return i
}

// lookup returns the index of the chunk that holds n and n's slot in it.
func (s *sequence[T]) lookup(n uint64) (at, slot int, ok bool) {
	at = s.find(n)
	if at == len(s.chunks) || n < s.chunks[at].base {
		return 0, 0, false
	}
	slot = int(n - s.chunks[at].base)
	return at, slot, s.chunks[at].present.has(slot)
}

// get returns the value with number n, which must be there. It is valid until the sequence changes.
func (s *sequence[T]) get(n uint64) *T {
	at, slot, _ := s.lookup(n)
	return &s.chunks[at].values[slot]
}

// next returns the lowest number of a value from n on.
func (s *sequence[T]) next(n uint64) (uint64, bool) {
	return s.search(n, func(*T) bool { return true })
}

// search returns the lowest number from n on of a value, none of which is away, that f accepts.
func (s *sequence[T]) search(n uint64, f func(*T) bool) (uint64, bool) {
	for at := s.find(n); at < len(s.chunks); at++ {
		c, slot := s.chunks[at], 0
		if n > c.base {
			slot = int(n - c.base)
		}
		for slot = c.present.next(slot); slot < chunkSize; slot = c.present.next(slot + 1) {
			if f(&c.values[slot]) {
				return c.base + uint64(slot), true
			}
		}
	}
	return 0, false
}

// writable returns a chunk that may be changed: a copy when a capture shares it.
func (s *sequence[T]) writable(p *pool[T], at int) *chunk[T] {
	c := s.chunks[at]
	if c.generation == p.generation {
		return c
	}
	d := new(chunk[T])
	*d = *c
	d.generation = p.generation
	d.values = slices.Clone(c.values)
	d.life.own()
	s.chunks[at] = d
	return d
}

// add puts a value under a number that was never used, mostly behind all others.
func (s *sequence[T]) add(p *pool[T], n uint64, v T) (*chunk[T], int) {
	base := n &^ (chunkSize - 1)
	at := len(s.chunks) - 1
	if at < 0 || s.chunks[at].base != base {
		at = s.open(p, base)
	}
	c := s.writable(p, at)
	slot := int(n - base)
	c.grow(slot)
	c.values[slot] = v
	c.present.set(slot)
	c.live++
	s.count++
	return c, slot
}

// open returns the index of the chunk with a base, which it makes when there is none.
func (s *sequence[T]) open(p *pool[T], base uint64) int {
	at := s.find(base)
	if at < len(s.chunks) {
		if s.chunks[at].base != base {
			s.chunks = slices.Insert(s.chunks, at, p.get(base))
		}
		return at
	}
	if last := at - 1; last >= 0 && s.chunks[last].live == 0 {
		p.put(s.chunks[last])
		s.chunks = s.chunks[:last]
	}
	s.chunks = append(s.chunks, p.get(base))
	return len(s.chunks) - 1
}

// grow makes room for a slot.
func (c *chunk[T]) grow(slot int) {
	if slot < len(c.values) {
		return
	}
	if slot >= cap(c.values) {
		size := min(max(8, 2*cap(c.values), slot+1), chunkSize)
		values := make([]T, len(c.values), size)
		copy(values, c.values)
		c.values = values
	}
	c.values = c.values[:slot+1]
}

// erase takes a value out of a writable chunk.
func (c *chunk[T]) erase(slot int) {
	if slot < len(c.values) {
		var zero T
		c.values[slot] = zero
	}
	c.present.clear(slot)
	c.again.clear(slot)
	c.life.forget(slot)
	c.live--
}

// tidy drops the chunk when it is empty and will stay so, or when nothing is left.
func (s *sequence[T]) tidy(p *pool[T], at int) {
	c := s.chunks[at]
	if c.live > 0 || (at == len(s.chunks)-1 && s.count > 0) {
		return
	}
	if at == 0 && len(s.chunks) > 1 {
		s.chunks[0] = nil
		s.chunks = s.chunks[1:]
	} else {
		s.chunks = slices.Delete(s.chunks, at, at+1)
	}
	p.put(c)
}

// remove takes the value at a place that lookup found out of the sequence.
func (s *sequence[T]) remove(p *pool[T], at, slot int) T {
	c := s.writable(p, at)
	v := c.at(slot)
	if c.readyBits.has(slot) {
		c.readyBits.clear(slot)
		c.ready--
	}
	c.erase(slot)
	s.count--
	s.tidy(p, at)
	return v
}

// removeRange takes out all values numbered from to to, both included, and
// hands them to f in order. f must not touch the sequence.
func (s *sequence[T]) removeRange(p *pool[T], from, to uint64, f func(n uint64, v T)) {
	for at := s.find(from); at < len(s.chunks) && s.chunks[at].base <= to; {
		before := len(s.chunks)
		s.removeFrom(p, at, from, to, f)
		if len(s.chunks) == before {
			at++
		}
	}
}

func (s *sequence[T]) removeFrom(p *pool[T], at int, from, to uint64, f func(n uint64, v T)) {
	base := s.chunks[at].base
	slot, end := 0, chunkSize-1
	if from > base {
		slot = int(from - base)
	}
	if to-base < chunkSize-1 {
		end = int(to - base)
	}
	slot = s.chunks[at].present.next(slot)
	if slot > end {
		return
	}
	c := s.writable(p, at)
	for ; slot <= end; slot = c.present.next(slot + 1) {
		v := c.at(slot)
		c.erase(slot)
		s.count--
		f(base+uint64(slot), v)
	}
	s.tidy(p, at)
}

// each hands every value to f in order.
func (s *sequence[T]) each(f func(n uint64, v T)) {
	for _, c := range s.chunks {
		c.each(func(slot int) { f(c.base+uint64(slot), c.at(slot)) })
	}
}

func (c *chunk[T]) each(f func(slot int)) {
	for slot := c.present.next(0); slot < chunkSize; slot = c.present.next(slot + 1) {
		f(slot)
	}
}
