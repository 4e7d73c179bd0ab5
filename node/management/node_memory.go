package management

import "math"

// nodeMemory says what the memory of a node is used for, under the names of RabbitMQ that come closest; its
// clients want all of them. relative gives percentages of what is resident.
func (c *call) nodeMemory(relative bool) error {
	node, err := c.nodeAsked()
	if err != nil {
		return err
	}
	s, ok := c.cfg.Broker.NodeStats(c.r.Context())[node.ID]
	if !ok {
		return c.ok(object{"memory": "not_available"})
	}
	m := &s.Memory
	parts := object{}
	for name, v := range m.parts() {
		parts[name] = v
	}
	if !relative {
		parts["strategy"] = "rss"
		parts["total"] = object{"erlang": m.Allocated, "rss": m.Resident, "allocated": m.Allocated}
		return c.one(object{"memory": parts})
	}
	for name, v := range parts {
		parts[name] = percentage(v.(int64), m.Resident)
	}
	parts["total"] = 100
	return c.one(object{"memory": parts})
}

// parts are what the memory is used for, in bytes, by RabbitMQ's names.
func (m *Memory) parts() map[string]int64 {
	parts := map[string]int64{
		"binary":               m.Messages, // bodies of messages
		"other_proc":           m.Stacks,
		"other_system":         m.Runtime,
		"metrics":              0,
		"allocated_unused":     m.Unused,
		"reserved_unallocated": max(0, m.Resident-m.Allocated),
		"queue_procs":          m.Heap, // queues, sessions and all else on the heap
	}
	for _, name := range unusedParts {
		parts[name] = 0
	}
	return parts
}

// unusedParts are parts of RabbitMQ's memory that have no counterpart.
var unusedParts = []string{
	"connection_readers", "connection_writers", "connection_channels", "connection_other", "quorum_queue_procs",
	"quorum_queue_dlx_procs", "stream_queue_procs", "stream_queue_replica_reader_procs", "stream_queue_coordinator_procs",
	"plugins", "metadata_store", "mgmt_db", "mnesia", "quorum_ets", "metadata_store_ets", "other_ets", "msg_index", "code", "atom",
}

// percentage is at least 1 of what is not nothing.
func percentage(part, total int64) int {
	if part == 0 || total == 0 {
		return 0
	}
	return max(1, int(math.Round(100*float64(part)/float64(total))))
}
