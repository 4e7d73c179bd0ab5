package management

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"

	"warren/fsm"
)

// nodeFamilies are of the node as a whole.
var nodeFamilies = []family{churnFamily, nodeCoarseFamily, nodeFamily, raftFamily, attemptsFamily, alarmFamily, openFamily}

// identity says which node and program this is. Dashboards join all other metrics with it.
func identity(s *scrape) {
	info := s.cluster()
	labels := []string{
		"rabbitmq_node", info.Node, "rabbitmq_cluster", info.Name, "rabbitmq_cluster_permanent_id", info.ID, "rabbitmq_endpoint", s.endpoint,
	}
	s.put("rabbitmq_identity_info", "Names of node and cluster", prometheus.GaugeValue, 1, labels)
	s.put("rabbitmq_build_info", "Versions of the program, of the RabbitMQ release that it is compatible with, and of Go in place of Erlang",
		prometheus.GaugeValue, 1, []string{
			"rabbitmq_version", apiLevel, "product_name", productName, "product_version", s.cfg.Version,
			"prometheus_plugin_version", s.cfg.Version, "prometheus_client_version", "client_golang", "erlang_version", runtime.Version(),
		})
}

func churnFamily(s *scrape) {
	n := s.cfg.Broker.Counted()
	s.counter("connections_opened_total", "Connections opened", n["connection_created"])
	s.counter("connections_closed_total", "Connections closed", n["connection_closed"])
	s.counter("channels_opened_total", "Channels opened", n["channel_created"])
	s.counter("channels_closed_total", "Channels closed", n["channel_closed"])
	seen := s.sampler.led().Seen
	s.counter("queues_declared_total", "Queues declared, those too that were there", seen.Declared)
	s.counter("queues_created_total", "Queues made", seen.Created)
	s.counter("queues_deleted_total", "Queues deleted", seen.Deleted)
}

func nodeCoarseFamily(s *scrape) {
	n := s.cfg.Broker.LocalStats()
	s.gauge("process_open_fds", "Open file descriptors", float64(n.FDUsed))
	s.gauge("process_resident_memory_bytes", "Resident memory of the process, without mapped files", float64(n.MemoryUsed))
	s.gauge("disk_space_available_bytes", "Free disk space below the data directory", float64(n.DiskFree))
	s.gauge("erlang_processes_used", "Goroutines", float64(n.Processes))
}

func nodeFamily(s *scrape) {
	n := s.cfg.Broker.LocalStats()
	s.gauge("process_max_fds", "Most file descriptors that may be open", float64(n.FDTotal))
	s.gauge("resident_memory_limit_bytes", "Memory above which publishers are blocked", float64(n.MemoryLimit))
	s.gauge("disk_space_available_limit_bytes", "Free disk space below which publishers are blocked", float64(n.DiskFreeLimit))
	s.gauge("erlang_uptime_seconds", "Time since the node started", float64(n.Uptime)/1000)
}

// raftFamily is the state of the node in the one Raft group that holds all queues.
func raftFamily(s *scrape) {
	r := s.cfg.Broker.LocalStats().RaftStats
	s.gauge("raft_term", "Raft term", float64(r.Term))
	s.counter("raft_term_total", "Raft term", r.Term)
	for _, prefix := range []string{"raft_", "raft_log_"} {
		s.gauge(prefix+"commit_index", "Index of the last log entry that is committed", float64(r.CommitIndex))
		s.gauge(prefix+"last_applied_index", "Index of the last log entry that is applied", float64(r.AppliedIndex))
		s.gauge(prefix+"last_written_index", "Index of the last log entry that is written", float64(r.LastIndex))
		s.gauge(prefix+"snapshot_index", "Index of the last log entry in the last snapshot", float64(r.SnapshotIndex))
	}
	latency := 0.0
	if s.cfg.CommitLatency != nil {
		latency = s.cfg.CommitLatency().Seconds()
	}
	s.gauge("raft_commit_latency_seconds", "From proposal to apply, of this node's last log entry", latency)
	s.gauge("raft_entry_commit_latency_seconds", "From proposal to apply, of this node's last log entry", latency)
}

func attemptsFamily(s *scrape) {
	for _, a := range s.cfg.Broker.LocalAttempts(false) {
		s.counter("auth_attempts_total", "Logins tried", a.Succeeded+a.Failed, "protocol", a.Protocol)
		s.counter("auth_attempts_succeeded_total", "Logins that succeeded", a.Succeeded, "protocol", a.Protocol)
		s.counter("auth_attempts_failed_total", "Logins that failed", a.Failed, "protocol", a.Protocol)
	}
}

// attemptSourceFamily is attemptsFamily by source.
func attemptSourceFamily(s *scrape) {
	for _, a := range s.cfg.Broker.LocalAttempts(true) {
		labels := []string{"remote_address", a.Address, "username", a.User, "protocol", a.Protocol}
		s.counter("auth_attempts_detailed_total", "Logins tried", a.Succeeded+a.Failed, labels...)
		s.counter("auth_attempts_detailed_succeeded_total", "Logins that succeeded", a.Succeeded, labels...)
		s.counter("auth_attempts_detailed_failed_total", "Logins that failed", a.Failed, labels...)
	}
}

func alarmFamily(s *scrape) {
	n := s.cfg.Broker.LocalStats()
	s.gauge("alarms_memory_used_watermark", "1 while memory is low on this node", oneIf(n.MemoryAlarm))
	s.gauge("alarms_free_disk_space_watermark", "1 while disk space is low on this node", oneIf(n.DiskFreeAlarm))
	s.gauge("alarms_file_descriptor_limit", "1 while there are no more file descriptors", oneIf(n.FDTotal > 0 && n.FDUsed >= n.FDTotal))
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// openFamily is how many of each thing there are. Connections are those of this node.
func openFamily(s *scrape) {
	n := s.cfg.Broker.LocalStats()
	s.gauge("connections", "Open connections", float64(n.SocketsUsed))
	s.gauge("channels", "Open channels", float64(n.Channels))
	s.gauge("consumers", "Consumers", float64(s.cfg.Broker.Counted()["consumers"]))
	s.gauge("queues", "Queues; 0 on nodes that do not lead", float64(s.ledTotals().Queues))
	unreachable := 0
	for _, m := range s.cluster().Members {
		if !m.Running {
			unreachable++
		}
	}
	s.gauge("unreachable_cluster_peers_count", "Members of the cluster that this node does not reach", float64(unreachable))
}

// ledTotals are the sums over all queues, on the leader; others have none.
func (s *scrape) ledTotals() fsm.Totals {
	if !s.leads() {
		return fsm.Totals{}
	}
	sums, _ := s.sampler.survey.totals()
	return sums
}

func (s *scrape) leads() bool { return s.cfg.Broker.LocalStats().State == leaderState }
