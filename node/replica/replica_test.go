package replica

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"warren/fsm"
	"warren/fsm/command"
)

type memory struct{}

func (memory) Put(data []byte) command.Body { return command.Body{Size: len(data), Data: data} }
func (memory) Drop(command.Body)            {}

// rig is a replica and what it handed on.
type rig struct {
	*Replica
	results  []command.Result
	verdicts []fsm.Verdict
	resets   int
	restored int
}

func newRig() *rig {
	r := &rig{}
	r.Replica = New(Config{
		Bodies:      memory{},
		ResetBodies: func() { r.resets++ },
		Applied: func(out *fsm.Output) {
			r.verdicts = append(r.verdicts, out.Verdict)
			r.results = append(r.results, out.Results...)
		},
		Restored: func(*fsm.Machine) { r.restored++ },
	})
	return r
}

func entry(index, epoch, sequence uint64, cmds ...command.Command) *raft.Log {
	b := command.NewBatch(nil, epoch, sequence)
	for _, c := range cmds {
		b = command.AppendToBatch(b, c)
	}
	return &raft.Log{Index: index, Term: 1, Type: raft.LogCommand, Data: b}
}

func ready(t *testing.T, r *rig, queue string) uint32 {
	t.Helper()
	n := -1
	r.View(func(m *fsm.Machine) {
		if q, ok := m.Queue("/", queue); ok {
			n = int(q.Ready)
		}
	})
	if n < 0 {
		t.Fatalf("no queue %q", queue)
	}
	return uint32(n)
}

// sink is a raft.SnapshotSink in memory.
type sink struct {
	bytes.Buffer
	closed, cancelled bool
}

func (s *sink) ID() string    { return "test" }
func (s *sink) Close() error  { s.closed = true; return nil }
func (s *sink) Cancel() error { s.cancelled = true; return nil }

func TestApplySnapshotRestore(t *testing.T) {
	r := newRig()
	r.Apply(entry(2, 0, 0, &command.EpochOpen{Node: "a", Name: "a", Nonce: 1}))
	publish := &command.Publish{VHost: []byte("/"), Key: []byte("q"), Body: []byte("one")}
	r.ApplyBatch([]*raft.Log{
		entry(3, 2, 1, &command.QueueDeclare{VHost: "/", Name: "q", Durable: true}, publish),
		{Index: 4, Type: raft.LogConfiguration, Data: []byte("not ours")},
		entry(5, 2, 3, publish), // a gap
		entry(6, 2, 2, publish),
	})
	want := []fsm.Verdict{fsm.Unsequenced, fsm.Applied, fsm.Gap, fsm.Applied}
	if len(r.verdicts) != len(want) {
		t.Fatalf("verdicts %v, want %v", r.verdicts, want)
	}
	for i := range want {
		if r.verdicts[i] != want[i] {
			t.Fatalf("verdicts %v, want %v", r.verdicts, want)
		}
	}
	if n := ready(t, r, "q"); n != 2 {
		t.Fatalf("%d messages, want 2", n)
	}
	if r.BytesSinceSnapshot() == 0 {
		t.Error("no bytes counted")
	}

	snap, err := r.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if r.BytesSinceSnapshot() != 0 {
		t.Error("bytes still counted after the snapshot")
	}
	r.Apply(entry(7, 2, 3, publish)) // after the cut
	var s sink
	if err := snap.Persist(&s); err != nil || !s.closed || s.cancelled {
		t.Fatalf("persist: %v, closed %v, cancelled %v", err, s.closed, s.cancelled)
	}
	snap.Release()

	other := newRig()
	if err := other.Restore(io.NopCloser(bytes.NewReader(s.Bytes()))); err != nil {
		t.Fatal(err)
	}
	if other.resets != 1 || other.restored != 1 {
		t.Errorf("%d resets, %d restored", other.resets, other.restored)
	}
	if n := ready(t, other, "q"); n != 2 {
		t.Fatalf("%d messages after restore, want 2", n)
	}
	other.Apply(entry(7, 2, 3, publish))
	hash := func(r *rig) (h, state uint64) {
		r.View(func(m *fsm.Machine) { h, state = m.Hash(), m.StateHash() })
		return h, state
	}
	h1, s1 := hash(r)
	h2, s2 := hash(other)
	if h1 != h2 || s1 != s2 {
		t.Errorf("hashes differ: %x/%x and %x/%x", h1, s1, h2, s2)
	}
	if err := other.Restore(io.NopCloser(bytes.NewReader(s.Bytes()[:s.Len()-1]))); err == nil {
		t.Error("a truncated snapshot was restored")
	}
}

// An entry that cannot be understood stops the node, and says what to do.
func TestUnknownEntryPanics(t *testing.T) {
	r := newRig()
	bad := entry(2, 0, 0, &command.Tick{})
	bad.Data[command.BatchHeader] = 255 // a kind of command from the future
	defer func() {
		if p, ok := recover().(string); !ok || !strings.Contains(p, "newer version") {
			t.Errorf("recovered %v", p)
		}
	}()
	r.Apply(bad)
	t.Error("applied")
}
