package integration

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// triedElsewhere are commands of warrenctl that other tests try with real nodes: they change the cluster, or need one in trouble.
var triedElsewhere = map[string]string{
	"forget_cluster_node": "TestOutlive", "transfer_leadership": "TestTransfer", "stop": "TestStopOverHTTP", "shutdown": "TestStopOverHTTP",
	"cancel_delayed": "TestDelayedMessages", "completion": "TestVerbs, by __complete", "help": "cobra's own",
	"drain": "TestRollingRestart", "revive": "TestRollingRestart", "add_member": "TestGrowAndShrink", "await_online_quorum_plus_one": "TestRollingRestart",
	"reload": "TestReload", "shovel": "TestShovelCommand", "shovel_status": "TestShovel", "restart_shovel": "TestShovel", "delete_shovel": "TestShovel",
	"trace_on": "TestFirehose", "trace_off": "TestFirehose", "start_trace": "TestTrace", "show_trace": "TestTrace", "list_traces": "TestTrace",
	"stop_trace": "TestTrace", "delete_trace": "TestTrace", "set_log_level": "TestSetLogLevel",
}

// TestVerbs runs every command of warrenctl against real nodes, each on another one than the last, and checks that none was left out.
//
// row: 1.9 rabbitmqctl; 1.9 diagnostics
func TestVerbs(t *testing.T) {
	c := sharedCluster(t, 3)
	if c.peer {
		t.Skip("a peer has its own command line")
	}
	vhost := unique(t)
	t.Cleanup(func() { _, _ = c.node(0).tryCtl("delete_vhost", vhost) })
	tried := map[string]bool{}
	n := 0
	run := func(line string, more ...string) string {
		t.Helper()
		args := append(strings.Fields(strings.ReplaceAll(line, "VHOST", vhost)), more...)
		tried[args[0]] = true
		n++
		out, err := c.node(n % 3).tryCtl(args...)
		if err != nil {
			t.Errorf("warrenctl %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return out
	}
	has := func(out string, words ...string) {
		t.Helper()
		for _, w := range words {
			if !strings.Contains(out, w) {
				t.Errorf("no %q in\n%s", w, out)
			}
		}
	}
	user := vhost + "-user"

	run("add_vhost VHOST --description x")
	run("set_permissions -p VHOST guest .* .* .*")
	run("update_vhost_metadata VHOST --description y")
	run("set_vhost_tags VHOST a b")
	run("enable_vhost_deletion_protection VHOST")
	run("disable_vhost_deletion_protection VHOST")
	has(run("list_vhosts name description tags"), vhost+"\ty\t[a, b]")
	run("restart_vhost -p VHOST")
	run("set_vhost_limits -p VHOST", `{"max-queues":50}`)
	has(run("list_vhost_limits -p VHOST"), "50")

	run("add_user", user, "secret")
	run("set_user_tags", user, "management")
	run("set_permissions -p VHOST", user, ".*", ".*", ".*")
	run("set_topic_permissions -p VHOST", user, "amq.topic", "a", "b")
	run("authenticate_user", user, "secret")
	run("change_password", user, "other")
	run("set_user_limits", user, `{"max-channels":5}`)
	has(run("list_user_limits --user", user), "5")
	has(run("list_users"), user)
	has(run("list_permissions -p VHOST"), user)
	has(run("list_topic_permissions -p VHOST"), user)
	has(run("list_user_permissions", user), vhost)
	has(run("list_user_topic_permissions", user), vhost)
	run("hash_password x")

	// A client with something in each list.
	conn, err := amqp.DialConfig("amqp://guest:guest@"+c.node(0).amqp, amqp.Config{Vhost: vhost, Dial: amqp.DefaultDial(patience)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ch := channel(t, conn)
	for _, q := range []string{"q", "r"} {
		declareNamedDurable(t, ch, q)
	}
	if err := ch.ExchangeDeclare("x", "topic", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind("q", "k.#", "x", false, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.Consume("r", "tag", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	confirmed(t, ch, "x", "k.1", amqp.Publishing{Body: []byte("one")})
	confirmed(t, ch, "x", "k.1", amqp.Publishing{Body: []byte("two")})
	eventually(t, "the messages are counted", func() error {
		if out := run("list_queues --silent -p VHOST name messages consumers type state"); !strings.Contains(out, "q\t2\t0\tclassic\trunning\nr\t0\t1\tclassic\trunning\n") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	for _, format := range []string{"json", "json_stream", "csv", "pretty", "table"} {
		has(run("list_queues -p VHOST --formatter", format), "q", "2")
	}
	has(run("list_exchanges -p VHOST"), "x\ttopic")
	has(run("list_bindings -p VHOST"), "x\texchange\tq\tqueue\tk.#")
	has(run("list_consumers -p VHOST"), "tag")
	has(run("list_connections -p VHOST user state"), "guest\trunning")
	has(run("list_channels -p VHOST"), "guest")
	run("list_unresponsive_queues -p VHOST")
	run("list_delayed -p VHOST")
	has(run("browse -p VHOST q"), "one", "two")
	has(run("route -p VHOST x k.2"), "binding")
	has(run("quorum_status -p VHOST q"), "leader")
	run("move -p VHOST q --to-queue r --count 1")

	run("set_policy -p VHOST p ^q", `{"max-length":10}`)
	run("set_operator_policy -p VHOST p ^q", `{"max-length":9}`)
	has(run("list_policies -p VHOST"), "max-length")
	has(run("list_operator_policies -p VHOST"), "max-length")
	run("clear_policy -p VHOST p")
	run("clear_operator_policy -p VHOST p")
	run("set_parameter -p VHOST federation-upstream up", `{"uri":"amqp://"}`)
	has(run("list_parameters -p VHOST"), "up")
	run("clear_parameter -p VHOST federation-upstream up")
	run("set_global_parameter", vhost, `{"a":1}`)
	has(run("list_global_parameters"), vhost)
	run("clear_global_parameter", vhost)

	dir := t.TempDir()
	run("export_definitions", filepath.Join(dir, "definitions"))
	run("import_definitions", filepath.Join(dir, "definitions"))
	run("backup", filepath.Join(dir, "backup"))
	var info struct{ Name string }
	if err := c.node(0).getJSON("/api/cluster-name", &info); err != nil {
		t.Fatal(err)
	}
	run("set_cluster_name", info.Name)

	for _, n := range c.nodes {
		has(run("cluster_status"), n.name)
	}
	run("status")
	run("ping")
	run("await_startup")
	has(run("is_running"), "fully booted")
	run("is_booting")
	run("server_version")
	has(run("environment"), "amqp_addr")
	has(run("listeners"), "protocol: amqp")
	run("alarms")
	has(run("memory_breakdown --unit mb"), "queue_procs: ")
	has(run("metadata_store_status"), "leader", "follower")
	run("list_node_auth_attempt_stats --by-source")
	run("reset_node_auth_attempt_metrics")
	has(run("list_feature_flags"), "quorum_queue\tenabled")
	run("enable_feature_flag all")
	run("list_deprecated_features")
	run("rebalance all")
	has(run("observer --count 1"), c.node(0).name)
	has(run("report"), c.node(0).name, vhost)
	for _, check := range []string{
		"check_running", "check_alarms", "check_local_alarms", "check_protocol_listener amqp", "check_virtual_hosts", "check_port_connectivity",
		"check_certificate_expiration", "check_if_node_is_quorum_critical", "check_for_quorum_queues_without_an_elected_leader --across-all-vhosts",
		"check_if_metadata_store_is_initialized", "check_if_metadata_store_is_initialized_with_data", "check_if_any_deprecated_features_are_used",
		"check_node_connection_limit", "check_cluster_size",
	} {
		run(check)
	}
	tried["check_port_listener"] = true
	c.node(0).ctl(t, "check_port_listener", portOf(t, c.node(0).amqp))
	if out, err := c.node(0).tryCtl("check_port_listener", "1"); err == nil || !strings.Contains(out, "No listener for port 1 is active") {
		t.Errorf("a check that fails: %v\n%s", err, out)
	}

	run("purge_queue -p VHOST r")
	run("delete_queue -p VHOST r")
	var name string
	for line := range strings.Lines(run("--silent -p VHOST list_connections name")) {
		name = strings.TrimSpace(line)
	}
	run("close_connection", name, "maintenance")
	run("close_all_connections -p VHOST maintenance")
	run("close_all_user_connections", user, "maintenance")
	run("clear_vhost_limits -p VHOST")
	run("clear_user_limits", user, "all")
	run("clear_topic_permissions -p VHOST", user)
	run("clear_permissions -p VHOST", user)
	run("clear_password", user)
	run("delete_user", user)
	run("delete_vhost VHOST")

	for line := range strings.Lines(c.node(0).ctl(t, "__complete", "")) {
		verb, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if _, other := triedElsewhere[verb]; verb != "" && !strings.HasPrefix(verb, ":") && !strings.HasPrefix(verb, "Completion ended") && !tried[verb] && !other {
			t.Errorf("no test tries warrenctl %s with a real node", verb)
		}
	}
}

// TestStopOverHTTP stops the leader of three nodes with warrenctl: it hands over and ends in order, and the others go on.
//
// row: 1.9 rabbitmqctl
func TestStopOverHTTP(t *testing.T) {
	skipWithPeer(t)
	c := startCluster(t, 3)
	leader := c.leader(t)
	rest := c.others(leader)
	if out, err := rest[0].tryCtl("--user", "guest", "--password", "wrong", "stop"); err == nil {
		t.Errorf("anybody may stop a node: %s", out)
	}
	out := leader.ctl(t, "stop")
	if !strings.Contains(out, "has ended") {
		t.Errorf("stop says\n%s", out)
	}
	eventually(t, "the process has ended in order", func() error {
		if leader.running() || leader.logged(t, "msg=stopped") != 1 {
			return errTimeout
		}
		return nil
	})
	for _, n := range rest {
		ch := open(t, n)
		publish(t, ch, declare(t, ch, n, nil), "goes on")
	}
	leader.start(t)
}
