package cluster

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

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
	inner   raft.LogStore
	path    string                   // of its files, for errors
	leads   func() bool              // this node leads; asked on Raft's main goroutine, whose state that is
	written func(index, term uint64) // what was late is on disk up to that entry
	disk    *disk
	onSync  func(time.Duration) // see Config.OnSync; nil: nobody wants to know

	// file is held while the file is changed. It is taken before mu.
	file fileLock
	keep int // bytes of log that stay behind a snapshot

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

	mark *endMark // nil: none is kept

	// from is the lowest index that is not on disk, allOnDisk when all are.
	// Changed with mu held.
	from atomic.Uint64
}

const allOnDisk = math.MaxUint64

// fileLock is a mutex that is held while the disk works. It is a channel, as testing/synctest lets its time
// go on only while nobody waits for a sync.Mutex, and a disk in memory needs that time to be slow.
type fileLock chan struct{}

// Lock implements sync.Locker.
func (l fileLock) Lock() { l <- struct{}{} }

// Unlock implements sync.Locker.
func (l fileLock) Unlock() { <-l }

func newLogStore(inner raft.LogStore, path string, d *disk) (*logStore, error) {
	low, err := inner.FirstIndex()
	if err != nil {
		return nil, fmt.Errorf("read first index: %w", err)
	}
	s := &logStore{
		inner: inner, low: low,
		leads: func() bool { return false }, written: func(uint64, uint64) {}, path: path, disk: d,
		file: make(fileLock, 1), keep: trailingBytes,
	}
	s.changed = sync.NewCond(&s.mu)
	d.tell(s.end)
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
	err := s.mark.close()
	if s.failed != nil {
		return s.failed
	}
	return err
}

// IsMonotonic implements raft.MonotonicLogStore: the log has no gaps, whatever its file could do. What a snapshot of another
// node takes the place of is removed whole.
func (s *logStore) IsMonotonic() bool { return true }

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
	return s.last()
}

// last is LastIndex with mu held.
func (s *logStore) last() (uint64, error) {
	if n := len(s.logs); n > 0 {
		return s.first + uint64(n) - 1, nil
	}
	return s.inner.LastIndex()
}

// lastOnDisk is the last index that is on disk, with all before it.
func (s *logStore) lastOnDisk() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, err := s.last()
	return min(last, s.from.Load()-1), err
}

// GetLog implements raft.LogStore. An entry that cannot be read is the end of the log:
// Raft would panic, or ask for it again for ever.
func (s *logStore) GetLog(index uint64, log *raft.Log) error {
	err := s.read(index, log)
	if err != nil && !errors.Is(err, raft.ErrLogNotFound) {
		s.fail(err)
		s.disk.end()
	}
	return err
}

// read reads an entry. raft-wal goes on to serve entries that were deleted from the head of
// its newest segment, until it is opened again; this does not, so that a node behaves the
// same before and after a restart. One that is not there and should be is damage.
func (s *logStore) read(index uint64, log *raft.Log) error {
	if known, err := s.readMemory(index, log); known {
		return err
	}
	err := s.readFile(index, log)
	if !errors.Is(err, raft.ErrLogNotFound) {
		return err
	}
	// A deletion may have been under way.
	s.file.Lock()
	defer s.file.Unlock()
	if known, err := s.readMemory(index, log); known {
		return err
	}
	if last, lerr := s.inner.LastIndex(); lerr != nil || index > last {
		return err
	}
	if err = s.readFile(index, log); errors.Is(err, raft.ErrLogNotFound) {
		return damaged(s.path, "entry %d is missing", index)
	}
	return err
}

// readMemory answers what the file need not be asked for.
func (s *logStore) readMemory(index uint64, log *raft.Log) (known bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.low == 0 || index < s.low {
		return true, raft.ErrLogNotFound
	}
	if index >= s.first && index-s.first < uint64(len(s.logs)) {
		*log = *s.logs[index-s.first]
		return true, nil
	}
	return false, nil
}

func (s *logStore) readFile(index uint64, log *raft.Log) error {
	*log = raft.Log{}
	err := guarded(s.path, func() error { return s.inner.GetLog(index, log) })
	switch {
	case errors.Is(err, raft.ErrLogNotFound):
		return raft.ErrLogNotFound
	case err != nil && ofSystem(err):
		return fmt.Errorf("read entry %d of the log in %s: %w", index, s.path, err)
	case err != nil:
		return damaged(s.path, "entry %d: %w", index, err)
	}
	if reason := unseal(index, log); reason != "" {
		return damaged(s.path, "entry %d: %s", index, reason)
	}
	return nil
}

// check reads the entries from an index on, as Raft does when it starts, where an error
// would be a panic.
func (s *logStore) check(from uint64) error {
	last, err := s.LastIndex()
	if err != nil {
		return fmt.Errorf("read last index: %w", err)
	}
	var l raft.Log
	for i := max(from, s.low); i <= last && last > 0; i++ {
		if err := s.read(i, &l); err != nil {
			return err
		}
	}
	return nil
}

// outrun removes the log when a snapshot that ends with an entry takes its place: it does not reach so far, or has another
// entry there. Raft does that when it has installed one that another node sent, and does not when a crash came between.
func (s *logStore) outrun(index, term uint64) error {
	last, err := s.LastIndex()
	if err != nil {
		return fmt.Errorf("read last index: %w", err)
	}
	if last == 0 || s.low > index {
		return nil // nothing is there, or what goes on behind it
	}
	if index <= last {
		var l raft.Log
		if err := s.read(index, &l); err != nil || l.Term == term {
			return err
		}
	}
	return s.DeleteRange(s.low, last)
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

// sync brings entries to disk. With file held.
func (s *logStore) sync(logs []*raft.Log) error {
	began := time.Now()
	err := s.disk.do(writeLog, func() error { return s.inner.StoreLogs(sealed(logs)) })
	if s.onSync != nil {
		s.onSync(time.Since(began))
	}
	if err != nil {
		return err
	}
	return s.mark.wrote(logs[len(logs)-1].Index)
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
	s.file.Lock()
	defer s.file.Unlock()
	if err := s.sync(logs); err != nil {
		s.fail(err)
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
			s.fail(err)
			return
		}
	}
}

func (s *logStore) writePending() error {
	s.file.Lock()
	defer s.file.Unlock()
	s.mu.Lock()
	from, n := s.from.Load(), s.pending
	logs := append([]*raft.Log(nil), s.logs[from-s.first:]...)
	s.mu.Unlock()
	if err := s.sync(logs); err != nil {
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

// What is done with the file, for errors.
const (
	writeLog  = "write log"
	shortenIt = "shorten log"
	markIt    = "note the end of the log"
)

// fail is the end of this log: Raft may believe in entries that are not on disk, or needs
// one that cannot be read.
func (s *logStore) fail(err error) { _ = s.disk.fail(err) } // which tells all, this store too

// end takes in that the disk has failed: whoever waits for it has waited long enough.
func (s *logStore) end(err error) {
	s.mu.Lock()
	s.failed = err
	s.mu.Unlock()
	s.changed.Broadcast()
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
	s.file.Lock()
	defer s.file.Unlock()
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
	if err := s.disk.do(shortenIt, func() error { return s.mark.shorten(s.inner, lo, hi) }); err != nil {
		s.fail(err)
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

// trailing returns how many of the newest entries stay behind a snapshot. It reads
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
			if err := s.read(i, &l); err != nil {
				return 0, fmt.Errorf("read entry %d: %w", i, err)
			}
			b = size(&l)
			s.mu.Lock()
			s.sizes.prepend(i, b)
			s.mu.Unlock()
		}
		if bytes += b; bytes > s.keep {
			break
		}
		n++
	}
	return n, nil
}
