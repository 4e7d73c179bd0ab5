package queue

import (
	"fmt"
	"slices"

	"warren/fsm/command"
)

// A page is a chunk of messages.
type page = chunk[*command.Message]

// disk is what a chunk of messages has on disk. Slices are not changed once they
// are set, as a copy of the chunk may share them.
type disk struct {
	parts   []part // in order of their slots, without overlap
	stored  int    // messages in slots below this stand in parts
	sizes   sizes  // of the bodies of messages that are away
	bytes   int64  // cost of the messages in memory
	version uint64 // of parts: set anew with them
}

// A part is a run of messages in one record.
type part struct {
	from, to int // slots, to not included
	count    int // messages in the record
	record   command.Record
}

// sizes are the body sizes of the messages of a chunk: one for all if they agree.
type sizes struct {
	all  uint32
	each []uint32
}

func (s *sizes) at(slot int) uint32 {
	if slot < len(s.each) {
		return s.each[slot]
	}
	return s.all
}

// measure returns the body sizes of the messages in slots below end.
func measure(c *page, end int) sizes {
	var s sizes
	first := true
	for slot := c.present.next(0); slot < end; slot = c.present.next(slot + 1) {
		size := uint32(bodySize(c, slot))
		switch {
		case first:
			s.all, first = size, false
		case s.each == nil && size != s.all:
			s.each = make([]uint32, end)
			for before := range slot {
				s.each[before] = s.all
			}
			s.each[slot] = size
		case s.each != nil:
			s.each[slot] = size
		}
	}
	return s
}

// bodySize returns the size of the body of a message that may be away.
func bodySize(c *page, slot int) int {
	if m := c.at(slot); m != nil {
		return len(m.Body)
	}
	return int(c.sizes.at(slot))
}

// messageCost is what a message costs in memory beside its bytes.
const messageCost = 128

func cost(m *command.Message) int64 {
	return int64(len(m.Key) + len(m.Properties) + len(m.Body) + messageCost)
}

// An Unreadable is the value of the panic that ends the machine when a message
// cannot be read from disk.
type Unreadable struct {
	Queue string
	Err   error
}

// Error says what could not be read.
func (u *Unreadable) Error() string {
	return fmt.Sprintf("read messages of queue %q: %v", u.Queue, u.Err)
}

// Unwrap returns the error of the disk.
func (u *Unreadable) Unwrap() error { return u.Err }

// message returns the message at a place, which it brings to memory.
func (q *Queue) message(at, slot int) *command.Message {
	if m := q.messages.chunks[at].at(slot); m != nil {
		return m
	}
	q.load(at, slot)
	return q.messages.chunks[at].values[slot]
}

// load brings the part in which a slot is to memory.
func (q *Queue) load(at, slot int) {
	s := q.store
	c := q.messages.writable(&s.messages, at)
	i, err := c.partOf(slot)
	if err == nil {
		c.grow(min(c.parts[i].to, chunkSize) - 1)
		err = readPart(s.records.Read, c, &c.parts[i], func(slot int, m *command.Message) {
			c.values[slot] = m
			c.bytes += cost(m)
			s.resident += cost(m)
		})
	}
	if err == nil && c.values[slot] == nil {
		err = fmt.Errorf("%w: message %d is not in %+v", errRecord, c.base+uint64(slot), c.parts[i].record)
	}
	if err != nil {
		panic(&Unreadable{Queue: q.Spec.Name, Err: err})
	}
	s.visits = append(s.visits, visit{q, c.base, s.round})
	q.ahead(at, i)
}

// leaving is the part that was read last for messages that leave their queue.
type leaving struct {
	record   command.Record
	messages map[int]*command.Message // nil: no part was read
}

// last returns the message at a place, which is about to leave the queue. What stands beside it is not
// brought to memory.
func (q *Queue) last(at, slot int) *command.Message {
	s, c := q.store, q.messages.chunks[at]
	if m := c.at(slot); m != nil {
		return m
	}
	i, err := c.partOf(slot)
	if err == nil {
		p := &c.parts[i]
		if m := s.leaving.messages[slot]; m != nil && s.leaving.record == p.record {
			return m
		}
		s.leaving = leaving{p.record, make(map[int]*command.Message)}
		err = readPart(s.records.Read, c, p, func(slot int, m *command.Message) { s.leaving.messages[slot] = m })
		q.ahead(at, i)
		if m := s.leaving.messages[slot]; m != nil && err == nil {
			return m
		}
	}
	if err == nil {
		err = fmt.Errorf("%w: message %d is not there", errRecord, c.base+uint64(slot))
	}
	panic(&Unreadable{Queue: q.Spec.Name, Err: err})
}

// partOf returns the index of the part in which a slot is.
func (d *disk) partOf(slot int) (int, error) {
	for i := range d.parts {
		if slot >= d.parts[i].from && slot < d.parts[i].to {
			return i, nil
		}
	}
	return 0, fmt.Errorf("%w: no record is known of slot %d", errRecord, slot)
}

// readAhead is the number of records that are asked for beyond the one in use.
const readAhead = 2

// ahead asks for what comes behind part i of the chunk at a place, if it is away.
func (q *Queue) ahead(at, i int) {
	left := readAhead
	for i++; at < len(q.messages.chunks) && left > 0; at, i = at+1, 0 {
		c := q.messages.chunks[at]
		for ; i < len(c.parts) && left > 0; i++ {
			p := &c.parts[i]
			if slot := c.readyBits.next(p.from); slot < p.to && c.at(slot) == nil {
				q.store.records.Ahead(p.record)
				left--
			}
		}
		if c.stored == 0 {
			return
		}
	}
}

// readPart reads a record and hands those of its messages to f that are present
// in the chunk and not in memory.
func readPart(read func(command.Record) ([]byte, error), c *page, p *part, f func(int, *command.Message)) error {
	b, err := read(p.record)
	if err != nil {
		return err
	}
	left, held := 0, 0
	wanted := func(slot int) bool {
		return slot >= p.from && slot < p.to && c.present.has(slot) && c.at(slot) == nil
	}
	err = decodeRecord(b, func(slot int, m *command.Message) {
		if wanted(slot) {
			left++
			held += len(m.Key) + len(m.Properties) + len(m.Body)
		}
	})
	if err != nil {
		return fmt.Errorf("%w in %+v", err, p.record)
	}
	// Few messages of a large record would keep all of it in memory: copy them.
	var own []byte
	if 2*held < len(b) {
		own = make([]byte, 0, held)
	}
	messages := make([]command.Message, 0, left)
	return decodeRecord(b, func(slot int, m *command.Message) {
		if !wanted(slot) || len(messages) == cap(messages) {
			return
		}
		if own != nil {
			m.Key, own = keep(own, m.Key)
			m.Properties, own = keep(own, m.Properties)
			m.Body, own = keep(own, m.Body)
		}
		messages = append(messages, *m)
		f(slot, &messages[len(messages)-1])
	})
}

// keep copies b to the end of own, which has room.
func keep(own, b []byte) (kept, rest []byte) {
	at := len(own)
	own = append(own, b...)
	return own[at:len(own):len(own)], own
}

// evict lets go of the messages in memory that are on disk too. It returns
// whether there were any.
func (q *Queue) evict(at int) bool {
	c := q.messages.chunks[at]
	if c.stored == 0 || c.bytes == 0 {
		return false
	}
	s := q.store
	known := measure(c, c.stored)
	if c.generation != s.messages.generation {
		d := new(page)
		*d = *c
		d.generation = s.messages.generation
		d.values = nil
		d.life.own()
		if c.present.next(c.stored) < chunkSize {
			d.values = slices.Clone(c.values)
		}
		q.messages.chunks[at], c = d, d
	}
	c.sizes = known
	s.resident -= c.bytes
	c.bytes = 0
	if c.present.next(c.stored) == chunkSize {
		c.values = nil
		return true
	}
	clear(c.values[:min(c.stored, len(c.values))])
	for slot := c.present.next(c.stored); slot < chunkSize; slot = c.present.next(slot + 1) {
		c.bytes += cost(c.values[slot])
	}
	s.resident += c.bytes
	return true
}

// A peeker reads messages that are away without bringing them to memory. It
// keeps those of the last part that it read.
type peeker struct {
	chunk    *page
	from, to int
	messages map[int]*command.Message
}

func (k *peeker) message(records recordReader, c *page, slot int) (*command.Message, error) {
	if m := c.at(slot); m != nil {
		return m, nil
	}
	if k.chunk != c || slot < k.from || slot >= k.to {
		i, err := c.partOf(slot)
		if err != nil {
			return nil, err
		}
		p := &c.parts[i]
		k.chunk, k.from, k.to = c, p.from, p.to
		k.messages = make(map[int]*command.Message)
		err = readPart(records.Read, c, p, func(slot int, m *command.Message) { k.messages[slot] = m })
		if err != nil {
			return nil, err
		}
	}
	m := k.messages[slot]
	if m == nil {
		return nil, fmt.Errorf("%w: message %d is not there", errRecord, c.base+uint64(slot))
	}
	return m, nil
}

type recordReader interface {
	Read(command.Record) ([]byte, error)
}

// evictChunk lets go of what is on disk of the chunk with a base, if it is there.
func (q *Queue) evictChunk(base uint64) {
	if at, ok := q.messages.chunk(base); ok {
		q.evict(at)
	}
}

// A visit is a chunk that has messages in memory that are on disk too.
type visit struct {
	q     *Queue
	base  uint64
	round uint64 // at the end of the next one after this they go
}

// SetLimit bounds the memory of messages, in bytes: beyond it, what is on disk
// leaves memory, what was loaded or stored first. Below 0 there is no bound.
func (s *Store) SetLimit(bytes int64) { s.limit = bytes }

// Resident returns the cost of the messages in memory, in bytes. A message that
// stands in several queues counts in each.
func (s *Store) Resident() int64 { return s.resident }

// Trim keeps the memory of messages within the limit, as far as they are on disk. It is to be called at
// the end of each log entry, and may be at any time.
func (s *Store) Trim() {
	s.leaving = leaving{}
	for s.limit >= 0 && s.resident > s.limit && len(s.visits) > 0 {
		s.forget()
	}
}

// Age begins a new round, and lets go of what is on disk and was brought to memory before
// the one that ends: young messages are slices of log entries, and one of them keeps
// the whole entry in memory.
func (s *Store) Age() {
	for len(s.visits) > 0 && s.visits[0].round < s.round {
		s.forget()
	}
	s.round++
}

// Evict lets go of all messages that are on disk too.
func (s *Store) Evict() {
	for len(s.visits) > 0 {
		s.forget()
	}
}

func (s *Store) forget() {
	v := s.visits[0]
	s.visits[0] = visit{}
	s.visits = s.visits[1:]
	if v.q.deleted {
		return
	}
	v.q.evictChunk(v.base)
}

// chunk returns the index of the chunk with a base.
func (s *sequence[T]) chunk(base uint64) (int, bool) {
	at := s.find(base)
	return at, at < len(s.chunks) && s.chunks[at].base == base
}

// thin reports whether it is time to let go of the chunk with a base: little is
// left of it and nothing to be delivered, but it may keep much memory that it does not use.
func thin(c *page, base uint64) bool {
	return c.ready == 0 && c.stored > 0 && c.base == base && (c.live == chunkSize/4 || c.live == chunkSize/32)
}

// dropped gives up what a chunk that goes had on disk.
func (s *Store) dropped(d *disk) {
	for i := range d.parts {
		s.records.Drop(d.parts[i].record)
	}
}
