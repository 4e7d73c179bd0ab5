package node

import (
	"os"
	"runtime"
	"runtime/metrics"
	"time"

	"warren/node/alarm"
	"warren/node/management"
)

// stats measures this node.
func (n *Node) stats() management.NodeStats {
	s := n.alarms.monitor.State()
	raft := n.cluster.Stats()
	connections, channels := n.limits.Open()
	used, most := fileDescriptors()
	return management.NodeStats{
		MemoryUsed: s.MemoryUsed, MemoryLimit: s.MemoryLimit, MemoryAlarm: s.Raised&alarm.Memory != 0,
		DiskFree: s.DiskFree, DiskFreeLimit: s.DiskLimit, DiskFreeAlarm: s.Raised&alarm.Disk != 0,
		Uptime: time.Since(n.started).Milliseconds(), PID: os.Getpid(),
		Processors: runtime.NumCPU(), Processes: runtime.NumGoroutine(),
		FDUsed: used, FDTotal: most, SocketsUsed: connections, Channels: channels,
		BeingDrained: n.maintenance() != inService,
		RaftStats: management.RaftStats{
			State: raft.State, Term: raft.Term, CommitIndex: raft.CommitIndex, AppliedIndex: raft.AppliedIndex,
			LastIndex: raft.LastLogIndex, SnapshotIndex: raft.SnapshotIndex,
		},
		Memory: n.memory(s.MemoryUsed),
	}
}

// LocalStats are the numbers of this node.
func (n *Node) LocalStats() management.NodeStats { return n.stats() }

// Counted is what this node has counted since it started, by RabbitMQ's names.
func (n *Node) Counted() map[string]uint64 {
	t := n.tally.Totals()
	counted := t.Counts.Named()
	counted["connection_created"], counted["connection_closed"] = t.ConnectionsOpened, t.ConnectionsClosed
	for class, count := range t.Sizes {
		counted[management.SizeClass(class)] = count
	}
	counted["publish_bytes"] = t.Bytes
	counted["consumers"], counted["publishers"] = uint64(t.Consumers), uint64(t.Publishers)
	for i, sum := range n.allTraffic() {
		counted[[...]string{"recv_oct", "recv_cnt", "send_oct", "send_cnt"}[i]] = sum
	}
	counted["channel_created"], counted["channel_closed"] = t.ChannelsOpened, t.ChannelsClosed
	return counted
}

// What the Go runtime tells of its memory, in bytes.
const (
	heapObjects  = "/memory/classes/heap/objects:bytes"
	heapFree     = "/memory/classes/heap/free:bytes"
	heapUnused   = "/memory/classes/heap/unused:bytes"
	stacks       = "/memory/classes/heap/stacks:bytes"
	released     = "/memory/classes/heap/released:bytes"
	runtimeTotal = "/memory/classes/total:bytes"
)

// memory parts the memory of the process by what it is for.
func (n *Node) memory(resident int64) management.Memory {
	samples := []metrics.Sample{
		{Name: heapObjects}, {Name: heapFree}, {Name: heapUnused}, {Name: stacks}, {Name: released}, {Name: runtimeTotal},
	}
	metrics.Read(samples)
	of := make(map[string]int64, len(samples))
	for _, s := range samples {
		if s.Value.Kind() == metrics.KindUint64 {
			of[s.Name] = int64(s.Value.Uint64())
		}
	}
	messages := min(n.replica.MessageMemory(), of[heapObjects])
	total := of[runtimeTotal] - of[released]
	m := management.Memory{
		Messages: messages, Heap: of[heapObjects] - messages, Stacks: of[stacks],
		Unused:   of[heapFree] + of[heapUnused],
		Resident: resident, Allocated: total,
	}
	m.Runtime = max(0, total-of[heapObjects]-m.Stacks-m.Unused)
	return m
}
