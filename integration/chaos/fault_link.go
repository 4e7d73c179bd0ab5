//go:build linux

package chaos

import (
	"errors"
	"time"
)

// linkFaults are those of the network.
func linkFaults() []Fault {
	return []Fault{
		fault{"cut off leader", true, func(s *Strike) error { return s.cutOff(s.TakeLeader()) }},
		fault{"cut off follower", true, func(s *Strike) error { return s.cutOff(s.TakeFollower()) }},
		fault{"cut off minority with the clients", false, cutMinorityWithClients},
		fault{"leader is not heard", true, func(s *Strike) error { return s.oneWay(true)(s.TakeLeader()) }},
		fault{"leader does not hear", true, func(s *Strike) error { return s.oneWay(false)(s.TakeLeader()) }},
		fault{"one way to or from a follower", true, func(s *Strike) error {
			return s.oneWay(s.Random.IntN(2) == 0)(s.TakeFollower())
		}},
		fault{"leader reaches one follower", true, leaderReachesOne},
		fault{"cut off from clients", true, cutFromClients},
		fault{"flapping link", true, flap},
		fault{"loss", true, loss},
		fault{"delay", true, func(s *Strike) error { return s.delayed(s.Between(5*time.Millisecond, 80*time.Millisecond), 0) }},
		fault{"reordering", true, func(s *Strike) error {
			return s.delayed(time.Millisecond, s.Between(5*time.Millisecond, 60*time.Millisecond))
		}},
	}
}

// A link is what one node receives from another, or from clients.
type link struct {
	from int
	to   *Node
}

// with has links lose a part of what goes over them while it holds, and mends them.
func (s *Strike) with(links []link, part float64, hold func()) error {
	set := func(part float64) error {
		var errs []error
		for _, l := range links {
			errs = append(errs, l.to.Lose(l.from, part))
		}
		return errors.Join(errs...)
	}
	s.harmLinks()
	if err := set(part); err != nil {
		return errors.Join(err, set(0))
	}
	hold()
	return set(0)
}

// between are the links between two sets of nodes, both ways.
func between(some, others []*Node) []link {
	var links []link
	for _, a := range some {
		for _, b := range others {
			links = append(links, link{a.slot, b}, link{b.slot, a})
		}
	}
	return links
}

// separation chooses how long a partition lasts: sometimes for longer than all timeouts.
func (s *Strike) separation() time.Duration {
	if s.Random.IntN(2) == 0 {
		return LongerThanGrace
	}
	return s.Between(300*time.Millisecond, 2*time.Second)
}

// cutOff cuts a node from all others; clients reach everyone.
func (s *Strike) cutOff(n *Node, err error) error {
	if err != nil {
		return err
	}
	d := s.separation()
	s.Logf("cut off %s from the other nodes for %v", n.Name, d)
	err = s.with(between([]*Node{n}, s.others(n)), 1, func() { s.Hold(d) })
	s.Logf("heal %s", n.Name)
	return errors.Join(err, s.Back(n))
}

// cutMinorityWithClients leaves clients with nodes that can do nothing alone.
func cutMinorityWithClients(s *Strike) error {
	minority, err := s.TakeMinority()
	if err != nil {
		return err
	}
	majority, d := s.others(minority...), s.separation()
	links := between(minority, majority)
	for _, n := range majority {
		links = append(links, link{client, n})
	}
	s.Logf("cut off %s and the clients from the other nodes for %v", names(minority), d)
	err = s.with(links, 1, func() { s.Hold(d) })
	s.Logf("heal %s", names(minority))
	return errors.Join(err, s.Back(s.Nodes()...))
}

// oneWay has either the others not hear a node, or it not hear them.
func (s *Strike) oneWay(silent bool) func(*Node, error) error {
	return func(n *Node, err error) error {
		if err != nil {
			return err
		}
		var links []link
		for _, other := range s.others(n) {
			if silent {
				links = append(links, link{n.slot, other})
			} else {
				links = append(links, link{other.slot, n})
			}
		}
		d := s.separation()
		s.Logf("one way: %s is not heard: %v, for %v", n.Name, silent, d)
		err = s.with(links, 1, func() { s.Hold(d) })
		s.Logf("heal %s", n.Name)
		return errors.Join(err, s.Back(n))
	}
}

func leaderReachesOne(s *Strike) error {
	leader, err := s.TakeLeader()
	if err != nil {
		return err
	}
	rest := s.shuffled(leader)
	d := s.separation()
	s.Logf("%s reaches %s only, for %v", leader.Name, rest[0].Name, d)
	err = s.with(between([]*Node{leader}, rest[1:]), 1, func() { s.Hold(d) })
	s.Logf("heal %s", leader.Name)
	return errors.Join(err, s.Back(s.Nodes()...))
}

func cutFromClients(s *Strike) error {
	n, err := s.Take()
	if err != nil {
		return err
	}
	d := s.separation()
	s.Logf("cut off %s from clients for %v", n.Name, d)
	err = s.with([]link{{client, n}}, 1, func() { s.Hold(d) })
	s.Logf("heal %s", n.Name)
	return errors.Join(err, s.Back(n))
}

// flap takes the link between the leader and another node down and up.
func flap(s *Strike) error {
	leader, err := s.TakeLeader()
	if err != nil {
		return err
	}
	other := s.shuffled(leader)[0]
	links := between([]*Node{leader}, []*Node{other})
	s.Logf("the link between %s and %s flaps", leader.Name, other.Name)
	for range 4 + s.Random.IntN(8) {
		down, up := s.Between(20*time.Millisecond, 800*time.Millisecond), s.Between(20*time.Millisecond, 400*time.Millisecond)
		if err := s.with(links, 1, func() { s.Hold(down) }); err != nil {
			return err
		}
		s.Hold(up)
	}
	s.Logf("the link between %s and %s is stable", leader.Name, other.Name)
	return s.Back(leader, other)
}

// loss has all nodes lose a part of what they send each other.
func loss(s *Strike) error {
	part := 0.02 + 0.2*s.Random.Float64()
	nodes := s.Nodes()
	var links []link
	for _, a := range nodes {
		for _, b := range nodes {
			if a != b {
				links = append(links, link{a.slot, b})
			}
		}
	}
	d := s.Between(time.Second, 4*time.Second)
	s.Logf("loss of %.0f %% between all nodes for %v", part*100, d)
	err := s.with(links, part, func() { s.Hold(d) })
	s.Logf("no loss any more")
	return errors.Join(err, s.Back(nodes...))
}

// delayed has packets between all nodes take longer.
func (s *Strike) delayed(least, vary time.Duration) error {
	nodes := s.Nodes()
	set := func(least, vary time.Duration) error {
		var errs []error
		for _, n := range nodes {
			var to []int
			for _, other := range nodes {
				if other != n && least+vary > 0 {
					to = append(to, other.slot)
				}
			}
			errs = append(errs, n.host.relay.delay(to, least, vary))
		}
		return errors.Join(errs...)
	}
	d := s.Between(time.Second, 4*time.Second)
	s.Logf("packets between all nodes take %v to %v longer, for %v", least, least+vary, d)
	s.harmLinks()
	err := set(least, vary)
	s.Hold(d)
	err = errors.Join(err, set(0, 0))
	s.Logf("no delay any more")
	return errors.Join(err, s.Back(nodes...))
}

func names(nodes []*Node) string {
	text := ""
	for i, n := range nodes {
		if i > 0 {
			text += ", "
		}
		text += n.Name
	}
	return text
}
