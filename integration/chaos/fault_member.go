//go:build linux

package chaos

import (
	"fmt"
	"time"
)

// memberFaults change who is in the cluster, or who leads it.
func memberFaults() []Fault {
	return []Fault{
		fault{"wipe", true, func(s *Strike) error { return s.replaced(Kill)(s.Take()) }},
		fault{"replace", false, func(s *Strike) error { return s.replaced(Stop)(s.Take()) }},
		fault{"grow and shrink", false, growAndShrink},
		fault{"transfer leadership", true, transfer},
	}
}

// Ways to end a process, for replaced.
var (
	Kill = (*Node).Kill
	Stop = (*Node).Stop
)

// replaced has a node lose its data and come back as another one.
func (s *Strike) replaced(end func(*Node) error) func(*Node, error) error {
	return func(n *Node, err error) error {
		if err != nil {
			return err
		}
		defer s.losesData()()
		id, err := n.identity()
		if err != nil {
			return err
		}
		s.Logf("end and wipe %s (%s)", n.Name, id)
		if err := end(n); err != nil {
			return err
		}
		if err := n.Wipe(); err != nil {
			return err
		}
		return s.joinsAnew(n, id)
	}
}

// joinsAnew starts a node that has lost its data, and has the cluster forget its former self.
func (s *Strike) joinsAnew(n *Node, former string) error {
	if err := s.startAgain(n); err != nil {
		return err
	}
	s.Logf("forget %s", former)
	if err := s.forget(former); err != nil {
		return err
	}
	return s.waitVoters()
}

// growAndShrink takes a cluster from 3 to 5 nodes and back; one of 5 it takes to 3 first.
func growAndShrink(s *Strike) error {
	first, second := maxNodes, 3
	if len(s.Nodes()) == maxNodes {
		first, second = second, first
	}
	for _, size := range []int{first, second} {
		s.Logf("go to %d nodes", size)
		if err := s.resize(size); err != nil {
			return fmt.Errorf("to %d nodes: %w", size, err)
		}
		s.Hold(s.Between(0, 2*time.Second))
	}
	return s.Back(s.Nodes()...)
}

func (s *Strike) resize(size int) error {
	if len(s.Nodes()) < size {
		return s.Grow(size)
	}
	return s.Shrink(size)
}

// transfer hands leadership round.
func transfer(s *Strike) error {
	for range 3 + s.Random.IntN(6) {
		leader, err := s.Leader()
		if err != nil {
			return err
		}
		to := s.shuffled(leader)[0]
		s.Logf("transfer leadership from %s to %s", leader.Name, to.Name)
		if err := leader.Transfer(to.Name); err != nil {
			s.Logf("it was not handed over: %v", err) // it may be the one that is hurt by another fault
		}
		s.Hold(s.Between(0, 500*time.Millisecond))
	}
	return nil
}
