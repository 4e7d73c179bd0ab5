package cluster

import (
	"errors"
	"sync"
	"testing"

	"github.com/hashicorp/raft"
)

// slowLog is a log in memory whose writes wait for a permit each.
type slowLog struct {
	*raft.InmemStore
	permits chan error

	mu     sync.Mutex
	writes int
}

func (s *slowLog) StoreLogs(logs []*raft.Log) error {
	if err := <-s.permits; err != nil {
		return err
	}
	s.mu.Lock()
	s.writes++
	s.mu.Unlock()
	return s.InmemStore.StoreLogs(logs)
}

func entries(from, to uint64, bytes int) (out []*raft.Log) {
	for i := from; i < to; i++ {
		out = append(out, &raft.Log{Index: i, Term: 1, Type: raft.LogCommand, Data: make([]byte, bytes)})
	}
	return out
}

func openSlow(t *testing.T, leads bool) (*slowLog, *logStore, chan error) {
	t.Helper()
	inner := &slowLog{InmemStore: raft.NewInmemStore(), permits: make(chan error, 100)}
	failed := make(chan error, 1)
	s, err := newLogStore(inner, "log", newDisk(func(err error) { failed <- err }))
	if err != nil {
		t.Fatal(err)
	}
	s.leads = func() bool { return leads }
	t.Cleanup(func() {
		close(inner.permits)
		_ = s.Close() // the test has looked at its error
	})
	return inner, s, failed
}

func TestLeaderStoresInParallel(t *testing.T) {
	inner, s, _ := openSlow(t, true)
	for i := uint64(1); i < 6; i++ {
		if err := s.StoreLogs(entries(i, i+1, 10)); err != nil {
			t.Fatal(err)
		}
	}
	if last, _ := s.LastIndex(); last != 5 {
		t.Errorf("last index %d", last)
	}
	if first, _ := s.FirstIndex(); first != 1 {
		t.Errorf("first index %d", first)
	}
	var l raft.Log
	if err := s.GetLog(5, &l); err != nil || l.Index != 5 {
		t.Errorf("entry 5: %+v, %v", l, err)
	}
	if got := s.onDisk(5); got != 0 {
		t.Errorf("on disk up to %d", got)
	}
	inner.permits <- nil // the first write: of what was there when it began
	inner.permits <- nil // the rest
	if err := s.waitOnDisk(5); err != nil {
		t.Fatal(err)
	}
	if got := s.onDisk(7); got != 7 {
		t.Errorf("with all on disk, 7 became %d", got)
	}
	if last, _ := inner.LastIndex(); last != 5 || inner.writes > 2 {
		t.Errorf("%d entries in %d writes", last, inner.writes)
	}
}

// TestOthersStoreAtOnce: a follower's entries, and what is no command, are on disk when
// StoreLogs returns, after all that was before them.
func TestOthersStoreAtOnce(t *testing.T) {
	for name, leads := range map[string]bool{"follower": false, "leader": true} {
		t.Run(name, func(t *testing.T) {
			inner, s, _ := openSlow(t, leads)
			if leads {
				if err := s.StoreLogs(entries(1, 3, 10)); err != nil {
					t.Fatal(err)
				}
			}
			next, _ := s.LastIndex()
			noop := []*raft.Log{{Index: next + 1, Term: 1, Type: raft.LogNoop}}
			done := make(chan error)
			go func() { done <- s.StoreLogs(noop) }()
			select {
			case err := <-done:
				t.Fatalf("returned before the disk: %v", err)
			case inner.permits <- nil:
			}
			if leads {
				inner.permits <- nil
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if last, _ := inner.LastIndex(); last != next+1 {
				t.Errorf("on disk up to %d", last)
			}
		})
	}
}

func TestPendingIsBounded(t *testing.T) {
	inner, s, _ := openSlow(t, true)
	if err := s.StoreLogs(entries(1, 3, maxPending)); err != nil { // alone, however large
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- s.StoreLogs(entries(3, 4, 1)) }()
	select {
	case err := <-done:
		t.Fatalf("took more: %v", err)
	case inner.permits <- nil:
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	inner.permits <- nil
	if err := s.waitOnDisk(3); err != nil {
		t.Fatal(err)
	}
	if s.bytes > cacheBytes {
		t.Errorf("%d bytes in memory", s.bytes)
	}
}

func TestFailedLogStaysFailed(t *testing.T) {
	inner, s, failed := openSlow(t, true)
	broken := errors.New("no space")
	if err := s.StoreLogs(entries(1, 2, 10)); err != nil {
		t.Fatal(err)
	}
	inner.permits <- broken
	if err := <-failed; !errors.Is(err, broken) {
		t.Errorf("told: %v", err)
	}
	for what, err := range map[string]error{
		"store": s.StoreLogs(entries(2, 3, 10)), "wait": s.waitOnDisk(1),
		"noop":   s.StoreLogs([]*raft.Log{{Index: 2, Type: raft.LogNoop}}),
		"delete": s.DeleteRange(1, 1),
	} {
		if !errors.Is(err, broken) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got := s.onDisk(1); got != 0 {
		t.Errorf("on disk up to %d", got)
	}
}

// TestDeleteWhileWriting: the head goes, all that is on disk of it, while newer
// entries are still to come there.
func TestDeleteWhileWriting(t *testing.T) {
	inner, s, _ := openSlow(t, true)
	inner.permits <- nil
	if err := s.StoreLogs(entries(1, 4, 10)); err != nil {
		t.Fatal(err)
	}
	if err := s.waitOnDisk(3); err != nil {
		t.Fatal(err)
	}
	deleted := make(chan error)
	if err := s.StoreLogs(entries(4, 6, 10)); err != nil {
		t.Fatal(err)
	}
	go func() { deleted <- s.DeleteRange(1, 3) }()
	inner.permits <- nil
	inner.permits <- nil
	if err := <-deleted; err != nil {
		t.Fatal(err)
	}
	if first, _ := s.FirstIndex(); first != 4 {
		t.Errorf("first index %d", first)
	}
	var l raft.Log
	if err := s.GetLog(4, &l); err != nil {
		t.Error(err)
	}
	if err := s.GetLog(3, &l); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("entry 3: %v", err)
	}
}

// TestTrailing compares the sizes that are remembered with those of the entries,
// over appends, deletions on both ends and a restart.
func TestTrailing(t *testing.T) {
	inner := raft.NewInmemStore()
	s, err := newLogStore(inner, "log", newDisk(nil))
	if err != nil {
		t.Fatal(err)
	}
	s.keep = 100 * 1000
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	want := func() (n uint64) {
		last, _ := s.LastIndex()
		first, _ := s.FirstIndex()
		for i, bytes := last, 0; i >= first && i > 0; i-- {
			var l raft.Log
			if err := s.GetLog(i, &l); err != nil {
				t.Fatal(err)
			}
			if bytes += size(&l); bytes > s.keep {
				break
			}
			n++
		}
		return n
	}
	check := func(when string) {
		t.Helper()
		if got, err := s.trailing(); err != nil || got != want() {
			t.Errorf("%s: %d entries fit, want %d (%v)", when, got, want(), err)
		}
	}
	check("empty")
	for i := uint64(1); i < 500; i++ {
		if err := s.StoreLogs(entries(i, i+1, int(i*37%900))); err != nil {
			t.Fatal(err)
		}
	}
	check("appended")
	if err := s.DeleteRange(450, 499); err != nil {
		t.Fatal(err)
	}
	check("tail cut")
	if err := s.StoreLogs(entries(450, 460, 2000)); err != nil {
		t.Fatal(err)
	}
	check("tail written again")
	again, err := newLogStore(inner, "log", newDisk(nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again.keep, s = s.keep, again
	check("restarted")
	check("restarted, the second time")
	if err := s.StoreLogs(entries(460, 470, 3000)); err != nil {
		t.Fatal(err)
	}
	check("appended after the restart")
	if err := s.DeleteRange(1, 440); err != nil {
		t.Fatal(err)
	}
	check("head cut")
	if err := s.DeleteRange(441, 469); err != nil {
		t.Fatal(err)
	}
	check("all cut")
}

// TestOutrun: a crash came between a snapshot that another node sent and the removal of the log that it takes the place of. The
// log goes on behind the snapshot, and nothing else of it is lost.
func TestOutrun(t *testing.T) {
	for _, kind := range []string{LogStoreWAL, LogStoreBoltDB} {
		for _, c := range []struct {
			name        string
			index, term uint64 // of the snapshot; the log has entries 1 to 10 of term 1
			first, last uint64 // afterwards
		}{
			{"no snapshot", 0, 0, 1, 10},
			{"one of its own", 7, 1, 1, 10},
			{"one of all of it", 10, 1, 1, 10},
			{"one that goes further", 20, 2, 0, 0},
			{"one that has other entries", 7, 2, 0, 0},
		} {
			t.Run(kind+", "+c.name, func(t *testing.T) {
				dir := t.TempDir()
				s := mustOpenFiles(t, dir, kind)
				err := errors.Join(s.stable.SetUint64(keyCurrentTerm, 2), s.keepMark(), s.log.StoreLogs(entries(1, 11, 10)), s.log.outrun(c.index, c.term))
				if err != nil {
					t.Fatal(err)
				}
				want := func() {
					t.Helper()
					first, err1 := s.log.FirstIndex()
					last, err2 := s.log.LastIndex()
					if first != c.first || last != c.last || err1 != nil || err2 != nil {
						t.Errorf("it has %d to %d, want %d to %d; %v, %v", first, last, c.first, c.last, err1, err2)
					}
				}
				want()
				next := max(c.last, c.index) + 1
				if err := errors.Join(s.log.StoreLogs(entries(next, next+1, 10)), s.Close()); err != nil {
					t.Fatal(err)
				}
				if c.first == 0 {
					c.first = next
				}
				c.last = next
				s = mustOpenFiles(t, dir, kind)
				if err := errors.Join(s.checkGap(c.index), s.log.outrun(c.index, c.term)); err != nil {
					t.Error(err)
				}
				want()
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestSizesRing goes round the ring.
func TestSizesRing(t *testing.T) {
	var s sizes
	for i := uint64(1); i <= 3*trailingEntries; i++ {
		s.append(i, int(i))
	}
	for i, want := range map[uint64]bool{2 * trailingEntries: false, 2*trailingEntries + 1: true, 3 * trailingEntries: true} {
		if b, known := s.at(i); known != want || (known && b != int(i)) {
			t.Errorf("entry %d: %d, %v", i, b, known)
		}
	}
	s.prepend(2*trailingEntries, 1)
	if _, known := s.at(2 * trailingEntries); known {
		t.Error("no room was there")
	}
}
