package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// Methods of membership. A joining node calls methodJoin; the others are for members.
const (
	methodJoin     = "cluster.join"     // node id → nothing
	methodMember   = "cluster.member"   // node id → one byte, 1 when the leader has it in the configuration
	methodRemove   = "cluster.remove"   // id or name → nothing
	methodTransfer = "cluster.transfer" // id or name, or nothing → nothing
)

func (c *Cluster) registerHandlers() {
	c.handlers = map[string]Handler{
		methodPromise: c.onPromise, methodFounded: c.onFounded, methodOutcome: c.onOutcome,
		methodPosition: c.onPosition, methodJoin: c.onJoin, methodMember: c.onMember,
	}
	c.memberHandlers = map[string]Handler{methodRemove: c.onRemove, methodTransfer: c.onTransfer, methodStandIn: c.onStandIn, methodWilling: c.onWilling}
}

// servers is the latest Raft configuration that this node knows.
func (c *Cluster) servers() []raft.Server {
	f := c.raftNow().GetConfiguration()
	if f.Error() != nil {
		return nil // it never fails, see hashicorp/raft
	}
	return f.Configuration().Servers
}

// voters are the ids of those who vote, also of one that joins or leaves just now.
func (c *Cluster) voters() (ids []raft.ServerID) {
	for _, s := range c.servers() {
		if s.Suffrage == raft.Voter {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

func (c *Cluster) server(id string) (raft.Server, bool) {
	for _, s := range c.servers() {
		if string(s.ID) == id {
			return s, true
		}
	}
	return raft.Server{}, false
}

func (c *Cluster) isVoter(id string) bool {
	s, ok := c.server(id)
	return ok && s.Suffrage == raft.Voter
}

// Members returns the members of the cluster and other nodes that gossip has
// alive, sorted by name, then id.
func (c *Cluster) Members() []Member {
	leader := c.Leader()
	byID := make(map[string]*Member)
	add := func(id string) *Member {
		if byID[id] == nil {
			byID[id] = &Member{ID: id}
		}
		return byID[id]
	}
	for _, s := range c.servers() {
		m := add(string(s.ID))
		m.Member, m.Voter = true, s.Suffrage == raft.Voter
	}
	for _, id := range c.gossip.aliveNodes() {
		if e, ok := c.book.get(id); ok && (e.Cluster == "" || e.Cluster == c.clusterID()) {
			add(id)
		}
	}
	out := make([]Member, 0, len(byID))
	for id, m := range byID {
		m.Self = id == c.cfg.ID
		m.Leader = leader.Known && leader.ID == id
		m.Alive = c.isAlive(id)
		m.Reluctant = c.isReluctant(id)
		if e, ok := c.book.get(id); ok {
			m.Name, m.Addr, m.Tags = e.Name, e.Addr, e.Tags
		}
		if m.Self {
			m.Name, m.Addr, m.Tags = c.cfg.Name, c.advertise, c.cfg.Tags
		}
		m.LastContact = c.lastContact(id, leader)
		out = append(out, *m)
	}
	slices.SortFunc(out, func(a, b Member) int {
		if n := strings.Compare(a.Name, b.Name); n != 0 {
			return n
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

func (c *Cluster) lastContact(id string, leader Leader) time.Time {
	switch {
	case id == c.cfg.ID:
	case leader.Self:
		if p := c.peers.lookup(id); p != nil && p.view().instance != 0 {
			return p.view().heard
		}
	case leader.Known && leader.ID == id:
		return c.raftNow().LastContact()
	}
	return time.Time{}
}

// isAlive reports whether a node is running, as far as this node sees: it is this
// one, or its link is up and answers, or gossip has it and its address does not refuse.
func (c *Cluster) isAlive(id string) bool {
	if id == c.cfg.ID {
		return true
	}
	p := c.peers.lookup(id)
	if p == nil {
		return c.gossip.isAlive(id)
	}
	v := p.view()
	if v.up {
		return time.Since(v.heard) < c.cfg.Timing.LinkTimeout
	}
	return v.refused.IsZero() && c.gossip.isAlive(id)
}

// Stats returns numbers of the local Raft node.
func (c *Cluster) Stats() Stats {
	r := c.raftNow()
	c.mu.Lock()
	waiting := c.waiting
	c.mu.Unlock()
	s := Stats{
		State: r.State().String(), ClusterID: c.clusterID(), Term: r.CurrentTerm(),
		CommitIndex: r.CommitIndex(), AppliedIndex: r.AppliedIndex(), LastLogIndex: r.LastIndex(),
		LeaderID: c.Leader().ID, Waiting: waiting,
	}
	// Not from the snapshot store: its list reads directories, and warns of a
	// snapshot that is being written.
	if n, err := strconv.ParseUint(r.Stats()["last_snapshot_index"], 10, 64); err == nil {
		s.SnapshotIndex = n
	}
	return s
}

// askLeader takes a call to the leader.
func (c *Cluster) askLeader(ctx context.Context, method string, payload []byte) ([]byte, error) {
	l := c.Leader()
	if !l.Known || l.Self {
		return nil, ErrNoLeader
	}
	return c.Call(ctx, l.ID, method, payload)
}

// raftError turns Raft's errors into ours where we have one.
func raftError(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipLost),
		errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return fmt.Errorf("%w: %w", ErrNoLeader, err)
	case errors.Is(err, raft.ErrRaftShutdown):
		return ErrClosed
	default:
		return err
	}
}
