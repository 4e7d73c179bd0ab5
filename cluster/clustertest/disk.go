package clustertest

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"warren/cluster"
)

// A Disk is a node's disk in memory: the cluster.Storage, a raft.SnapshotStore, and files. What was not
// synced is lost when the node crashes.
type Disk struct {
	mu     sync.Mutex
	slow   func() time.Duration
	random *rand.Rand

	under []*write // in the order of their beginning

	first  uint64 // index of logs[0]
	logs   []raft.Log
	values map[string][]byte
	small  map[string][]byte

	files map[string]*File // as programs see them
	names map[string]*File // as they are after a crash

	snapshot *memSnapshot // the newest one, nil: none
	made     int
}

var _ cluster.Storage = (*Disk)(nil)

// NewDisk returns an empty disk. slow says how long the next write takes; nil: no time. Chance decides
// what a crash leaves of the writes that are under way.
func NewDisk(random *rand.Rand, slow func() time.Duration) *Disk {
	if slow == nil {
		slow = func() time.Duration { return 0 }
	}
	return &Disk{
		slow: slow, random: random, values: make(map[string][]byte), small: make(map[string][]byte),
		files: make(map[string]*File), names: make(map[string]*File),
	}
}

// write is one that is under way.
type write struct {
	apply func()
	done  bool
}

// write carries out a write, which is safe when write returns. When there is a crash before, it may have happened or not.
func (d *Disk) write(apply func()) {
	d.mu.Lock()
	wait := d.slow()
	if wait <= 0 {
		apply()
		d.mu.Unlock()
		return
	}
	w := &write{apply: apply}
	d.under = append(d.under, w)
	d.mu.Unlock()
	time.Sleep(wait)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.under = slices.DeleteFunc(d.under, func(u *write) bool { return u == w })
	if !w.done {
		w.done = true
		apply()
	}
}

// Crash returns the disk as the next process of the node finds it. The process that had the old one may
// go on with it: nobody ever sees what it writes there.
func (d *Disk) Crash() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.under {
		if d.random.IntN(2) == 0 {
			w.done = true
			w.apply()
		}
	}
	next := NewDisk(d.random, d.slow)
	next.first, next.logs = d.first, slices.Clone(d.logs)
	next.values, next.small = maps.Clone(d.values), maps.Clone(d.small)
	next.snapshot, next.made = d.snapshot, d.made
	for name, f := range d.names {
		keep := f.synced
		if torn := len(f.data) - keep; torn > 0 {
			keep += d.random.IntN(torn + 1)
		}
		g := &File{d: next, data: slices.Clone(f.data[:keep]), synced: keep}
		next.files[name], next.names[name] = g, g
	}
	return next
}

// FirstIndex implements raft.LogStore.
func (d *Disk) FirstIndex() (uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.logs) == 0 {
		return 0, nil
	}
	return d.first, nil
}

// LastIndex implements raft.LogStore.
func (d *Disk) LastIndex() (uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.logs) == 0 {
		return 0, nil
	}
	return d.last(), nil
}

func (d *Disk) last() uint64 { return d.first + uint64(len(d.logs)) - 1 }

// GetLog implements raft.LogStore.
func (d *Disk) GetLog(index uint64, log *raft.Log) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.logs) == 0 || index < d.first || index > d.last() {
		return raft.ErrLogNotFound
	}
	*log = copyOf(&d.logs[index-d.first])
	return nil
}

// StoreLog implements raft.LogStore.
func (d *Disk) StoreLog(log *raft.Log) error { return d.StoreLogs([]*raft.Log{log}) }

// errHole is what a log says in which entries would be missing, as hashicorp/raft-wal does.
var errHole = errors.New("entries do not follow the last one")

// StoreLogs implements raft.LogStore.
func (d *Disk) StoreLogs(logs []*raft.Log) (err error) {
	own := make([]raft.Log, len(logs))
	for i, l := range logs {
		own[i] = copyOf(l)
	}
	d.write(func() {
		if len(d.logs) == 0 {
			d.first = own[0].Index
		} else if own[0].Index != d.last()+1 {
			err = errHole
			return
		}
		d.logs = append(d.logs, own...)
	})
	return err
}

// IsMonotonic implements raft.MonotonicLogStore.
func (d *Disk) IsMonotonic() bool { return true }

func copyOf(l *raft.Log) raft.Log {
	c := *l
	c.Data, c.Extensions = slices.Clone(l.Data), slices.Clone(l.Extensions)
	return c
}

// DeleteRange implements raft.LogStore.
func (d *Disk) DeleteRange(lo, hi uint64) error {
	d.write(func() {
		if len(d.logs) == 0 {
			return
		}
		lo, hi := max(lo, d.first), min(hi, d.last())
		switch {
		case lo > hi:
		case hi == d.last():
			d.logs = slices.Clone(d.logs[:lo-d.first])
		default:
			d.logs = slices.Clone(d.logs[hi+1-d.first:])
			d.first = hi + 1
		}
	})
	return nil
}

// errNotFound has the text by which hashicorp/raft knows it.
var errNotFound = errors.New("not found")

// Set implements raft.StableStore in part.
func (d *Disk) Set(key, value []byte) error {
	key, value = slices.Clone(key), slices.Clone(value)
	d.write(func() { d.values[string(key)] = value })
	return nil
}

// Get implements raft.StableStore in part.
func (d *Disk) Get(key []byte) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if v, ok := d.values[string(key)]; ok {
		return slices.Clone(v), nil
	}
	return nil, errNotFound
}

// ReadFile implements cluster.Storage.
func (d *Disk) ReadFile(name string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if b, ok := d.small[name]; ok {
		return slices.Clone(b), nil
	}
	return nil, fs.ErrNotExist
}

// WriteFile implements cluster.Storage. It takes no time: its callers hold locks.
func (d *Disk) WriteFile(name string, b []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.small[name] = slices.Clone(b)
	return nil
}

// A File is one to append to.
type File struct {
	d      *Disk
	data   []byte
	synced int
}

// Create makes a new file. After a crash it is there when SyncNames was called since.
func (d *Disk) Create(name string) (*File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.files[name] != nil {
		return nil, os.ErrExist
	}
	f := &File{d: d}
	d.files[name] = f
	return f, nil
}

// Open opens a file.
func (d *Disk) Open(name string) (*File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.files[name]; f != nil {
		return f, nil
	}
	return nil, os.ErrNotExist
}

// Remove removes a file, which may be there again after a crash.
func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.files, name)
	return nil
}

// Names are those of the files, sorted.
func (d *Disk) Names() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.files))
}

// SyncNames makes it safe which files there are.
func (d *Disk) SyncNames() {
	d.mu.Lock()
	now := maps.Clone(d.files)
	d.mu.Unlock()
	d.write(func() { d.names = now })
}

// Write appends.
func (f *File) Write(b []byte) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	f.data = append(f.data, b...)
	return len(b), nil
}

// ReadAt implements io.ReaderAt.
func (f *File) ReadAt(b []byte, at int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if at > int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.data[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// Sync makes safe what was written before.
func (f *File) Sync() error {
	f.d.mu.Lock()
	now := len(f.data)
	f.d.mu.Unlock()
	f.d.write(func() { f.synced = max(f.synced, now) })
	return nil
}

// Size is how many bytes there are.
func (f *File) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return int64(len(f.data)), nil
}

// Close does nothing.
func (f *File) Close() error { return nil }
