package integration

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A dashboardMetric is a metric that RabbitMQ's dashboards query, and the labels that they need.
type dashboardMetric struct {
	name   string
	labels []string
}

// rabbitDashboards are the metrics of the dashboards 10991 (RabbitMQ-Overview) and 11340 (RabbitMQ-Quorum-Queues-Raft) of
// grafana.com, and those that alerts are commonly made of.
func rabbitDashboards() []dashboardMetric {
	var all []dashboardMetric
	add := func(labels []string, names ...string) {
		for _, n := range names {
			all = append(all, dashboardMetric{"rabbitmq_" + n, labels})
		}
	}
	add([]string{"rabbitmq_version", "erlang_version"}, "build_info")
	add([]string{"rabbitmq_node", "rabbitmq_cluster", "rabbitmq_cluster_permanent_id", "rabbitmq_endpoint"}, "identity_info")
	add(nil, "erlang_uptime_seconds", "connections", "channels", "queues", "queue_messages_ready", "queue_messages_unacked",
		"resident_memory_limit_bytes", "process_resident_memory_bytes", "disk_space_available_bytes", "disk_space_available_limit_bytes",
		"process_max_fds", "process_open_fds", "connections_opened_total", "connections_closed_total", "channels_opened_total",
		"channels_closed_total", "queues_declared_total", "queues_created_total", "queues_deleted_total",
		"raft_commit_index", "raft_commit_latency_seconds", "raft_last_written_index", "raft_snapshot_index", "raft_term",
		"raft_log_commit_index", "raft_log_last_written_index", "raft_log_snapshot_index", "raft_term_total", "raft_entry_commit_latency_seconds",
		"alarms_memory_used_watermark", "alarms_free_disk_space_watermark", "queue_messages", "queue_consumers")
	add([]string{"protocol"}, "global_consumers", "global_publishers", "global_messages_received_total", "global_messages_received_confirm_total",
		"global_messages_routed_total", "global_messages_confirmed_total", "global_messages_unroutable_dropped_total",
		"global_messages_unroutable_returned_total", "message_size_bytes_bucket", "message_size_bytes_sum", "message_size_bytes_count",
		"auth_attempts_total", "auth_attempts_succeeded_total", "auth_attempts_failed_total")
	add([]string{"protocol", "queue_type"}, "global_messages_delivered_total", "global_messages_redelivered_total", "global_messages_acknowledged_total",
		"global_messages_delivered_consume_manual_ack_total", "global_messages_delivered_consume_auto_ack_total",
		"global_messages_delivered_get_manual_ack_total", "global_messages_delivered_get_auto_ack_total", "global_messages_get_empty_total")
	add([]string{"queue_type", "dead_letter_strategy"}, "global_messages_dead_lettered_maxlen_total", "global_messages_dead_lettered_expired_total",
		"global_messages_dead_lettered_rejected_total", "global_messages_dead_lettered_delivery_limit_total", "global_messages_dead_lettered_confirmed_total")
	return all
}

// metrics returns the series of a path of a node's HTTP port, by name.
func (n *node) metrics(t testing.TB, path string) map[string][]string {
	t.Helper()
	req, err := http.NewRequest("GET", "http://"+n.http+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("guest", "guest")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("GET %s: %d, %v: %s", path, res.StatusCode, err, body)
	}
	all := make(map[string][]string)
	for line := range strings.Lines(string(body)) {
		if !strings.HasPrefix(line, "#") && strings.TrimSpace(line) != "" {
			name := strings.FieldsFunc(line, func(r rune) bool { return r == '{' || r == ' ' })[0]
			all[name] = append(all[name], strings.TrimSpace(line))
		}
	}
	return all
}

// TestDashboards checks that each metric that RabbitMQ's dashboards, ours, and our alerts query is there on a node,
// with the labels that they use.
//
// row: 1.10 overview dashboard; 1.10 Raft dashboard; 1.10 alerts; 1.10 latencies; 1.10 endpoints
func TestDashboards(t *testing.T) {
	c := sharedCluster(t, 3)
	ch := open(t, c.node(0))
	q := declare(t, ch, c.node(0), nil)
	publish(t, ch, q, "one")
	all := c.node(0).metrics(t, "/metrics")
	for _, m := range rabbitDashboards() {
		lines := all[m.name]
		if len(lines) == 0 {
			t.Errorf("RabbitMQ's dashboards query %s, which is not there", m.name)
			continue
		}
		for _, l := range m.labels {
			if !strings.Contains(lines[0], l+`="`) {
				t.Errorf("%s has no label %s: %s", m.name, l, lines[0])
			}
		}
	}
	name := regexp.MustCompile(`\b(?:rabbitmq|warren)_[a-z0-9_]+`)
	labels := []string{"rabbitmq_cluster", "rabbitmq_node"}
	for _, file := range []string{"grafana/warren.json", "prometheus/alerts.yml"} {
		text, err := os.ReadFile(filepath.Join(moduleRoot(), "deploy", file))
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for line := range strings.Lines(string(text)) {
			if !strings.Contains(line, "expr") {
				continue
			}
			for _, m := range name.FindAllString(line, -1) {
				found++
				if len(all[m]) == 0 && !slices.Contains(labels, m) {
					t.Errorf("%s queries %s, which is not there", file, m)
				}
			}
		}
		if found < 10 {
			t.Errorf("%s: only %d metrics were found", file, found)
		}
	}

	// The messages of all queues are told of by one node, and each queue by it.
	eventually(t, "the sum over all nodes", func() error {
		ready, tellers := 0.0, 0
		for i := range 3 {
			var v float64
			if _, err := fmt.Sscan(strings.TrimPrefix(c.node(i).metrics(t, "/metrics")["rabbitmq_queues"][0], "rabbitmq_queues "), &v); err != nil {
				return err
			}
			for _, line := range c.node(i).metrics(t, "/metrics/per-object")["rabbitmq_queue_messages_ready"] {
				if strings.Contains(line, `queue="`+q+`"`) {
					tellers++
				}
			}
			ready += v
		}
		if ready < 1 || tellers != 1 {
			return fmt.Errorf("%v queues in all, %d nodes tell of %s", ready, tellers, q)
		}
		return nil
	})
}
