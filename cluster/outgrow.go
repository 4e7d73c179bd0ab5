package cluster

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"
)

// A follower may have more entries that nobody else has than the cluster has written since: a leader that was cut
// off, while the others wrote a few large entries and shortened their logs. Then it gets a snapshot that ends before its own
// log does. hashicorp/raft removes that log, and goes on believing that it is there: the follower refuses all that comes behind
// the snapshot, and is sent it again, for ever (https://github.com/hashicorp/raft/issues/697). So a leader sends
// only a snapshot that goes further: it writes as many entries as that takes, which say nothing, and takes a new one.

// mostBarriers is how many such entries are on their way at a time.
const mostBarriers = 64

// barrierPause is how long it is between two looks how far they are.
const barrierPause = 5 * time.Millisecond

// refused takes in that a follower refused entries, and where its log ends.
func (t *transport) refused(id raft.ServerID, last uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.progress[id]
	p.last = last
	t.progress[id] = p
}

// InstallSnapshot implements raft.Transport. Raft asks again after an error.
func (t *transport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	t.mu.Lock()
	last := t.progress[id].last
	t.mu.Unlock()
	if last >= req.LastLogIndex {
		t.outgrow(last)
		return fmt.Errorf("node %s has entries up to %d, of which some are not in the log, and the snapshot ends with %d: a later one is taken", id, last, req.LastLogIndex)
	}
	return t.NetworkTransport.InstallSnapshot(id, target, req, resp, data)
}

// outgrow begins to make the log of this leader longer than an index, with a snapshot of all of it, if that is not
// under way.
func (c *Cluster) outgrow(index uint64) {
	if !c.outgrowing.CompareAndSwap(false, true) {
		return
	}
	go func() { // not of c.wg: Raft, which calls this, outlives that
		defer c.outgrowing.Store(false)
		if err := c.writeBeyond(index); err != nil {
			c.log.Info("no snapshot yet that a node which was cut off could go on with", "beyond", index, "error", err)
		}
	}()
}

// writeBeyond looks how far it is, and does not wait for the futures of what it writes: Raft leaves those without an answer that it
// has not looked at when it ends.
func (c *Cluster) writeBeyond(index uint64) error {
	r := c.raftNow()
	// One at least: a snapshot ends with what the state machine has seen, and it does not see the first entry of a new leader.
	end := max(index, r.LastIndex()) + 1
	limit := time.Now().Add(c.cfg.Timing.Call)
	for asked := uint64(0); r.AppliedIndex() < end; pause(c.ctx, barrierPause) {
		switch last := r.LastIndex(); {
		case c.ctx.Err() != nil || r.State() != raft.Leader:
			return raft.ErrNotLeader
		case time.Now().After(limit):
			return fmt.Errorf("%w: the log is at %d", context.DeadlineExceeded, last)
		case last < end && last >= asked:
			asked = last + min(end-last, mostBarriers)
			for range asked - last {
				r.Barrier(c.cfg.Timing.Call)
			}
			limit = time.Now().Add(c.cfg.Timing.Call)
		}
	}
	pause(c.ctx, barrierPause) // the state machine is handed it, and may not have come to it
	return c.Snapshot()
}
