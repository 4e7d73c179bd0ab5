//go:build linux

package chaos

import (
	"errors"
	"fmt"
	"time"
)

// processFaults are those that end processes or stop them.
func processFaults() []Fault {
	return []Fault{
		fault{"kill leader", true, func(s *Strike) error { return s.killed(s.TakeLeader()) }},
		fault{"kill follower", true, func(s *Strike) error { return s.killed(s.TakeFollower()) }},
		fault{"kill and start at once", true, killAndStart},
		fault{"kill while it catches up", true, killedAgain},
		fault{"kill minority", false, killMinority},
		fault{"kill all", false, killAll},
		fault{"stop leader", true, func(s *Strike) error { return s.stopped(s.TakeLeader()) }},
		fault{"pause leader", true, func(s *Strike) error { return s.pausedFor(LongerThanGrace)(s.TakeLeader()) }},
		fault{"pause follower", true, func(s *Strike) error { return s.pausedFor(LongerThanGrace)(s.TakeFollower()) }},
		fault{"pause briefly", true, func(s *Strike) error {
			return s.pausedFor(s.Between(100*time.Millisecond, 2*time.Second))(s.Take())
		}},
		fault{"rolling restart", false, rollingRestart},
	}
}

func (s *Strike) killed(n *Node, err error) error {
	if err != nil {
		return err
	}
	s.Logf("kill %s", n.Name)
	if err := n.Kill(); err != nil {
		return err
	}
	s.Hold(s.Between(0, 3*time.Second))
	return s.startAgain(n)
}

func (s *Strike) startAgain(n *Node) error {
	s.Logf("start %s", n.Name)
	return errors.Join(n.Start(), s.Back(n))
}

func killAndStart(s *Strike) error {
	for range 1 + s.Random.IntN(3) {
		n, err := s.Take()
		if err != nil {
			return err
		}
		s.Logf("kill %s", n.Name)
		if err := n.Kill(); err != nil {
			return err
		}
		if err := s.startAgain(n); err != nil {
			return err
		}
		s.release()
	}
	return nil
}

// killedAgain has a node be away for so long that it needs a snapshot, and killed while it gets that, some times.
func killedAgain(s *Strike) error {
	n, err := s.TakeFollower()
	if err != nil {
		return err
	}
	s.Logf("kill %s", n.Name)
	if err := n.Kill(); err != nil {
		return err
	}
	s.Hold(s.Between(time.Second, 4*time.Second))
	for range 2 + s.Random.IntN(5) {
		d := s.Between(50*time.Millisecond, 1500*time.Millisecond)
		s.Logf("start %s, and kill it after %v", n.Name, d)
		if err := n.Start(); err != nil {
			return err
		}
		s.Hold(d)
		if err := n.Kill(); err != nil {
			return err
		}
	}
	return s.startAgain(n)
}

func killMinority(s *Strike) error {
	nodes, err := s.TakeMinority()
	if err != nil {
		return err
	}
	return s.killTogether(nodes)
}

func killAll(s *Strike) error { return s.killTogether(s.shuffled()) }

func (s *Strike) killTogether(nodes []*Node) error {
	s.harm(nodes...)
	errs := make(chan error, len(nodes))
	for _, n := range nodes {
		s.Logf("kill %s", n.Name)
		go func() { errs <- n.Kill() }()
	}
	for range nodes {
		if err := <-errs; err != nil {
			return err
		}
	}
	s.Hold(s.Between(0, 2*time.Second))
	for _, n := range nodes {
		s.Logf("start %s", n.Name)
		if err := n.Start(); err != nil {
			return err
		}
	}
	return s.Back(nodes...)
}

func (s *Strike) stopped(n *Node, err error) error {
	if err != nil {
		return err
	}
	s.Logf("stop %s", n.Name)
	if err := n.Stop(); err != nil {
		return err
	}
	s.Hold(s.Between(0, time.Second))
	return s.startAgain(n)
}

func (s *Strike) pausedFor(d time.Duration) func(*Node, error) error {
	return func(n *Node, err error) error {
		if err != nil {
			return err
		}
		s.Logf("pause %s for %v", n.Name, d)
		if err := n.Pause(); err != nil {
			return err
		}
		s.Hold(d)
		s.Logf("resume %s", n.Name)
		return errors.Join(n.Resume(), s.Back(n))
	}
}

func rollingRestart(s *Strike) error {
	for _, n := range s.Nodes() {
		s.harm(n)
		if err := s.stopped(n, nil); err != nil {
			return fmt.Errorf("restart of %s: %w", n.Name, err)
		}
	}
	return nil
}
