package queue

import (
	"encoding/binary"
	"fmt"
	"slices"

	"warren/fsm/command"
	"warren/fsm/internal/stream"
)

const (
	// sparse is the share of its messages that a record must have lost before
	// a checkpoint writes the rest anew: so a message is written again only after
	// three quarters of its neighbours went.
	sparse = 4
	// smallRecord is the size in bytes up to which a record is left as it is,
	// however little of it is in use.
	smallRecord = 4 << 10
)

// A Change is what a checkpoint stored of one chunk. It has no effect before Store.Stored.
type Change struct {
	q       *Queue
	base    uint64
	version uint64 // of the parts that it replaces
	stored  int
	parts   []part
	added   []command.Record // those of parts that are new
}

// Save writes the messages of a queue as records and a list of them, and returns
// what changed. Records that were stored before are referred to.
// The changes are to be given to Store.Stored or Abandon, after an error too.
func (v Contents) Save(w *stream.Writer, records command.RecordWriter, changes []Change) []Change {
	var before uint64
	for _, c := range v.chunks {
		s := saver{c: c, w: records, stored: max(c.stored, c.present.end())}
		err := s.plan()
		if s.changed {
			changes = append(changes, Change{v.q, c.base, c.version, s.stored, s.parts, s.added})
		}
		if err != nil {
			w.Fail(fmt.Errorf("queue %q: %w", v.name, err))
			return changes
		}
		if c.live == 0 {
			continue
		}
		w.Uint((c.base-before)/chunkSize + 1)
		before = c.base
		writePage(w, c, s.parts)
		for i := range s.parts {
			if err := records.Refer(s.parts[i].record); err != nil {
				w.Fail(err)
				return changes
			}
		}
	}
	w.Uint(0)
	return changes
}

// A saver decides in which records the messages of one chunk stand.
type saver struct {
	c       *page
	w       command.RecordWriter
	stored  int
	parts   []part
	added   []command.Record
	changed bool
}

func (s *saver) plan() error {
	c := s.c
	fresh := c.present.within(c.stored, chunkSize)
	from, kept := c.stored, len(c.parts)
	bytes := s.newBytes()
	// What is new takes in smaller parts before it: then a chunk has no more than
	// some ten parts, and a message is written again no more often than that.
	for fresh > 0 && kept > 0 {
		p := &c.parts[kept-1]
		live := c.present.within(p.from, p.to)
		if live > fresh || bytes+int(p.record.Size) > recordBytes {
			break
		}
		fresh, bytes = fresh+live, bytes+int(p.record.Size)
		from, kept = p.from, kept-1
	}
	for i := range c.parts[:kept] {
		if err := s.keep(&c.parts[i]); err != nil {
			return err
		}
	}
	if fresh == 0 {
		s.changed = s.changed || s.stored != c.stored
		return nil
	}
	return s.store(from, s.stored)
}

// newBytes is about the size of what is not stored yet.
func (s *saver) newBytes() int {
	n := 0
	for slot := s.c.present.next(s.c.stored); slot < chunkSize; slot = s.c.present.next(slot + 1) {
		n += int(cost(s.c.values[slot]))
	}
	return n
}

// keep takes over a part, leaves it out when nothing of it is in use, or stores
// anew what is left.
func (s *saver) keep(p *part) error {
	live := s.c.present.within(p.from, p.to)
	switch {
	case live == 0:
		s.changed = true
		return nil
	case s.w.Stale(p.record), live*sparse <= p.count && p.record.Size > smallRecord:
		return s.store(p.from, p.to)
	default:
		s.parts = append(s.parts, *p)
		return nil
	}
}

// store writes the messages in slots from to to as one or more records.
func (s *saver) store(from, to int) error {
	s.changed = true
	messages, err := s.gather(from, to)
	if err != nil {
		return err
	}
	var b []byte
	p := part{from: from}
	flush := func(end int) error {
		r, err := s.w.Store(b)
		if err != nil {
			return err
		}
		p.to, p.record = end, r
		s.parts, s.added = append(s.parts, p), append(s.added, r)
		p, b = part{from: end}, b[:0]
		return nil
	}
	for slot := s.c.present.next(from); slot < to; slot = s.c.present.next(slot + 1) {
		m := messages[slot-from]
		if p.count > 0 && len(b)+int(cost(m)) > recordBytes {
			if err := flush(slot); err != nil {
				return err
			}
		}
		b = appendMessage(b, slot, m)
		p.count++
	}
	return flush(to)
}

// gather returns the messages in slots from to to, those that are away read from disk.
func (s *saver) gather(from, to int) ([]*command.Message, error) {
	messages := make([]*command.Message, to-from)
	var away peeker
	for slot := s.c.present.next(from); slot < to; slot = s.c.present.next(slot + 1) {
		m, err := away.message(s.w, s.c, slot)
		if err != nil {
			return nil, err
		}
		messages[slot-from] = m
	}
	return messages, nil
}

// Flags of a chunk in a snapshot.
const (
	flagAll   = 1 << 0 // all slots hold messages: no bitmap of them
	flagNone  = 1 << 1 // no message was delivered before: no bitmap of them
	flagEqual = 1 << 2 // all bodies have one size
)

func writePage(w *stream.Writer, c *page, parts []part) {
	lengths := measure(c, chunkSize)
	var flags byte
	if c.live == chunkSize {
		flags |= flagAll
	}
	if c.again == (bitmap{}) {
		flags |= flagNone
	}
	if lengths.each == nil {
		flags |= flagEqual
	}
	w.Byte(flags)
	if flags&flagAll == 0 {
		writeBitmap(w, &c.present)
	}
	if flags&flagNone == 0 {
		writeBitmap(w, &c.again)
	}
	if flags&flagEqual != 0 {
		w.Uint(uint64(lengths.all))
	} else {
		c.each(func(slot int) { w.Uint(uint64(lengths.at(slot))) })
	}
	w.Uint(uint64(len(parts)))
	end := 0
	for i := range parts {
		p := &parts[i]
		w.Uint(uint64(p.from - end))
		w.Uint(uint64(p.to - p.from))
		w.Uint(uint64(p.count))
		end = p.to
	}
}

func writeBitmap(w *stream.Writer, b *bitmap) {
	var raw [chunkSize / 8]byte
	for i, v := range b {
		binary.LittleEndian.PutUint64(raw[8*i:], v)
	}
	w.Raw(raw[:])
}

func readBitmap(r *stream.Reader) (b bitmap) {
	raw := r.Raw(chunkSize / 8)
	if r.Err() != nil {
		return b
	}
	for i := range b {
		b[i] = binary.LittleEndian.Uint64(raw[8*i:])
	}
	return b
}

// Pages reads what Contents.Save wrote. All messages are ready at first, and away.
func (l *Loader) Pages(r *stream.Reader, next func() (command.Record, error), q *Queue) {
	var base uint64
	first := true
	for step := r.Uint(); step != 0 && r.Err() == nil; step = r.Uint() {
		if step > maxNumber/chunkSize || !first && step == 1 {
			r.Fail("a chunk of queue %q has no place", q.Spec.Name)
			return
		}
		base += (step - 1) * chunkSize
		first = false
		c := l.page(r, next)
		if r.Err() != nil {
			return
		}
		c.base = base
		if base > maxNumber || !q.fits(base+uint64(c.present.end()-1)) {
			r.Fail("a message stands behind the end of queue %q", q.Spec.Name)
			return
		}
		q.enter(c)
	}
}

// page reads one chunk.
func (l *Loader) page(r *stream.Reader, next func() (command.Record, error)) *page {
	c := &page{generation: l.store.messages.generation}
	l.store.versions++ // a chunk that is dropped and made anew has no records, and version 0
	c.version = l.store.versions
	flags := r.Flags(flagAll | flagNone | flagEqual)
	if flags&flagAll == 0 {
		c.present = readBitmap(r)
	} else {
		c.present = fullBitmap
	}
	if flags&flagNone == 0 {
		c.again = readBitmap(r)
	}
	c.readyBits = c.present
	c.live = c.present.count()
	c.ready = c.live
	if flags&flagEqual != 0 {
		c.sizes.all = uint32(r.Bounded(1<<32 - 1))
	} else {
		c.sizes.each = make([]uint32, c.present.end())
		c.each(func(slot int) { c.sizes.each[slot] = uint32(r.Bounded(1<<32 - 1)) })
	}
	covered := 0
	for n := r.Bounded(chunkSize); n > 0 && r.Err() == nil; n-- {
		p := part{from: c.stored + int(r.Bounded(chunkSize))}
		p.to = p.from + int(r.Bounded(chunkSize))
		p.count = int(r.Bounded(chunkSize))
		if p.to > chunkSize || p.to == p.from || r.Err() != nil {
			r.Fail("a part of a chunk has slots %d to %d", p.from, p.to)
			return nil
		}
		record, err := next()
		if err != nil {
			r.Fail("%v", err)
			return nil
		}
		p.record = record
		covered += c.present.within(p.from, p.to)
		c.stored = p.to
		c.parts = append(c.parts, p)
	}
	if r.Err() == nil && (c.live == 0 || covered != c.live || !c.again.inside(&c.present)) {
		r.Fail("a chunk has %d messages, of which %d are stored", c.live, covered)
	}
	if r.Err() != nil {
		return nil
	}
	return c
}

var fullBitmap = func() (b bitmap) {
	for i := range b {
		b[i] = ^uint64(0)
	}
	return b
}()

// enter puts a chunk that was read behind all others, and holds its records. Its version
// tells it from an empty one that takes its place later.
func (q *Queue) enter(c *page) {
	q.store.versions++
	c.version = q.store.versions
	for i := range c.parts {
		q.store.records.Hold(c.parts[i].record)
	}
	q.messages.chunks = append(q.messages.chunks, c)
	q.messages.count += c.live
	q.laneAt(c.base).ready += c.live
	q.ready += c.live
	c.each(func(slot int) { q.bytes += uint64(c.sizes.at(slot)) })
}

// Stored takes over what a checkpoint stored: from now on those messages can
// leave memory.
func (s *Store) Stored(changes []Change) {
	s.Age()
	for i := range changes {
		ch := &changes[i]
		if ch.q.store != s || !ch.q.stored(ch) {
			s.drop(ch.added)
		}
	}
}

// Abandon gives up what a checkpoint stored that came to nothing.
func (s *Store) Abandon(changes []Change) {
	for i := range changes {
		s.drop(changes[i].added)
	}
}

func (s *Store) drop(records []command.Record) {
	for _, r := range records {
		s.records.Drop(r)
	}
}

// stored takes over a change, unless the chunk is gone or was stored otherwise.
func (q *Queue) stored(ch *Change) bool {
	at, ok := q.messages.chunk(ch.base)
	if q.deleted || !ok || q.messages.chunks[at].version != ch.version {
		return false
	}
	s := q.store
	c := q.messages.writable(&s.messages, at)
	for i := range c.parts {
		if old := c.parts[i].record; !slices.ContainsFunc(ch.parts, func(p part) bool { return p.record == old }) {
			s.records.Drop(old)
		}
	}
	s.versions++
	c.parts, c.stored, c.version = ch.parts, ch.stored, s.versions
	if c.bytes > 0 {
		// They were in memory for a whole round.
		s.visits = append(s.visits, visit{q, c.base, s.round - 1})
	}
	return true
}
