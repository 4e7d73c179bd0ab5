package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"warren/cluster"
)

// Describe returns what a data directory tells, as far as it can be read: the id of its node, and
// whether it knows of no other one. The node must not run.
func Describe(dir string) (id string, alone bool) {
	id, err := readIdentity(dir)
	if err != nil {
		id = ""
	}
	return id, cluster.Alone(filepath.Join(dir, clusterDir), id)
}

// SetAside moves all that makes the data directory a node's into a new directory on the same
// file system. What was begun and cut short may be done again.
func SetAside(dir, aside string) error {
	if err := os.Mkdir(aside, 0o750); err != nil {
		return fmt.Errorf("set data aside: %w", err)
	}
	// The id first, on disk: a directory without one, and with the rest, is refused. With the id alone the node
	// would start as the same one, which has forgotten its votes and what it acknowledged.
	for _, name := range []string{nodeIDFile, messagesDir, clusterDir, restoringFile} {
		err := os.Rename(filepath.Join(dir, name), filepath.Join(aside, name))
		if err == nil && name == nodeIDFile {
			err = errors.Join(syncDir(aside), syncDir(dir))
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("set data aside: %w", err)
		}
	}
	return errors.Join(syncDir(aside), syncDir(dir))
}
