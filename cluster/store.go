package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	walfs "github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
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

// trailingBytes is the default of Config.TrailingBytes.
var trailingBytes = 64 << 20

// walSegment is the size of raft-wal's files, in bytes, which are made with it.
var walSegment = wal.DefaultSegmentSize

// wrapLog lets tests stand between the log and its file.
var wrapLog = func(_ string, inner raft.LogStore) raft.LogStore { return inner }

// stores are a node's files for Raft.
type stores struct {
	disk   *disk
	log    *logStore
	stable *stableStore
	snaps  raft.SnapshotStore
	close  []func() error

	// newestFile is the index that the newest file of the log begins with, 0 when it has one file.
	newestFile func() uint64
}

// The files of the log in the data directory, by the kind of log store.
const (
	walDir  = "wal"
	boltLog = "log.db"
)

// openStores opens all of them.
func openStores(cfg Config, logStoreName string) (*stores, error) {
	s, err := openFiles(cfg, logStoreName)
	if err != nil {
		return s, err
	}
	if err = syncFiles(cfg); err == nil {
		err = s.keepMark()
	}
	if err != nil {
		return s, errors.Join(err, s.Close())
	}
	s.snaps = cfg.SnapshotStore
	if s.snaps == nil {
		s.snaps, err = raft.NewFileSnapshotStoreWithLogger(cfg.DataDir, keptSnapshots, newRaftLog(cfg.Logger))
		if err != nil {
			return s, errors.Join(fmt.Errorf("open snapshot store: %w", err), s.Close())
		}
	}
	return s, nil
}

// openFiles opens all but the snapshots, and checks them.
func openFiles(cfg Config, logStoreName string) (s *stores, err error) {
	s = &stores{disk: newDisk(cfg.OnFail), newestFile: func() uint64 { return 0 }}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if cfg.Storage != nil {
		s.stable, err = newStable("term and vote", cfg.Storage)
	} else {
		s.stable, err = openStable(filepath.Join(cfg.DataDir, stableFile))
	}
	if err != nil {
		return s, fmt.Errorf("open stable store: %w", err)
	}
	s.stable.disk = s.disk
	s.close = append(s.close, s.stable.Close)

	mark, err := s.stable.savedMark()
	if err != nil {
		return s, fmt.Errorf("open stable store: %w", err)
	}
	inner, path, err := s.openLog(cfg, logStoreName, mark)
	if err != nil {
		return s, fmt.Errorf("open log store: %w", err)
	}
	if s.log, err = newLogStore(wrapLog(cfg.ID, inner), path, s.disk); err != nil {
		return s, fmt.Errorf("open log store: %w", err)
	}
	s.log.onSync, s.log.keep = cfg.OnSync, cfg.TrailingBytes
	s.close = append(s.close, s.log.Close)
	return s, s.checkMark(mark)
}

// openLog opens the file or files of the log, once it is known that they are whole, and hold what was written up to
// the mark.
func (s *stores) openLog(cfg Config, kind string, mark uint64) (log raft.LogStore, path string, err error) {
	if cfg.Storage != nil {
		return cfg.Storage, "log", nil
	}
	if kind == LogStoreBoltDB {
		path = filepath.Join(cfg.DataDir, boltLog)
		if err := checkBolt(path, "logs"); err != nil {
			return nil, path, err
		}
		b, err := openBolt(path)
		if err != nil {
			return nil, path, err
		}
		s.close = append(s.close, b.Close)
		return b, path, nil
	}
	path = filepath.Join(cfg.DataDir, walDir)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, path, err
	}
	if err := checkWAL(path, mark, nil); err != nil {
		return nil, path, err
	}
	files := &walFiles{FS: walfs.New(), disk: s.disk}
	w, err := openWAL(path, files, cfg)
	if err != nil {
		return nil, path, err
	}
	s.close = append(s.close, w.Close)
	last, err := w.LastIndex()
	if err != nil {
		return nil, path, fmt.Errorf("read last index: %w", err)
	}
	files.newest.CompareAndSwap(0, last+1) // the newest file may have been made by the process before, and be empty
	s.newestFile = files.newest.Load
	return w, path, nil
}

func openWAL(dir string, files *walFiles, cfg Config) (w *wal.WAL, err error) {
	err = guarded(dir, func() error {
		w, err = wal.Open(dir, wal.WithLogger(newRaftLog(cfg.Logger)), wal.WithSegmentSize(walSegment),
			wal.WithSegmentFiler(segment.NewFiler(dir, files)))
		return err
	})
	switch {
	case errors.Is(err, ErrDamaged):
		return nil, err
	case errors.Is(err, wal.ErrCorrupt), errors.Is(err, os.ErrNotExist):
		return nil, damaged(dir, "%v", err)
	}
	return w, err
}

// walFiles are the files of raft-wal. It makes the next one in the background, and when that
// fails says so to its log alone: later appends fail without a reason.
type walFiles struct {
	*walfs.FS
	disk   *disk
	newest atomic.Uint64 // index that the file begins with that was made last, or may have been made before the start
}

// Create implements types.VFS.
func (f *walFiles) Create(dir, name string, size uint64) (types.WritableFile, error) {
	w, err := f.FS.Create(dir, name, size)
	if err != nil {
		return nil, f.disk.fail(fmt.Errorf("make a file of the log: %w", err))
	}
	first, _, _ := strings.Cut(name, "-") // see segment.FileName
	index, err := strconv.ParseUint(first, 10, 64)
	if err != nil {
		return nil, f.disk.fail(fmt.Errorf("make a file of the log: its name %s does not begin with an index: %w", name, err))
	}
	f.newest.Store(index)
	return w, nil
}

// syncFiles brings to disk what a process that was killed had written and not synced. It is read as if it was on
// disk, and what this node acknowledges from now on may rest on it: a vote, entries that it need not write again, or the
// list of the log's files, from which raft-wal would take a file that was made later for one that nobody uses.
func syncFiles(cfg Config) error {
	if cfg.Storage != nil {
		return nil
	}
	files := []string{cfg.DataDir, filepath.Join(cfg.DataDir, stableFile), filepath.Join(cfg.DataDir, boltLog)}
	log := filepath.Join(cfg.DataDir, walDir)
	segments, err := filepath.Glob(filepath.Join(log, "*.wal"))
	if len(segments) > 0 {
		files = append(append(files, segments...), filepath.Join(log, metadb.FileName), log)
	}
	for _, path := range files {
		err = errors.Join(err, syncFile(path))
	}
	if err != nil {
		return fmt.Errorf("sync what was there: %w", err)
	}
	return nil
}

// syncFile syncs a file or directory, if it is there.
func syncFile(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// newest is the last entry in the newest snapshot, zeros when there is none.
func newest(store raft.SnapshotStore) (index, term uint64, err error) {
	if store == nil {
		return 0, 0, nil
	}
	snaps, err := store.List()
	if err != nil {
		return 0, 0, fmt.Errorf("list snapshots: %w", err)
	}
	if len(snaps) == 0 {
		return 0, 0, nil
	}
	return snaps[0].Index, snaps[0].Term, nil
}

// checkGap makes sure that the log goes on where the newest snapshot ends, and can be read from
// there: Raft would begin with what is there, and leave out what is not. A node that has either has a term.
func (s *stores) checkGap(covered uint64) error {
	low, err := s.log.FirstIndex()
	if err != nil {
		return fmt.Errorf("read first index: %w", err)
	}
	if _, err := s.stable.Get(keyCurrentTerm); err != nil && missing(err) && max(low, covered) > 0 {
		return damaged(s.stable.path, "term and vote are gone, and there are entries")
	}
	if low > covered+1 {
		return damaged(s.log.path, "the log begins with entry %d, and the newest snapshot ends with %d: a file is gone", low, covered)
	}
	return s.log.check(covered + 1)
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
