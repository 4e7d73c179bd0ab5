// Package damage changes files of a stopped node as a broken disk might.
package damage

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// A Kind is a way in which a file may be damaged.
type Kind struct {
	Name string
	Glob string // of the file in the data directory; the largest counts
	how  func(path string, random *rand.Rand) error
	// Late says that a node may start with it, and stops when it needs what is damaged.
	Late bool
}

// Kinds are all of them. None is at the end of the log: what was written last cannot be told from a write that was torn.
var Kinds = []Kind{
	{Name: "a byte in the log", Glob: "cluster/wal/*.wal", how: flipByte},
	{Name: "the log cut", Glob: "cluster/wal/*.wal", how: cut},
	{Name: "the log gone", Glob: "cluster/wal/*.wal", how: remove},
	{Name: "the list of the log cut", Glob: "cluster/wal/wal-meta.db", how: cut},
	{Name: "term and vote cut", Glob: "cluster/stable.db", how: cut},
	{Name: "a byte in the formation", Glob: "cluster/formation.json", how: flipByte},
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
	if path, err = largest(dir, k.Glob); err == nil {
		err = k.how(path, random)
	}
	return path, err
}

// There says whether the directory has such a file.
func (k Kind) There(dir string) bool {
	_, err := largest(dir, k.Glob)
	return err == nil
}

func largest(dir, glob string) (string, error) {
	all, err := filepath.Glob(filepath.Join(dir, glob))
	if err != nil {
		return "", err
	}
	best, size := "", int64(-1)
	for _, path := range all {
		if info, err := os.Stat(path); err == nil && info.Size() > size {
			best, size = path, info.Size()
		}
	}
	if best == "" {
		return "", fmt.Errorf("%s holds no %s", dir, glob)
	}
	return best, nil
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

func remove(path string, _ *rand.Rand) error { return os.Remove(path) }
