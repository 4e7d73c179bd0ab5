package queue

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"

	"warren/fsm/command"
	"warren/fsm/internal/due"
	"warren/fsm/internal/stream"
)

// A Delayed holds the messages of a vhost that are to be routed later. They stand in a
// queue that nobody sees, so they leave memory and enter snapshots as all messages do.
//
// What is due at about the same time should stand together: then few records are read for what
// is due next. So the number of a message begins with its class, which grows with the delay, and the
// span of time in which it is due, some hundredths of the delay wide. That bounds the chunks that are there for
// few messages each, too: a class has some 130 spans that are not over.
type Delayed struct {
	q      *Queue
	dues   sequence[int64]   // when the messages are due, by their numbers
	order  []appointment     // a heap, by time and number; some may be cancelled
	counts map[string]int    // messages by exchange
	spans  map[uint64]uint64 // messages that a span has had, by class and span; of some that are over, too
	pruned int               // length of spans when it was last looked through
	timer  due.Item
}

// An appointment is when a message is due.
type appointment struct {
	at int64
	n  uint64
}

func (a appointment) compare(b appointment) int {
	return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.n, b.n))
}

// The parts of a number: class, span, and which of the span it is.
const (
	spanBits  = 30
	slotBits  = laneShift - 5 - spanBits
	firstSpan = 10            // spans of the first class are 2^10 ms long
	spansFrom = 1577836800000 // 2020, in milliseconds since 1970: where spans are counted from
)

// DelayedName is the name of the queue that holds the delayed messages of a vhost. No client's
// queue can have it, as newlines are taken out of names.
const DelayedName = "\ndelayed"

// NewDelayed returns an empty Delayed; id is unique among queues and consumers.
func (s *Store) NewDelayed(id uint64, vhost string) *Delayed {
	return newDelayed(s.NewQueue(id, command.QueueDeclare{VHost: vhost, Name: DelayedName, Durable: true}))
}

func newDelayed(q *Queue) *Delayed {
	q.lanes[0].next = 1 << laneShift
	return &Delayed{q: q, counts: make(map[string]int), spans: make(map[uint64]uint64)}
}

// Queue returns the queue that holds the messages.
func (d *Delayed) Queue() *Queue { return d.q }

// Len returns the number of messages.
func (d *Delayed) Len() int { return d.q.ready }

// Count returns the number of messages for an exchange.
func (d *Delayed) Count(exchange string) int { return d.counts[exchange] }

// spanOf returns the class and span of what is due at a time, and how many bits of that time
// a span is long.
func spanOf(now, at int64) (key uint64, width int) {
	width = max(firstSpan, bits.Len64(uint64(at-now))-6)
	span := min(uint64(max(at-spansFrom, 0))>>width, 1<<spanBits-1)
	return uint64(width-firstSpan+1)<<spanBits | span, width
}

// over reports whether nothing more can come to a span.
func over(key uint64, now int64) bool {
	width := int(key>>spanBits) + firstSpan - 1
	span := int64(key & (1<<spanBits - 1))
	return span < 1<<spanBits-1 && (span+1)<<width+spansFrom <= now
}

// Add takes a message that is due at a time after now.
func (d *Delayed) Add(m *command.Message, now, at int64) {
	key, _ := spanOf(now, at)
	for d.spans[key] == 1<<slotBits {
		key++ // so many in one span: the rest stands in the next ones
	}
	n := key<<slotBits | d.spans[key]
	d.prune(now)
	d.spans[key]++
	d.q.put(n, m)
	if w := d.q.store.Watch; w != nil {
		w.Entered(d.q, n)
	}
	d.dues.add(&d.q.store.dues, n, at)
	d.counts[m.Exchange]++
	d.push(appointment{at, n})
	d.q.store.Timers.Wake(&d.timer, d, d.q.ID, d.order[0].at)
}

// prune forgets spans that are over, when enough may have gathered.
func (d *Delayed) prune(now int64) {
	if len(d.spans) < 2*d.pruned+256 {
		return
	}
	for _, key := range sortedSpans(d.spans) {
		if over(key, now) {
			delete(d.spans, key)
		}
	}
	d.pruned = len(d.spans)
}

func sortedSpans(m map[uint64]uint64) []uint64 {
	keys := make([]uint64, 0, len(m))
	for k := range m { // sorted below
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Due implements due.Timed.
func (d *Delayed) Due() (int64, bool) {
	d.skip()
	if len(d.order) == 0 {
		return 0, false
	}
	return d.order[0].at, true
}

// skip takes what was cancelled from the top of the heap.
func (d *Delayed) skip() {
	for len(d.order) > 0 {
		if _, _, ok := d.dues.lookup(d.order[0].n); ok {
			return
		}
		d.pop()
	}
}

// Next takes the message that is due first, if its time has come, and tells its number; nil when there is none.
func (d *Delayed) Next(now int64, b *Budget) (m *command.Message, n uint64) {
	d.skip()
	if len(d.order) == 0 || d.order[0].at > now {
		return nil, 0
	}
	n = d.order[0].n
	m = d.take(n)
	d.pop()
	b.spend(len(m.Body))
	return m, n
}

// Cancel takes out a message by its number. It returns nil when there is none.
func (d *Delayed) Cancel(n uint64) *command.Message {
	if _, _, ok := d.dues.lookup(n); !ok {
		return nil
	}
	m := d.take(n)
	if len(d.order) > 2*d.dues.count+64 {
		d.order = slices.DeleteFunc(d.order, func(a appointment) bool {
			_, _, ok := d.dues.lookup(a.n)
			return !ok
		})
		slices.SortFunc(d.order, appointment.compare)
	}
	d.skip()
	return m
}

func (d *Delayed) take(n uint64) *command.Message {
	at, slot, _ := d.dues.lookup(n)
	d.dues.remove(&d.q.store.dues, at, slot)
	at, slot, _ = d.q.messages.lookup(n)
	m := d.q.message(at, slot)
	d.q.takeOut(at, slot)
	if d.counts[m.Exchange]--; d.counts[m.Exchange] == 0 {
		delete(d.counts, m.Exchange)
	}
	return m
}

// Delete drops all messages for good.
func (d *Delayed) Delete() {
	d.timer.Remove()
	d.q.Delete()
	d.dues, d.order, d.counts = sequence[int64]{}, nil, nil
}

// push and pop keep the heap.
func (d *Delayed) push(a appointment) {
	d.order = append(d.order, a)
	for i := len(d.order) - 1; i > 0; {
		up := (i - 1) / 2
		if d.order[up].compare(d.order[i]) < 0 {
			return
		}
		d.order[up], d.order[i] = d.order[i], d.order[up]
		i = up
	}
}

func (d *Delayed) pop() {
	last := len(d.order) - 1
	d.order[0] = d.order[last]
	d.order = d.order[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			return
		}
		if child+1 < last && d.order[child+1].compare(d.order[child]) < 0 {
			child++
		}
		if d.order[i].compare(d.order[child]) < 0 {
			return
		}
		d.order[child], d.order[i] = d.order[i], d.order[child]
		i = child
	}
}

// A DelayedMessage is one that is not routed yet.
type DelayedMessage struct {
	ID      uint64
	Due     int64 // milliseconds since the Unix epoch
	Message *command.Message
}

// What First looks at: messages, and bytes of records that it reads.
const (
	firstLooks = 10_000
	firstBytes = 16 << 20
)

// First hands the messages to f in the order in which they are due, until that returns false. It
// reads those that are away, and changes nothing. It looks at so much only that others need not wait long
// for it; more says that it has not seen all and f wanted more. It panics with *Unreadable when a
// message cannot be read.
func (d *Delayed) First(f func(DelayedMessage) bool) (more bool) {
	away := newAwayReader(d.q, firstBytes)
	next := Delayed{} // a heap of places in order, as appointments with places for numbers
	if len(d.order) > 0 {
		next.push(appointment{d.order[0].at, 0})
	}
	for looks := 0; len(next.order) > 0; looks++ {
		place := next.order[0].n
		next.pop()
		for child := 2*place + 1; child <= 2*place+2 && child < uint64(len(d.order)); child++ {
			next.push(appointment{d.order[child].at, child})
		}
		a := d.order[place]
		at, slot, ok := d.q.messages.lookup(a.n)
		switch {
		case looks == firstLooks:
			return true
		case !ok:
			continue // cancelled
		}
		m, err := away.message(d.q.messages.chunks[at], slot)
		if err != nil {
			panic(err)
		}
		if m == nil {
			return true
		}
		if !f(DelayedMessage{ID: a.n, Due: a.at, Message: m}) {
			return false
		}
	}
	return false
}

// put places a message under a number of the caller's.
func (q *Queue) put(n uint64, m *command.Message) {
	c, slot := q.messages.add(&q.store.messages, n, m)
	c.readyBits.set(slot)
	c.ready++
	c.bytes += cost(m)
	q.store.resident += cost(m)
	q.laneAt(n).ready++
	q.ready++
	q.bytes += uint64(len(m.Body))
}

// Appointments are when delayed messages are due, as they were captured. See Store.Freeze.
type Appointments struct {
	chunks []*chunk[int64]
	meta   func(*stream.Writer)
}

// Capture returns when the messages are due; the messages are the queue's to capture.
func (d *Delayed) Capture(now int64) Appointments {
	type pair struct{ key, n uint64 }
	var spans []pair
	for _, key := range sortedSpans(d.spans) {
		if !over(key, now) {
			spans = append(spans, pair{key, d.spans[key]})
		}
	}
	type count struct {
		exchange string
		n        int
	}
	var counts []count
	for _, name := range sortedNames(d.counts) {
		counts = append(counts, count{name, d.counts[name]})
	}
	return Appointments{slices.Clone(d.dues.chunks), func(w *stream.Writer) {
		w.Uint(uint64(len(spans)))
		for _, s := range spans {
			w.Uint(s.key)
			w.Uint(s.n)
		}
		w.Uint(uint64(len(counts)))
		for _, c := range counts {
			w.String(c.exchange)
			w.Uint(uint64(c.n))
		}
	}}
}

func sortedNames(m map[string]int) []string {
	keys := make([]string, 0, len(m))
	for k := range m { // sorted below
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Write writes what Capture returned.
func (v Appointments) Write(w *stream.Writer) {
	v.meta(w)
	var before uint64
	for _, c := range v.chunks {
		c.each(func(slot int) {
			n := c.base + uint64(slot)
			w.Uint(n - before)
			before = n
			w.Uint(uint64(c.values[slot]))
		})
	}
	w.Uint(0)
}

// Delayed makes a Delayed of the queue that held its messages, and reads what Appointments.Write
// wrote.
func (l *Loader) Delayed(r *stream.Reader, q *Queue) *Delayed {
	d := newDelayed(q)
	for n := r.Uint(); n > 0 && r.Err() == nil; n-- {
		key := r.Bounded(1<<(laneShift-slotBits) - 1)
		d.spans[key] = r.Bounded(1 << slotBits)
	}
	total := 0
	for n := r.Uint(); n > 0 && r.Err() == nil; n-- {
		name := r.String()
		d.counts[name] = int(r.Bounded(maxNumber))
		total += d.counts[name]
	}
	var n uint64
	for step := r.Uint(); step != 0 && r.Err() == nil; step = r.Uint() {
		if n += step; step > maxNumber || n > maxNumber {
			r.Fail("a delayed message has number %d", n)
			return nil
		}
		at := int64(r.Bounded(maxNumber))
		if _, _, ok := q.messages.lookup(n); !ok {
			r.Fail("delayed message %d is not there", n)
			return nil
		}
		d.dues.add(&l.store.dues, n, at)
		d.order = append(d.order, appointment{at, n})
	}
	if r.Err() == nil && (len(d.order) != q.ready || total != q.ready) {
		r.Fail("%d delayed messages have a time, and %d an exchange, of %d", len(d.order), total, q.ready)
	}
	slices.SortFunc(d.order, appointment.compare)
	if len(d.order) > 0 {
		l.store.Timers.Wake(&d.timer, d, q.ID, d.order[0].at)
	}
	return d
}

// Check returns what is wrong with it. Its queue is to be checked as all are.
func (d *Delayed) Check() error {
	left := make(map[uint64]int64)
	d.dues.each(func(n uint64, at int64) { left[n] = at })
	count := len(left)
	var err error
	for i, a := range d.order {
		if i > 0 && a.compare(d.order[(i-1)/2]) < 0 {
			err = fmt.Errorf("delayed message %d is not in order", a.n)
		}
		if at, ok := left[a.n]; ok && at == a.at {
			delete(left, a.n)
		}
	}
	total := 0
	for _, name := range sortedNames(d.counts) {
		total += d.counts[name]
	}
	if err == nil && (len(left) > 0 || count != d.q.ready || count != d.q.messages.count || total != count) {
		err = fmt.Errorf("%d messages are delayed, %d have a time, %d of them no place, %d an exchange", d.q.ready, count, len(left), total)
	}
	if at, ok := d.Due(); ok && err == nil && !d.timer.Awaits(at) {
		err = fmt.Errorf("nothing looks at what is due at %d", at)
	}
	return err
}
