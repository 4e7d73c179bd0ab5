package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
)

// What stands in a data directory.
const (
	nodeIDFile  = "node-id"
	clusterDir  = "cluster"  // of package cluster
	messagesDir = "messages" // of package msgstore
	lockFile    = "lock"     // of the process
)

// identity returns the node's id, which lives in the data directory: a node may
// come back with another address or host name and is still the same one, and one
// whose directory was emptied is another.
func identity(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", fmt.Errorf("data directory: %w", err)
	}
	id, err := readIdentity(dir)
	if id == "" && err == nil {
		return newIdentity(dir, filepath.Join(dir, nodeIDFile))
	}
	return id, err
}

// readIdentity returns the id in a data directory, "" when nothing is there yet.
func readIdentity(dir string) (string, error) {
	path := filepath.Join(dir, nodeIDFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		for _, part := range []string{clusterDir, messagesDir} {
			if _, err := os.Stat(filepath.Join(dir, part)); err == nil {
				return "", fmt.Errorf("%w: file %s is gone, and %s is there", ErrDamaged, path, part)
			}
		}
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("node id: %w", err)
	}
	id := strings.TrimSpace(string(b))
	if _, err := uuid.Parse(id); err != nil {
		return "", fmt.Errorf("%w: file %s holds no node id: %w", ErrDamaged, path, err)
	}
	return id, nil
}

func newIdentity(dir, path string) (string, error) {
	id := uuid.NewString()
	f, err := os.CreateTemp(dir, "node-id-")
	if err != nil {
		return "", fmt.Errorf("node id: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(id + "\n")
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return "", fmt.Errorf("node id: %w", err)
	}
	return id, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
