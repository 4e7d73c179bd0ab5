package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// seek contacts the addresses to join until the node sees enough others, and now
// and then later: gossip that was split grows together again.
func (c *Cluster) seek() {
	const later = 10 * time.Second
	for {
		addrs := c.seekAddrs()
		if len(addrs) > 0 {
			if n, err := c.gossip.join(c.ctx, addrs); err != nil {
				c.log.Debug("looking for nodes", "contacted", n, "error", err)
			}
		}
		wait := c.cfg.Timing.Retry
		if len(c.gossip.aliveNodes()) >= max(2, c.cfg.Expect, len(c.servers())) {
			wait = later
		}
		pause(c.ctx, wait)
		if c.ctx.Err() != nil {
			return
		}
	}
}

// seekAddrs are the addresses at which no living node is known: of the settings,
// and of members.
func (c *Cluster) seekAddrs() []string {
	known := map[string]bool{c.advertise: true}
	for _, id := range c.gossip.aliveNodes() {
		if e, ok := c.book.get(id); ok {
			known[e.Addr] = true
		}
	}
	var out []string
	add := func(a string) {
		if !known[a] {
			known[a] = true
			out = append(out, a)
		}
	}
	for _, a := range c.cfg.Join {
		add(a)
	}
	for _, s := range c.servers() {
		if e, ok := c.book.get(string(s.ID)); ok {
			add(e.Addr)
		}
	}
	return out
}

// stewardPause keeps the steward from running at every small event.
const stewardPause = 10 * time.Millisecond

// steward forms, joins and tends the cluster.
func (c *Cluster) steward() {
	tick := time.NewTicker(c.cfg.Timing.Retry)
	defer tick.Stop()
	s := &membership{c: c}
	for {
		if c.clusterID() == "" {
			c.form(c.ctx)
		} else {
			s.step(c.ctx)
		}
		if err := c.saveBook(); err != nil {
			c.log.Warn("cannot save addresses", "error", err)
		}
		pause(c.ctx, stewardPause)
		select {
		case <-tick.C:
		case <-c.wakeup:
		case <-c.ctx.Done():
			return
		}
	}
}

// saveBook keeps the addresses of members, which a node needs to come back.
func (c *Cluster) saveBook() error {
	servers := c.servers()
	return c.book.save(func(id string) bool {
		return slices.ContainsFunc(servers, func(s raft.Server) bool { return string(s.ID) == id })
	})
}

// membership is what the steward remembers of a node that belongs to a cluster.
type membership struct {
	c          *Cluster
	leaderless time.Time // since when no leader is known
	asked      time.Time // when the others were asked whether this node was removed
}

const (
	leaderlessLong = 3 * time.Second
	idleLink       = time.Minute
)

func (m *membership) step(ctx context.Context) {
	c := m.c
	servers := c.servers()
	for _, s := range servers {
		if id := string(s.ID); id != c.cfg.ID {
			c.peers.get(id) // keeps a link to every member
		}
	}
	c.peers.prune(func(id string, used time.Time) bool {
		return time.Since(used) < idleLink ||
			slices.ContainsFunc(servers, func(s raft.Server) bool { return string(s.ID) == id })
	})
	leader := c.Leader()
	switch {
	case len(servers) == 0:
		m.join(ctx)
	case leader.Self:
		m.leaderless = time.Time{}
		c.waitFor("")
		c.giveWay(ctx)
		m.tend(ctx, servers)
	case leader.Known:
		m.leaderless = time.Time{}
		c.waitFor("")
	default:
		m.withoutLeader(ctx, servers)
	}
}

// withoutLeader says what a member without a leader waits for, and finds out
// whether it is no member any more.
func (m *membership) withoutLeader(ctx context.Context, servers []raft.Server) {
	c := m.c
	now := time.Now()
	if m.leaderless.IsZero() {
		m.leaderless = now
	}
	if now.Sub(m.leaderless) < leaderlessLong {
		return
	}
	alive, voters := 0, 0
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			voters++
			if c.isAlive(string(s.ID)) {
				alive++
			}
		}
	}
	c.waitFor(fmt.Sprintf("a leader: %d of %d voters are in sight, %d are needed", alive, voters, voters/2+1))
	if now.Sub(m.asked) < leaderlessLong {
		return
	}
	m.asked = now
	for _, id := range c.gossip.aliveNodes() {
		if e, ok := c.book.get(id); !ok || id == c.cfg.ID || e.Cluster != c.clusterID() {
			continue
		}
		b, err := c.Call(ctx, id, methodMember, []byte(c.cfg.ID))
		if err == nil && len(b) == 1 && b[0] == 0 {
			c.waitFor("nothing: the cluster has removed this node; wipe its data directory to join as a new one")
			return
		}
	}
}

// caughtUp is how many entries a node may lag and still get its vote: it has
// them before the election that needs them.
const caughtUp = 64

// tend is the leader's care for its members.
func (m *membership) tend(ctx context.Context, servers []raft.Server) {
	voters := 0
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			voters++
		}
	}
	for _, s := range servers {
		id := string(s.ID)
		switch {
		case id == m.c.cfg.ID:
		case s.Suffrage != raft.Voter && voters < m.c.cfg.MaxVoters:
			if m.promote(ctx, id, servers) {
				return // one change at a time
			}
		case s.Suffrage == raft.Voter && m.c.cfg.Timing.VoterGrace > 0:
			if m.removeDead(id, servers) {
				return
			}
		}
	}
}

// promote gives a node its vote when it has the log and is alive, and reports
// whether it did. The voters alive must be a quorum of the new number.
func (m *membership) promote(ctx context.Context, id string, servers []raft.Server) bool {
	c := m.c
	if !c.peers.isUp(id) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timing.Dial)
	defer cancel()
	want := c.raftNow().CommitIndex()
	p, err := c.askPosition(ctx, id)
	if err != nil || p.lastIndex+caughtUp < want {
		return false
	}
	alive, voters := c.aliveVoters(servers, "")
	if alive+1 < (voters+1)/2+1 {
		return false
	}
	if err := c.raftNow().AddVoter(raft.ServerID(id), raft.ServerAddress(id), 0, configTime).Error(); err != nil {
		c.log.Warn("cannot give a node its vote", "voter", id, "error", err)
		return false
	}
	c.log.Info("node votes now", "voter", id)
	return true
}

// removeDead removes a voter that has been dead for long, when those that are left
// are a quorum, and reports whether it did.
func (m *membership) removeDead(id string, servers []raft.Server) bool {
	c := m.c
	p := c.peers.get(id)
	if p == nil || c.isAlive(id) {
		return false
	}
	v := p.view()
	silent := time.Since(v.heard)
	if silent < c.cfg.Timing.VoterGrace {
		return false
	}
	// Of those that vote now, not of those that are left: a leader of two that has
	// lost the other has no quorum, it only does not know yet.
	if alive, voters := c.aliveVoters(servers, ""); alive < voters/2+1 {
		return false
	}
	c.log.Warn("removing a voter that has been dead for long", "voter", id, "silent", silent)
	if err := c.raftNow().RemoveServer(raft.ServerID(id), 0, configTime).Error(); err != nil {
		c.log.Warn("cannot remove a dead voter", "voter", id, "error", err)
		return false
	}
	return true
}

// aliveVoters counts the voters, and those alive, without the one named.
func (c *Cluster) aliveVoters(servers []raft.Server, without string) (alive, voters int) {
	for _, s := range servers {
		if s.Suffrage != raft.Voter || string(s.ID) == without {
			continue
		}
		voters++
		if c.isAlive(string(s.ID)) {
			alive++
		}
	}
	return alive, voters
}
