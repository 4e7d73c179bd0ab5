//go:build linux

package chaos

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"warren/integration/faultdisk"
	"warren/integration/proc"
)

// diskStall is --disk-stall-timeout of the nodes: shorter than the default, so that a disk that stays away for longer is no
// long fault. A leader asks another node to lead after a tenth of it.
const diskStall = 8 * time.Second

// diskFaults are those of a node's disk, made by faultdisk.
func diskFaults() []Fault {
	fails := func(t faultdisk.Trouble) func(s *Strike) error {
		return func(s *Strike) error { return s.diskFails(t) }
	}
	mapped := func(path string) bool { return !strings.HasSuffix(path, ".db") } // reads of the others are of memory
	return []Fault{
		fault{"disk of the leader stalls", true, func(s *Strike) error { return s.diskStalls(s.TakeLeader()) }},
		fault{"disk of a follower stalls", true, func(s *Strike) error { return s.diskStalls(s.TakeFollower()) }},
		fault{"disk stays away", true, diskStaysAway},
		fault{"slow syncs of the leader", true, func(s *Strike) error { return s.slowSyncs(s.TakeLeader()) }},
		fault{"slow syncs of a follower", true, func(s *Strike) error { return s.slowSyncs(s.TakeFollower()) }},
		fault{"slow syncs of all", false, slowSyncsOfAll},
		fault{"disk gets full", true, fails(faultdisk.Trouble{Full: true})}, // publishers are blocked before it is needed
		fault{"disk is suddenly full", true, fails(faultdisk.Trouble{GrowErr: syscall.ENOSPC})},
		fault{"writes fail", true, fails(faultdisk.Trouble{WriteErr: syscall.EIO})},
		fault{"syncs fail", true, fails(faultdisk.Trouble{SyncErr: syscall.EIO})},
		fault{"reads fail", true, fails(faultdisk.Trouble{ReadErr: syscall.EIO, Only: mapped})},
	}
}

// diskStalls has a disk not answer for a while; the node bears it.
func (s *Strike) diskStalls(n *Node, err error) error {
	if err != nil {
		return err
	}
	d := s.Between(50*time.Millisecond, diskStall/2)
	s.Logf("the disk of %s stalls for %v", n.Name, d)
	n.disk.Set(faultdisk.Trouble{Stalls: true})
	s.Hold(d)
	met := n.disk.Heal()
	s.Logf("the disk of %s answers again; %d operations have waited", n.Name, met)
	return s.Back(n)
}

// diskStaysAway has a disk not answer until its node gives up. What a process waits for it waits for in the kernel: it cannot end
// before.
func diskStaysAway(s *Strike) error {
	n, err := s.Take()
	if err != nil {
		return err
	}
	s.Logf("the disk of %s stays away", n.Name)
	n.beFrail()
	n.disk.Set(faultdisk.Trouble{Stalls: true})
	err = proc.WaitFor(proc.Patience, func() error {
		if n.failures() == 0 {
			return fmt.Errorf("%s has not given up its disk; the end of its log:\n%s", n.Name, n.proc.LogTail())
		}
		return nil
	})
	n.disk.Heal()
	s.Logf("the disk of %s is there again", n.Name)
	return errors.Join(err, s.recover(n))
}

func (s *Strike) slowSyncs(n *Node, err error) error {
	if err != nil {
		return err
	}
	takes, d := s.Between(2*time.Millisecond, 300*time.Millisecond), s.Between(time.Second, 4*time.Second)
	s.Logf("each sync of %s takes %v longer, for %v", n.Name, takes, d)
	n.disk.Set(faultdisk.Trouble{SyncTakes: takes})
	s.Hold(d)
	met := n.disk.Heal()
	s.Logf("syncs of %s are fast again; %d were slow", n.Name, met)
	return s.Back(n)
}

func slowSyncsOfAll(s *Strike) error {
	nodes := s.Nodes()
	s.harm(nodes...)
	takes, d := s.Between(2*time.Millisecond, 150*time.Millisecond), s.Between(time.Second, 4*time.Second)
	s.Logf("each sync of every node takes %v longer, for %v", takes, d)
	for _, n := range nodes {
		n.disk.Set(faultdisk.Trouble{SyncTakes: takes})
	}
	s.Hold(d)
	for _, n := range nodes {
		n.disk.Heal()
	}
	s.Logf("syncs are fast again")
	return s.Back(nodes...)
}

// diskFails has operations on a disk fail for a while. The node may end, and has to say why; then it is
// started on the disk as it is, which holds what had been synced.
func (s *Strike) diskFails(t faultdisk.Trouble) error {
	n, err := s.Take()
	if err != nil {
		return err
	}
	d := s.Between(500*time.Millisecond, 4*time.Second)
	s.Logf("the disk of %s fails for %v", n.Name, d)
	n.beFrail()
	n.disk.Set(t)
	s.Hold(d)
	met := n.disk.Heal()
	s.Logf("the disk of %s is well again; %d operations have failed", n.Name, met)
	return s.recover(n)
}

// recover waits until a node that was frail serves again, or has ended: then it has to have said why, and is started.
func (s *Strike) recover(n *Node) error {
	ended, err := n.recover()
	if ended {
		s.Logf("%s had ended by itself, and is started", n.Name)
	}
	return errors.Join(err, s.Back(n))
}

// beFrail says that the process of the node may end by itself from now on.
func (n *Node) beFrail() {
	n.failed += n.failures()
	n.mu.Lock()
	n.frail = true
	n.mu.Unlock()
}

func (n *Node) isFrail() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.frail
}

// failures counts the times that the node said that it fails, since it became frail.
func (n *Node) failures() int {
	return n.logged("node failed, stopping") - n.failed
}

// recover is the end of being frail, for a node that is well by now.
func (n *Node) recover() (ended bool, err error) {
	err = proc.WaitFor(proc.Patience, func() error {
		serves := n.tryClient()
		switch {
		case !n.proc.Running():
			ended = true
			return nil
		case n.failures() > 0:
			return fmt.Errorf("%s has said that it fails, and runs", n.Name)
		}
		return serves
	})
	if err != nil {
		return ended, fmt.Errorf("%w; the end of its log:\n%s", err, n.proc.LogTail())
	}
	if ended {
		if said := n.failures(); said != 1 || n.proc.Err() == nil {
			err = fmt.Errorf("%s ended with %v and said %d times that it fails; the end of its log:\n%s", n.Name, n.proc.Err(), said, n.proc.LogTail())
		}
		err = errors.Join(err, n.Start())
	}
	n.mu.Lock()
	n.frail = false
	n.mu.Unlock()
	return ended, err
}
