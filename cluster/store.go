package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	walfs "github.com/hashicorp/raft-wal/fs"
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
	s.snaps = cfg.SnapshotStore
	if s.snaps == nil {
		s.snaps, err = raft.NewFileSnapshotStoreWithLogger(cfg.DataDir, keptSnapshots, newRaftLog(cfg.Logger))
		if err != nil {
			return s, errors.Join(fmt.Errorf("open snapshot store: %w", err), s.Close())
		}
	}
	return s, nil
}

// openFiles opens all but the snapshots.
func openFiles(cfg Config, logStoreName string) (s *stores, err error) {
	s = &stores{disk: newDisk(cfg.OnFail)}
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

	inner, path, err := s.openLog(cfg, logStoreName)
	if err != nil {
		return s, fmt.Errorf("open log store: %w", err)
	}
	if s.log, err = newLogStore(wrapLog(cfg.ID, inner), path, s.disk); err != nil {
		return s, fmt.Errorf("open log store: %w", err)
	}
	s.log.onSync, s.log.keep = cfg.OnSync, cfg.TrailingBytes
	s.close = append(s.close, s.log.Close)
	return s, s.checkMark()
}

// openLog opens the file or files of the log, once it is known that they are whole.
func (s *stores) openLog(cfg Config, kind string) (log raft.LogStore, path string, err error) {
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
	if err := checkWAL(path, nil); err != nil {
		return nil, path, err
	}
	w, err := openWAL(path, s.disk, cfg)
	if err != nil {
		return nil, path, err
	}
	s.close = append(s.close, w.Close)
	return w, path, nil
}

func openWAL(dir string, d *disk, cfg Config) (w *wal.WAL, err error) {
	err = guarded(dir, func() error {
		w, err = wal.Open(dir, wal.WithLogger(newRaftLog(cfg.Logger)), wal.WithSegmentSize(walSegment),
			wal.WithSegmentFiler(segment.NewFiler(dir, &walFiles{FS: walfs.New(), disk: d})))
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
	disk *disk
}

// Create implements types.VFS.
func (f *walFiles) Create(dir, name string, size uint64) (types.WritableFile, error) {
	w, err := f.FS.Create(dir, name, size)
	if err != nil {
		return nil, f.disk.fail(fmt.Errorf("make a file of the log: %w", err))
	}
	return w, nil
}

// checkMark makes sure that the log is as long as it once was, and keeps the mark from now on.
func (s *stores) checkMark() error {
	mark, err := s.stable.GetUint64(keyMark)
	if err != nil && !missing(err) {
		return err
	}
	last, err := s.log.LastIndex()
	if err != nil {
		return fmt.Errorf("read last index: %w", err)
	}
	if last < mark {
		return damaged(s.log.path, "the log ends with entry %d, and had %d: what stood at its end is gone", last, mark)
	}
	s.log.marked = mark
	s.log.mark = func(index uint64) error { return s.stable.Set(keyMark, binary.BigEndian.AppendUint64(nil, index)) }
	return nil
}

// newest is the index of the last entry in the newest snapshot, 0 when there is none.
func (s *stores) newest() (uint64, error) {
	snaps, err := s.snaps.List()
	if err != nil {
		return 0, fmt.Errorf("list snapshots: %w", err)
	}
	if len(snaps) == 0 {
		return 0, nil
	}
	return snaps[0].Index, nil
}

// checkGap makes sure that the log goes on where the newest snapshot ends, and can be read from
// there: Raft would begin with what is there, and leave out what is not.
func (s *stores) checkGap(covered uint64) error {
	low, err := s.log.FirstIndex()
	if err != nil {
		return fmt.Errorf("read first index: %w", err)
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
