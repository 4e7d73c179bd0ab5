package management

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"warren/fsm"
	"warren/fsm/command"
	"warren/protocol/wire"
)

// deadLettering are the arguments of a queue of one message, with dead letters.
var deadLettering = wire.Table{{Name: "x-max-length", Value: int32(1)}, {Name: "x-dead-letter-exchange", Value: "dlx"}}

// scrapeOf returns what a path of the metrics answers, and its series by name and labels.
func (a *api) scrapeOf(path string) map[string]string {
	a.t.Helper()
	w := httptest.NewRecorder()
	a.server.Metrics().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	if w.Code != 200 {
		a.t.Fatalf("GET %s: %d %s", path, w.Code, w.Body)
	}
	series := make(map[string]string)
	for line := range strings.Lines(w.Body.String()) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			at := strings.LastIndexByte(line, ' ')
			series[line[:at]] = line[at+1:]
		}
	}
	return series
}

// wantSeries checks the values of some series.
func wantSeries(t *testing.T, got map[string]string, want map[string]string) {
	t.Helper()
	for name, v := range want {
		if got[name] != v {
			t.Errorf("%s = %q, want %q", name, got[name], v)
		}
	}
}

// leading makes n1 the leader.
func (a *api) leading() {
	if a.stats == nil {
		a.stats = make(map[string]NodeStats)
	}
	own := a.stats["id1"]
	own.State = leaderState
	a.stats["id1"] = own
}

// row: 1.10 endpoints
func TestMetricsOfObjects(t *testing.T) {
	a := newAPI(t)
	a.fill()
	a.must(&command.VHostPut{Name: "other"})
	a.must(&command.QueueDeclare{VHost: "other", Name: "jobs", Durable: true})
	a.connections[0].ReceivedBytes = 12
	a.connections[0].ChannelInfos[0].Counts = map[string]uint64{"publish": 3}
	if got := a.scrapeOf("/metrics/per-object"); got[`rabbitmq_queue_messages_ready{queue="jobs",vhost="/"}`] != "" {
		t.Error("a node that does not lead tells of queues")
	}
	a.leading()
	conn := a.connections[0].Name
	wantSeries(t, a.scrapeOf("/metrics/per-object"), map[string]string{
		`rabbitmq_queue_messages_ready{queue="jobs",vhost="/"}`:                                           "2",
		`rabbitmq_queue_messages_unacked{queue="jobs",vhost="/"}`:                                         "1",
		`rabbitmq_queue_messages{queue="jobs",vhost="/"}`:                                                 "3",
		`rabbitmq_queue_consumers{queue="jobs",vhost="/"}`:                                                "1",
		`rabbitmq_queue_messages_bytes{queue="jobs",vhost="/"}`:                                           "27",
		`rabbitmq_queue_messages_published_total{queue="jobs",vhost="/"}`:                                 "3",
		`rabbitmq_exchange_messages_published_total{exchange="",vhost="/"}`:                               "3",
		`rabbitmq_connection_incoming_bytes_total{connection="` + conn + `"}`:                             "12",
		`rabbitmq_channel_consumers{channel="` + conn + ` (1)",connection="` + conn + `"}`:                "1",
		`rabbitmq_channel_messages_published_total{channel="` + conn + ` (1)",connection="` + conn + `"}`: "3",
	})
	detailed := a.scrapeOf("/metrics/detailed?family=queue_coarse_metrics&family=queue_consumer_count&vhost=%2F&queue=jobs")
	wantSeries(t, detailed, map[string]string{
		`rabbitmq_detailed_queue_messages_ready{queue="jobs",vhost="/"}`: "2", `rabbitmq_detailed_queue_consumers{queue="jobs",vhost="/"}`: "1",
	})
	for name := range detailed {
		if strings.Contains(name, "other") || strings.Contains(name, "private") || strings.Contains(name, "bytes") {
			t.Errorf("%s was not asked for", name)
		}
	}
	wantSeries(t, a.scrapeOf("/metrics/detailed?family=queue_coarse_metrics&queue=jobs"), map[string]string{
		`rabbitmq_detailed_queue_messages{queue="jobs",vhost="/"}`: "3", `rabbitmq_detailed_queue_messages{queue="jobs",vhost="other"}`: "0",
	})
	wantSeries(t, a.scrapeOf("/metrics/detailed?family=vhost_status&family=exchange_names&family=exchange_bindings&family=auth_attempt_detailed_metrics"), map[string]string{
		`rabbitmq_cluster_vhost_status{vhost="other"}`:                                                              "1",
		`rabbitmq_cluster_exchange_name{exchange="amq.topic",type="topic",vhost="/"}`:                               "1",
		`rabbitmq_cluster_exchange_bindings{exchange="amq.topic",type="topic",vhost="/"}`:                           "0",
		`rabbitmq_detailed_auth_attempts_detailed_total{protocol="amqp091",remote_address="10.0.0.1",username="u"}`: "3",
	})
	for name := range detailedFamilies {
		if got := a.scrapeOf("/metrics/detailed?family=" + name); len(got) < 2 {
			t.Errorf("family %s: %v", name, got)
		}
	}
	w := httptest.NewRecorder()
	a.server.Metrics().ServeHTTP(w, httptest.NewRequest("GET", "/metrics/detailed?family=nothing", nil))
	if w.Code != 400 {
		t.Errorf("an unknown family: %d", w.Code)
	}
}

// TestMetricsSums checks the sums, and that they don't grow with what is there.
//
// row: 1.10 overview dashboard; 1.10 Raft dashboard; 1.10 alerts
func TestMetricsSums(t *testing.T) {
	a := newAPI(t)
	a.apply(command.NewBatch(nil, 0, 0), &command.Upgrade{Version: fsm.Version})
	a.counted = map[string]uint64{
		"publish": 10, "publish_checked": 4, "confirm": 4, "deliver": 5, "deliver_no_ack": 1, "get": 2, "get_empty": 3, "ack": 5,
		"consumers": 2, "publishers": 1, "connection_created": 7, SizeClass(0): 9, SizeClass(8): 1, "publish_bytes": 1234,
	}
	a.stats = map[string]NodeStats{"id1": {
		MemoryUsed: 5, MemoryLimit: 10, MemoryAlarm: true, FDUsed: 3, FDTotal: 4, SocketsUsed: 2, Channels: 3, Uptime: 1500,
		RaftStats: RaftStats{State: leaderState, Term: 3, CommitIndex: 12, LastIndex: 13, SnapshotIndex: 5},
	}}
	a.server.sampler.survey.take(a.View, 0)
	a.server.sampler.sample(0)
	a.fill()
	a.must(&command.ExchangeDeclare{VHost: "/", Name: "dlx", Type: "fanout"})
	a.must(&command.QueueDeclare{VHost: "/", Name: "full", Durable: true, Args: deadLettering})
	a.publishMany("full", 3)
	a.server.sampler.survey.take(a.View, sampleStep)
	a.server.sampler.sample(sampleStep)
	got := a.scrapeOf("/metrics")
	wantSeries(t, got, map[string]string{
		`rabbitmq_identity_info{rabbitmq_cluster="test",rabbitmq_cluster_permanent_id="",rabbitmq_endpoint="aggregated",rabbitmq_node="n1"}`: "1",
		`rabbitmq_global_messages_received_total{protocol="amqp091"}`:                                                                        "10",
		`rabbitmq_global_messages_received_confirm_total{protocol="amqp091"}`:                                                                "4",
		`rabbitmq_global_messages_routed_total{protocol="amqp091"}`:                                                                          "6",
		`rabbitmq_global_messages_delivered_total{protocol="amqp091",queue_type="rabbit_quorum_queue"}`:                                      "8",
		`rabbitmq_global_messages_get_empty_total{protocol="amqp091",queue_type="rabbit_quorum_queue"}`:                                      "3",
		`rabbitmq_global_messages_dead_lettered_maxlen_total{dead_letter_strategy="at_least_once",queue_type="rabbit_quorum_queue"}`:         "2",
		`rabbitmq_global_consumers{protocol="amqp091"}`:                                                                                      "2",
		`rabbitmq_queue_messages_ready`:                                     "3",
		`rabbitmq_queue_messages_unacked`:                                   "1",
		`rabbitmq_queue_messages_published_total`:                           "6",
		`rabbitmq_queues`:                                                   "3",
		`rabbitmq_queues_created_total`:                                     "3",
		`rabbitmq_connections`:                                              "2",
		`rabbitmq_channels`:                                                 "3",
		`rabbitmq_connections_opened_total`:                                 "7",
		`rabbitmq_process_open_fds`:                                         "3",
		`rabbitmq_erlang_uptime_seconds`:                                    "1.5",
		`rabbitmq_alarms_memory_used_watermark`:                             "1",
		`rabbitmq_alarms_free_disk_space_watermark`:                         "0",
		`rabbitmq_raft_term`:                                                "3",
		`rabbitmq_raft_log_commit_index`:                                    "12",
		`rabbitmq_raft_commit_index`:                                        "12",
		`rabbitmq_raft_last_written_index`:                                  "13",
		`rabbitmq_raft_snapshot_index`:                                      "5",
		`rabbitmq_auth_attempts_failed_total{protocol="amqp091"}`:           "2",
		`rabbitmq_message_size_bytes_bucket{protocol="amqp091",le="100"}`:   "9",
		`rabbitmq_message_size_bytes_bucket{protocol="amqp091",le="1e+08"}`: "9",
		`rabbitmq_message_size_bytes_bucket{protocol="amqp091",le="+Inf"}`:  "10",
		`rabbitmq_message_size_bytes_sum{protocol="amqp091"}`:               "1234",
		`rabbitmq_message_size_bytes_count{protocol="amqp091"}`:             "10",
	})
	for i := range 50 {
		a.must(&command.QueueDeclare{VHost: "/", Name: fmt.Sprint("q", i), Durable: true})
	}
	if n := len(a.scrapeOf("/metrics")); n != len(got) {
		t.Errorf("%d series, and %d with more queues", len(got), n)
	}

	// A node that leads no more keeps its counts, and knows of no messages.
	own := a.stats["id1"]
	own.State = "Follower"
	a.stats["id1"] = own
	a.server.sampler.sample(2 * sampleStep)
	a.publishMany("full", 5)
	a.server.sampler.survey.take(a.View, 3*sampleStep)
	a.server.sampler.sample(3 * sampleStep)
	wantSeries(t, a.scrapeOf("/metrics"), map[string]string{
		`rabbitmq_queue_messages_ready`: "0", `rabbitmq_queues`: "0", `rabbitmq_queue_messages_published_total`: "6",
		`rabbitmq_global_messages_routed_total{protocol="amqp091"}`: "6",
	})
}

// TestMemoryBreakdown wants each of RabbitMQ's parts, with what nodes/{node}/memory tells.
func TestMemoryBreakdown(t *testing.T) {
	a := newAPI(t)
	a.broker.stats = map[string]NodeStats{"id1": {Memory: Memory{Messages: 5, Heap: 7, Stacks: 11, Unused: 13, Runtime: 17, Resident: 100, Allocated: 60}}}
	got := a.scrapeOf(memoryPath)
	wantSeries(t, got, map[string]string{
		"rabbitmq_memory_binary_heap_bytes": "5", "rabbitmq_memory_classic_queue_erlang_process_bytes": "7", "rabbitmq_memory_other_erlang_process_bytes": "11",
		"rabbitmq_memory_runtime_allocated_unused_bytes": "13", "rabbitmq_memory_other_system_bytes": "17",
		"rabbitmq_memory_runtime_reserved_unallocated_bytes": "40", "rabbitmq_memory_atom_table_bytes": "0",
	})
	parts := a.broker.stats["id1"].Memory
	all := (&parts).parts()
	for _, m := range memoryMetrics {
		if _, ok := all[m.part]; !ok || got["rabbitmq_memory_"+m.name+"_bytes"] == "" {
			t.Errorf("%s is of no part, or is not told", m.name)
		}
		delete(all, m.part)
	}
	if len(all) != 0 {
		t.Errorf("parts without a metric: %v", all)
	}
}

// TestMetricsOnTheAPI checks that names of queues need a login on the HTTP port.
func TestMetricsOnTheAPI(t *testing.T) {
	a := newAPI(t)
	nobody := func(r *http.Request) { r.Header.Del("Authorization") }
	for path, want := range map[string]int{"/metrics": 200, memoryPath: 200, "/metrics/per-object": 401, "/metrics/detailed?family=queue_metrics": 401} {
		if w := a.request("GET", path, "", nobody); w.Code != want {
			t.Errorf("%s without a login: %d", path, w.Code)
		}
		if w := a.request("GET", path, ""); w.Code != 200 || !strings.Contains(w.Body.String(), "rabbitmq_identity_info") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}
