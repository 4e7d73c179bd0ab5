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

// identity returns the node's id, which lives in the data directory: a node may
// come back with another address or host name and is still the same one, and one
// whose directory was emptied is another.
func identity(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", fmt.Errorf("data directory: %w", err)
	}
	path := filepath.Join(dir, "node-id")
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return newIdentity(dir, path)
	case err != nil:
		return "", fmt.Errorf("node id: %w", err)
	}
	id := strings.TrimSpace(string(b))
	if _, err := uuid.Parse(id); err != nil {
		return "", fmt.Errorf("node id in %s is damaged (%w): put back the id that the other nodes know "+
			"(warrenctl cluster_status), or empty the data directory to join as a new node", path, err)
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
