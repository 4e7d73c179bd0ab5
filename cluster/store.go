package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
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
	if s.log, err = newLogStore(inner); err != nil {
		return s, fmt.Errorf("open log store: %w", err)
	}

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

// logStore keeps the newest entries of a log store in memory, by bytes: the
// followers and the local apply read what was appended a moment ago, and need
// not decode it from the file again.
type logStore struct {
	inner     raft.LogStore
	monotonic bool

	mu    sync.Mutex
	low   uint64 // index of the oldest entry, 0 when there is none
	first uint64 // index of logs[0]
	logs  []*raft.Log
	bytes int
}

func newLogStore(inner raft.LogStore) (*logStore, error) {
	m, ok := inner.(raft.MonotonicLogStore)
	low, err := inner.FirstIndex()
	if err != nil {
		return nil, fmt.Errorf("read first index: %w", err)
	}
	return &logStore{inner: inner, low: low, monotonic: ok && m.IsMonotonic()}, nil
}

// IsMonotonic implements raft.MonotonicLogStore.
func (s *logStore) IsMonotonic() bool { return s.monotonic }

func (s *logStore) FirstIndex() (uint64, error) { return s.inner.FirstIndex() }
func (s *logStore) LastIndex() (uint64, error)  { return s.inner.LastIndex() }

// GetLog implements raft.LogStore. raft-wal goes on to serve entries that were
// deleted from the head of its newest segment, until it is opened again; this
// does not, so that a node behaves the same before and after a restart.
func (s *logStore) GetLog(index uint64, log *raft.Log) error {
	s.mu.Lock()
	if s.low == 0 || index < s.low {
		s.mu.Unlock()
		return raft.ErrLogNotFound
	}
	if index >= s.first && index-s.first < uint64(len(s.logs)) {
		*log = *s.logs[index-s.first]
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()
	return s.inner.GetLog(index, log)
}

func (s *logStore) StoreLog(log *raft.Log) error { return s.StoreLogs([]*raft.Log{log}) }

func (s *logStore) StoreLogs(logs []*raft.Log) error {
	if err := s.inner.StoreLogs(logs); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.low == 0 && len(logs) > 0 {
		s.low = logs[0].Index
	}
	for _, l := range logs {
		if len(s.logs) == 0 || l.Index != s.first+uint64(len(s.logs)) {
			s.drop()
			s.first = l.Index
		}
		kept := *l
		s.logs = append(s.logs, &kept)
		s.bytes += size(l)
	}
	n := 0
	for s.bytes > cacheBytes && n < len(s.logs) {
		s.bytes -= size(s.logs[n])
		n++
	}
	clear(s.logs[:n])
	s.logs, s.first = s.logs[n:], s.first+uint64(n)
	return nil
}

// DeleteRange implements raft.LogStore: the head goes at a snapshot, the tail
// when a leader overwrites what an earlier one wrote.
func (s *logStore) DeleteRange(lo, hi uint64) error {
	s.mu.Lock()
	// A compaction cuts off the head and leaves the newest entries valid.
	if last := s.first + uint64(len(s.logs)); len(s.logs) > 0 && hi < last {
		if n := hi + 1; n > s.first {
			cut := int(n - s.first)
			for _, l := range s.logs[:cut] {
				s.bytes -= size(l)
			}
			clear(s.logs[:cut])
			s.logs, s.first = s.logs[cut:], n
		}
	}
	if len(s.logs) > 0 && hi >= s.first {
		s.drop()
	}
	s.mu.Unlock()
	if err := s.inner.DeleteRange(lo, hi); err != nil {
		return err
	}
	low, err := s.inner.FirstIndex()
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.low = low
	s.mu.Unlock()
	return nil
}

func (s *logStore) drop() { s.logs, s.bytes, s.first = nil, 0, 0 }

func size(l *raft.Log) int { return len(l.Data) + len(l.Extensions) + 64 }

// trailing returns how many of the newest entries fit in trailingBytes.
func (s *logStore) trailing() (uint64, error) {
	first, err := s.FirstIndex()
	if err != nil {
		return 0, err
	}
	last, err := s.LastIndex()
	if err != nil {
		return 0, err
	}
	n, bytes := uint64(0), 0
	for i := last; i >= first && i > 0 && n < trailingEntries; i-- {
		var l raft.Log
		if err := s.GetLog(i, &l); err != nil {
			return 0, fmt.Errorf("read entry %d: %w", i, err)
		}
		if bytes += size(&l); bytes > trailingBytes {
			break
		}
		n++
	}
	return n, nil
}
