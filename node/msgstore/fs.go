package msgstore

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// An FS is the directory of the segment files.
type FS interface {
	// Create makes a new file to append to. A file of that name is an error.
	Create(name string) (File, error)
	// Open opens a file for reading.
	Open(name string) (File, error)
	Remove(name string) error
	List() (names []string, err error)
	// Sync makes it safe which files there are.
	Sync() error
	// Path returns the name of a file as a person needs it.
	Path(name string) string
}

// A File is a segment file.
type File interface {
	io.Writer
	io.ReaderAt
	io.Closer
	Sync() error
	Size() (int64, error)
}

type directory string

type osFile struct{ *os.File }

// Directory returns a directory of the system, which it makes if it is missing.
func Directory(path string) (FS, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	return directory(path), nil
}

func (d directory) Path(name string) string { return filepath.Join(string(d), name) }

func (d directory) Create(name string) (File, error) {
	f, err := os.OpenFile(d.Path(name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d directory) Open(name string) (File, error) {
	f, err := os.Open(d.Path(name))
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d directory) Remove(name string) error { return os.Remove(d.Path(name)) }

func (d directory) List() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func (d directory) Sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Size returns the size of the file in bytes.
func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
