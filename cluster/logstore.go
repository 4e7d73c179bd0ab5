package cluster

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// logStore stands before the file of the log.
//
// It keeps the newest entries in memory, by bytes: the followers and the local
// apply read what was appended a moment ago, and need not decode it from the file
// again.
//
// And it lets the leader write in parallel with its followers: the commands that a
// leader appends are taken into memory, and a goroutine brings them to disk, all
// that wait with one sync. Raft counts the leader's copy at once, so until they are on
// disk nobody may hear that they are committed; see onDisk, waitOnDisk and DESIGN.md.
// Everything else is on disk when StoreLogs returns: what a follower appends, and
// what is no command.
type logStore struct {
	inner     raft.LogStore
	monotonic bool
	leads     func() bool              // this node leads; asked on Raft's main goroutine, whose state that is
	written   func(index, term uint64) // what was late is on disk up to that entry
	onFail    func(error)

	// disk is held while the file is changed. It is taken before mu.
	disk sync.Mutex

	mu      sync.Mutex
	changed *sync.Cond // from, failed or closed
	low     uint64     // index of the oldest entry, 0 when there is none
	first   uint64     // index of logs[0]
	logs    []*raft.Log
	bytes   int // of logs
	pending int // bytes of those that are not on disk
	sizes   sizes
	failed  error
	closed  bool
	writer  sync.WaitGroup

	// from is the lowest index that is not on disk, allOnDisk when all are.
	// Changed with mu held.
	from atomic.Uint64
}

const allOnDisk = math.MaxUint64

func newLogStore(inner raft.LogStore, onFail func(error)) (*logStore, error) {
	m, ok := inner.(raft.MonotonicLogStore)
	low, err := inner.FirstIndex()
	if err != nil {
		return nil, fmt.Errorf("read first index: %w", err)
	}
	s := &logStore{inner: inner, low: low, monotonic: ok && m.IsMonotonic(), leads: func() bool { return false }, written: func(uint64, uint64) {}, onFail: onFail}
	s.changed = sync.NewCond(&s.mu)
	s.from.Store(allOnDisk)
	s.writer.Go(s.write)
	return s, nil
}

// Close brings what is left to disk. Raft must have ended.
func (s *logStore) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.changed.Broadcast()
	s.writer.Wait()
	return s.failed
}

// IsMonotonic implements raft.MonotonicLogStore.
func (s *logStore) IsMonotonic() bool { return s.monotonic }

// FirstIndex implements raft.LogStore.
func (s *logStore) FirstIndex() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.low, nil
}

// LastIndex implements raft.LogStore.
func (s *logStore) LastIndex() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.logs); n > 0 {
		return s.first + uint64(n) - 1, nil
	}
	return s.inner.LastIndex()
}

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

// StoreLog implements raft.LogStore.
func (s *logStore) StoreLog(log *raft.Log) error { return s.StoreLogs([]*raft.Log{log}) }

// StoreLogs implements raft.LogStore.
func (s *logStore) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	if s.leads() && onlyCommands(logs) {
		return s.storeSoon(logs)
	}
	return s.storeNow(logs)
}

func onlyCommands(logs []*raft.Log) bool {
	for _, l := range logs {
		if l.Type != raft.LogCommand {
			return false
		}
	}
	return true
}

// storeNow returns when the entries, and all before them, are on disk.
func (s *logStore) storeNow(logs []*raft.Log) error {
	if err := s.waitOnDisk(logs[0].Index); err != nil {
		return err
	}
	s.disk.Lock()
	defer s.disk.Unlock()
	if err := s.inner.StoreLogs(logs); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(logs)
	s.trim()
	return nil
}

// storeSoon returns when there is room for the entries among those that wait for
// the disk.
func (s *logStore) storeSoon(logs []*raft.Log) error {
	n := 0
	for _, l := range logs {
		n += size(l)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.failed == nil && s.pending > 0 && s.pending+n > maxPending {
		s.changed.Wait()
	}
	if s.failed != nil {
		return s.failed
	}
	s.add(logs)
	s.pending += n
	if s.from.Load() == allOnDisk {
		s.from.Store(logs[0].Index)
		s.changed.Broadcast()
	}
	return nil
}

// write brings to disk what waits for it, until Close.
func (s *logStore) write() {
	for {
		s.mu.Lock()
		for s.from.Load() == allOnDisk && !s.closed {
			s.changed.Wait()
		}
		if s.from.Load() == allOnDisk {
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		if err := s.writePending(); err != nil {
			s.fail(fmt.Errorf("write log: %w", err))
			return
		}
	}
}

func (s *logStore) writePending() error {
	s.disk.Lock()
	defer s.disk.Unlock()
	s.mu.Lock()
	from, n := s.from.Load(), s.pending
	logs := append([]*raft.Log(nil), s.logs[from-s.first:]...)
	s.mu.Unlock()
	if err := s.inner.StoreLogs(logs); err != nil {
		return err
	}
	s.mu.Lock()
	if s.pending -= n; s.pending == 0 {
		s.from.Store(allOnDisk)
	} else {
		s.from.Store(from + uint64(len(logs)))
	}
	s.trim()
	s.changed.Broadcast()
	s.mu.Unlock()
	last := logs[len(logs)-1]
	s.written(last.Index, last.Term)
	return nil
}

// fail is the end of this log: Raft believes in entries that are not on disk.
func (s *logStore) fail(err error) {
	s.mu.Lock()
	s.failed = err
	s.mu.Unlock()
	s.changed.Broadcast()
	if s.onFail != nil {
		s.onFail(err)
	}
}

// onDisk lowers an index to the newest entry that is on disk, with all before it.
func (s *logStore) onDisk(index uint64) uint64 {
	if from := s.from.Load(); index >= from {
		return from - 1
	}
	return index
}

// waitOnDisk returns when the entry at index, and all before it, are on disk, or
// never will be.
func (s *logStore) waitOnDisk(index uint64) error {
	if index < s.from.Load() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for index >= s.from.Load() && s.failed == nil {
		s.changed.Wait()
	}
	return s.failed
}

// add takes entries into memory. Called with mu held.
func (s *logStore) add(logs []*raft.Log) {
	if s.low == 0 {
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
		s.sizes.append(l.Index, size(l))
	}
}

// trim gives memory back, but for what is not on disk. Called with mu held.
func (s *logStore) trim() {
	n, from := 0, s.from.Load()
	for s.bytes > cacheBytes && n < len(s.logs) && s.logs[n].Index < from {
		s.bytes -= size(s.logs[n])
		n++
	}
	clear(s.logs[:n])
	s.logs, s.first = s.logs[n:], s.first+uint64(n)
}

// DeleteRange implements raft.LogStore: the head goes at a snapshot, the tail
// when a leader overwrites what an earlier one wrote.
func (s *logStore) DeleteRange(lo, hi uint64) error {
	if err := s.waitOnDisk(hi); err != nil {
		return err
	}
	s.disk.Lock()
	defer s.disk.Unlock()
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
	s.sizes.delete(lo, hi)
	s.mu.Unlock()
	if err := s.inner.DeleteRange(lo, hi); err != nil {
		return err
	}
	low, err := s.inner.FirstIndex()
	if err != nil {
		return err
	}
	s.mu.Lock()
	if from := s.from.Load(); low == 0 && from != allOnDisk {
		low = from // the file is empty, and what comes into it next is here
	}
	s.low = low
	s.mu.Unlock()
	return nil
}

func (s *logStore) drop() { s.logs, s.bytes, s.first = nil, 0, 0 }

func size(l *raft.Log) int { return len(l.Data) + len(l.Extensions) + 64 }

// trailing returns how many of the newest entries fit in trailingBytes. It reads
// those entries only that were there when the node started, and only once.
func (s *logStore) trailing() (uint64, error) {
	last, err := s.LastIndex()
	if err != nil {
		return 0, err
	}
	n, bytes := uint64(0), 0
	for i := last; i > 0 && n < trailingEntries; i-- {
		s.mu.Lock()
		low := s.low
		b, known := s.sizes.at(i)
		s.mu.Unlock()
		if low == 0 || i < low {
			break
		}
		if !known {
			var l raft.Log
			if err := s.GetLog(i, &l); err != nil {
				return 0, fmt.Errorf("read entry %d: %w", i, err)
			}
			b = size(&l)
			s.mu.Lock()
			s.sizes.prepend(i, b)
			s.mu.Unlock()
		}
		if bytes += b; bytes > trailingBytes {
			break
		}
		n++
	}
	return n, nil
}
