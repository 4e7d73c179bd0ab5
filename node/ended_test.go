package node

import (
	"bytes"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/fsm"
	"warren/fsm/command"
)

// A node that catches up by a snapshot in which its epoch is over learns from it what of its own was applied: that is
// answered as applied, and what was not goes again, once. Clients hear what else the snapshot brought: their vhost is gone.
func TestEndOfEpochInSnapshot(t *testing.T) {
	n := start(t, testConfig(t.TempDir()))
	defer stop(t, n)
	if r, err := (broker{n}).Propose(t.Context(), &command.QueueDeclare{VHost: "/", Name: "q", Durable: true}); err != nil || r.Err != nil {
		t.Fatal(err, r.Err)
	}
	publish := func(body string) *command.Publish {
		return &command.Publish{VHost: []byte("/"), Key: []byte("q"), Properties: []byte{0, 0}, Body: []byte(body)}
	}
	conn, _ := dial(t, n)
	gone := conn.NotifyClose(make(chan *amqp.Error, 1))
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
		others := elsewhere(t, m, epoch, publish("seen by others"), &command.VHostDelete{Name: "/"})
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
	select {
	case e := <-gone:
		if e == nil || e.Code != 320 || e.Reason != "CONNECTION_FORCED - vhost '/' is deleted" {
			t.Errorf("the client was told %v", e)
		}
	case <-time.After(time.Minute):
		t.Error("the client of a vhost that is gone is still there")
	}
}

// awaitQuiet waits until a node has proposed all that it does when it starts, and has applied it.
func awaitQuiet(t *testing.T, n *Node) {
	t.Helper()
	within(t, "the node has come to rest", func() bool {
		missing, known := n.namesMissing()
		rest := known && len(missing) == 0 && n.machineVersion() == fsm.Version
		n.replica.View(func(m *fsm.Machine) { rest = rest && m.Seeded() && m.Index() == n.cluster.Stats().LastLogIndex })
		return rest
	})
}

// elsewhere returns the state of m as other nodes have it who applied one more batch of the epoch, and then its end.
func elsewhere(t *testing.T, m *fsm.Machine, epoch uint64, last ...command.Command) *fsm.Machine {
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
	one := command.NewBatch(nil, epoch, sequence+1)
	for _, cmd := range last {
		one = command.AppendToBatch(one, cmd)
	}
	for i, batch := range [][]byte{
		one,
		command.AppendToBatch(command.NewBatch(nil, 0, 0), &command.EpochRemove{Epoch: epoch}),
	} {
		if err := others.Apply(fsm.Meta{Index: m.Index() + 1 + uint64(i), Term: 1}, batch, &out); err != nil {
			t.Fatal(err)
		}
	}
	return others
}
