package cluster

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// A log that comes back shorter than it was has forgotten what its node acknowledged, and looks as if it
// had never been longer: the newest file of raft-wal may be missing after a crash that came before its first write. So
// the stable store keeps an index up to which the log is known to be on disk, its mark.
//
// The mark never says more than is on disk, and costs the way of a message nothing: a goroutine raises it, about once
// in markEvery while the log grows. Only the first write to a new file of the log waits for it, once in 64 MiB, and the first after a start: so a
// file that holds anything that was acknowledged is never missing without its being noticed.
//
// One change of the mark is a transaction of bbolt: two pages and a sync, the page that makes them valid and a sync.
type endMark struct {
	log *logStore
	set func(index uint64) error
	// newest is the index that the newest file of the log begins with, or may begin with; 0: it has one file, which is always there.
	newest func() uint64

	// lock is held while the mark changes and while the end of the log goes. It is taken after logStore.file.
	lock fileLock
	at   atomic.Uint64 // what the mark is; changed with lock held

	grown  chan struct{} // the log is longer than the mark says; holds one
	ended  chan struct{} // closed by close
	raiser sync.WaitGroup
}

const (
	// markEvery is how often the mark is raised at most.
	markEvery = time.Second
	// markShare bounds what it takes of a slow disk: a part of its time.
	markShare = 20
)

// checkMark makes sure that the log is as long as it once was.
func (s *stores) checkMark(mark uint64) error {
	last, err := s.log.LastIndex()
	if err != nil {
		return fmt.Errorf("read last index: %w", err)
	}
	if last < mark {
		return damaged(s.log.path, "the log ends with entry %d, and had %d: what stood at its end is gone", last, mark)
	}
	return nil
}

// savedMark is the mark in the stable store, 0 when there is none.
func (s *stableStore) savedMark() (uint64, error) {
	index, err := s.GetUint64(keyMark)
	if err != nil && missing(err) {
		return 0, nil
	}
	return index, err
}

// keepMark keeps the mark from now on. What is in the log must be on disk.
func (s *stores) keepMark() error {
	at, err := s.stable.savedMark()
	if err != nil {
		return err
	}
	set := func(index uint64) error {
		return s.stable.set(markIt, keyMark, binary.BigEndian.AppendUint64(nil, index))
	}
	if err := s.log.keepMark(at, set, s.newestFile); err != nil {
		return fmt.Errorf("%s: %w", markIt, err)
	}
	return nil
}

// keepMark keeps a mark that is at an index now. See endMark for set and newest.
func (s *logStore) keepMark(at uint64, set func(index uint64) error, newest func() uint64) error {
	m := &endMark{log: s, set: set, newest: newest, lock: make(fileLock, 1), grown: make(chan struct{}, 1), ended: make(chan struct{})}
	m.at.Store(at)
	if err := m.raise(); err != nil {
		return err
	}
	s.mark = m
	m.raiser.Go(m.run)
	return nil
}

// run raises the mark until close.
func (m *endMark) run() {
	wait := markEvery
	for {
		select {
		case <-m.grown:
		case <-m.ended:
			return
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-m.ended:
			timer.Stop()
			return
		}
		began := time.Now()
		if err := m.raise(); err != nil {
			m.log.fail(err)
			return
		}
		wait = max(markEvery, markShare*time.Since(began))
	}
}

// close raises the mark for the last time. Nothing is written to the log any more.
func (m *endMark) close() error {
	if m == nil {
		return nil
	}
	close(m.ended)
	m.raiser.Wait()
	if m.log.disk.failure() != nil {
		return nil // which the log's Close tells of
	}
	return m.raise()
}

// raise raises the mark to what is on disk.
func (m *endMark) raise() error {
	m.lock.Lock()
	defer m.lock.Unlock()
	last, err := m.log.lastOnDisk()
	if err != nil {
		return err
	}
	return m.raiseTo(last)
}

// raiseTo raises the mark to an index that is on disk. With lock held.
func (m *endMark) raiseTo(index uint64) error {
	if index <= m.at.Load() {
		return nil
	}
	if err := m.set(index); err != nil {
		return err
	}
	m.at.Store(index)
	return nil
}

// wrote takes in that the log is on disk up to an index. With logStore.file held.
func (m *endMark) wrote(index uint64) error {
	if m == nil {
		return nil
	}
	if first := m.newest(); m.at.Load() < first && first <= index {
		m.lock.Lock()
		defer m.lock.Unlock()
		return m.raiseTo(index)
	}
	select {
	case m.grown <- struct{}{}:
	default:
	}
	return nil
}

// shorten deletes entries. When they are the end of the log, the mark is lowered before. With logStore.file held.
func (m *endMark) shorten(log raft.LogStore, lo, hi uint64) error {
	if m == nil {
		return log.DeleteRange(lo, hi)
	}
	m.lock.Lock()
	defer m.lock.Unlock()
	end, err := endWithout(log, lo, hi)
	if err != nil {
		return err
	}
	if end < m.at.Load() {
		if err := m.set(end); err != nil {
			return err
		}
		m.at.Store(end)
	}
	return log.DeleteRange(lo, hi)
}

// endWithout is the index that a log ends with when the entries from lo to hi are gone, 0 when nothing is left.
func endWithout(log raft.LogStore, lo, hi uint64) (uint64, error) {
	last, err := log.LastIndex()
	if err != nil || last == 0 || hi < last {
		return last, err // it is empty, or the head goes and the end stays
	}
	first, err := log.FirstIndex()
	if err != nil || lo <= first {
		return 0, err
	}
	return lo - 1, nil
}
