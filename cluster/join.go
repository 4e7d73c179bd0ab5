package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/raft"
)

// join asks the members that are in sight to take this node in.
func (m *membership) join(ctx context.Context) {
	c := m.c
	if len(c.state.get().Voters) > 0 {
		c.waitFor("the first configuration to be written")
		return
	}
	var errs []error
	for _, id := range c.gossip.aliveNodes() {
		if e, ok := c.book.get(id); !ok || id == c.cfg.ID || e.Cluster != c.clusterID() {
			continue
		}
		_, err := c.Call(ctx, id, methodJoin, []byte(c.cfg.ID))
		if err == nil {
			c.waitFor("the leader to send the log")
			return
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		c.waitFor("a member of cluster " + c.clusterID() + " to come in sight")
		return
	}
	c.waitFor("cluster " + c.clusterID() + " to take this node in: " + errors.Join(errs...).Error())
}

// onMember answers whether a node is in the configuration. Only a leader knows.
func (c *Cluster) onMember(_ context.Context, _ string, payload []byte) ([]byte, error) {
	if _, leads := c.leadingTerm(); !leads {
		return nil, ErrNoLeader
	}
	if err := c.verifyLeader(); err != nil {
		return nil, ErrNoLeader
	}
	if _, ok := c.server(string(payload)); ok {
		return []byte{1}, nil
	}
	return []byte{0}, nil
}

// verifyLeader asks a quorum whether this node still leads. Raft may leave the
// question open for as long as it leads: when a member whose answer it awaits is
// removed. So it is asked no longer than for a while, and than the node runs.
func (c *Cluster) verifyLeader() error {
	answer := make(chan error, 1)
	go func() { answer <- c.raftNow().VerifyLeader().Error() }() // ends with leadership at the latest
	timer := time.NewTimer(c.cfg.Timing.Call)
	defer timer.Stop()
	select {
	case err := <-answer:
		return err
	case <-timer.C:
		return ErrNoLeader
	case <-c.ctx.Done():
		return ErrClosed
	}
}

// configTime bounds how long a change of the configuration may wait to begin.
const configTime = 5 * time.Second

// onJoin adds a node to the configuration, without a vote for now.
func (c *Cluster) onJoin(ctx context.Context, from string, payload []byte) ([]byte, error) {
	id := string(payload)
	if err := checkID(id); err != nil {
		return nil, err
	}
	if _, leads := c.leadingTerm(); !leads {
		return c.askLeader(ctx, methodJoin, payload)
	}
	if _, ok := c.server(id); ok {
		return nil, nil
	}
	c.log.Info("node joins", "joining", id, "asked_by", from)
	return nil, raftError(c.raftNow().AddNonvoter(raft.ServerID(id), raft.ServerAddress(id), 0, configTime).Error())
}
