package faultdisk

import (
	"syscall"
	"time"
)

// A Trouble is what is wrong with a disk. The zero value is a disk that is well.
type Trouble struct {
	// Only says which files it concerns, by their path below the directory; nil: all.
	Only func(path string) bool
	// Stalls: reads, writes and syncs are not answered until the trouble is over.
	Stalls bool
	// SyncTakes is how much longer a sync takes.
	SyncTakes time.Duration
	// Full: it tells of no room, and what needs more fails with ENOSPC.
	Full bool
	// Errors that reads, writes (and all else that changes a file or directory), what needs more room, and syncs
	// get; 0: none.
	ReadErr, WriteErr, GrowErr, SyncErr syscall.Errno
}

// An op is a kind of operation.
type op uint8

const (
	read  op = iota + 1
	write    // what needs no more room
	grow     // what does
	sync
)

// meets says what an operation on a file gets: it waits for the end of the trouble, or takes longer, or fails. All
// zero: the trouble does not concern it.
func (t *Trouble) meets(o op, path string) (stalls bool, takes time.Duration, err syscall.Errno) {
	if t.Only != nil && !t.Only(path) {
		return false, 0, 0
	}
	switch o {
	case read:
		err = t.ReadErr
	case write:
		err = t.WriteErr
	case grow:
		switch {
		case t.WriteErr != 0:
			err = t.WriteErr
		case t.Full:
			err = syscall.ENOSPC
		default:
			err = t.GrowErr
		}
	case sync:
		takes, err = t.SyncTakes, t.SyncErr
	}
	return t.Stalls, takes, err
}
