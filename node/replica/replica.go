// Package replica puts the state machine under hashicorp/raft: it applies the
// committed entries to the node's fsm.Machine, hands each output on, takes
// snapshots and restores them. It decides nothing.
package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"warren/fsm"
	"warren/fsm/command"
)

// Disk is where messages and snapshots are kept. Snapshots come as readers that
// have the method Local, and go to sinks that have the method Begin: see Local and Sink.
type Disk interface {
	command.Records
	// Collect removes what nothing refers to any more.
	Collect() error
}

// Local is the reader of a snapshot on this node's disk.
type Local interface {
	Local() (command.RecordReader, error)
}

// Sink is the raft.SnapshotSink that a snapshot of the machine is written to.
type Sink interface {
	raft.SnapshotSink
	Begin() command.RecordWriter
}

// Config is what a Replica needs.
type Config struct {
	// Disk keeps what memory cannot.
	Disk Disk
	// Node is the id of the node whose clients are served here. See fsm.Machine.Serve.
	Node string
	// MessageMemory is about the most that messages may take of memory, in bytes, as
	// far as they are on disk. See fsm.Machine.SetLimit.
	MessageMemory int64
	// Applied takes the output of each entry, in log order, on the goroutine that
	// applies the log. The output is valid during the call only. It must not block.
	Applied func(*fsm.Output)
	// OnApply, if there is one, takes how long the machine took for each entry. It must not block.
	OnApply func(time.Duration)
	// Restored says that a snapshot took the place of the state. Same goroutine.
	Restored func(*fsm.Machine)
	// Failed is told that the machine cannot go on, as what it needs, messages or a snapshot, cannot be read from disk;
	// same goroutine. The owner has to end the process.
	Failed func(error)
}

// A Replica is the raft.BatchingFSM of a node.
type Replica struct {
	cfg      Config
	total    atomic.Int64 // bytes of entries applied
	taken    atomic.Int64 // of those, at the last capture or restore
	resident atomic.Int64 // see MessageMemory

	loaded  atomic.Uint64 // see Loaded
	handing sync.Mutex    // held from the start of an entry until its output is handed on
	handed  progress      // index of the last entry of which that is so

	mu  sync.RWMutex // writers: Apply, Capture, Restore; readers: View
	m   *fsm.Machine
	out fsm.Output // used by the FSM goroutine only
}

var _ raft.BatchingFSM = (*Replica)(nil)

// New returns a replica with an empty machine.
func New(cfg Config) *Replica {
	r := &Replica{cfg: cfg, m: fsm.New(cfg.Disk)}
	r.m.SetLimit(cfg.MessageMemory)
	r.m.Serve(cfg.Node)
	return r
}

// View calls f with the machine, which f only reads, and keeps nothing of.
// Applying waits meanwhile, so f has to be short.
func (r *Replica) View(f func(*fsm.Machine)) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	f(r.m)
}

// Between is View at a moment when the output of every entry that the machine has
// seen is handed on, and for one f at a time. Applied and Restored must not call it,
// nor wait for someone who does.
func (r *Replica) Between(f func(*fsm.Machine)) {
	r.handing.Lock()
	defer r.handing.Unlock()
	r.View(f)
}

// Trace says which messages to follow, from the next entry on: see fsm.Machine.Trace. The caller is none of View's.
func (r *Replica) Trace(traces []fsm.Trace) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.m.Trace(traces)
}

// Handed is the index of the last entry whose output was, or is being, handed on.
func (r *Replica) Handed() uint64 { return r.handed.index.Load() }

// Reach waits until the output of the entry at an index is handed on. It returns
// false when ctx ends first.
func (r *Replica) Reach(ctx context.Context, index uint64) bool { return r.handed.reach(ctx, index) }

// BytesSinceSnapshot is the size of the entries applied since the last snapshot
// was begun.
func (r *Replica) BytesSinceSnapshot() int64 { return r.total.Load() - r.taken.Load() }

// BytesApplied is the size of all entries applied since the start.
func (r *Replica) BytesApplied() int64 { return r.total.Load() }

// MessageMemory returns about what the messages in memory take, in bytes.
func (r *Replica) MessageMemory() int64 { return r.resident.Load() }

// Hashes says what state a replica is in: replicas with the same index have the same ones.
type Hashes struct {
	Index   uint64 // of the last entry applied
	History uint64 // see fsm.Machine.Hash
	State   uint64 // see fsm.Snapshot.StateHash
}

// Hashes reads the whole state, messages on disk too. Applying waits no longer for it than
// for a snapshot. See fsm.Snapshot.StateHash for the error.
func (r *Replica) Hashes() (Hashes, error) {
	r.mu.Lock()
	h := Hashes{Index: r.m.Index(), History: r.m.Hash()}
	s := r.m.Capture()
	r.mu.Unlock()
	defer s.Release()
	var err error
	h.State, err = s.StateHash()
	return h, err
}

// Apply applies one entry.
func (r *Replica) Apply(l *raft.Log) any {
	r.apply(l)
	return nil
}

// ApplyBatch applies entries in order.
func (r *Replica) ApplyBatch(logs []*raft.Log) []any {
	for _, l := range logs {
		r.apply(l)
	}
	return make([]any, len(logs))
}

// apply panics on an entry that this version cannot read: to go on would be to
// differ from the other nodes without anyone noticing. When a message cannot be read from disk, the
// goroutine of the caller ends, as Raft knows no entry that cannot be applied.
func (r *Replica) apply(l *raft.Log) {
	err := r.try(l)
	if unreadable := (*fsm.Unreadable)(nil); errors.As(err, &unreadable) {
		r.cfg.Failed(fmt.Errorf("the state machine can't go on: %w", err))
		runtime.Goexit()
	}
	if err != nil {
		panic(fmt.Sprintf("log entry %d of term %d can't be applied: %v\n"+
			"It was written by a newer version of warren, or the log is damaged. Start this node with the version "+
			"that the other nodes run, or empty its data directory and let it join again.", l.Index, l.Term, err))
	}
}

func (r *Replica) try(l *raft.Log) error {
	if l.Type != raft.LogCommand {
		return nil
	}
	r.total.Add(int64(len(l.Data)))
	r.handing.Lock()
	defer r.handing.Unlock()
	r.mu.Lock()
	began := time.Now()
	err := r.m.Apply(fsm.Meta{Index: l.Index, Term: l.Term}, l.Data, &r.out)
	if r.cfg.OnApply != nil {
		r.cfg.OnApply(time.Since(began))
	}
	r.resident.Store(r.m.Resident())
	r.mu.Unlock()
	if err != nil {
		return err
	}
	r.handed.index.Store(l.Index) // before a session can know of it
	r.cfg.Applied(&r.out)
	r.handed.tell()
	return nil
}

// Snapshot captures the state. It is quick; Persist does the writing.
func (r *Replica) Snapshot() (raft.FSMSnapshot, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	bytes := r.BytesSinceSnapshot()
	r.taken.Add(bytes)
	return &snapshot{r: r, s: r.m.Capture(), bytes: bytes}, nil
}

// Restore replaces the state by a snapshot's. It is quick: messages stay on disk.
func (r *Replica) Restore(rc io.ReadCloser) error {
	defer rc.Close()
	r.handing.Lock()
	defer r.handing.Unlock()
	if err := r.restore(rc); err != nil {
		err = fmt.Errorf("restore snapshot: %w", err)
		r.cfg.Failed(err) // Raft would ask for it again, and for ever
		return err
	}
	r.handed.index.Store(r.m.Index())
	r.cfg.Restored(r.m)
	r.handed.tell()
	return nil
}

func (r *Replica) restore(rc io.ReadCloser) error {
	local, err := localOf(rc)
	if err != nil {
		return err
	}
	records, err := local.Local()
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.m.Load(&loading{records, &r.loaded}); err != nil {
		return err
	}
	r.taken.Store(r.total.Load())
	r.resident.Store(r.m.Resident())
	return r.cfg.Disk.Collect()
}

// Loaded counts what is read of snapshots that take the place of the state. While one does, View waits; where
// this grows, it will not wait for ever.
func (r *Replica) Loaded() uint64 { return r.loaded.Load() }

// loading counts what is read.
type loading struct {
	command.RecordReader
	count *atomic.Uint64
}

func (l *loading) Read(p []byte) (int, error) {
	l.count.Add(1)
	return l.RecordReader.Read(p)
}

func (l *loading) Next() (command.Record, error) {
	l.count.Add(1)
	return l.RecordReader.Next()
}

// localOf takes off what Raft wraps a reader in to count.
func localOf(rc io.ReadCloser) (Local, error) {
	for {
		if local, ok := rc.(Local); ok {
			return local, nil
		}
		wrapper, ok := rc.(raft.ReadCloserWrapper)
		if !ok {
			return nil, fmt.Errorf("%T is no snapshot of the message store", rc)
		}
		rc = wrapper.WrappedReadCloser()
	}
}

type snapshot struct {
	r      *Replica
	s      *fsm.Snapshot
	bytes  int64 // of log that it makes superfluous
	stored bool
}

// Persist writes the captured state to a sink of the message store. It runs
// beside Apply.
func (s *snapshot) Persist(to raft.SnapshotSink) error {
	sink, ok := to.(Sink)
	if !ok {
		return errors.Join(fmt.Errorf("%T is no sink of the message store", to), to.Cancel())
	}
	err := s.s.Save(sink.Begin())
	if err == nil {
		err = sink.Close()
	}
	s.r.mu.Lock()
	if err == nil {
		s.r.m.Stored(s.s)
		s.stored = true
	} else {
		s.r.m.Abandon(s.s)
	}
	s.r.resident.Store(s.r.m.Resident())
	s.r.mu.Unlock()
	if err != nil {
		return errors.Join(fmt.Errorf("write snapshot %s: %w", sink.ID(), err), sink.Cancel())
	}
	return s.r.cfg.Disk.Collect()
}

// Release lets go of the captured state.
func (s *snapshot) Release() {
	if !s.stored {
		s.r.taken.Add(-s.bytes)
	}
	s.s.Release()
}
