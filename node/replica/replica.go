// Package replica puts the state machine under hashicorp/raft: it applies the
// committed entries to the node's fsm.Machine, hands each output on, takes
// snapshots and restores them. It decides nothing.
package replica

import (
	"bufio"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"warren/fsm"
	"warren/fsm/command"
)

// Config is what a Replica needs.
type Config struct {
	// Bodies keeps the contents of messages.
	Bodies command.Bodies
	// ResetBodies is called before a snapshot takes the place of the state.
	ResetBodies func()
	// Applied takes the output of each entry, in log order, on the goroutine that
	// applies the log. The output is valid during the call only. It must not block.
	Applied func(*fsm.Output)
	// Restored says that a snapshot took the place of the state. Same goroutine.
	Restored func(*fsm.Machine)
}

// A Replica is the raft.BatchingFSM of a node.
type Replica struct {
	cfg   Config
	total atomic.Int64 // bytes of entries applied
	taken atomic.Int64 // of those, at the last capture or restore

	mu  sync.RWMutex // writers: Apply, Capture, Restore; readers: View
	m   *fsm.Machine
	out fsm.Output // used by the FSM goroutine only
}

var _ raft.BatchingFSM = (*Replica)(nil)

// New returns a replica with an empty machine.
func New(cfg Config) *Replica {
	return &Replica{cfg: cfg, m: fsm.New(cfg.Bodies)}
}

// View calls f with the machine, which f only reads, and keeps nothing of.
// Applying waits meanwhile, so f has to be short.
func (r *Replica) View(f func(*fsm.Machine)) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	f(r.m)
}

// BytesSinceSnapshot is the size of the entries applied since the last snapshot
// was begun.
func (r *Replica) BytesSinceSnapshot() int64 { return r.total.Load() - r.taken.Load() }

// BytesApplied is the size of all entries applied since the start.
func (r *Replica) BytesApplied() int64 { return r.total.Load() }

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
// differ from the other nodes without anyone noticing.
func (r *Replica) apply(l *raft.Log) {
	if l.Type != raft.LogCommand {
		return
	}
	r.total.Add(int64(len(l.Data)))
	r.mu.Lock()
	err := r.m.Apply(fsm.Meta{Index: l.Index, Term: l.Term}, l.Data, &r.out)
	r.mu.Unlock()
	if err != nil {
		panic(fmt.Sprintf("log entry %d of term %d can't be applied: %v\n"+
			"It was written by a newer version of warren, or the log is damaged. Start this node with the version "+
			"that the other nodes run, or empty its data directory and let it join again.", l.Index, l.Term, err))
	}
	r.cfg.Applied(&r.out)
}

// Snapshot captures the state. It is quick; Persist does the writing.
func (r *Replica) Snapshot() (raft.FSMSnapshot, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken.Store(r.total.Load())
	return snapshot{r.m.Capture()}, nil
}

// Restore replaces the state by a snapshot's.
func (r *Replica) Restore(rc io.ReadCloser) error {
	defer rc.Close()
	r.mu.Lock()
	if r.cfg.ResetBodies != nil {
		r.cfg.ResetBodies()
	}
	err := r.m.Restore(bufio.NewReaderSize(rc, 1<<20))
	r.taken.Store(r.total.Load())
	r.mu.Unlock()
	if err != nil {
		return fmt.Errorf("restore snapshot: %w", err)
	}
	r.cfg.Restored(r.m)
	return nil
}

type snapshot struct{ s *fsm.Snapshot }

// Persist writes the captured state to a sink of raft's snapshot store.
func (s snapshot) Persist(sink raft.SnapshotSink) error {
	w := bufio.NewWriterSize(sink, 1<<20)
	if _, err := s.s.WriteTo(w); err != nil {
		sink.Cancel()
		return fmt.Errorf("write snapshot %s: %w", sink.ID(), err)
	}
	if err := w.Flush(); err != nil {
		sink.Cancel()
		return fmt.Errorf("write snapshot %s: %w", sink.ID(), err)
	}
	return sink.Close()
}

func (s snapshot) Release() { s.s.Release() }
