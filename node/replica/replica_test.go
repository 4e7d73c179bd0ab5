package replica

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/raft"

	"warren/fsm"
	"warren/fsm/command"
	"warren/node/msgstore"
)

// rig is a replica and what it handed on.
type rig struct {
	*Replica
	disk     *msgstore.Store
	results  []command.Result
	verdicts []fsm.Verdict
	restored int
	failed   error
}

func newRig(t *testing.T) *rig {
	t.Helper()
	disk, err := msgstore.Open(msgstore.Config{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := disk.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &rig{disk: disk}
	r.Replica = New(Config{
		Disk: disk, MessageMemory: 1 << 20,
		Applied: func(out *fsm.Output) {
			r.verdicts = append(r.verdicts, out.Verdict)
			r.results = append(r.results, out.Results...)
		},
		Restored: func(*fsm.Machine) { r.restored++ },
		Failed:   func(err error) { r.failed = err },
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

func (r *rig) sink(t *testing.T, index uint64) raft.SnapshotSink {
	t.Helper()
	sink, err := r.disk.Create(raft.SnapshotVersionMax, index, 1, raft.Configuration{}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	return sink
}

// newest opens the newest snapshot.
func (r *rig) newest(t *testing.T) io.ReadCloser {
	t.Helper()
	list, err := r.disk.List()
	if err != nil || len(list) == 0 {
		t.Fatalf("%d snapshots, %v", len(list), err)
	}
	meta, rc, err := r.disk.Open(list[0].ID)
	if err != nil || meta.Index != list[0].Index {
		t.Fatalf("snapshot of %d, %v", meta.Index, err)
	}
	return rc
}

// wrapped is what Raft makes of a reader.
type wrapped struct{ io.ReadCloser }

func (w wrapped) WrappedReadCloser() io.ReadCloser { return w.ReadCloser }

func TestApplySnapshotRestore(t *testing.T) {
	r := newRig(t)
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
	if err := snap.Persist(r.sink(t, 6)); err != nil {
		t.Fatal(err)
	}
	snap.Release()

	// To another node, as Raft does it.
	other := newRig(t)
	sink := other.sink(t, 6)
	stream := r.newest(t)
	if _, err := io.Copy(sink, stream); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(stream.Close(), sink.Close()); err != nil {
		t.Fatal(err)
	}
	if err := other.Restore(wrapped{other.newest(t)}); err != nil {
		t.Fatal(err)
	}
	if other.restored != 1 {
		t.Errorf("%d times restored", other.restored)
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
	if err := other.Restore(io.NopCloser(strings.NewReader("something"))); err == nil || !errors.Is(err, other.failed) {
		t.Errorf("something else was restored: %v, and the owner was told %v", err, other.failed)
	}
}

// TestHashes: the hashes are those of the machine, also beside snapshots and entries.
func TestHashes(t *testing.T) {
	r := newRig(t)
	r.Apply(entry(2, 0, 0, &command.EpochOpen{Node: "a", Name: "a", Nonce: 1}))
	r.Apply(entry(3, 2, 1, &command.QueueDeclare{VHost: "/", Name: "q", Durable: true}))
	publish := &command.Publish{VHost: []byte("/"), Key: []byte("q"), Body: []byte("one")}
	var want sync.Map // by index
	note := func() {
		r.View(func(m *fsm.Machine) { want.Store(m.Index(), m.Hash()) })
	}
	note()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for index := uint64(4); ; index++ {
			select {
			case <-stop:
				return
			default:
			}
			r.Apply(entry(index, 2, index-2, publish))
			note()
		}
	}()
	for range 20 {
		if _, err := r.Hashes(); err != nil {
			t.Fatal(err)
		}
	}
	snap, err := r.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if err := snap.Persist(r.sink(t, 99)); err != nil {
		t.Fatal(err)
	}
	snap.Release()
	close(stop)
	<-done
	got, err := r.Hashes()
	if err != nil {
		t.Fatal(err)
	}
	history, ok := want.Load(got.Index)
	var state uint64
	r.View(func(m *fsm.Machine) { state = m.StateHash() })
	if !ok || history != got.History || state != got.State {
		t.Errorf("got %x, want history %x and state %x", got, history, state)
	}
	r.Apply(entry(got.Index+1, 2, got.Index-1, publish))
	if later, err := r.Hashes(); err != nil || later.State == got.State || later.History == got.History {
		t.Errorf("after another message: %x, %v, before %x", later, err, got)
	}
}

// TestPersistFails gives up what was stored when the snapshot cannot be finished.
func TestPersistFails(t *testing.T) {
	r := newRig(t)
	r.Apply(entry(2, 0, 0, &command.EpochOpen{Node: "a", Name: "a", Nonce: 1}))
	r.Apply(entry(3, 2, 1, &command.QueueDeclare{VHost: "/", Name: "q", Durable: true},
		&command.Publish{VHost: []byte("/"), Key: []byte("q"), Body: []byte("one")}))
	snap, err := r.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	sink := r.sink(t, 3)
	if err := sink.Cancel(); err != nil { // its files are gone
		t.Fatal(err)
	}
	if err := snap.Persist(failing{sink.(Sink)}); !errors.Is(err, errFailing) {
		t.Fatalf("persisted: %v", err)
	}
	snap.Release()
	if r.BytesSinceSnapshot() == 0 {
		t.Error("the log counts as shortened")
	}
	if _, live := r.disk.Usage(); live != 0 {
		t.Errorf("%d bytes are in use for nothing", live)
	}
	if err := snap.Persist(struct{ raft.SnapshotSink }{r.sink(t, 3)}); err == nil {
		t.Error("persisted to some other sink")
	}
}

var errFailing = errors.New("it fails")

type failing struct{ Sink }

func (failing) Close() error { return errFailing }

// An entry that cannot be understood stops the node, and says what to do.
func TestUnknownEntryPanics(t *testing.T) {
	r := newRig(t)
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
