package queue

import (
	"slices"

	"warren/fsm/command"
	"warren/fsm/internal/stream"
)

// lending is what a channel knew of when deliveries were lent, as it was captured.
type lending struct {
	owner command.Owner
	id    uint64
	marks []mark
	taken []*chunk[struct{}]
}

func (ch *Channel) captureLending() lending {
	return lending{ch.Owner, ch.ID, slices.Clone(ch.marks), slices.Clone(ch.taken.chunks)}
}

// WriteTimes encodes when the deliveries were lent that are unsettled, and which were taken back, in pieces of
// bounded size. For each channel of which there is something to say: owner, id; for each mark that counts, of
// the first delivery that it is for: distance of the ordinal, distance of the time; 0; the
// distances of what was taken back; 0. has says which queues were there at the capture.
func WriteTimes(all []Ledger, has func(*Queue) bool, emit func([]byte)) {
	w := stream.NewBuffer(0)
	for i := range all {
		all[i].writeTimes(w, has)
		if len(w.Buffered()) >= piece {
			emit(w.Buffered())
			w.Reset()
		}
	}
	if len(w.Buffered()) > 0 {
		emit(w.Buffered())
	}
}

func (v *Ledger) writeTimes(w *stream.Writer, has func(*Queue) bool) {
	t := &v.times
	used := v.usedMarks(has)
	if len(used) == 0 && len(t.taken) == 0 && t.id == 0 {
		return
	}
	w.Uint(t.owner.Epoch)
	w.Uint(t.owner.Conn)
	w.Uint(uint64(t.owner.Number))
	w.Uint(t.id)
	var before mark
	for _, m := range used {
		w.Uint(m.from - before.from)
		w.Uint(zigzag(m.at - before.at))
		before = m
	}
	w.Uint(0)
	var last uint64
	for _, c := range t.taken {
		c.each(func(slot int) {
			n := c.base + uint64(slot)
			w.Uint(n - last)
			last = n
		})
	}
	w.Uint(0)
}

// usedMarks returns the marks of which something is unsettled, each with the ordinal of its first
// delivery: so they do not depend on what was settled since.
func (v *Ledger) usedMarks(has func(*Queue) bool) (used []mark) {
	all := v.times.marks
	if len(all) == 0 {
		return nil
	}
	i, last := 0, -1
	for _, c := range v.chunks {
		c.each(func(slot int) {
			if !has(c.values[slot].queue) {
				return
			}
			n := c.base + uint64(slot)
			for i+1 < len(all) && all[i+1].from <= n {
				i++
			}
			if i != last {
				used = append(used, mark{n, all[i].at})
				last = i
			}
		})
	}
	return used
}

// Times reads a piece of what WriteTimes encoded. find returns the channel of an owner, nil when there is none.
func (l *Loader) Times(r *stream.Reader, find func(command.Owner) *Channel) {
	for r.More() {
		owner := command.Owner{Epoch: r.Uint(), Channel: command.Channel{Conn: r.Uint(), Number: uint16(r.Bounded(1<<16 - 1))}}
		id := r.Bounded(l.ids)
		if r.Err() != nil {
			return
		}
		ch := find(owner)
		if ch == nil || ch.ID != 0 || len(ch.marks) > 0 || ch.taken.count > 0 {
			r.Fail("the times of channel %v are of nothing, or come twice", owner)
			return
		}
		ch.ID = id
		l.marks(r, ch)
		l.takenBack(r, ch)
	}
}

func (l *Loader) marks(r *stream.Reader, ch *Channel) {
	var m mark
	for step := r.Uint(); step != 0 && r.Err() == nil; step = r.Uint() {
		if step > ch.Ordinal-m.from {
			r.Fail("channel %v lent something later than all", ch.Owner)
			return
		}
		m.from += step
		m.at += unzigzag(r.Uint())
		if m.at < 0 || m.at > maxNumber {
			r.Fail("channel %v lent something at %d", ch.Owner, m.at)
			return
		}
		ch.marks = append(ch.marks, m)
	}
}

func (l *Loader) takenBack(r *stream.Reader, ch *Channel) {
	var n uint64
	for step := r.Uint(); step != 0 && r.Err() == nil; step = r.Uint() {
		if step > ch.Ordinal-n {
			r.Fail("what was taken back from channel %v was never given to it", ch.Owner)
			return
		}
		n += step
		if _, _, there := ch.deliveries.lookup(n); there {
			r.Fail("delivery %d of channel %v was taken back and is there", n, ch.Owner)
			return
		}
		ch.taken.add(&l.store.taken, n, struct{}{})
	}
}

// AwaitOverdue makes the machine look in time after what the channel holds, which was read from a snapshot. It
// reports whether it is known when all of that was lent.
func (ch *Channel) AwaitOverdue() bool {
	if n, ok := ch.deliveries.next(0); ok && (len(ch.marks) == 0 || ch.marks[0].from > n) {
		return false
	}
	if ch.gets > 0 && ch.ID == 0 {
		return false
	}
	ch.awaitAll()
	return true
}
