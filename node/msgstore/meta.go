package msgstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// What Raft's store keeps in the directory of a snapshot, and the checksum of ours.
const (
	stateFile = "state.bin"
	metaFile  = "meta.json"
	sumFile   = "meta.crc" // CRC-32C of metaFile, hexadecimal
)

// statePath is the file of a snapshot, for errors.
func (s *Store) statePath(id string) string { return filepath.Join(s.snapshots, id, stateFile) }

// sumMeta puts a checksum beside what says which entry a snapshot ends with and who is a member:
// Raft's store has one of the state alone. A crash before it leaves the snapshot
// without, which is believed.
func (s *Store) sumMeta(id string) error {
	if s.snapshots == "" {
		return nil
	}
	dir := filepath.Join(s.snapshots, id)
	b, err := os.ReadFile(filepath.Join(dir, metaFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil // a newer one took its place meanwhile
	}
	if err != nil {
		return fmt.Errorf("checksum of snapshot: %w", err)
	}
	if err := writeWhole(dir, sumFile, sumOf(b)); err != nil {
		return fmt.Errorf("checksum of snapshot: %w", err)
	}
	return nil
}

func sumOf(b []byte) []byte { return fmt.Appendf(nil, "%08x\n", crc32.Checksum(b, castagnoli)) }

// writeWhole makes a file that is there whole or not at all.
func writeWhole(dir, name string, b []byte) error {
	path := filepath.Join(dir, name)
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	return directory(dir).Sync()
}

// checkSnapshots makes sure that the newest snapshot is what its name says. Raft's store
// passes over one whose description it cannot read, and would go on with nothing. Older ones are
// what a crash left of those that were removed: they go.
func checkSnapshots(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var names []snapshotName
	for _, e := range entries {
		var n snapshotName
		if _, err := fmt.Sscanf(e.Name(), "%d-%d-%d", &n.term, &n.index, &n.ms); err == nil && e.IsDir() && !strings.HasSuffix(e.Name(), ".tmp") {
			n.name = e.Name()
			names = append(names, n)
		}
	}
	slices.SortFunc(names, snapshotName.compare)
	for i, n := range names {
		err := n.check(filepath.Join(dir, n.name))
		if err != nil && i < len(names)-1 {
			err = os.RemoveAll(filepath.Join(dir, n.name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// snapshotName is what Raft's store makes the name of a snapshot of.
type snapshotName struct {
	name            string
	term, index, ms uint64
}

func (n snapshotName) compare(m snapshotName) int {
	return slices.Compare([]uint64{n.term, n.index, n.ms}, []uint64{m.term, m.index, m.ms})
}

// check compares what describes a snapshot with its checksum and its name.
func (n snapshotName) check(dir string) error {
	path := filepath.Join(dir, metaFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return damaged(path, "it is gone")
	}
	if err != nil {
		return err
	}
	switch sum, err := os.ReadFile(filepath.Join(dir, sumFile)); {
	case errors.Is(err, os.ErrNotExist): // of an older version, or a crash came between
	case err != nil:
		return err
	case !bytes.Equal(sum, sumOf(b)):
		return damaged(path, "its checksum does not match")
	}
	var meta struct {
		ID          string
		Index, Term uint64
	}
	if err := json.Unmarshal(b, &meta); err != nil {
		return damaged(path, "%v", err)
	}
	if meta.ID != n.name || meta.Index != n.index || meta.Term != n.term {
		return damaged(path, "it is of entry %d of term %d, the directory of %d of %d", meta.Index, meta.Term, n.index, n.term)
	}
	if _, err := os.Stat(filepath.Join(dir, stateFile)); errors.Is(err, os.ErrNotExist) {
		return damaged(filepath.Join(dir, stateFile), "it is gone")
	}
	return nil
}
