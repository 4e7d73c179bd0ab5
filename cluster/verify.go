package cluster

import (
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
)

// A Finding is what Verify has to say of one file.
type Finding struct {
	Path  string
	Bytes int64 // that were read
	Err   error // nil: sound
}

// Verify reads all files under a data directory of this package and reports on each. It changes
// nothing but what a start would; the node must not run. snapshot is the index of the newest snapshot, 0 when there
// is none. The state that a fresh directory lacks is not missed.
func Verify(dir string, snapshot uint64, report func(Finding)) {
	if err := checkFounded(dir, directory(dir), snapshot); err != nil {
		report(Finding{Path: filepath.Join(dir, formationFile), Err: err})
		return // it says of which kind the log is
	}
	state := verifyFormation(dir, report)
	mark := verifyStable(filepath.Join(dir, stableFile), report)
	kind := LogStoreWAL
	if state.LogStore != "" {
		kind = state.LogStore
	}
	path := filepath.Join(dir, walDir)
	if kind == LogStoreBoltDB {
		path = filepath.Join(dir, boltLog)
		report(Finding{Path: path, Bytes: fileSize(path), Err: checkBolt(path, "logs")})
	} else {
		err := checkWAL(path, mark, func(path string, bytes int64) { report(Finding{Path: path, Bytes: bytes}) })
		if err != nil {
			report(Finding{Path: path, Err: err})
			return // opening it would take it for a torn write, and cut it
		}
	}
	if _, err := os.Stat(path); err == nil {
		report(Finding{Path: path, Err: verifyEntries(dir, kind, snapshot)})
	}
}

// VerifyFormation reads what a node remembers of its cluster and of the addresses of the others, and reports on each
// file that is there. The node may run.
func VerifyFormation(dir string, report func(Finding)) { verifyFormation(dir, report) }

func verifyFormation(dir string, report func(Finding)) *savedState {
	state := new(savedState)
	verifyJSON(filepath.Join(dir, formationFile), state, state.checkFile, report)
	verifyJSON(filepath.Join(dir, addressesFile), new(any), func([]byte) error { return nil }, report)
	return state
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// verifyJSON reads a file, if it is there, into v, and has it checked further.
func verifyJSON(path string, v any, check func([]byte) error, report func(Finding)) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err == nil {
		jerr := json.Unmarshal(b, v)
		if jerr == nil {
			jerr = check(b)
		}
		if jerr != nil {
			err = damaged(path, "%w", jerr)
		}
	}
	report(Finding{Path: path, Bytes: int64(len(b)), Err: err})
}

// verifyStable returns the mark of the log as well, 0 when there is none to be read.
func verifyStable(path string, report func(Finding)) (mark uint64) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return 0
	}
	s, err := openStable(path)
	if err == nil {
		mark, err = s.savedMark()
		err = errors.Join(err, s.Close())
	}
	report(Finding{Path: path, Bytes: fileSize(path), Err: err})
	return mark
}

// verifyEntries reads each entry of the log with its checksum. It opens the log as a start does,
// which repairs a torn write at its end.
func verifyEntries(dir, kind string, snapshot uint64) (err error) {
	s, err := openFiles(Config{ID: "verify", DataDir: dir, Logger: slog.New(slog.DiscardHandler)}, kind)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.checkGap(snapshot); err != nil {
		return err
	}
	return s.log.check(0)
}
