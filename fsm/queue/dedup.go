package queue

import (
	"fmt"
	"slices"

	"warren/fsm/command"
	"warren/fsm/internal/stream"
)

// A Digest stands for the value of a message's deduplication header.
type Digest [16]byte

// A remembered is a value and how long it counts.
type remembered struct {
	digest Digest
	until  int64 // milliseconds since the Unix epoch; 0: for ever
}

// A Dedup remembers values in the order in which they came: so many, or for so long. It costs
// some 90 bytes a value, and a Capture shares its chunks.
type Dedup struct {
	most int   // values; 0: no bound
	ttl  int64 // milliseconds; 0: for ever

	store  *Store
	values sequence[remembered]
	places map[Digest]uint64 // numbers of the values
	next   uint64            // number of the next value, if the caller gives none
}

// NewDedup returns a Dedup that remembers nothing: most values at a time, the oldest
// go first, each for ttl milliseconds. 0 is no bound.
func (s *Store) NewDedup(most int, ttl int64) *Dedup {
	return &Dedup{most: most, ttl: ttl, store: s, places: make(map[Digest]uint64), next: 1}
}

// Len returns the number of values, of which some may count no more.
func (d *Dedup) Len() int { return d.values.count }

// Most returns how many values it may remember, 0: any number.
func (d *Dedup) Most() int { return d.most }

// Knows reports whether a value was remembered and still counts.
func (d *Dedup) Knows(v Digest, now int64) bool {
	n, ok := d.places[v]
	if !ok {
		return false
	}
	at, slot, _ := d.values.lookup(n)
	if r := d.values.chunks[at].at(slot); r.until == 0 || r.until > now {
		return true
	}
	d.forget(n)
	return false
}

// Remember adds a value that it does not know, for ttl milliseconds or, if that is 0, as
// long as all.
func (d *Dedup) Remember(v Digest, ttl, now int64) {
	d.remember(d.next, v, ttl, now)
	d.next++
}

// pruned bounds the values that one new one lets go because they count no more, so that no publish
// stops the machine for long. Knows looks at the time itself.
const pruned = 16

func (d *Dedup) remember(n uint64, v Digest, ttl, now int64) {
	for range pruned {
		if d.values.count == 0 {
			break
		}
		first, r := d.oldest()
		if r.until == 0 || r.until > now {
			break
		}
		d.forget(first)
	}
	if d.most > 0 && d.values.count >= d.most {
		first, _ := d.oldest()
		d.forget(first)
	}
	r := remembered{digest: v}
	if ttl <= 0 {
		ttl = d.ttl
	}
	if ttl > 0 {
		r.until = now + min(ttl, max(maxNumber-now, 0)) // what Read takes
	}
	d.values.add(&d.store.remembered, n, r)
	d.places[v] = n
}

func (d *Dedup) oldest() (uint64, remembered) {
	c := d.values.chunks[0]
	slot := c.present.next(0)
	return c.base + uint64(slot), c.values[slot]
}

// forget takes out the value with a number, if there is one.
func (d *Dedup) forget(n uint64) {
	if at, slot, ok := d.values.lookup(n); ok {
		delete(d.places, d.values.remove(&d.store.remembered, at, slot).digest)
	}
}

// Remembered is what a Dedup held when it was captured. See Store.Freeze.
type Remembered struct {
	next   uint64
	chunks []*chunk[remembered]
}

// Capture returns the values.
func (d *Dedup) Capture() Remembered { return Remembered{d.next, slices.Clone(d.values.chunks)} }

// Write writes the values.
func (v Remembered) Write(w *stream.Writer) {
	w.Uint(v.next)
	var before uint64
	for _, c := range v.chunks {
		c.each(func(slot int) {
			n := c.base + uint64(slot)
			w.Uint(n - before)
			before = n
			r := &c.values[slot]
			w.Raw(r.digest[:])
			w.Uint(uint64(r.until))
		})
	}
	w.Uint(0)
}

// Read reads what Remembered.Write wrote into an empty Dedup.
func (d *Dedup) Read(r *stream.Reader) {
	d.next = r.Bounded(maxNumber)
	var n uint64
	for step := r.Uint(); step != 0 && r.Err() == nil; step = r.Uint() {
		if step > maxNumber || n+step > maxNumber {
			r.Fail("a value has number %d", n)
			return
		}
		n += step
		var v remembered
		copy(v.digest[:], r.Raw(uint64(len(v.digest))))
		v.until = int64(r.Bounded(maxNumber))
		if _, ok := d.places[v.digest]; ok {
			r.Fail("a value comes twice")
		}
		if r.Err() != nil {
			return
		}
		d.values.add(&d.store.remembered, n, v)
		d.places[v.digest] = n
	}
	if d.most > 0 && d.values.count > d.most {
		r.Fail("%d values are remembered, %d may be", d.values.count, d.most)
	}
}

// Check returns what is wrong with it.
func (d *Dedup) Check() error {
	count := 0
	var err error
	for _, c := range d.values.chunks {
		if err == nil {
			err = c.check()
		}
		count += c.live
	}
	d.values.each(func(n uint64, r remembered) {
		if d.places[r.digest] != n {
			err = fmt.Errorf("value %d is not found", n)
		}
	})
	if err == nil && (count != d.values.count || len(d.places) != count || d.most > 0 && count > d.most) {
		err = fmt.Errorf("%d values are counted and %d found, of %d", d.values.count, len(d.places), d.most)
	}
	return err
}

// Deduplicate makes the queue take no message of which it has the value of the deduplication
// header already. Without window a value counts while its message is in the queue; with
// one, as long as the Dedup says, whatever becomes of the message.
func (q *Queue) Deduplicate(d *Dedup, window bool) { q.dedup, q.window = d, window }

// Dedup returns what the queue remembers, nil when it takes everything.
func (q *Queue) Dedup() *Dedup { return q.dedup }

// Window reports whether the queue remembers what it has had, whatever became of it.
func (q *Queue) Window() bool { return q.window }

// Remember notes the value of a message that was just pushed.
func (q *Queue) Remember(m *command.Message, v Digest, ttl, now int64) {
	if q.window {
		q.dedup.Remember(v, ttl, now)
		return
	}
	q.dedup.remember(q.lanes[q.laneOf(m)].next-1, v, 0, now)
}

// left notes that the message with sequence n is not in the queue any more.
func (q *Queue) left(n uint64) {
	if q.dedup != nil && !q.window {
		q.dedup.forget(n)
	}
}

// checkDedup checks what the queue remembers.
func (q *Queue) checkDedup() error {
	if q.dedup == nil {
		return nil
	}
	err := q.dedup.Check()
	if !q.window {
		q.dedup.values.each(func(n uint64, _ remembered) {
			if _, _, ok := q.messages.lookup(n); !ok {
				err = fmt.Errorf("it remembers message %d, which is gone", n)
			}
		})
	}
	return err
}
