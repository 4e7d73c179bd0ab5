//go:build linux

package chaos

import (
	"fmt"

	"warren/integration/proc"
)

// What a process may hold at quiet beyond what it held when the cluster was young. Files of messages and of the
// log come and go, and so do goroutines of connections that are just closed.
const (
	moreGoroutines = 40
	moreFiles      = 60
)

// What a node may hold at most, in bytes. Seen were 62 MiB of memory, 52 at quiet, and 3 of disk, or one file of the log more
// (64) when the node was of the version before.
const (
	mostMemory  = 256 << 20 // ever
	quietMemory = 128 << 20
	quietDisk   = 160 << 20
)

// quiet waits until all nodes are in the same state, and judges what they hold.
func (r *round) quiet() error {
	if err := r.sameState(); err != nil {
		r.load.Complain("replicas differ", "%v", err)
	}
	for _, n := range r.c.Nodes() {
		if err := n.Crashed(); err != nil {
			r.load.Complain("crash", "%v", err)
			continue
		}
		lines, err := n.panics()
		if err != nil {
			return err
		}
		for _, line := range lines {
			r.load.Complain("crash", "%s", line)
		}
		u, err := r.c.withinBounds(n)
		if err != nil {
			r.load.Complain("leak", "%v", err)
		}
		r.logf("%s: %v", n.Name, u)
	}
	return nil
}

// sameState wants the same hashes of all nodes at the same index.
func (r *round) sameState() error {
	var differ error
	err := proc.WaitFor(patience, func() error {
		var first State
		for i, n := range r.c.Nodes() {
			s, err := n.State()
			switch {
			case err != nil:
				return fmt.Errorf("%s: %w", n.Name, err)
			case i == 0:
				first = s
			case s.Index != first.Index:
				return fmt.Errorf("%s is at index %d, %s at %d", n.Name, s.Index, r.c.Nodes()[0].Name, first.Index)
			case s != first:
				differ = fmt.Errorf("at index %d %s has state %s after history %s, %s has %s after %s",
					s.Index, n.Name, s.State, s.History, r.c.Nodes()[0].Name, first.State, first.History)
				return nil
			}
		}
		return nil
	})
	if differ != nil {
		return differ
	}
	return err
}

// withinBounds compares what a node's process holds with what it may.
func (c *Cluster) withinBounds(n *Node) (u usage, err error) {
	err = proc.WaitFor(patience, func() error {
		var err error
		if u, err = n.usage(); err != nil {
			return err
		}
		if c.young == (usage{}) {
			c.young = u // the first at quiet, after a round
		}
		switch {
		case u.goroutines > c.young.goroutines+moreGoroutines:
			return fmt.Errorf("%s has %d goroutines, and had %d", n.Name, u.goroutines, c.young.goroutines)
		case u.files > c.young.files+moreFiles:
			return fmt.Errorf("%s has %d open files, and had %d", n.Name, u.files, c.young.files)
		case u.peak > mostMemory:
			return fmt.Errorf("%s has had %d bytes in memory", n.Name, u.peak)
		case u.memory > quietMemory:
			return fmt.Errorf("%s has %d bytes in memory, though it idles", n.Name, u.memory)
		case u.disk > quietDisk:
			return fmt.Errorf("%s has %d bytes on disk, though all queues are empty", n.Name, u.disk)
		}
		return nil
	})
	return u, err
}
