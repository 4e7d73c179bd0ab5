package msgstore

import (
	"errors"
	"io"
	"os"
	"sort"
	"sync"
)

var errInjected = errors.New("injected fault")

// memFS is a directory in memory. Crash brings back what was synced only, and
// part of what was not; the n-th operation can be made to fail.
type memFS struct {
	mu      sync.Mutex
	files   map[string]*memFile
	synced  map[string]*memFile // names after the last Sync
	failAt  int                 // the number of the operation that fails; 0: none
	forever bool                // all after it fail too
	ops     int
}

type memFile struct {
	fs     *memFS
	data   []byte
	synced int
}

func newMemFS() *memFS {
	return &memFS{files: make(map[string]*memFile), synced: make(map[string]*memFile)}
}

// op counts an operation, and fails when it is its turn.
func (m *memFS) op() error {
	m.ops++
	if m.failAt > 0 && (m.ops == m.failAt || m.forever && m.ops > m.failAt) {
		return errInjected
	}
	return nil
}

// crash loses what was not synced; of each file torn bytes stay of what was written since.
func (m *memFS) crash(torn int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files = make(map[string]*memFile)
	for name, f := range m.synced {
		keep := min(len(f.data), f.synced+torn)
		m.files[name] = &memFile{fs: m, data: append([]byte(nil), f.data[:keep]...), synced: keep}
	}
	m.synced = make(map[string]*memFile)
	for name, f := range m.files {
		m.synced[name] = f
	}
	m.failAt = 0
}

func (m *memFS) Path(name string) string { return "mem/" + name }

func (m *memFS) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op(); err != nil {
		return nil, err
	}
	if m.files[name] != nil {
		return nil, os.ErrExist
	}
	f := &memFile{fs: m}
	m.files[name] = f
	return f, nil
}

func (m *memFS) Open(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files[name] == nil {
		return nil, os.ErrNotExist
	}
	return m.files[name], nil
}

func (m *memFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op(); err != nil {
		return err
	}
	delete(m.files, name)
	return nil
}

func (m *memFS) List() ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for name := range m.files {
		names = append(names, name)
	}
	sort.Strings(names)
	return names, nil
}

func (m *memFS) Sync() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op(); err != nil {
		return err
	}
	m.synced = make(map[string]*memFile)
	for name, f := range m.files {
		m.synced[name] = f
	}
	return nil
}

func (f *memFile) Write(b []byte) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.op(); err != nil {
		n := len(b) / 2
		f.data = append(f.data, b[:n]...)
		return n, err
	}
	f.data = append(f.data, b...)
	return len(b), nil
}

func (f *memFile) ReadAt(b []byte, at int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if at > int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.data[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.op(); err != nil {
		return err
	}
	f.synced = len(f.data)
	return nil
}

func (f *memFile) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.data)), nil
}

func (f *memFile) Close() error { return nil }
