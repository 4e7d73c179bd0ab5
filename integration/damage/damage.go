// Package damage changes files of a stopped node as a broken disk might.
package damage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/bbolt"
)

// A Kind is a way in which a file may be damaged.
type Kind struct {
	Name string
	Glob string // of the file in the data directory; the largest counts, or the last by name
	last bool
	how  func(path string, random *rand.Rand) error
	// Late says that a node may start with it, and stops when it needs what is damaged.
	Late bool
}

// Kinds are all of them. None is of the last write to the log: damage there cannot be told from a write that was torn.
var Kinds = []Kind{
	{Name: "a byte in the log", Glob: "cluster/wal/*.wal", how: flipByte},
	{Name: "the log cut", Glob: "cluster/wal/*.wal", how: cut},
	{Name: "the log gone", Glob: "cluster/wal/*.wal", how: remove},
	{Name: "the newest file of the log gone", Glob: "cluster/wal/*.wal", last: true, how: remove},
	{Name: "the newest file of the log empty", Glob: "cluster/wal/*.wal", last: true, how: empty},
	{Name: "the list of the log cut", Glob: "cluster/wal/wal-meta.db", how: cut},
	{Name: "term and vote cut", Glob: "cluster/stable.db", how: cut},
	{Name: "term and vote gone", Glob: "cluster/stable.db", how: remove},
	{Name: "a byte in the formation", Glob: "cluster/formation.json", how: flipByte},
	{Name: "the formation gone", Glob: "cluster/formation.json", how: remove},
	{Name: "a byte in a snapshot", Glob: "messages/snapshots/*/state.bin", how: flipByte},
	{Name: "a snapshot cut", Glob: "messages/snapshots/*/state.bin", how: cut},
	{Name: "a byte in what a snapshot is of", Glob: "messages/snapshots/*/meta.json", how: flipByte},
	{Name: "a file of messages cut", Glob: "messages/*.seg", how: cut},
	{Name: "a file of messages gone", Glob: "messages/*.seg", how: remove},
	{Name: "a byte in a file of messages", Glob: "messages/*.seg", how: flipByte, Late: true},
	{Name: "the id gone", Glob: "node-id", how: remove},
}

// Do damages a file of a data directory, and returns its path.
func (k Kind) Do(dir string, random *rand.Rand) (path string, err error) {
	if path, err = k.find(dir); err == nil {
		err = k.how(path, random)
	}
	return path, err
}

// There says whether the directory has such a file, whose damage has to be noticed: a file of the log to which nothing
// was written yet that its node acknowledged is not missed.
func (k Kind) There(dir string) bool {
	path, err := k.find(dir)
	if err != nil || !strings.HasSuffix(path, ".wal") {
		return err == nil
	}
	var first uint64
	if _, err := fmt.Sscanf(filepath.Base(path), "%d-", &first); err != nil {
		return false
	}
	end, err := logEnd(filepath.Join(dir, "cluster", "stable.db"))
	return err == nil && first <= end
}

// find returns the path of the file.
func (k Kind) find(dir string) (string, error) {
	all, err := filepath.Glob(filepath.Join(dir, k.Glob))
	if err != nil {
		return "", err
	}
	best, size := "", int64(-1)
	for _, path := range all { // sorted
		if info, err := os.Stat(path); err == nil && (k.last || info.Size() > size) {
			best, size = path, info.Size()
		}
	}
	if best == "" {
		return "", fmt.Errorf("%s holds no %s", dir, k.Glob)
	}
	return best, nil
}

// logEnd reads up to which index a node knew its log to be on disk; see mark.go in package cluster.
func logEnd(path string) (index uint64, err error) {
	db, err := bbolt.Open(path, 0, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return 0, err
	}
	err = db.View(func(tx *bbolt.Tx) error {
		value := tx.Bucket([]byte("conf")).Get([]byte("WarrenLogEnd"))
		if len(value) < 8 {
			return fmt.Errorf("%s says nothing of the end of the log", path)
		}
		index = binary.BigEndian.Uint64(value)
		return nil
	})
	return index, errors.Join(err, db.Close())
}

// flipByte changes a bit in the second quarter of what is in use.
func flipByte(path string, random *rand.Rand) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	used := len(b)
	for used > 0 && b[used-1] == 0 {
		used--
	}
	if used < 4 {
		return fmt.Errorf("%s has %d bytes only", path, used)
	}
	b[used/4+random.IntN(used/4)] ^= 1 << random.IntN(3)
	return os.WriteFile(path, b, 0o600)
}

func cut(path string, _ *rand.Rand) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.Truncate(path, info.Size()/2)
}

func empty(path string, _ *rand.Rand) error { return os.Truncate(path, 0) }

func remove(path string, _ *rand.Rand) error { return os.Remove(path) }
