package queue

import (
	"cmp"
	"fmt"
	"slices"

	"warren/fsm/command"
	"warren/fsm/internal/stream"
)

// maxNumber bounds ids, sequences and ordinals that are read from a snapshot, so
// that arithmetic on them cannot overflow.
const maxNumber = 1 << 62

// Flags of a message in a snapshot.
const flagAgain = 1 << 0 // delivered before

// Flags of a consumer in a snapshot.
const (
	flagGone   = 1 << 0 // cancelled, has deliveries
	flagActive = 1 << 1 // of a queue with a single active consumer
	// flagExpired: gone, because it kept a delivery for too long. From version 3 of the machine on.
	flagExpired = 1 << 2
)

// A Contents is what a queue held when it was captured. It may be read by
// another goroutine than the one that changes the queue.
type Contents struct {
	q      *Queue // not to be looked into
	name   string
	id     uint64
	chunks []*page
}

// Capture returns the messages of the queue. See Store.Freeze.
func (q *Queue) Capture() Contents {
	return Contents{q, q.Spec.Name, q.ID, slices.Clone(q.messages.chunks)}
}

// Write writes the messages of a queue, bytes and all. It reads those that are
// away from records.
func (v Contents) Write(w *stream.Writer, records command.Records) {
	var before uint64
	var away peeker
	for _, c := range v.chunks {
		c.each(func(slot int) {
			m, err := away.message(records, c, slot)
			if err != nil {
				w.Fail(fmt.Errorf("queue %q: %w", v.name, err))
				return
			}
			n := c.base + uint64(slot)
			w.Uint(n - before)
			before = n
			w.Byte(flag(c.again.has(slot)))
			w.String(m.Exchange)
			w.Bytes(m.Key)
			w.Bytes(m.Properties)
			w.Bytes(m.Body)
		})
	}
	w.Uint(0)
}

// A Loader reads the parts of a snapshot in the order in which they were
// written: queues, channels, consumers, lines, messages, deliveries.
type Loader struct {
	store     *Store
	ids       uint64 // the highest id in use
	queues    map[uint64]*Queue
	consumers map[uint64]*Consumer
	joining   []*Consumer
	names     map[string]string
}

// NewLoader returns a Loader that fills an empty store; ids is the highest id
// that a queue or consumer may have.
func NewLoader(s *Store, ids uint64) *Loader {
	return &Loader{
		store: s, ids: ids,
		queues: make(map[uint64]*Queue), consumers: make(map[uint64]*Consumer),
		names: make(map[string]string),
	}
}

func (l *Loader) intern(s string) string {
	if known, ok := l.names[s]; ok {
		return known
	}
	l.names[s] = s
	return s
}

// Write writes what a queue is, without its messages and consumers.
func (q *Queue) Write(w *stream.Writer) {
	w.Uint(q.ID)
	w.Encoded(&q.Spec)
	w.Uint(q.Owner.Epoch)
	w.Uint(q.Owner.Conn)
	w.Uint(q.Created)
	q.writeLanes(w)
	for _, n := range q.list() {
		w.Uint(*n)
	}
}

// list returns the counters in the order of a snapshot.
func (c *Counters) list() [11]*uint64 {
	return [...]*uint64{
		&c.Published, &c.Delivered, &c.DeliveredAuto, &c.Got, &c.GotAuto, &c.GotEmpty,
		&c.Redelivered, &c.Acked, &c.Rejected, &c.Requeued, &c.Purged,
	}
}

// Queue reads what Queue.Write wrote.
func (l *Loader) Queue(r *stream.Reader) *Queue {
	var spec command.QueueDeclare
	id := l.id(r)
	decode(r, &spec)
	q := l.store.NewQueue(id, spec)
	q.Owner.Epoch, q.Owner.Conn = r.Uint(), r.Uint()
	q.Created = r.Uint()
	q.readLanes(r)
	for _, n := range q.list() {
		*n = r.Uint()
	}
	if r.Err() == nil && l.queues[id] != nil {
		r.Fail("two queues have id %d", id)
	}
	if r.Err() != nil {
		return nil
	}
	l.queues[id] = q
	return q
}

func (l *Loader) id(r *stream.Reader) uint64 {
	id := r.Bounded(l.ids)
	if id == 0 {
		r.Fail("an id is 0")
	}
	return id
}

func decode(r *stream.Reader, cmd command.Command) {
	b := r.Bytes()
	if r.Err() != nil {
		return
	}
	if err := command.Decode(b, cmd); err != nil {
		r.Fail("%v", err)
	}
}

// Write writes what a channel is, without its consumers and deliveries. The owner is
// the caller's to write.
func (ch *Channel) Write(w *stream.Writer) {
	w.Uint(uint64(ch.Prefetch))
	w.Uint(ch.Ordinal)
}

// Channel reads what Channel.Write wrote.
func (l *Loader) Channel(r *stream.Reader, owner command.Owner) *Channel {
	ch := l.store.NewChannel(owner)
	ch.Prefetch = uint32(r.Bounded(1<<32 - 1))
	ch.Ordinal = r.Bounded(maxNumber)
	return ch
}

// WriteConsumers writes the consumers of a channel, those that are gone but
// have deliveries included.
func (ch *Channel) WriteConsumers(w *stream.Writer) {
	w.Uint(uint64(len(ch.consumers)))
	for _, c := range ch.consumers {
		w.Uint(c.ID)
		w.Uint(c.Queue.ID)
		w.Encoded(&c.Spec)
		w.Uint(uint64(c.Priority))
		w.Uint(c.Limit)
		w.Uint(c.Delivered)
		w.Byte(flag(c.gone)*flagGone | flag(c.Queue.active == c)*flagActive | flag(c.expired)*flagExpired)
	}
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// Consumers reads what WriteConsumers wrote.
func (l *Loader) Consumers(r *stream.Reader, ch *Channel) {
	for n := r.Uint(); n > 0 && r.Err() == nil; n-- {
		c := &Consumer{ID: l.id(r), Channel: ch}
		c.Queue = l.queues[r.Uint()]
		decode(r, &c.Spec)
		c.Priority = int64(r.Uint())
		c.Limit, c.Delivered = r.Uint(), r.Uint()
		flags := r.Flags(flagGone | flagActive | flagExpired)
		c.gone, c.expired = flags&flagGone != 0, flags&flagExpired != 0
		c.own = ownTimeout(&c.Spec)
		switch {
		case r.Err() != nil:
			return
		case c.Queue == nil || l.consumers[c.ID] != nil:
			r.Fail("consumer %d has no queue or comes twice", c.ID)
			return
		case c.expired && !c.gone:
			r.Fail("consumer %d has expired and is there", c.ID)
			return
		case !c.gone && ch.tags[c.Spec.Tag] != nil:
			r.Fail("two consumers of a channel have the tag %q", c.Spec.Tag)
			return
		case !c.gone:
			ch.tags[c.Spec.Tag] = c
		}
		if flags&flagActive != 0 {
			if c.Queue.active != nil || c.gone {
				r.Fail("consumer %d cannot be active", c.ID)
				return
			}
			c.Queue.active = c
		}
		l.consumers[c.ID] = c
		l.joining = append(l.joining, c)
	}
}

// Join enters all consumers in the lists of their queues and channels, in the
// order of their ids.
func (l *Loader) Join() {
	slices.SortFunc(l.joining, func(a, b *Consumer) int { return cmp.Compare(a.ID, b.ID) })
	for _, c := range l.joining {
		c.join()
	}
	l.joining = nil
}

// WriteLine writes who waits for messages of the queue, in order.
func (q *Queue) WriteLine(w *stream.Writer) {
	for i := range q.levels {
		for c := q.levels[i].head; c != nil; c = c.next {
			w.Uint(c.ID)
		}
	}
	w.Uint(0)
}

// Line reads what WriteLine wrote.
func (l *Loader) Line(r *stream.Reader, q *Queue) {
	for id := r.Uint(); id != 0; id = r.Uint() {
		c := l.consumers[id]
		if c == nil || c.Queue != q || c.waiting || c.gone {
			r.Fail("consumer %d cannot wait for queue %q", id, q.Spec.Name)
			return
		}
		q.enqueue(c)
	}
}

// Messages reads what Contents.Write wrote. All messages are ready at first.
func (l *Loader) Messages(r *stream.Reader, q *Queue) {
	var n uint64
	for step := r.Uint(); step != 0; step = r.Uint() {
		n += step
		if step > maxNumber || !q.fits(n) {
			r.Fail("a message stands behind the end of queue %q", q.Spec.Name)
			return
		}
		flags := r.Flags(flagAgain)
		m := l.message(r)
		if r.Err() != nil {
			return
		}
		c, slot := q.messages.add(&l.store.messages, n, m)
		c.readyBits.set(slot)
		c.ready++
		if flags&flagAgain != 0 {
			c.again.set(slot)
		}
		c.bytes += cost(m)
		l.store.resident += cost(m)
		q.laneAt(n).ready++
		q.ready++
		q.bytes += uint64(len(m.Body))
	}
}

func (l *Loader) message(r *stream.Reader) *command.Message {
	exchange := l.intern(r.String())
	key, properties := r.Bytes(), r.Bytes()
	return l.store.NewMessage(exchange, key, properties, r.Bytes())
}

// A Ledger is what a channel had not settled when it was captured.
type Ledger struct {
	chunks []*chunk[delivery]
	times  lending
}

// Capture returns the channel's unsettled deliveries. See Store.Freeze.
func (ch *Channel) Capture() Ledger {
	return Ledger{slices.Clone(ch.deliveries.chunks), ch.captureLending()}
}

// Write writes the deliveries whose queues has says were there at the capture.
func (v Ledger) Write(w *stream.Writer, has func(*Queue) bool) {
	var before uint64
	for _, c := range v.chunks {
		c.each(func(slot int) {
			d := &c.values[slot] // deliveries are never away
			if !has(d.queue) {
				return
			}
			n := c.base + uint64(slot)
			w.Uint(n - before)
			before = n
			w.Uint(d.queue.ID)
			w.Uint(d.sequence)
			if d.consumer == nil {
				w.Uint(0)
			} else {
				w.Uint(d.consumer.ID)
			}
		})
	}
	w.Uint(0)
}

// Deliveries reads what Ledger.Write wrote.
func (l *Loader) Deliveries(r *stream.Reader, ch *Channel) {
	var n uint64
	for step := r.Uint(); step != 0; step = r.Uint() {
		q, sequence, id := l.queues[r.Uint()], r.Uint(), r.Uint()
		c := l.consumers[id]
		if r.Err() != nil {
			return
		}
		if step > ch.Ordinal-n || q == nil || (id != 0 && !c.holds(q, ch)) {
			r.Fail("a delivery of channel %d refers to nothing", ch.Owner.Number)
			return
		}
		n += step
		at, slot, ok := q.messages.lookup(sequence)
		if !ok || !q.messages.chunks[at].readyBits.has(slot) {
			r.Fail("message %d of queue %q is given out twice or not there", sequence, q.Spec.Name)
			return
		}
		q.lend(at, slot)
		ch.deliveries.add(&l.store.deliveries, n, delivery{queue: q, sequence: sequence, consumer: c})
		if c == nil {
			if ch.gets++; ch.gets == 1 {
				ch.oldestGet = n
			}
			continue
		}
		c.hold(n)
		c.unacked++
		ch.unacked++
	}
}

// holds reports whether the consumer can have unsettled messages of q on ch.
func (c *Consumer) holds(q *Queue, ch *Channel) bool {
	return c != nil && c.Queue == q && c.Channel == ch && !c.Spec.NoAck
}
