package management

// memoryPath is where it is told what the memory of the node is used for.
const memoryPath = "/metrics/memory-breakdown"

// memoryMetrics are the parts of the memory by the names of RabbitMQ's metrics, in its order. Those that have no counterpart
// here are 0, as in nodes/{node}/memory.
var memoryMetrics = []struct{ name, help, part string }{
	{"code_module", "Code; none here", "code"},
	{"client_connection_reader", "Readers of connections; part of the heap here", "connection_readers"},
	{"client_connection_writer", "Writers of connections; part of the heap here", "connection_writers"},
	{"client_connection_channel", "Channels; part of the heap here", "connection_channels"},
	{"client_connection_other", "Else of connections; part of the heap here", "connection_other"},
	{"classic_queue_erlang_process", "The heap without messages: queues, sessions and all else", "queue_procs"},
	{"quorum_queue_erlang_process", "Quorum queues; part of the heap here", "quorum_queue_procs"},
	{"quorum_queue_dlx_erlang_process", "Dead-lettering of quorum queues; part of the heap here", "quorum_queue_dlx_procs"},
	{"stream_erlang_process", "Streams; none here", "stream_queue_procs"},
	{"stream_replica_reader_erlang_process", "Readers of streams; none here", "stream_queue_replica_reader_procs"},
	{"stream_coordinator_erlang_process", "Coordinator of streams; none here", "stream_queue_coordinator_procs"},
	{"plugin", "Plugins; none here", "plugins"},
	{"modern_metadata_store", "Metadata; part of the heap here", "metadata_store"},
	{"other_erlang_process", "Stacks of goroutines", "other_proc"},
	{"metrics", "Metrics; part of the heap here", "metrics"},
	{"management_stats_db", "Statistics; part of the heap here", "mgmt_db"},
	{"classic_metadata_store", "Metadata; part of the heap here", "mnesia"},
	{"quorum_queue_ets_table", "Tables of quorum queues; none here", "quorum_ets"},
	{"modern_metadata_store_ets_table", "Tables of metadata; none here", "metadata_store_ets"},
	{"other_ets_table", "Other tables; none here", "other_ets"},
	{"binary_heap", "Messages", "binary"},
	{"message_index", "Index of messages; part of the heap here", "msg_index"},
	{"atom_table", "Atoms; none here", "atom"},
	{"other_system", "Else of the Go runtime", "other_system"},
	{"runtime_allocated_unused", "Free memory of the heap that the runtime keeps", "allocated_unused"},
	{"runtime_reserved_unallocated", "Resident memory that the runtime does not know of", "reserved_unallocated"},
}

func memoryFamily(s *scrape) {
	m := s.cfg.Broker.LocalStats().Memory
	parts := m.parts()
	for _, one := range memoryMetrics {
		s.gauge("memory_"+one.name+"_bytes", one.help, float64(parts[one.part]))
	}
}
