package replica

import (
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"

	"warren/fsm"
	"warren/fsm/command"
)

// Found makes, of the stream of a snapshot that some cluster had at an index and term, the
// snapshot that a new cluster with one voter begins with. What belonged to the processes of the
// old one ends as with a restart of all its nodes: epochs with their consumers and exclusive queues,
// and what is not durable; what was held goes back to its queues. The replica has the
// state then. It returns the index of the new snapshot, of the same term.
//
// Nothing is taken of a stream whose reader ends in an error.
func (r *Replica) Found(snaps raft.SnapshotStore, stream io.Reader, index, term uint64, voter string) (uint64, error) {
	alone := raft.Configuration{Servers: []raft.Server{{ID: raft.ServerID(voter), Address: raft.ServerAddress(voter)}}}
	// A snapshot store asks a transport how addresses are written; ids are written as they are.
	_, transport := raft.NewInmemTransport(raft.ServerAddress(voter))
	if err := receive(snaps, stream, index, term, alone, transport); err != nil {
		return 0, err
	}
	if err := r.loadNewest(snaps); err != nil {
		return 0, err
	}
	if r.m.Index() > index {
		return 0, fmt.Errorf("the state is that of entry %d, and the snapshot's is %d", r.m.Index(), index)
	}
	index++
	if batch := endOfEpochs(r.m); batch != nil {
		if err := r.try(&raft.Log{Index: index, Term: term, Type: raft.LogCommand, Data: batch}); err != nil {
			return 0, fmt.Errorf("end what belonged to processes: %w", err)
		}
	}
	snapshot, err := r.Snapshot()
	if err != nil {
		return 0, fmt.Errorf("capture state: %w", err)
	}
	defer snapshot.Release()
	sink, err := snaps.Create(raft.SnapshotVersionMax, index, term, alone, index, transport)
	if err != nil {
		return 0, fmt.Errorf("create snapshot: %w", err)
	}
	return index, snapshot.Persist(sink)
}

// receive takes a stream as a snapshot from another node is taken.
func receive(snaps raft.SnapshotStore, stream io.Reader, index, term uint64, c raft.Configuration, t raft.Transport) error {
	sink, err := snaps.Create(raft.SnapshotVersionMax, index, term, c, index, t)
	if err != nil {
		return fmt.Errorf("create snapshot: %w", err)
	}
	if _, err := io.Copy(sink, stream); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

func (r *Replica) loadNewest(snaps raft.SnapshotStore) error {
	list, err := snaps.List()
	if err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	if len(list) == 0 {
		return errors.New("the snapshot is not there")
	}
	_, rc, err := snaps.Open(list[0].ID)
	if err != nil {
		return fmt.Errorf("open snapshot: %w", err)
	}
	return r.Restore(rc)
}

// endOfEpochs is a batch that removes all epochs, without a time of its own; nil when there are none.
func endOfEpochs(m *fsm.Machine) []byte {
	epochs := m.Epochs()
	if len(epochs) == 0 {
		return nil
	}
	batch := command.NewBatch(nil, 0, 0)
	for _, e := range epochs {
		batch = command.AppendToBatch(batch, &command.EpochRemove{Epoch: e.Epoch})
	}
	return batch
}
