package cluster

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// silence finds a leader that is there and says nothing: stopped, starved or cut off. Raft finds it
// too, but its timers are drawn anew while they run, up to three times Timing.Heartbeat after the last
// word, and the vote before the vote makes the slower of two survivors count. Here the voters ask each
// other, and when most have heard nothing for Timing.Heartbeat, the best of them stands.
//
// Most of them have to say so, as in the vote before the vote: one that does not hear the leader
// disturbs nobody.
type silence struct {
	c     *Cluster
	quiet atomic.Int64 // how long the leader has said nothing to this node, in nanoseconds
}

const (
	// looks is how often in Timing.Heartbeat a node looks whether it has heard of the leader.
	looks = 10
	// agrees is the part of Timing.Heartbeat, in quarters, after which a node agrees with one that
	// has waited all of it: their last words from the leader are not of the same moment.
	agrees = 3
)

func (s *silence) run() {
	every := s.c.cfg.Timing.Heartbeat / looks
	tick := time.NewTicker(every)
	defer tick.Stop()
	last := time.Now()
	var heard time.Time
	for {
		select {
		case <-tick.C:
		case <-s.c.ctx.Done():
			return
		}
		now := time.Now()
		passed := now.Sub(last)
		last = now
		r := s.c.raftNow()
		if contact := r.LastContact(); r.State() == raft.Leader || !contact.Equal(heard) {
			heard = contact
			s.quiet.Store(0)
			continue
		}
		// While this process is not let run, perhaps the leader is not either, or its word lies here unread.
		quiet := s.quiet.Add(int64(min(passed, 2*every)))
		if time.Duration(quiet) >= s.c.cfg.Timing.Heartbeat {
			s.look(now)
		}
	}
}

// look asks the other voters, and if most have not heard of the leader either, has it followed.
func (s *silence) look(now time.Time) {
	l := s.c.Leader()
	if !l.Known || l.Self || !s.c.isVoter(s.c.cfg.ID) || s.c.diskIsSlow(now) {
		return
	}
	voters := s.c.voters()
	answers := make(chan bool, len(voters)) // has room for all: who comes late is not waited for
	asked, agree := 0, 1
	ctx, cancel := context.WithTimeout(s.c.ctx, positionTime)
	defer cancel()
	for _, id := range voters {
		if string(id) == l.ID || string(id) == s.c.cfg.ID {
			continue
		}
		asked++
		s.c.wg.Go(func() {
			p, err := s.c.askPosition(ctx, string(id))
			answers <- err == nil && p.quiet >= s.c.cfg.Timing.Heartbeat*agrees/4
		})
	}
	for ; asked > 0 && agree <= len(voters)/2; asked-- {
		select {
		case yes := <-answers:
			if yes {
				agree++
			}
		case <-ctx.Done():
			return
		}
	}
	if agree > len(voters)/2 && slices.Contains(voters, raft.ServerID(l.ID)) {
		s.c.silent(l.ID, now)
	}
}

// diskIsSlow reports whether this node would be no better as a leader.
func (c *Cluster) diskIsSlow(now time.Time) bool {
	what, age := c.stores.disk.oldest(now)
	return what != "" && age >= c.cfg.Timing.Heartbeat/2
}
