package session

import "sort"

// An unacked is a delivery that the client has not settled.
type unacked struct {
	tag     uint64 // delivery tag
	ordinal uint64 // the machine's number; see command.Effect.Ordinal
	settled bool   // has been, and waits for those before it to leave the list
}

// keepUnacked is the longest list that is kept when nothing is in it.
const keepUnacked = 4096

// unackedList holds the unsettled deliveries of a channel, ordered by delivery
// tag and so by ordinal too. Those settled out of order stay as holes until
// they reach the front or there are more holes than deliveries.
type unackedList struct {
	items []unacked
	head  int // of the first that counts
	live  int
}

func (l *unackedList) len() int { return l.live }

// push appends a delivery, whose tag must be above all present ones.
func (l *unackedList) push(tag, ordinal uint64) {
	if l.head > 32 && l.head > len(l.items)/2 || len(l.items)-l.head > 2*l.live+64 {
		l.compact()
	}
	l.items = append(l.items, unacked{tag: tag, ordinal: ordinal})
	l.live++
}

func (l *unackedList) compact() {
	kept := l.items[:0]
	for _, u := range l.items[l.head:] {
		if !u.settled {
			kept = append(kept, u)
		}
	}
	l.items, l.head = kept, 0
}

// take removes the delivery with the tag.
func (l *unackedList) take(tag uint64) (unacked, bool) {
	i := l.find(tag)
	if i == len(l.items) || l.items[i].tag != tag || l.items[i].settled {
		return unacked{}, false
	}
	u := l.items[i]
	l.items[i].settled = true
	l.live--
	l.trim()
	return u, true
}

// takeTo removes the delivery with the tag and all before it; tag 0 means the
// last one. It returns them, valid until the next push, with the holes among them.
func (l *unackedList) takeTo(tag uint64) ([]unacked, bool) {
	end := len(l.items)
	if tag != 0 {
		i := l.find(tag)
		if i == len(l.items) || l.items[i].tag != tag || l.items[i].settled {
			return nil, false
		}
		end = i + 1
	}
	taken := l.items[l.head:end]
	for i := range taken {
		if !taken[i].settled {
			l.live--
		}
	}
	l.head = end
	l.trim()
	return taken, true
}

func (l *unackedList) find(tag uint64) int {
	rest := l.items[l.head:]
	// Most clients settle in order: the first one is a good guess.
	if len(rest) > 0 && rest[0].tag == tag {
		return l.head
	}
	return l.head + sort.Search(len(rest), func(i int) bool { return rest[i].tag >= tag })
}

func (l *unackedList) trim() {
	for l.head < len(l.items) && l.items[l.head].settled {
		l.head++
	}
	if l.live == 0 {
		l.items, l.head = l.items[:0], 0
		if cap(l.items) > keepUnacked {
			l.items = nil
		}
	}
}

// restore puts deliveries back that were taken.
func (l *unackedList) restore(back []unacked) {
	if len(back) == 0 {
		return
	}
	l.compact()
	l.items = append(l.items, back...)
	sort.Slice(l.items, func(i, j int) bool { return l.items[i].tag < l.items[j].tag })
	l.live = len(l.items)
}

// clear forgets all.
func (l *unackedList) clear() { *l = unackedList{} }
