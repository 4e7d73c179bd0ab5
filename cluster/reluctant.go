package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/raft"
)

// A node that is about to be stopped, or is under maintenance, is reluctant: it leaves leading to
// others. It goes on to vote, and still leads when nobody else can, as only its log may have all
// that was committed; then it hands leadership over as soon as somebody takes it.

// ErrReluctant refuses to make a node lead that does not want to.
var ErrReluctant = errors.New("the node is drained: revive or restart it first, or choose another one")

// heldBack is for how many election timeouts without a leader a reluctant node asks nobody for
// a vote: others, who may ask at once, have been elected by then if they can be.
const heldBack = 4

// SetReluctant says whether this node leaves leading to others, and tells them. A leader does not step
// down by it at once: see TransferLeadership. It is forgotten when the process ends.
func (c *Cluster) SetReluctant(reluctant bool) {
	if c.reluctant.Swap(reluctant) == reluctant {
		return
	}
	c.gossip.refresh()
	c.wake()
}

// isReluctant reports whether a node says that it is.
func (c *Cluster) isReluctant(id string) bool {
	if id == c.cfg.ID {
		return c.reluctant.Load()
	}
	e, ok := c.book.get(id)
	return ok && e.Reluctant
}

// holdsBack reports whether this node asks for no votes now.
func (c *Cluster) holdsBack() bool {
	if !c.reluctant.Load() {
		return false
	}
	l, since := c.leaders.current()
	return l.Known || time.Since(since) < heldBack*c.cfg.Timing.Election
}

// closeBy is how many entries a voter may lack for a reluctant leader to hand over to it: about what is on its way.
const closeBy = 4 * maxAppendEntries

// giveWay hands over what a reluctant node got to lead all the same, when somebody has about all of the log. It is tried again and
// again, and until the other one has all of it the leader takes nothing in: one that catches up for long would stop everybody.
func (c *Cluster) giveWay(ctx context.Context) {
	if !c.reluctant.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timing.Transfer)
	defer cancel()
	for _, id := range c.voters() {
		if !c.mayFollow(ctx, string(id)) {
			continue
		}
		err := c.transfer(ctx, string(id))
		if err == nil {
			return
		}
		c.log.Debug("this node is drained and leads, as another one does not take over", "to", id, "error", err)
	}
}

// mayFollow reports whether this node, which leads and is reluctant, is to hand over to another one now.
func (c *Cluster) mayFollow(ctx context.Context, id string) bool {
	if id == c.cfg.ID || !c.peers.isUp(id) || c.isReluctant(id) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, positionTime)
	defer cancel()
	p, err := c.askPosition(ctx, id)
	return err == nil && p.lastIndex+closeBy >= c.raftNow().LastIndex()
}

// methodWilling: nothing → nothing; an error of a node that does not want to lead.
const methodWilling = "cluster.willing"

// onWilling answers a leader that is about to hand over.
func (c *Cluster) onWilling(context.Context, string, []byte) ([]byte, error) {
	if c.reluctant.Load() {
		return nil, ErrReluctant
	}
	return nil, nil
}

// askWilling asks a node whether it would lead. Gossip may not have told yet that it would not; one of an
// older version always would.
func (c *Cluster) askWilling(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timing.Dial)
	defer cancel()
	_, err := c.Call(ctx, id, methodWilling, nil)
	if errors.Is(err, ErrNoMethod) {
		return nil
	}
	return err
}

// RequestPreVote implements raft.WithPreVote. A node that holds back takes every answer for a no, without
// asking: it stays a candidate that votes for others.
func (t *transport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, req *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	if t.holdsBack() {
		*resp = raft.RequestPreVoteResponse{RPCHeader: req.RPCHeader, Term: req.Term}
		return nil
	}
	return t.NetworkTransport.RequestPreVote(id, target, req, resp)
}
