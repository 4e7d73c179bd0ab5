package cluster

import (
	"context"
	"net"
	"time"

	"github.com/hashicorp/raft"
)

// Coordinate lets a node try to found a cluster of the given nodes now, whatever
// it sees. addrs are where they are, by id.
func (c *Cluster) Coordinate(ctx context.Context, nodes []string, addrs map[string]string) {
	for id, a := range addrs {
		if id != c.cfg.ID {
			c.book.learn(id, entry{Addr: a})
		}
	}
	c.coordinate(ctx, nodes)
}

// WrapLog puts something between the logs of nodes and their files, and returns
// what takes it away.
func WrapLog(f func(id string, inner raft.LogStore) raft.LogStore) func() {
	old := wrapLog
	wrapLog = f
	return func() { wrapLog = old }
}

// SystemNetwork is the network of the system, with names looked up elsewhere.
func SystemNetwork(r *net.Resolver) Network { return osNetwork{r} }

// FoundVoted makes the data directory of a founder of a new cluster that has voted in it, and has no log yet.
func FoundVoted(dir, node string, voters []string) error {
	if _, err := (Seed{DataDir: dir, Node: node, Term: 1}).Write(); err != nil {
		return err
	}
	state, err := openState(dir, directory(dir), node, LogStoreWAL)
	if err != nil {
		return err
	}
	return state.update(func(now *savedState) { now.Voters, now.Bootstrapped = voters, false })
}

// Stood is how often the node stood for election because the leader was gone or silent.
func (c *Cluster) Stood() int { return int(c.failover.stood.Load()) }

// Rank is how many voters come before this node when the leader is gone.
func (c *Cluster) Rank(leader string) int {
	rank, _ := c.failover.rank(c.ctx, evidence{id: leader, at: time.Now()})
	return rank
}

// MayFollow reports whether this node would hand over to another one if it led and was reluctant.
func (c *Cluster) MayFollow(id string) bool { return c.mayFollow(c.ctx, id) }

// WriteBeyond makes the log longer than an index, with a snapshot of all of it.
func (c *Cluster) WriteBeyond(index uint64) error { return c.writeBeyond(index) }

// Snapshotted is the index that the newest snapshot ends with.
func (c *Cluster) Snapshotted() (uint64, error) {
	index, _, err := newest(c.stores.snaps)
	return index, err
}

// LastIndex is that of the log.
func (c *Cluster) LastIndex() uint64 { return c.raftNow().LastIndex() }
