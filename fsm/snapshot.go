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

// Restore replaces the whole state by that of a snapshot with all messages in it.
// It may read further than the snapshot's end. Bytes that are no sound snapshot are an
// error; the machine is then as it was.
func (m *Machine) Restore(r io.Reader) error {
	return m.replace(r, snapshotMagic, func(l *loader, q *queue.Queue) { l.parts.Messages(l.r, q) })
}

// Load replaces the whole state by that of a snapshot that refers to records. The
// messages stay on disk. Errors are as with Restore.
func (m *Machine) Load(r command.RecordReader) error {
	return m.replace(r, recordsMagic, func(l *loader, q *queue.Queue) { l.parts.Pages(l.r, r.Next, q) })
}

func (m *Machine) replace(r io.Reader, magic string, messages func(*loader, *queue.Queue)) error {
	l := &loader{
		state: newState(m.records), r: stream.NewReader(r), ids: make(map[uint64]*queue.Queue),
		magic: magic, messages: messages,
	}
	if err := l.load(); err != nil {
		l.state.drop()
		return fmt.Errorf("restore state machine: %w", err)
	}
	m.state.drop()
	m.state = l.state
	m.parameterChanges++
	m.store.SetLimit(m.limit)
	m.serve()
	return nil
}

// drop gives up all messages of a state that is not used any more.
func (s *state) drop() {
	s.eachQueue(func(_ *vhost, q *queue.Queue) { q.Delete() })
	for _, name := range sortedKeys(s.vhosts) {
		switch v := s.vhosts[name]; {
		case v.delayed != nil:
			v.delayed.Delete()
		case v.hidden != nil: // of a snapshot that was not read to its end
			v.hidden.Delete()
		}
		for _, exchange := range sortedKeys(s.vhosts[name].histories) {
			s.vhosts[name].histories[exchange].Delete()
		}
	}
}

// loader reads a snapshot into a new state.
type loader struct {
	state
	r        *stream.Reader
	parts    *queue.Loader
	queues   []*queue.Queue
	channels []*queue.Channel
	ids      map[uint64]*queue.Queue // exclusive queues that have no owner yet
	magic    string
	format   byte                        // its version
	messages func(*loader, *queue.Queue) // reads those of a queue
}

func (l *loader) load() error {
	if err := l.checkHead(); err != nil {
		return err
	}
	l.readMachine()
	l.readVHosts()
	l.readChannels()
	if l.r.Err() != nil {
		return l.r.Err()
	}
	l.parts.Join()
	for _, q := range l.queues {
		l.parts.Line(l.r, q)
	}
	for _, q := range l.queues {
		l.messages(l, q)
	}
	for _, ch := range l.channels {
		l.parts.Deliveries(l.r, ch)
	}
	if l.format > oldestSnapshot {
		l.readSections()
	}
	if l.r.Err() == nil {
		l.store.SetCounting(l.version >= effectsSince)
		l.store.SetTiming(l.version >= timeoutsSince)
		if err := l.checkDelays(); err != nil {
			return err
		}
		l.useArguments()
		l.eachQueue(func(_ *vhost, q *queue.Queue) { q.RestoreSettings(l.settings(q)) })
		l.awaitOverdue()
	}
	return l.r.Close()
}

func (l *loader) checkHead() error {
	if string(l.r.Raw(uint64(len(l.magic)))) != l.magic {
		if err := l.r.Err(); err != nil && !errors.Is(err, stream.ErrCorrupt) {
			return err
		}
		return ErrNotSnapshot
	}
	l.format = l.r.Byte()
	if l.r.Err() == nil && (l.format < oldestSnapshot || l.format > snapshotVersion) {
		return fmt.Errorf("%w: %d", ErrSnapshotVersion, l.format)
	}
	return l.r.Err()
}

func (l *loader) readMachine() {
	l.state.index, l.state.term = l.r.Uint(), l.r.Uint()
	l.state.now, l.state.hash = int64(l.r.Uint()), l.r.Uint()
	l.state.ids = l.r.Bounded(1 << 62)
	l.store.SetNow(l.now)
	l.parts = queue.NewLoader(l.store, l.state.ids)
	for n := l.r.Uint(); n > 0 && l.r.Err() == nil; n-- {
		e := &epoch{
			number: l.r.Uint(), node: l.r.String(), name: l.r.String(),
			nonce: l.r.Uint(), sequence: l.r.Uint(), witness: l.r.Flags(1) == 1,
			connections: make(map[uint64]*connection),
		}
		if e.number == 0 || e.number > l.index || l.epochs[e.number] != nil {
			l.r.Fail("epoch %d cannot be", e.number)
		}
		l.epochs[e.number] = e
		l.strangers = l.strangers || !e.witness
	}
}

func (l *loader) readVHosts() {
	for n := l.r.Uint(); n > 0 && l.r.Err() == nil; n-- {
		name := l.r.String()
		if l.vhosts[name] != nil || name == "" {
			l.r.Fail("vhost %q comes twice, or has no name", name)
			return
		}
		v := newVHost(name)
		l.readTopology(v)
		l.vhosts[name] = v
		for n := l.r.Uint(); n > 0 && l.r.Err() == nil; n-- {
			l.readQueue(v)
		}
		l.checkNames(v)
	}
}

func (l *loader) readTopology(v *vhost) {
	b := l.r.Bytes()
	if l.r.Err() != nil {
		return
	}
	rest, err := v.topology.RestoreSnapshot(b)
	if err != nil || len(rest) > 0 {
		l.r.Fail("topology of vhost %q: %v, %d bytes left", v.name, err, len(rest))
		return
	}
	for _, x := range v.topology.Exchanges() {
		if _, ok := v.transient(x.Name); ok {
			v.born[x.Name] = l.r.Uint()
		}
	}
}

func (l *loader) readQueue(v *vhost) {
	q := l.parts.Queue(l.r)
	if q == nil {
		return
	}
	if q.Spec.VHost != v.name || v.queues[q.Spec.Name] != nil {
		l.r.Fail("queue %q comes twice or in the wrong vhost", q.Spec.Name)
		return
	}
	l.queues = append(l.queues, q)
	if q.Spec.Name == queue.DelayedName {
		if v.hidden != nil {
			l.r.Fail("delayed messages come twice")
		}
		v.hidden = q
		return
	}
	if l.readHistory(v, q) {
		return
	}
	v.queues[q.Spec.Name], v.sorted = q, nil
	if q.Spec.Exclusive {
		l.ids[q.ID] = q
		v.topology.SetEpoch(q.Spec.Name, q.Owner.Epoch)
	}
}

// checkNames makes sure that the topology routes to the queues that there are.
func (l *loader) checkNames(v *vhost) {
	known := 0
	for _, b := range v.topology.AppendBindings(nil) {
		if b.ToExchange {
			continue
		}
		if v.queues[b.Destination] == nil {
			l.r.Fail("a binding leads to queue %q, which is not there", b.Destination)
		}
		if b.Source == "" {
			known++
		}
	}
	if known != len(v.queues) {
		l.r.Fail("%d queues of %d have a name in the topology", known, len(v.queues))
	}
}

func (l *loader) readChannels() {
	for _, number := range sortedKeys(l.epochs) {
		e := l.epochs[number]
		for n := l.r.Uint(); n > 0 && l.r.Err() == nil; n-- {
			l.readConnection(e)
		}
	}
	if len(l.ids) > 0 {
		l.r.Fail("%d exclusive queues belong to nobody", len(l.ids))
	}
}

func (l *loader) readConnection(e *epoch) {
	number := l.r.Uint()
	if e.connections[number] != nil {
		l.r.Fail("connection %d comes twice", number)
		return
	}
	c := e.connection(number)
	for n := l.r.Uint(); n > 0 && l.r.Err() == nil; n-- {
		l.readExclusive(e, c)
	}
	for n := l.r.Uint(); n > 0 && l.r.Err() == nil; n-- {
		l.readChannel(e, c)
	}
}

func (l *loader) readExclusive(e *epoch, c *connection) {
	id := l.r.Uint()
	q := l.ids[id]
	if q == nil || q.Owner.Epoch != e.number || q.Owner.Conn != c.number {
		l.r.Fail("exclusive queue %d is not of connection %d", id, c.number)
		return
	}
	delete(l.ids, id)
	c.exclusive = append(c.exclusive, q)
}

func (l *loader) readChannel(e *epoch, c *connection) {
	number := uint16(l.r.Bounded(1<<16 - 1))
	if c.channels[number] != nil {
		l.r.Fail("channel %d comes twice", number)
		return
	}
	owner := command.Owner{Epoch: e.number, Channel: command.Channel{Conn: c.number, Number: number}}
	ch := l.parts.Channel(l.r, owner)
	c.channels[number] = ch
	l.channels = append(l.channels, ch)
	l.parts.Consumers(l.r, ch)
}
