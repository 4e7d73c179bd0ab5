package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
)

// filesOf makes the files of a node with a log of entries, and returns their directory.
func filesOf(t *testing.T, kind string, batches int) string {
	t.Helper()
	walSegment = 256 << 10
	t.Cleanup(func() { walSegment = wal.DefaultSegmentSize })
	dir := t.TempDir()
	s := mustOpenFiles(t, dir, kind)
	if err := s.keepMark(); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 1))
	next := uint64(1)
	for range batches {
		n := uint64(1 + random.IntN(5))
		batch := entries(next, next+n, 50+random.IntN(200))
		for _, l := range batch {
			for i := range l.Data {
				l.Data[i] = byte(random.Uint32())
			}
		}
		if err := s.log.StoreLogs(batch); err != nil {
			t.Fatal(err)
		}
		next += n
	}
	err := errors.Join(s.stable.SetUint64(keyCurrentTerm, 7), s.stable.SetUint64(keyVoteTerm, 7), s.stable.Set(keyVote, []byte("n")))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func mustOpenFiles(t *testing.T, dir, kind string) *stores {
	t.Helper()
	s, err := openFiles(Config{ID: "n", DataDir: dir, Logger: slog.New(slog.DiscardHandler)}, kind)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// readFiles opens the files as a start does and reads all. It returns the entries.
func readFiles(dir, kind string) (all []raft.Log, err error) {
	s, err := openFiles(Config{ID: "n", DataDir: dir, Logger: slog.New(slog.DiscardHandler)}, kind)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.checkGap(0); err != nil {
		return nil, err
	}
	last, err := s.log.LastIndex()
	if err != nil {
		return nil, err
	}
	for i := uint64(1); i <= last; i++ {
		var l raft.Log
		if err := s.log.read(i, &l); err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestDamagedLog changes bytes of the log's files: either it is seen, or nothing is different.
func TestDamagedLog(t *testing.T) {
	for _, kind := range []string{LogStoreWAL, LogStoreBoltDB} {
		t.Run(kind, func(t *testing.T) {
			good := filesOf(t, kind, 100)
			want, err := readFiles(copyDir(t, good), kind)
			if err != nil {
				t.Fatal(err)
			}
			random := rand.New(rand.NewPCG(2, 2))
			seen := 0
			const tries = 150
			for try := range tries {
				dir := copyDir(t, good)
				path := logFile(t, dir, kind)
				at, used := flip(t, path, random)
				got, err := readFiles(dir, kind)
				switch {
				case errors.Is(err, ErrDamaged) && strings.Contains(err.Error(), dir):
					seen++
				case err != nil:
					t.Errorf("try %d: byte %d of %d: %v", try, at, used, err)
				case !slices.EqualFunc(got, want, sameEntry):
					t.Errorf("try %d: byte %d of %d: nobody saw it, and %d entries of %d are left", try, at, used, len(got), len(want))
				}
			}
			if kind == LogStoreWAL && seen < tries*9/10 || seen < tries/4 {
				t.Errorf("only %d of %d were seen", seen, tries)
			}
		})
	}
}

func sameEntry(a, b raft.Log) bool {
	return a.Index == b.Index && a.Term == b.Term && a.Type == b.Type && slices.Equal(a.Data, b.Data) && len(a.Extensions) == 0
}

func logFile(t *testing.T, dir, kind string) string {
	t.Helper()
	if kind == LogStoreBoltDB {
		return filepath.Join(dir, boltLog)
	}
	all, err := filepath.Glob(filepath.Join(dir, walDir, "*.wal"))
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	return all[0]
}

// flip changes one byte of what is in use of a file.
func flip(t *testing.T, path string, random *rand.Rand) (at, used int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for used = len(b); used > 0 && b[used-1] == 0; used-- {
	}
	at = random.IntN(used)
	b[at] ^= 1 << random.IntN(8)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return at, used
}

// TestCutLog: files of the log that end early, or are gone, are seen.
func TestCutLog(t *testing.T) {
	for _, kind := range []string{LogStoreWAL, LogStoreBoltDB} {
		good := filesOf(t, kind, 100)
		all, err := readFiles(copyDir(t, good), kind)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []float64{0, 0.001, 0.0005, 0.3, 0.7, 0.99} {
			dir := copyDir(t, good)
			path := logFile(t, dir, kind)
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, int64(part*float64(info.Size()))); err != nil {
				t.Fatal(err)
			}
			got, err := readFiles(dir, kind)
			if err == nil && len(got) == len(all) {
				continue // bbolt has pages that are not used yet
			}
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("%s cut at %v: %d entries, %v", kind, part, len(got), err)
			}
		}
		dir := copyDir(t, good)
		if err := os.Remove(logFile(t, dir, kind)); err != nil {
			t.Fatal(err)
		}
		if got, err := readFiles(dir, kind); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s gone: %d entries, %v", kind, len(got), err)
		}
	}
	dir := filesOf(t, LogStoreWAL, 10)
	if err := os.Remove(filepath.Join(dir, walDir, "wal-meta.db")); err != nil {
		t.Fatal(err)
	}
	if got, err := readFiles(dir, LogStoreWAL); !errors.Is(err, ErrDamaged) {
		t.Errorf("its list gone: %d entries, %v", len(got), err)
	}
}

// TestTornLog: what a crash left of the last write goes, and all before stays.
func TestTornLog(t *testing.T) {
	good := filesOf(t, LogStoreWAL, 100)
	s := mustOpenFiles(t, good, LogStoreWAL) // the crash comes before the mark
	last, err := s.log.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	path := logFile(t, good, LogStoreWAL)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	more := entries(last+1, last+4, 5000)
	for _, l := range more {
		for i := range l.Data {
			l.Data[i] = byte(i%255 + 1)
		}
	}
	if err := s.log.StoreLogs(more); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first := 0
	for first < len(before) && before[first] == after[first] {
		first++
	}
	for _, torn := range []func(b []byte){
		func(b []byte) { clear(b[first+100:]) },                      // only its beginning came to disk
		func(b []byte) { copy(b[first:first+4096], before[first:]) }, // all but its beginning
		func(b []byte) { clear(b[first+6000 : first+8000]) },         // all but a part in the middle
	} {
		dir := copyDir(t, good)
		b := slices.Clone(after)
		torn(b)
		if err := os.WriteFile(logFile(t, dir, LogStoreWAL), b, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readFiles(dir, LogStoreWAL)
		if err != nil || uint64(len(got)) != last {
			t.Errorf("%d entries of %d: %v", len(got), last, err)
		}
	}
}

// TestTornMessageThatLooksLikeALog: messages of a write that a crash cut short may hold anything, the file of
// a log too. That is no damage.
func TestTornMessageThatLooksLikeALog(t *testing.T) {
	dir := filesOf(t, LogStoreWAL, 100)
	path := logFile(t, dir, LogStoreWAL)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := mustOpenFiles(t, dir, LogStoreWAL) // the crash comes before the mark
	last, err := s.log.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	more := entries(last+1, last+9, 0) // frames begin at multiples of eight: one of them does
	for i, l := range more {
		l.Data = append(make([]byte, i), before[:8192]...)
	}
	if err := errors.Join(s.log.StoreLogs(more), s.Close()); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	end := len(bytes.TrimRight(after, "\x00"))
	clear(after[end-100:]) // all but its end came to disk
	if err := os.WriteFile(path, after, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := readFiles(dir, LogStoreWAL)
	if err != nil || uint64(len(got)) != last {
		t.Errorf("%d entries of %d: %v", len(got), last, err)
	}
}

// TestDamagedStable: term and vote are as they were written, or it is seen.
func TestDamagedStable(t *testing.T) {
	good := filesOf(t, LogStoreWAL, 3)
	random := rand.New(rand.NewPCG(3, 3))
	seen := 0
	for range 150 {
		dir := copyDir(t, good)
		path := filepath.Join(dir, stableFile)
		at, _ := flip(t, path, random)
		s, err := openStable(path)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("byte %d: %v", at, err)
			}
			seen++
			continue
		}
		for _, key := range []string{"CurrentTerm", "LastVoteTerm"} {
			if v, err := s.GetUint64([]byte(key)); err != nil || v != 7 {
				t.Errorf("byte %d: %s is %d, %v", at, key, v, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if seen == 0 {
		t.Error("nothing was seen")
	}
	for _, size := range []int64{0, 100, 5000, 9000} {
		dir := copyDir(t, good)
		path := filepath.Join(dir, stableFile)
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		if s, err := openStable(path); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut to %d bytes: %v, %v", size, s, err)
		}
	}
}

// TestStableOfOlderVersion: values without a checksum are read.
func TestStableOfOlderVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), stableFile)
	inner, err := openBolt(path)
	if err != nil {
		t.Fatal(err)
	}
	const id = "0c2b1a43-7d3c-4d4f-9d7e-0123456789ab"
	if err := errors.Join(inner.SetUint64(keyCurrentTerm, 9), inner.SetUint64(keyVoteTerm, 9), inner.Set([]byte("LastVoteCand"), []byte(id)), inner.Close()); err != nil {
		t.Fatal(err)
	}
	s, err := openStable(path)
	if err != nil {
		t.Fatal(err)
	}
	term, err1 := s.GetUint64(keyCurrentTerm)
	vote, err2 := s.Get([]byte("LastVoteCand"))
	if term != 9 || string(vote) != id || errors.Join(err1, err2) != nil {
		t.Errorf("term %d, vote %q, %v, %v", term, vote, err1, err2)
	}
	if _, err := s.GetUint64([]byte("none")); err == nil || err.Error() != "not found" {
		t.Errorf("hashicorp/raft knows a key that is missing by the text of its error: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestLogOfOlderVersion: entries without a checksum are read.
func TestLogOfOlderVersion(t *testing.T) {
	inner := raft.NewInmemStore()
	if err := inner.StoreLogs(entries(1, 3, 10)); err != nil {
		t.Fatal(err)
	}
	s, err := newLogStore(inner, "log", newDisk(nil))
	if err != nil {
		t.Fatal(err)
	}
	var l raft.Log
	if err := s.GetLog(2, &l); err != nil || l.Index != 2 {
		t.Errorf("%+v, %v", l, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestDamagedFormation: what a node remembers of its cluster is as it was written, or it is seen.
func TestDamagedFormation(t *testing.T) {
	dir := t.TempDir()
	f, err := openState(dir, directory(dir), "n", LogStoreWAL)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.update(func(s *savedState) { s.Cluster, s.Voters = "abc", []string{"n", "m"} }); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(f.path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		changed := slices.Clone(good)
		changed[i] ^= 1
		if err := os.WriteFile(f.path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		if g, err := openState(dir, directory(dir), "n", LogStoreWAL); err == nil {
			t.Errorf("byte %d (%q) was changed, and nobody saw it: %+v", i, good[i], g.get())
		}
	}
	old := strings.Replace(string(good), `"checksum": "`+sumIn(good)+`"`, `"checksum": ""`, 1)
	if err := os.WriteFile(f.path, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openState(dir, directory(dir), "n", LogStoreWAL); err != nil {
		t.Errorf("one of an older version: %v", err)
	}
}

func sumIn(b []byte) string {
	_, rest, _ := strings.Cut(string(b), `"checksum": "`)
	sum, _, _ := strings.Cut(rest, `"`)
	return sum
}

// TestReadFailure: an entry that cannot be read any more is the end of the log, and says so.
func TestReadFailure(t *testing.T) {
	dir := filesOf(t, LogStoreWAL, 20)
	s := mustOpenFiles(t, dir, LogStoreWAL)
	failed := make(chan error, 1)
	s.disk.tell(func(err error) { failed <- err })
	path := logFile(t, dir, LogStoreWAL)
	random := rand.New(rand.NewPCG(4, 4))
	for range 20 {
		flip(t, path, random)
	}
	var err error
	for i := uint64(1); i < 20 && err == nil; i++ {
		var l raft.Log
		err = s.log.GetLog(i, &l)
	}
	if !errors.Is(err, ErrDamaged) || !errors.Is(<-failed, ErrDamaged) {
		t.Errorf("got %v", err)
	}
	if err := s.log.StoreLogs(entries(1000, 1001, 1)); !errors.Is(err, ErrDamaged) {
		t.Errorf("the log goes on: %v", err)
	}
	if err := s.Close(); !errors.Is(err, ErrDamaged) {
		t.Errorf("closing: %v", err)
	}
}

// FuzzSegment gives the scan of raft-wal's files whatever it may meet: it never fails in another
// way than by an error.
func FuzzSegment(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, 100))
	f.Add(fmt.Appendf(nil, "%32s\x03\x00\x00\x00\x01\x02\x03\x04\x01\x00\x00\x00\x01\x00\x00\x00x", ""))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "f.wal")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		s := &segmentScan{path: path, f: file, size: int64(len(b))}
		if err := s.scan(); err != nil {
			t.Fatal(err)
		}
		if err := s.checkTorn(1 + s.entries); err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
	})
}
