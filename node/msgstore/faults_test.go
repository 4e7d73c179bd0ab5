package msgstore

import (
	"errors"
	"math/rand/v2"

	ct "warren/cluster/clustertest"
)

var errInjected = errors.New("injected fault")

// memFS is a directory on a disk in memory. The n-th operation can be made to fail.
type memFS struct {
	disk    *ct.Disk
	failAt  int  // the number of the operation that fails; 0: none
	forever bool // all after it fail too
	ops     int
}

// newMemFS returns an empty one. What a crash leaves of what was not synced follows from the seed.
func newMemFS(seed uint64) *memFS {
	return &memFS{disk: ct.NewDisk(rand.New(rand.NewPCG(seed, 3)), nil)}
}

// op counts an operation, and fails when it is its turn.
func (m *memFS) op() error {
	m.ops++
	if m.failAt > 0 && (m.ops == m.failAt || m.forever && m.ops > m.failAt) {
		return errInjected
	}
	return nil
}

// crash loses what was not synced, or a part of it. Nothing fails from then on.
func (m *memFS) crash() { m.disk, m.failAt = m.disk.Crash(), 0 }

func (m *memFS) Path(name string) string { return "mem/" + name }

func (m *memFS) Create(name string) (File, error) {
	if err := m.op(); err != nil {
		return nil, err
	}
	return m.file(m.disk.Create(name))
}

func (m *memFS) Open(name string) (File, error) { return m.file(m.disk.Open(name)) }

func (m *memFS) file(f *ct.File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return memFile{f, m}, nil
}

func (m *memFS) Remove(name string) error {
	if err := m.op(); err != nil {
		return err
	}
	return m.disk.Remove(name)
}

func (m *memFS) List() ([]string, error) { return m.disk.Names(), nil }

func (m *memFS) Sync() error {
	if err := m.op(); err != nil {
		return err
	}
	m.disk.SyncNames()
	return nil
}

type memFile struct {
	*ct.File
	fs *memFS
}

// Write writes the half when it fails.
func (f memFile) Write(b []byte) (int, error) {
	failure := f.fs.op()
	if failure != nil {
		b = b[:len(b)/2]
	}
	n, err := f.File.Write(b)
	return n, errors.Join(failure, err)
}

func (f memFile) Sync() error {
	if err := f.fs.op(); err != nil {
		return err
	}
	return f.File.Sync()
}
