// Package fsmtest tests the state machine: text scripts with recorded output,
// seeded random runs with invariants, replicas restored from snapshots at any cut,
// and the rules that keep the machine pure. Bodies is for other packages' tests too.
package fsmtest

import (
	"fmt"

	"warren/fsm/command"
)

// Bodies keeps message bodies in memory and knows which are in use.
type Bodies struct {
	last uint64
	live map[uint64]int // size by reference
}

// Put implements command.Bodies.
func (b *Bodies) Put(data []byte) command.Body {
	if b.live == nil {
		b.live = make(map[uint64]int)
	}
	b.last++
	b.live[b.last] = len(data)
	return command.Body{Size: len(data), Data: data, Ref: b.last}
}

// Drop implements command.Bodies. Dropping what is not there panics.
func (b *Bodies) Drop(body command.Body) {
	if size, ok := b.live[body.Ref]; !ok || size != body.Size {
		panic(fmt.Sprintf("fsmtest: body %d dropped, which is not there", body.Ref))
	}
	delete(b.live, body.Ref)
}

// Live returns the number of bodies in use.
func (b *Bodies) Live() int { return len(b.live) }
