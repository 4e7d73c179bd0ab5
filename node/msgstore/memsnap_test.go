package msgstore

import (
	"bytes"
	"fmt"
	"io"

	"github.com/hashicorp/raft"
)

// memSnapshots keeps the newest snapshot in memory.
type memSnapshots struct {
	made int
	meta *raft.SnapshotMeta
	data []byte
}

type memSink struct {
	s    *memSnapshots
	meta raft.SnapshotMeta
	bytes.Buffer
	closed bool
}

func (s *memSnapshots) Create(version raft.SnapshotVersion, index, term uint64, _ raft.Configuration, _ uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	s.made++
	return &memSink{s: s, meta: raft.SnapshotMeta{ID: fmt.Sprint(s.made), Version: version, Index: index, Term: term}}, nil
}

func (s *memSnapshots) List() ([]*raft.SnapshotMeta, error) {
	if s.meta == nil {
		return nil, nil
	}
	return []*raft.SnapshotMeta{s.meta}, nil
}

func (s *memSnapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	if s.meta == nil || s.meta.ID != id {
		return nil, nil, fmt.Errorf("no snapshot %s", id)
	}
	return s.meta, io.NopCloser(bytes.NewReader(s.data)), nil
}

func (k *memSink) ID() string { return k.meta.ID }

func (k *memSink) Close() error {
	if k.closed {
		return nil
	}
	k.closed = true
	k.meta.Size = int64(k.Len())
	k.s.meta, k.s.data = &k.meta, k.Bytes()
	return nil
}

func (k *memSink) Cancel() error {
	k.closed = true
	return nil
}
