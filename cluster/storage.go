package cluster

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
)

// Storage keeps what a node must not forget: what a method wrote is safe when it returns. Tests plug
// in one that loses the rest in a crash (see clustertest.Disk).
type Storage interface {
	// The log. Entries that are stored together are safe together, or none of them.
	raft.LogStore
	// Set and Get keep Raft's term and vote. The text of the error of Get for a key that was never
	// set is "not found", as hashicorp/raft knows it.
	Set(key, value []byte) error
	Get(key []byte) ([]byte, error)

	smallFiles
}

// smallFiles keep what formation must remember, and addresses.
type smallFiles interface {
	// ReadFile returns fs.ErrNotExist when there is no such file.
	ReadFile(name string) ([]byte, error)
	// WriteFile replaces a file whole: a crash leaves the old or the new one.
	WriteFile(name string, b []byte) error
}

// directory is smallFiles in a directory of the system.
type directory string

func (d directory) path(name string) string { return filepath.Join(string(d), name) }

func (d directory) ReadFile(name string) ([]byte, error) { return os.ReadFile(d.path(name)) }

func (d directory) WriteFile(name string, b []byte) error {
	path := d.path(name)
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	dir, err := os.Open(string(d))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// openSmallFiles returns where a node keeps its small files; the directory is made when it is missing.
func openSmallFiles(cfg Config) (smallFiles, error) {
	if cfg.Storage != nil {
		return cfg.Storage, nil
	}
	return directory(cfg.DataDir), os.MkdirAll(cfg.DataDir, 0o700)
}
