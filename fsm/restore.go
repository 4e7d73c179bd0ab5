package fsm

import (
	"errors"
	"fmt"
	"io"

	"warren/fsm/command"
	"warren/fsm/internal/stream"
	"warren/fsm/queue"
)

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
	m.restoreTraces()
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
