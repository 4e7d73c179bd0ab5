//go:build linux

package chaos

import (
	"errors"
	"fmt"
	"time"

	"warren/integration/proc"
)

// calm is that nothing happens: then nobody stands for election.
var calm = fault{"calm", false, func(s *Strike) error {
	end, err := s.noElection(s.Logf)
	if err != nil {
		return err
	}
	d := s.Between(2*time.Second, 8*time.Second)
	s.Logf("calm for %v", d)
	s.Hold(d)
	return end()
}}

// hiccup is for how long the machine may let processes wait before an election says nothing about the nodes.
const hiccup = heartbeatTimeout / 2

// noElection begins a time in which no election is to come about, and returns what ends it, which has to be called. The leader may lose its place when the machine lets processes
// or disks wait: then it is told, and no failure.
func (c *Cluster) noElection(logf func(string, ...any)) (end func() error, err error) {
	leader, term, err := c.agreed()
	if err != nil {
		return nil, err
	}
	waited, stalls := proc.WatchMachine(), c.logged("the disk stands still")
	return func() error {
		longest, stalled := waited(), c.logged("the disk stands still")-stalls
		now, next, err := c.agreed()
		switch {
		case err != nil || next == term:
			return err
		case longest > hiccup*proc.Slow || stalled > 0:
			logf("%s led in term %d and %s leads in term %d, which says nothing: the machine stood still for %v, disks %d times",
				leader, term, now, next, longest, stalled)
			return nil
		}
		return fmt.Errorf("nothing had happened, but %s led in term %d and %s leads in term %d; the machine stood still for %v at most",
			leader, term, now, next, longest)
	}, nil
}

// agreed waits until all nodes that are up name the same leader and term.
func (c *Cluster) agreed() (leader string, term uint64, err error) {
	err = proc.WaitFor(proc.Patience, func() error {
		leader, term = "", 0
		for _, n := range c.Nodes() {
			if !n.Up() {
				continue
			}
			info, err := n.api.Cluster()
			switch {
			case err != nil:
				return err
			case info.Leader == "":
				return errors.New(n.Name + " knows no leader")
			case term == 0:
				leader, term = info.Leader, info.Term
			case info.Leader != leader || info.Term != term:
				return fmt.Errorf("%s leads in term %d, says %s, and %s in term %d another", info.Leader, info.Term, n.Name, leader, term)
			}
		}
		return nil
	})
	return leader, term, err
}

// logged counts what all nodes have said.
func (c *Cluster) logged(text string) int {
	count := 0
	for _, n := range c.Nodes() {
		count += n.logged(text)
	}
	return count
}
