package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
)

// marked is a log in memory with a mark that the test sees.
type marked struct {
	*logStore
	slow time.Duration // how long it takes to set the mark

	lock sync.Mutex
	all  []uint64 // what it was set to
}

func (m *marked) sets() []uint64 {
	m.lock.Lock()
	defer m.lock.Unlock()
	return slices.Clone(m.all)
}

func newMarked(t *testing.T, inner raft.LogStore) *marked {
	t.Helper()
	s, err := newLogStore(inner, "log", newDisk(nil))
	if err != nil {
		t.Fatal(err)
	}
	m := &marked{logStore: s}
	set := func(index uint64) error {
		m.lock.Lock()
		m.all = append(m.all, index)
		m.lock.Unlock()
		time.Sleep(m.slow)
		return nil
	}
	if err := s.keepMark(0, set, func() uint64 { return 0 }); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *marked) store(t *testing.T, logs []*raft.Log) {
	t.Helper()
	if err := m.StoreLogs(logs); err != nil {
		t.Fatal(err)
	}
}

// TestMarkFollows: the mark follows a log that grows, once in a while, less often on a slow disk, and not at all when nothing
// is written.
func TestMarkFollows(t *testing.T) {
	for _, c := range []struct {
		name string
		slow time.Duration
		most int // changes in ten seconds
	}{{"fast", 0, 10}, {"slow", 200 * time.Millisecond, 3}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMarked(t, raft.NewInmemStore())
				m.slow = c.slow
				next := uint64(1)
				for began := time.Now(); time.Since(began) < 10*time.Second; next++ {
					m.store(t, entries(next, next+1, 10))
					time.Sleep(10 * time.Millisecond)
				}
				if n := len(m.sets()); n == 0 || n > c.most || !slices.IsSorted(m.sets()) {
					t.Errorf("in ten seconds it was set to %v", m.sets())
				}
				time.Sleep(time.Minute)
				if last := m.sets()[len(m.sets())-1]; last != next-1 {
					t.Errorf("a minute later it is %d, the log ends with %d", last, next-1)
				}
				before := len(m.sets())
				time.Sleep(time.Hour)
				if len(m.sets()) != before {
					t.Errorf("it was set to %v while nothing was written", m.sets()[before:])
				}
				if err := m.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestMarkAtTheEnd: a log that is closed in order leaves a mark of all of it.
func TestMarkAtTheEnd(t *testing.T) {
	m := newMarked(t, raft.NewInmemStore())
	m.store(t, entries(1, 8, 10))
	if err := m.Close(); err != nil || len(m.sets()) == 0 || m.sets()[len(m.sets())-1] != 7 {
		t.Errorf("%v, %v", m.sets(), err)
	}
}

// TestMarkOfALeader: what a leader has not on its disk yet the mark does not say.
func TestMarkOfALeader(t *testing.T) {
	inner := &slowLog{InmemStore: raft.NewInmemStore(), permits: make(chan error, 10)}
	m := newMarked(t, inner)
	m.leads = func() bool { return true }
	m.store(t, entries(1, 6, 10))
	if err := m.mark.raise(); err != nil || len(m.sets()) != 0 {
		t.Errorf("nothing is on disk, and it was set to %v, %v", m.sets(), err)
	}
	inner.permits <- nil
	inner.permits <- nil // if the first entry went alone
	if err := m.waitOnDisk(5); err != nil {
		t.Fatal(err)
	}
	if err := m.mark.raise(); err != nil || m.mark.at.Load() != 5 {
		t.Errorf("five are on disk, and it is %d, %v", m.mark.at.Load(), err)
	}
	close(inner.permits)
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// TestMarkOfAShorterLog: the mark is lowered before the end of the log goes.
func TestMarkOfAShorterLog(t *testing.T) {
	m := newMarked(t, raft.NewInmemStore())
	m.store(t, entries(1, 11, 10))
	for _, c := range []struct{ lo, hi, want uint64 }{{1, 2, 10}, {8, 10, 7}, {3, 4, 7}, {5, 7, 0}} {
		if err := errors.Join(m.mark.raise(), m.DeleteRange(c.lo, c.hi)); err != nil {
			t.Fatal(err)
		}
		if at := m.mark.at.Load(); at != c.want {
			t.Errorf("without %d to %d it is %d, want %d", c.lo, c.hi, at, c.want)
		}
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// TestNewestFileOfTheLog: a node is killed after any write, and the newest file of its log is gone, or empty, or has nothing
// in it. Either that is seen, or nothing that was written is missing. So it is when the node was started again before the write.
func TestNewestFileOfTheLog(t *testing.T) {
	walSegment = 32 << 10
	t.Cleanup(func() { walSegment = wal.DefaultSegmentSize })
	t.Run("one process", func(t *testing.T) { testNewestFile(t, false) })
	t.Run("started for each write", func(t *testing.T) { testNewestFile(t, true) })
}

func testNewestFile(t *testing.T, restart bool) {
	dir := t.TempDir()
	s := mustOpenFiles(t, dir, LogStoreWAL)
	if err := errors.Join(s.stable.SetUint64(keyCurrentTerm, 1), s.keepMark()); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for i := uint64(1); i <= 60; i++ {
		if restart {
			err := s.Close()
			s = mustOpenFiles(t, dir, LogStoreWAL)
			if err := errors.Join(err, s.keepMark()); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.log.StoreLogs(entries(i, i+1, 2500)); err != nil {
			t.Fatal(err)
		}
		for what, damage := range map[string]func(path string) error{
			"gone":  os.Remove,
			"empty": func(path string) error { return os.Truncate(path, 0) },
			"blank": func(path string) error { return os.WriteFile(path, make([]byte, walSegment), 0o600) },
		} {
			killed := copyDir(t, dir)
			newest := newestSegment(t, killed)
			if err := damage(newest); err != nil {
				t.Fatal(err)
			}
			switch all, err := readFiles(killed, LogStoreWAL); {
			case errors.Is(err, ErrDamaged) && strings.Contains(err.Error(), newest):
				seen[what]++
			case err != nil || uint64(len(all)) < i:
				t.Fatalf("after entry %d the newest file is %s: %d entries, %v", i, what, len(all), err)
			}
			if err := os.RemoveAll(killed); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"gone", "empty", "blank"} {
		if seen[what] < 30 {
			t.Errorf("a file that is %s was seen %d times of 60", what, seen[what])
		}
	}
}

func newestSegment(t *testing.T, dir string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, walDir, "*.wal"))
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	return slices.Max(all)
}
