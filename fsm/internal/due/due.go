// Package due orders things by the time at which something is to happen to them.
//
// An Index holds for each thing a time before which nothing happens to it. That time may be
// too early: the thing itself knows the right one, and is asked when it comes to stand
// first. So a change that puts something off costs nothing, and machines that took another way to
// the same state, with other guesses, still find the same things in the same order.
package due

// A Timed is something that happens at a time.
type Timed interface {
	// Due returns when something is next to happen, in milliseconds since the Unix
	// epoch; false: nothing is.
	Due() (at int64, ok bool)
}

// An Item is the place of a Timed in an Index. The zero value stands in none.
type Item struct {
	index *Index
	what  Timed
	id    uint64
	at    int64
	place int
}

// An Index is a heap of items by time, then id. The zero value is empty.
type Index struct{ heap []*Item }

// Len returns the number of items.
func (x *Index) Len() int { return len(x.heap) }

// Wake makes sure that what is looked at when its time is at, or before. Of things that
// are due at one time the one with the lower id comes first; ids are unique in an index.
func (x *Index) Wake(it *Item, what Timed, id uint64, at int64) {
	if it.index == nil {
		*it = Item{index: x, what: what, id: id, at: at, place: len(x.heap)}
		x.heap = append(x.heap, it)
		x.up(it.place)
		return
	}
	if at < it.at {
		it.at = at
		x.up(it.place)
	}
}

// Awaits reports whether the item is looked at by the time at.
func (it *Item) Awaits(at int64) bool { return it.index != nil && it.at <= at }

// Peek returns a time before which nothing is due; false: nothing is due at all.
func (x *Index) Peek() (at int64, ok bool) {
	if len(x.heap) == 0 {
		return 0, false
	}
	return x.heap[0].at, true
}

// Remove takes the item out of its index, if it is in one.
func (it *Item) Remove() {
	x := it.index
	if x == nil {
		return
	}
	last := len(x.heap) - 1
	at := it.place
	x.swap(at, last)
	x.heap[last] = nil
	x.heap = x.heap[:last]
	if at < last {
		x.down(at)
		x.up(at)
	}
	*it = Item{}
}

// First returns what is due first, and when; nil when nothing is.
func (x *Index) First() (what Timed, at int64) {
	for len(x.heap) > 0 {
		it := x.heap[0]
		at, ok := it.what.Due()
		switch {
		case !ok:
			it.Remove()
		case at == it.at:
			return it.what, at
		default:
			it.at = at
			x.down(0)
		}
	}
	return nil, 0
}

// Next returns what is due first if its time is now or before; nil when there is nothing.
func (x *Index) Next(now int64) Timed {
	if len(x.heap) == 0 || x.heap[0].at > now {
		return nil
	}
	if what, at := x.First(); what != nil && at <= now {
		return what
	}
	return nil
}

func (x *Index) less(i, j int) bool {
	a, b := x.heap[i], x.heap[j]
	return a.at < b.at || a.at == b.at && a.id < b.id
}

func (x *Index) swap(i, j int) {
	x.heap[i], x.heap[j] = x.heap[j], x.heap[i]
	x.heap[i].place, x.heap[j].place = i, j
}

func (x *Index) up(i int) {
	for i > 0 && x.less(i, (i-1)/2) {
		x.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (x *Index) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(x.heap) {
			return
		}
		if child+1 < len(x.heap) && x.less(child+1, child) {
			child++
		}
		if !x.less(child, i) {
			return
		}
		x.swap(i, child)
		i = child
	}
}
