package clustertest

import (
	"bytes"
	"cmp"
	"fmt"
	"io"

	"github.com/hashicorp/raft"
)

// Snapshots is the disk's raft.SnapshotStore. It keeps the newest one.
func (d *Disk) Snapshots() raft.SnapshotStore { return snapshots{d} }

type snapshots struct{ d *Disk }

// memSnapshot is one that is complete. It is not changed.
type memSnapshot struct {
	meta raft.SnapshotMeta
	data []byte
}

// Create implements raft.SnapshotStore.
func (s snapshots) Create(version raft.SnapshotVersion, index, term uint64, members raft.Configuration, membersIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.d.made++
	return &snapshotSink{d: s.d, meta: raft.SnapshotMeta{
		ID: fmt.Sprintf("%d-%d-%d", term, index, s.d.made), Version: version, Index: index, Term: term,
		Configuration: members, ConfigurationIndex: membersIndex,
	}}, nil
}

// List implements raft.SnapshotStore.
func (s snapshots) List() ([]*raft.SnapshotMeta, error) {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	if s.d.snapshot == nil {
		return nil, nil
	}
	meta := s.d.snapshot.meta
	return []*raft.SnapshotMeta{&meta}, nil
}

// Open implements raft.SnapshotStore.
func (s snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	if s.d.snapshot == nil || s.d.snapshot.meta.ID != id {
		return nil, nil, fmt.Errorf("no snapshot %s", id)
	}
	meta := s.d.snapshot.meta
	return &meta, io.NopCloser(bytes.NewReader(s.d.snapshot.data)), nil
}

// snapshotSink takes a snapshot, which is there when Close returns.
type snapshotSink struct {
	d    *Disk
	meta raft.SnapshotMeta
	bytes.Buffer
	closed bool
}

// ID implements raft.SnapshotSink.
func (k *snapshotSink) ID() string { return k.meta.ID }

// Close implements raft.SnapshotSink.
func (k *snapshotSink) Close() error {
	if k.closed {
		return nil
	}
	k.closed = true
	k.meta.Size = int64(k.Len())
	done := &memSnapshot{meta: k.meta, data: k.Bytes()}
	k.d.write(func() {
		// Of the node's own and another's that it got meanwhile the newer one stays, as with files.
		if old := k.d.snapshot; old == nil || cmp.Or(cmp.Compare(old.meta.Term, done.meta.Term), cmp.Compare(old.meta.Index, done.meta.Index)) <= 0 {
			k.d.snapshot = done
		}
	})
	return nil
}

// Cancel implements raft.SnapshotSink.
func (k *snapshotSink) Cancel() error {
	k.closed = true
	return nil
}
