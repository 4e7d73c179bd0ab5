// Package msgstore keeps the contents of messages for a node's state machine.
//
// Memory, the store of this version, keeps them in memory and lets the snapshot
// carry them; it stands behind command.Bodies, so that a store on disk can take
// its place without the state machine or the sessions noticing.
package msgstore

import (
	"sync/atomic"

	"warren/fsm/command"
)

// Memory keeps bodies in memory. The zero value is an empty store. It is used by
// one state machine; its counts may be read from any goroutine.
type Memory struct {
	bodies atomic.Int64
	bytes  atomic.Int64
}

// Put takes in a body. The data stays where it is: it aliases the log entry.
func (s *Memory) Put(data []byte) command.Body {
	s.bodies.Add(1)
	s.bytes.Add(int64(len(data)))
	return command.Body{Size: len(data), Data: data}
}

// Drop forgets a body; the garbage collector has the rest.
func (s *Memory) Drop(b command.Body) {
	s.bodies.Add(-1)
	s.bytes.Add(-int64(b.Size))
}

// Load returns the content of a body.
func (s *Memory) Load(b command.Body) ([]byte, error) { return b.Data, nil }

// Count returns how many bodies there are and their sum in bytes.
func (s *Memory) Count() (bodies, bytes int64) { return s.bodies.Load(), s.bytes.Load() }

// Reset forgets all bodies: a snapshot is about to take the place of the state.
func (s *Memory) Reset() { s.bodies.Store(0); s.bytes.Store(0) }
