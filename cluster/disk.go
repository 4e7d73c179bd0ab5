package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	wal "github.com/hashicorp/raft-wal"
	"go.etcd.io/bbolt"
)

// ErrDamaged says that a file of this package is not as it was written. Such a node
// is not to be used: its data directory is to be wiped, so that it joins as a new one.
var ErrDamaged = errors.New("damaged data")

// damaged makes an error of a file.
func damaged(path, format string, args ...any) error {
	return fmt.Errorf("%w: file %s: %w", ErrDamaged, path, fmt.Errorf(format, args...))
}

// ofSystem reports whether an error came from the system, or from a file that is closed, rather than
// from what stands in it.
func ofSystem(err error) bool {
	var path *fs.PathError
	var number syscall.Errno
	return errors.As(err, &path) || errors.As(err, &number) || errors.Is(err, wal.ErrClosed) ||
		errors.Is(err, bbolt.ErrDatabaseNotOpen) || errors.Is(err, bbolt.ErrTimeout)
}

// disk knows how this node's disk serves Raft: which operations are under way and since
// when, and whether one has failed. The first failure is the end: what a kernel could not
// write it may have forgotten, and Raft's memory cannot be taken back.
type disk struct {

	// raftRuns says that Raft's goroutines are at work. One that meets what it would answer
	// with a panic ends instead; see end.
	raftRuns atomic.Bool

	mu       sync.Mutex
	under    map[*operation]struct{} // way
	lastSlow time.Time               // when an operation was last found slow
	failed   error
	told     []func(error) // of the failure, the owner first
}

// An operation is one write that is under way.
type operation struct {
	what  string
	began time.Time
}

// newDisk returns a disk whose failure onFail is told, unless that is nil.
func newDisk(onFail func(error)) *disk {
	d := &disk{under: make(map[*operation]struct{})}
	if onFail != nil {
		d.tell(onFail)
	}
	return d
}

// tell has a function called with the first failure. It must not block.
func (d *disk) tell(f func(error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.told = append(d.told, f)
}

// do carries out a write. Its error is that of the disk, for good.
func (d *disk) do(what string, write func() error) error {
	if err := d.failure(); err != nil {
		return err
	}
	op := d.begin(what)
	err := write()
	d.done(op)
	if err != nil {
		return d.fail(fmt.Errorf("%s: %w", what, err))
	}
	return nil
}

func (d *disk) begin(what string) *operation {
	op := &operation{what: what, began: time.Now()}
	d.mu.Lock()
	d.under[op] = struct{}{}
	d.mu.Unlock()
	return op
}

func (d *disk) done(op *operation) {
	d.mu.Lock()
	delete(d.under, op)
	d.mu.Unlock()
}

func (d *disk) failure() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// fail remembers the first failure, tells of it, and returns it.
func (d *disk) fail(err error) error {
	d.mu.Lock()
	if d.failed != nil {
		defer d.mu.Unlock()
		return d.failed
	}
	d.failed = err
	told := d.told
	d.mu.Unlock()
	for _, f := range told {
		f(err)
	}
	return err
}

// end ends a goroutine of Raft that cannot go on after a failure. Raft would panic, and the
// process would end with a trace in place of a reason. Its deferred calls are made; Raft's
// other goroutines wait for it until the owner, who was told of the failure, shuts down.
func (d *disk) end() {
	if d.raftRuns.Load() {
		runtime.Goexit()
	}
}

// oldest is the operation that is longest under way, and how long it is.
func (d *disk) oldest(now time.Time) (what string, age time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for op := range d.under {
		if a := now.Sub(op.began); a > age || what == "" {
			what, age = op.what, a
		}
	}
	return what, age
}

// forgive lets all operations begin now, after this process itself stood still.
func (d *disk) forgive(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for op := range d.under {
		op.began = now
	}
}

func (d *disk) noteSlow(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lastSlow = now
}

// slowSince reports whether an operation was slow after a time.
func (d *disk) slowSince(t time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lastSlow.After(t)
}
