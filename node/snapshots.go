package node

import (
	"context"
	"runtime/debug"
	"time"

	"warren/node/alarm"
)

// snapshotCheck is how often the node looks whether a snapshot is due. At 100 MB
// a second so many bytes of new messages are in memory beyond what is planned for.
const snapshotCheck = 100 * time.Millisecond

// snapshots takes a snapshot whenever one is due.
func (n *Node) snapshots(ctx context.Context) {
	tick := time.NewTicker(snapshotCheck)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !n.snapshotDue(time.Since(last)) {
			continue
		}
		start, bytes := time.Now(), n.replica.BytesSinceSnapshot()
		last = start
		if err := n.cluster.Snapshot(); err != nil {
			n.log.Error("snapshot", "err", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(snapshotRetry):
			}
			continue
		}
		total, live := n.disk.Usage()
		n.log.Info("snapshot taken", "took", time.Since(start), "log_bytes", bytes,
			"message_memory", n.replica.MessageMemory(), "message_disk", total, "message_disk_live", live)
	}
}

const (
	// snapshotRetry is how long the node waits after a snapshot that failed.
	snapshotRetry = 5 * time.Second
	// snapshotPause is the least time between two snapshots to give back disk: while one
	// is being sent to another node its files stay.
	snapshotPause = 5 * time.Second
	// memoryPause is the least time between two snapshots to let messages leave memory that came there by
	// few bytes of log: many that were moved, or died, and were on disk.
	memoryPause = time.Second
)

// snapshotDue reports whether a snapshot would shorten the log, let messages leave
// memory, or give back disk, by an amount that is worth it. since is the time since the
// last one was begun.
func (n *Node) snapshotDue(since time.Duration) bool {
	applied := n.replica.BytesSinceSnapshot()
	if applied >= n.cfg.SnapshotBytes {
		return true
	}
	if applied >= n.cfg.SnapshotBytes/4 && n.replica.MessageMemory() > n.cfg.MessageMemory {
		return true
	}
	if applied > 0 && since >= memoryPause && n.replica.MessageMemory() > n.cfg.MessageMemory+n.cfg.SnapshotBytes {
		return true
	}
	return applied > 0 && since >= snapshotPause && n.disk.Wasteful()
}

// giveBackMemory returns to the system, when the node idles, the memory that load
// needed and idling does not: also of load that brings few bytes, as declarations do.
func (n *Node) giveBackMemory(ctx context.Context) {
	const every, busy = 5 * time.Second, 1 << 20 // bytes of log in that time
	const worth = 24 << 20                       // bytes above what was kept the last time
	tick := time.NewTicker(every)
	defer tick.Stop()
	var last, kept int64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := n.replica.BytesApplied()
		idle := now-last < busy
		last = now
		used, err := alarm.MemoryUsed()
		if !idle || err != nil || used < kept+worth {
			kept = min(kept, used)
			continue
		}
		debug.FreeOSMemory()
		if used, err = alarm.MemoryUsed(); err == nil {
			kept = used
		}
	}
}
