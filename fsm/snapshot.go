package fsm

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"warren/fsm/command"
	"warren/fsm/internal/stream"
	"warren/fsm/queue"
)

// The first bytes of a snapshot: what it is, and the version of its format. One
// that holds its messages and one that refers to records differ in the first.
const (
	snapshotMagic   = "WARRENFS"
	recordsMagic    = "WARRENFR"
	snapshotVersion = 3
	// oldestSnapshot is the oldest version that is still read: it has no sections.
	oldestSnapshot = 2
)

// Errors of Restore and Load. Damage of other kinds is an error too.
var (
	ErrNotSnapshot     = errors.New("not a state machine snapshot")
	ErrSnapshotVersion = errors.New("snapshot of an unknown version")
)

// A Snapshot is the state of a machine at one moment. It stays as it is while
// the machine goes on, and may be used by another goroutine.
type Snapshot struct {
	index    uint64
	records  command.Records
	meta     []byte         // all but messages and deliveries, encoded
	order    []*queue.Queue // those that were there, by vhost and name
	queues   []queue.Contents
	holds    []queue.Ledger
	sections [][]byte // see captureSections
	changes  []queue.Change
	caches   []kept
	delays   []delays
	alive    map[*queue.Queue]struct{} // of order, once holds are written
}

// Capture returns the present state. It costs time for what there is of
// entities (queues, bindings, consumers, channels), and next to none for messages:
// their chunks are shared, and copied when they change.
func (m *Machine) Capture() *Snapshot {
	m.store.Freeze()
	return m.capture()
}

func (m *Machine) capture() *Snapshot {
	s := &Snapshot{index: m.index, records: m.records}
	w := stream.NewBuffer(m.metaSize + m.metaSize/8)
	s.holds = make([]queue.Ledger, 0, m.holds+m.holds/8)
	m.writeMachine(w)
	m.writeVHosts(w, s)
	m.writeChannels(w, s)
	for _, q := range s.order {
		q.WriteLine(w)
	}
	s.meta = w.Buffered()
	m.metaSize, m.holds = len(s.meta), len(s.holds)
	s.sections, s.caches = m.captureSections(), m.captureCaches()
	s.delays = m.captureDelays()
	return s
}

// Index returns the index of the last entry that is in the snapshot.
func (s *Snapshot) Index() uint64 { return s.index }

// Release lets go of what the snapshot holds. It must not be used afterwards.
func (s *Snapshot) Release() { *s = Snapshot{index: s.index} }

// WriteTo writes the snapshot with all messages in it, for Restore. Equal states
// give equal bytes, wherever the messages are.
func (s *Snapshot) WriteTo(w io.Writer) (int64, error) {
	out := stream.NewWriter(w)
	s.write(out)
	n, err := out.Close()
	if err != nil {
		return n, fmt.Errorf("write snapshot: %w", err)
	}
	return n, nil
}

func (s *Snapshot) write(w *stream.Writer) {
	w.Raw([]byte(snapshotMagic))
	w.Byte(snapshotVersion)
	w.Raw(s.meta)
	for _, q := range s.queues {
		q.Write(w, s.records)
	}
	s.writeHolds(w)
	s.writeSections(w)
}

func (s *Snapshot) writeHolds(w *stream.Writer) {
	s.alive = make(map[*queue.Queue]struct{}, len(s.order))
	for _, q := range s.order {
		s.alive[q] = struct{}{}
	}
	for _, l := range s.holds {
		l.Write(w, s.has)
	}
}

// has reports whether a queue was there.
func (s *Snapshot) has(q *queue.Queue) bool {
	_, ok := s.alive[q]
	return ok
}

// Save writes the snapshot as a reference to records, for Load: it stores the messages
// that were not stored before. Machine.Stored or Machine.Abandon is to follow,
// after an error too.
func (s *Snapshot) Save(w command.RecordWriter) error {
	out := stream.NewWriter(w)
	out.Raw([]byte(recordsMagic))
	out.Byte(snapshotVersion)
	out.Raw(s.meta)
	for _, q := range s.queues {
		s.changes = q.Save(out, w, s.changes)
	}
	s.writeHolds(out)
	s.writeSections(out)
	if _, err := out.Close(); err != nil {
		return fmt.Errorf("save snapshot: %w", err)
	}
	return nil
}

// Stored says that what Save wrote is safe on disk: the messages in it may leave memory.
func (m *Machine) Stored(s *Snapshot) {
	m.store.Stored(s.changes)
	s.changes = nil
	m.store.Trim()
}

// Abandon says that what Save wrote came to nothing.
func (m *Machine) Abandon(s *Snapshot) {
	m.store.Abandon(s.changes)
	s.changes = nil
}

// StateHash returns a checksum of the whole state, that is of the bytes of its
// snapshot with all messages. Machines in the same state have the same one, whatever
// they have in memory. It takes as long as writing that snapshot. It is 0 when a
// message cannot be read from disk.
func (m *Machine) StateHash() uint64 {
	h, err := m.capture().StateHash()
	if err != nil {
		return 0
	}
	return h
}

// StateHash is Machine.StateHash of the captured state. It may run beside the machine. The
// error is that of a message that cannot be read from disk, as it is when the machine has gone on for
// so long that the file is removed.
func (s *Snapshot) StateHash() (uint64, error) {
	w := stream.NewWriter(io.Discard)
	s.write(w)
	if err := w.Flush(); err != nil {
		return 0, fmt.Errorf("hash state: %w", err)
	}
	return w.Sum(), nil
}

func (m *Machine) writeMachine(w *stream.Writer) {
	w.Uint(m.index)
	w.Uint(m.term)
	w.Uint(uint64(m.now))
	w.Uint(m.hash)
	w.Uint(m.ids)
	w.Uint(uint64(len(m.epochs)))
	m.eachEpoch(func(e *epoch) {
		w.Uint(e.number)
		w.String(e.node)
		w.String(e.name)
		w.Uint(e.nonce)
		w.Uint(e.sequence)
		w.Byte(flag(e.witness))
	})
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func (m *Machine) writeVHosts(w *stream.Writer, s *Snapshot) {
	w.Uint(uint64(len(m.vhosts)))
	for _, name := range sortedKeys(m.vhosts) {
		v := m.vhosts[name]
		w.String(v.name)
		w.Bytes(v.topology.AppendSnapshot(nil))
		v.writeBorn(w)
		v.sorted = v.byName()
		all := v.sortedQueues()
		w.Uint(uint64(len(all)))
		s.order = slices.Grow(s.order, len(all))
		s.queues = slices.Grow(s.queues, len(all))
		for _, q := range all {
			q.Write(w)
			s.order = append(s.order, q)
			s.queues = append(s.queues, q.Capture())
		}
	}
}

// sortedQueues returns the queues of a vhost by name, and at the end those that nobody sees: of its
// delayed messages, and of the histories of its exchanges.
func (v *vhost) sortedQueues() []*queue.Queue {
	all := slices.Clip(v.byName())
	if v.delayed != nil {
		all = append(all, v.delayed.Queue())
	}
	for _, name := range sortedKeys(v.histories) {
		all = append(all, v.histories[name].Queue())
	}
	return all
}

// writeBorn writes when the non-durable exchanges were declared.
func (v *vhost) writeBorn(w *stream.Writer) {
	for _, x := range v.topology.Exchanges() {
		if _, ok := v.transient(x.Name); ok {
			w.Uint(v.born[x.Name])
		}
	}
}

// writeChannels writes connections and channels with their consumers.
func (m *Machine) writeChannels(w *stream.Writer, s *Snapshot) {
	m.eachEpoch(func(e *epoch) {
		w.Uint(uint64(len(e.connections)))
		for _, number := range sortedKeys(e.connections) {
			c := e.connections[number]
			w.Uint(c.number)
			w.Uint(uint64(len(c.exclusive)))
			for _, q := range c.exclusive {
				w.Uint(q.ID)
			}
			w.Uint(uint64(len(c.channels)))
			for _, number := range sortedKeys(c.channels) {
				ch := c.channels[number]
				w.Uint(uint64(number))
				ch.Write(w)
				ch.WriteConsumers(w)
				s.holds = append(s.holds, ch.Capture())
			}
		}
	})
}

// eachQueue calls f for all queues, by vhost and name.
func (s *state) eachQueue(f func(*vhost, *queue.Queue)) {
	for _, name := range sortedKeys(s.vhosts) {
		v := s.vhosts[name]
		for _, q := range v.byName() {
			f(v, q)
		}
	}
}
