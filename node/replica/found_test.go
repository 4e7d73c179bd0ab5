package replica

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"warren/fsm"
	"warren/fsm/command"
)

// TestFound makes a new cluster of the snapshot of another one: what is durable is there, what belonged to
// connections is not, what was held is to be had again, and memory is bounded.
func TestFound(t *testing.T) {
	const messages, held = 40_000, 100
	a := newBacklog(t, t.TempDir(), 8<<20)
	a.open()
	ch := command.Channel{Conn: 1, Number: 1}
	a.do(&command.QueueDeclare{VHost: "/", Name: "q", Durable: true})
	a.fill(messages)
	a.do(&command.QueueDeclare{VHost: "/", Name: "transient"},
		&command.QueueDeclare{VHost: "/", Name: "mine", Exclusive: true, Conn: 1},
		&command.Consume{VHost: "/", Channel: ch, Queue: "q", Tag: "t", Prefetch: held, Limit: 1 << 62})
	a.snapshot()
	meta, stream, err := a.disk.Newest()
	a.must(err)

	b := newBacklog(t, t.TempDir(), 8<<20)
	b.start()
	index, err := b.r.Found(b.disk, stream, meta.Index, meta.Term, "voter")
	b.must(errors.Join(err, stream.Close()))
	if index != meta.Index+1 {
		t.Errorf("the new cluster begins at %d behind %d", index, meta.Index)
	}
	newest, rc, err := b.disk.Newest()
	b.must(err)
	b.must(rc.Close())
	servers := newest.Configuration.Servers
	if newest.Index != index || newest.Term != meta.Term || len(servers) != 1 || servers[0].ID != "voter" || servers[0].Address != "voter" {
		t.Errorf("the snapshot is of %d, term %d, with %v", newest.Index, newest.Term, servers)
	}

	b.index = index
	b.restart()
	b.r.View(func(m *fsm.Machine) {
		if epochs := m.Epochs(); len(epochs) != 0 {
			t.Errorf("epochs of the old cluster: %v", epochs)
		}
		queues := m.Queues("/")
		if len(queues) != 1 || queues[0].Name != "q" || queues[0].Ready != messages || queues[0].Unacked != 0 || queues[0].Consumers != 0 {
			t.Errorf("queues: %+v", queues)
		}
	})
	b.apply(command.AppendToBatch(command.NewBatch(nil, 0, 0), &command.EpochOpen{Node: "voter", Name: "n", Nonce: 1}))
	b.epoch = b.index
	b.drain(messages)
	if limit := uint64(b.memory + 3*b.snapshotBytes + 64<<20); b.peak > limit {
		t.Errorf("%d MiB of heap", b.peak>>20)
	}
}

// TestFoundOfBrokenStream: nothing is taken of what does not come to its end.
func TestFoundOfBrokenStream(t *testing.T) {
	a := newBacklog(t, t.TempDir(), 8<<20)
	a.open()
	a.do(&command.QueueDeclare{VHost: "/", Name: "q", Durable: true})
	a.snapshot()
	meta, stream, err := a.disk.Newest()
	a.must(err)
	good, err := io.ReadAll(stream)
	a.must(errors.Join(err, stream.Close()))
	broken := errors.New("broken")
	b := newBacklog(t, t.TempDir(), 8<<20)
	b.start()
	_, err = b.r.Found(b.disk, io.MultiReader(iotest.OneByteReader(bytes.NewReader(good[:len(good)/2])), iotest.ErrReader(broken)), meta.Index, meta.Term, "voter")
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if list, err := b.disk.List(); err != nil || len(list) != 0 {
		t.Errorf("snapshots: %v, %v", list, err)
	}
	if _, err := b.r.Found(b.disk, bytes.NewReader(good), meta.Index-1, meta.Term, "voter"); err == nil {
		t.Error("a state from behind the index was taken")
	}
}
