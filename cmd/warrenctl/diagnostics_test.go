package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func TestDiagnostics(t *testing.T) {
	f := newFake(t, answers{
		"GET /api/overview": {200, `{"node":"n1","product_version":"1.2","cluster_name":"c","object_totals":{"queues":2},"queue_totals":{"messages_ready":5},
			"message_stats":{"publish_details":{"rate":2.5}},"listeners":[{"node":"n1","protocol":"amqp","ip_address":"::","port":5672}]}`},
		"GET /api/cluster":         {200, `{"node":"n1","leader":"n1","alarms":[{"node":"n1","resource":"disk"},{"node":"n2","resource":"memory"}]}`},
		"GET /api/nodes/n1/memory": {200, `{"memory":{"binary":750000000,"queue_procs":250000000,"mnesia":0,"strategy":"rss","total":{"rss":1000000000}}}`},
		"GET /api/nodes": {200, `[{"name":"n1","running":true,"raft_voter":true,"raft_state":"Leader","raft_last_index":9,"raft_applied_index":8,"raft_commit_index":8,"raft_snapshot_index":3,"raft_term":2},
			{"name":"n2","raft_voter":false}]`},
		"GET /api/queues/quorum/%2F/q/status":           {200, `[{"Node Name":"n1","Raft State":"leader","Membership":"voter","Term":2}]`},
		"GET /api/config/effective":                     {200, `{"b":"2","a":"1"}`},
		"GET /api/health/checks/ready-to-serve-clients": {503, `{"status":"failed","reason":"100% of nothing"}`},
		"GET /api/auth/attempts/n1":                     {200, `[{"protocol":"amqp091","auth_attempts":3,"auth_attempts_succeeded":1,"auth_attempts_failed":2}]`},
		"GET /api/auth/attempts/n1/source":              {200, `[{"remote_address":"10.0.0.1","username":"u","protocol":"amqp091","auth_attempts":3,"auth_attempts_succeeded":1,"auth_attempts_failed":2}]`},
		"DELETE /api/auth/attempts/n1":                  {204, ""},
		"GET /api/feature-flags":                        {200, `[{"name":"quorum_queue","state":"enabled"}]`},
		"PUT /api/feature-flags/quorum_queue/enable":    {204, ""},
		"GET /api/deprecated-features":                  {200, `[]`},
		"GET /api/deprecated-features/used":             {200, `[]`},
		"GET /api/queues":                               {200, `{"items":[{"name":"q","vhost":"/","messages_ready":5,"message_stats":{"ack_details":{"rate":1}}}]}`},
		"GET /api/queues/%2F":                           {200, `[{"name":"q","messages":5}]`},
		"POST /api/rebalance/queues":                    {204, ""},
		"POST /api/vhosts/%2F/start/n1":                 {204, ""},
	})
	f.expect(t, []string{"listeners"}, 0, "Asking node NODE to report its protocol listeners ...\nInterface: [::], port: 5672, protocol: amqp, purpose: AMQP 0-9-1\n", "")
	f.expect(t, []string{"listeners", "--formatter", "csv"}, 0, "node,protocol,interface,port,purpose\nn1,amqp,::,5672,AMQP 0-9-1\n", "")
	f.expect(t, []string{"alarms", "-q"}, 0, "Free disk space alarm on node n1\nMemory alarm on node n2\n", "")
	f.expect(t, []string{"alarms", "--formatter", "json"}, 0,
		"{\n  \"global\": [\n    \"Memory alarm on node n2\"\n  ],\n  \"local\": [\n    \"Free disk space alarm on node n1\"\n  ],\n  \"node\": \"n1\",\n  \"result\": \"ok\"\n}\n", "")
	f.expect(t, []string{"memory_breakdown"}, 0, "Reporting memory breakdown on node n1...\nbinary: 0.7500 gb (75%)\nqueue_procs: 0.2500 gb (25%)\n", "")
	f.expect(t, []string{"memory_breakdown", "--formatter", "csv"}, 0, "name,bytes,percentage\nbinary,750000000,75\nqueue_procs,250000000,25\n", "")
	f.expect(t, []string{"memory_breakdown", "--unit", "pounds"}, 64, "", "Error: unit 'pounds' is not supported. Please use one of: bytes, mb, gb\n")
	f.expect(t, []string{"metadata_store_status"}, 0, "Status of metadata store on node n1 ...\n"+
		"Node Name\tRaft State\tMembership\tLast Log Index\tLast Applied\tCommit Index\tSnapshot Index\tTerm\nn1\tleader\tvoter\t9\t8\t8\t3\t2\nn2\tnoproc\tnon_voter\t\t\t\t\t\n", "")
	f.expect(t, []string{"quorum_status", "-q", "q", "--formatter", "csv"}, 0, "Node Name,Raft State,Membership,Last Log Index,Last Written,Last Applied,Commit Index,Snapshot Index,Term,Machine Version\nn1,leader,voter,,,,,,2,\n", "")
	f.expect(t, []string{"quorum_status", "-q", "none"}, 65, "", "Error: Queue 'none' in vhost '/' does not exist\n")
	f.expect(t, []string{"environment", "-q"}, 0, "name\tvalue\na\t1\nb\t2\n", "")
	f.expect(t, []string{"server_version", "-q"}, 0, "1.2\n", "")
	f.expect(t, []string{"is_running"}, 0, "Warren on node NODE is not running or has not fully booted yet: 100% of nothing\n", "")
	f.expect(t, []string{"is_booting", "--formatter", "json"}, 0, "{\n  \"booting\": true,\n  \"node\": \"NODE\"\n}\n", "")
	f.expect(t, []string{"list_node_auth_attempt_stats"}, 0, "Listing authentication attempts for node \"n1\" ...\nprotocol\tauth_attempts\tauth_attempts_failed\tauth_attempts_succeeded\namqp091\t3\t2\t1\n", "")
	f.expect(t, []string{"list_node_auth_attempt_stats", "-q", "--by-source", "--no-table-headers"}, 0, "10.0.0.1\tu\tamqp091\t3\t2\t1\n", "")
	f.expect(t, []string{"reset_node_auth_attempt_metrics"}, 0, "Resetting auth attempt metrics on node n1 ...\n", "")
	f.expect(t, []string{"list_feature_flags"}, 0, "Listing feature flags ...\nname\tstate\nquorum_queue\tenabled\n", "")
	f.expect(t, []string{"enable_feature_flag", "quorum_queue"}, 0, "Enabling feature flag \"quorum_queue\" ...\n", "")
	f.expect(t, []string{"enable_feature_flag", "all"}, 0, "Enabling all feature flags ...\n", "")
	f.expect(t, []string{"list_deprecated_features", "--used"}, 0, "Listing deprecated features ...\n", "")
	f.expect(t, []string{"list_unresponsive_queues"}, 0, "Listing unresponsive queues for vhost / ...\n", "")
	f.expect(t, []string{"list_queues", "-q", "--offline"}, 0, "", "")
	f.expect(t, []string{"list_queues", "-q", "--local"}, 0, "name\tmessages\nq\t5\n", "")
	f.expect(t, []string{"rebalance", "-q"}, 0, "", "")
	f.expect(t, []string{"restart_vhost"}, 0, "Trying to restart vhost '/' on node 'n1' ...\n", "")
	f.expect(t, []string{"observer", "--count", "1"}, 0, `c: 0 connections, 0 channels, 2 queues, 0 consumers, 5 ready, 0 unacknowledged, 2 published/s, 0 delivered/s, 0 acknowledged/s

node  state        applied  memory   disk free  connections  alarms
n1    leader       8        0.0 MiB  0.0 MiB    0
n2    not running  0        0.0 MiB  0.0 MiB    0

queue  vhost  ready  unacknowledged  consumers  published/s  delivered/s  acknowledged/s
q      /      5      0               0          0.0          0.0          1.0
`, "")
}

// TestStop checks that stop ends when the node does, and refuses to guess which one is meant.
func TestStop(t *testing.T) {
	var node *httptest.Server
	node = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method + " " + r.URL.Path {
		case "GET /api/overview":
			_, _ = w.Write([]byte(`{"node":"n1"}`))
		case "POST /api/nodes/n1/stop":
			w.WriteHeader(http.StatusAccepted)
			go node.Close()
		}
	}))
	code, out, errs := run("-n", node.URL, "stop")
	if code != 0 || out != "Shutting down Warren node n1 ...\n"+node.URL+" has ended\n" {
		t.Errorf("%d %q %q", code, out, errs)
	}
	if code, _, errs := run("-n", "a,b", "stop"); code != 64 || !strings.Contains(errs, "name the one to stop") {
		t.Errorf("two nodes: %d %s", code, errs)
	}
}

// TestAdvice checks that commands that make no sense here say what does, whatever follows them.
func TestAdvice(t *testing.T) {
	code, out, errs := run("join_cluster", "--ram", "rabbit@a")
	if code != 64 || out != "" || !strings.HasPrefix(errs, "Error: join_cluster has no meaning here\nInstead: start a node") {
		t.Errorf("%d %q %q", code, out, errs)
	}
	var names []string
	for _, cmd := range (&options{}).root().Commands() {
		names = append(names, cmd.Name())
	}
	slices.Sort(names)
	if all := len(names); all != len(slices.Compact(names)) {
		t.Error("two commands have one name")
	}
}

func TestAlignedTable(t *testing.T) {
	var b bytes.Buffer
	w := &alignedRows{w: &b, header: []string{"name", "messages"}}
	for _, row := range [][]any{{"orders-ü", 3}, {"x", nil}} {
		if err := w.row(row); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.end(); err != nil || b.String() != "name      messages\norders-ü  3\nx\n" {
		t.Errorf("%v\n%s", err, b.String())
	}
}

// TestCutOffList checks that a list that ends too early is an error, and that what came of it was printed as it came.
func TestCutOffList(t *testing.T) {
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`[{"name":"a","messages":1},{"name":"b"`))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer node.Close()
	code, out, errs := run("-n", node.URL, "-q", "list_queues")
	if code != 69 || out != "name\tmessages\na\t1\n" || !strings.Contains(errs, "ended the list before its end") {
		t.Errorf("%d %q %q", code, out, errs)
	}
}

func TestCompletion(t *testing.T) {
	f := newFake(t, answers{
		"GET /api/queues/%2F": {200, `{"items":[{"name":"orders"},{"name":"old-orders"}]}`},
		"GET /api/queues/v":   {200, `{"items":[{"name":"orders-v"}]}`},
		"GET /api/vhosts":     {200, `{"items":[{"name":"/"},{"name":"v"}]}`},
		"GET /api/users":      {200, `{"items":[{"name":"ann"}]}`},
		"GET /api/nodes":      {200, `{"items":[{"name":"n1"}]}`},
	})
	for line, want := range map[string]string{
		"purge_queue or":                   "orders\n:4\n",
		"purge_queue -p v or":              "orders-v\n:4\n",
		"purge_queue orders x":             ":4\n",
		"list_queues -p v":                 "v\n:4\n",
		"list_queues name message_bytes_r": "message_bytes_ready\n:4\n",
		"set_user_tags ann mon":            "monitoring\n:4\n",
		"set_user_tags a":                  "ann\n:4\n",
		"move orders --to-queue o":         "orders\nold-orders\n:4\n",
		"status x":                         ":4\n",
		"drain n":                          "n1\n:4\n",
		"revive n":                         "n1\n:4\n",
		"reload n":                         "n1\n:4\n",
		"await_online_quorum_plus_one n":   "n1\n:4\n",
		"backup x":                         ":0\n",
		"list_queues --formatter j":        "json\njson_stream\n:4\n",
	} {
		code, out, _ := run(append([]string{"__complete", "-n", f.URL}, strings.Fields(line)...)...)
		if code != 0 || out != want {
			t.Errorf("%s: %d %q, want %q", line, code, out, want)
		}
	}
	if _, out, _ := run("__complete", "-n", "127.0.0.1:1", "purge_queue", ""); out != ":4\n" {
		t.Errorf("without a node: %q", out)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if code, out, _ := run("completion", shell); code != 0 || !strings.Contains(out, "__complete") {
			t.Errorf("%s: %d", shell, code)
		}
	}
}
