package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	wal "github.com/hashicorp/raft-wal"
	"go.etcd.io/bbolt"
)

// Bounds in bytes, where hashicorp/raft's own settings count entries. Entries are
// up to about 1 MiB, some of them much more.
const (
	cacheBytes      = 8 << 20 // newest log entries held in memory
	maxPending      = 8 << 20 // of them not on the leader's disk yet; an entry above it goes alone
	trailingEntries = 10_000  // that stay behind a snapshot at most, so that counting their bytes stays cheap
	// maxAppendEntries is in one AppendEntries request, one group commit and one
	// ApplyBatch: some 8 MiB at most when the log is loaded.
	maxAppendEntries = 8
	keptSnapshots    = 2
	// lockTimeout is how long Open waits for a data directory that another
	// process still holds.
	lockTimeout = 2 * time.Second
)

// trailingBytes of log stay behind a snapshot, for nodes that lag a little.
var trailingBytes = 64 << 20

// wrapLog lets tests stand between the log and its file.
var wrapLog = func(_ string, inner raft.LogStore) raft.LogStore { return inner }

// stores are a node's files for Raft.
type stores struct {
	log    *logStore
	stable *raftboltdb.BoltStore
	snaps  raft.SnapshotStore
	close  []func() error
}

func openStores(cfg Config, logStoreName string) (s *stores, err error) {
	s = &stores{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	s.stable, err = raftboltdb.New(raftboltdb.Options{Path: filepath.Join(cfg.DataDir, "stable.db"), BoltOptions: &bbolt.Options{Timeout: lockTimeout}, MsgpackUseNewTimeFormat: true})
	if err != nil {
		return s, fmt.Errorf("open stable store: %w", err)
	}
	s.close = append(s.close, s.stable.Close)

	var inner raft.LogStore
	switch logStoreName {
	case LogStoreBoltDB:
		b, err := raftboltdb.New(raftboltdb.Options{Path: filepath.Join(cfg.DataDir, "log.db"), BoltOptions: &bbolt.Options{Timeout: lockTimeout}, MsgpackUseNewTimeFormat: true})
		if err != nil {
			return s, fmt.Errorf("open log store: %w", err)
		}
		s.close = append(s.close, b.Close)
		inner = b
	default:
		dir := filepath.Join(cfg.DataDir, "wal")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return s, fmt.Errorf("open log store: %w", err)
		}
		w, err := wal.Open(dir, wal.WithLogger(newRaftLog(cfg.Logger)))
		if err != nil {
			return s, fmt.Errorf("open log store: %w", err)
		}
		s.close = append(s.close, w.Close)
		inner = w
	}
	if s.log, err = newLogStore(wrapLog(cfg.ID, inner), cfg.OnFail); err != nil {
		return s, fmt.Errorf("open log store: %w", err)
	}
	s.close = append(s.close, s.log.Close)

	s.snaps = cfg.SnapshotStore
	if s.snaps == nil {
		s.snaps, err = raft.NewFileSnapshotStoreWithLogger(cfg.DataDir, keptSnapshots, newRaftLog(cfg.Logger))
		if err != nil {
			return s, fmt.Errorf("open snapshot store: %w", err)
		}
	}
	return s, nil
}

// Close closes the files, the last opened first.
func (s *stores) Close() error {
	var errs []error
	for i := len(s.close) - 1; i >= 0; i-- {
		errs = append(errs, s.close[i]())
	}
	s.close = nil
	return errors.Join(errs...)
}
