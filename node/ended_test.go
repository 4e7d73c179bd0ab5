package node

import (
	"bytes"
	"testing"
	"time"

	"warren/fsm"
	"warren/fsm/command"
)

// A node that catches up by a snapshot in which its epoch is over learns from it what of its own was applied: that is
// answered as applied, and what was not goes again, once.
func TestEndOfEpochInSnapshot(t *testing.T) {
	n := start(t, testConfig(t.TempDir()))
	defer stop(t, n)
	if r, err := (broker{n}).Propose(t.Context(), &command.QueueDeclare{VHost: "/", Name: "q", Durable: true}); err != nil || r.Err != nil {
		t.Fatal(err, r.Err)
	}
	publish := func(body string) *command.Publish {
		return &command.Publish{VHost: []byte("/"), Key: []byte("q"), Properties: []byte{0, 0}, Body: []byte(body)}
	}
	awaitQuiet(t, n)
	epoch := n.proposer.Epoch()
	seen, unseen := make(waiter, 1), make(waiter, 1)
	n.replica.View(func(m *fsm.Machine) { // so nothing is applied meanwhile, as on a node that is cut off
		before := n.cluster.Stats().LastLogIndex
		n.proposer.Propose(publish("seen by others"), seen, 0)
		n.proposer.Send()
		for n.cluster.Stats().LastLogIndex == before { // a batch of its own
			time.Sleep(time.Millisecond)
		}
		n.proposer.Propose(publish("seen by nobody"), unseen, 0)
		n.proposer.Send()
		others := elsewhere(t, m, epoch, publish("seen by others"))
		n.restored(others)
	})
	if r := <-seen; !r.Lost || !r.Applied {
		t.Errorf("what the others have applied is answered with %+v", r)
	}
	if r := <-unseen; r.Lost || r.Err != nil {
		t.Errorf("what nobody has applied is answered with %+v", r)
	}
	if now := n.proposer.Epoch(); now == epoch || now == 0 {
		t.Error("no new epoch")
	}
}

// awaitQuiet waits until what a node proposes when it starts is applied: nothing new came for ten looks in a row.
func awaitQuiet(t *testing.T, n *Node) {
	t.Helper()
	for last, looks := uint64(0), 0; looks < 10; looks++ {
		time.Sleep(10 * time.Millisecond)
		n.replica.View(func(m *fsm.Machine) {
			if log := n.cluster.Stats().LastLogIndex; m.Index() != last || log != last {
				last, looks = m.Index(), 0
			}
		})
		if t.Context().Err() != nil {
			t.Fatal("the node does not come to rest")
		}
	}
}

// elsewhere returns the state of m as other nodes have it who applied one more batch of the epoch, and then its end.
func elsewhere(t *testing.T, m *fsm.Machine, epoch uint64, last command.Command) *fsm.Machine {
	t.Helper()
	var sequence uint64
	for _, e := range m.Epochs() {
		if e.Epoch == epoch {
			sequence = e.Sequence
		}
	}
	var b bytes.Buffer
	s := m.Capture()
	defer s.Release()
	if _, err := s.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	others := fsm.New(nil)
	if err := others.Restore(&b); err != nil {
		t.Fatal(err)
	}
	var out fsm.Output
	for i, batch := range [][]byte{
		command.AppendToBatch(command.NewBatch(nil, epoch, sequence+1), last),
		command.AppendToBatch(command.NewBatch(nil, 0, 0), &command.EpochRemove{Epoch: epoch}),
	} {
		if err := others.Apply(fsm.Meta{Index: m.Index() + 1 + uint64(i), Term: 1}, batch, &out); err != nil {
			t.Fatal(err)
		}
	}
	return others
}
