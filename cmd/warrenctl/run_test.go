package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// answers maps "METHOD escaped-path" to what a node says.
type answers map[string]answer

type answer struct {
	status int
	body   string
}

// fake is a node that gives the answers, to guest, and notes the requests.
type fake struct {
	*httptest.Server
	requests    []string
	columns     string
	reason      string
	body        string
	bodies      []string // of the requests that had one
	ifNoneMatch string
}

func newFake(t *testing.T, a answers) *fake {
	f := &fake{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "guest" || password != "guest" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error":"not_authorized","reason":"Not_Authorized"}`))
			return
		}
		request := r.Method + " " + r.URL.EscapedPath()
		f.requests = append(f.requests, request)
		f.columns, f.reason = r.URL.Query().Get("columns"), r.Header.Get("X-Reason")
		content, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodGet {
			f.body, f.ifNoneMatch = string(content), r.Header.Get("If-None-Match")
		}
		if len(content) > 0 {
			f.bodies = append(f.bodies, string(content))
		}
		found, ok := a[request]
		if !ok {
			found = answer{404, `{"error":"Object Not Found","reason":"Not Found"}`}
		}
		w.WriteHeader(found.status)
		_, _ = w.Write([]byte(found.body))
	}))
	t.Cleanup(f.Close)
	return f
}

// run gives the exit code and output of a command line.
func run(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = Run(context.Background(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// expect runs a command against the node and compares all that comes of it.
func (f *fake) expect(t *testing.T, args []string, code int, stdout, stderr string) {
	t.Helper()
	gotCode, out, errs := run(append([]string{"-n", f.URL}, args...)...)
	errs = strings.ReplaceAll(errs, f.URL, "NODE")
	out = strings.ReplaceAll(out, f.URL, "NODE")
	if gotCode != code || out != stdout || errs != stderr {
		t.Errorf("%q: exit code %d, want %d\n--- stdout\n%s--- want\n%s--- stderr\n%s--- want\n%s", args, gotCode, code, out, stdout, errs, stderr)
	}
}

const queues = `[
 {"name":"jobs","messages":3,"messages_ready":2,"messages_unacknowledged":1,"arguments":{"x-max-length":9,"x-overflow":"drop-head","n":{"a":[1,"b",true]}},"durable":true,"policy":null,"leader":"n2","members":["n1","n2"]},
 {"name":"odd\tname\\","messages":0,"messages_ready":0,"messages_unacknowledged":0,"arguments":{},"durable":false,"exclusive":true,"owner_pid_details":{"name":"a -> b"}}]`

func TestListQueues(t *testing.T) {
	f := newFake(t, answers{"GET /api/queues/%2F": {200, queues}, "GET /api/queues/a%2Fb": {200, `[]`}})
	f.expect(t, []string{"list_queues", "name", "messages_ready", "messages_unacknowledged"}, 0, `Timeout: 60.0 seconds ...
Listing queues for vhost / ...
name	messages_ready	messages_unacknowledged
jobs	2	1
odd\011name\\	0	0
`, "")
	if f.columns != "name,messages_ready,messages_unacknowledged" {
		t.Errorf("asked for columns %q", f.columns)
	}
	f.expect(t, []string{"list_queues", "-q", "-t", "5"}, 0, "name\tmessages\njobs\t3\nodd\\011name\\\\\t0\n", "")
	f.expect(t, []string{"list_queues", "--silent"}, 0, "jobs\t3\nodd\\011name\\\\\t0\n", "")
	f.expect(t, []string{"list_queues", "-q", "--no-table-headers", "name,durable"}, 0, "jobs\ttrue\nodd\\011name\\\\\tfalse\n", "")
	f.expect(t, []string{"list_queues", "-q", "arguments", "policy", "pid", "owner_pid", "members"}, 0, `arguments	policy	pid	owner_pid	members
[{"n",[{"a",[1, "b", true]}]}, {"x-max-length",9}, {"x-overflow","drop-head"}]		n2		["n1", "n2"]
[]			a -> b	
`, "")
	f.expect(t, []string{"list_queues", "-p", "a/b"}, 0, "Timeout: 60.0 seconds ...\nListing queues for vhost a/b ...\n", "")
	f.expect(t, []string{"list_queues", "-q", "-p", "none"}, 65, "", "Error: Virtual host 'none' does not exist\n")
}

func TestFormatters(t *testing.T) {
	f := newFake(t, answers{"GET /api/queues/%2F": {200, queues}, "GET /api/queues/empty": {200, `[]`}})
	f.expect(t, []string{"list_queues", "--formatter", "json", "messages", "name", "arguments", "policy"}, 0, `[
{"messages":3,"name":"jobs","arguments":{"n":{"a":[1,"b",true]},"x-max-length":9,"x-overflow":"drop-head"},"policy":null},
{"messages":0,"name":"odd\tname\\","arguments":{},"policy":null}
]
`, "")
	f.expect(t, []string{"list_queues", "--formatter", "csv", "name", "arguments"}, 0, "name,arguments\n"+
		`jobs,"[{""n"",[{""a"",[1, ""b"", true]}]}, {""x-max-length"",9}, {""x-overflow"",""drop-head""}]"`+"\nodd\tname\\,[]\n", "")
	f.expect(t, []string{"list_queues", "--formatter", "pretty_table", "-q"}, 0, `┌───────────────┬──────────┐
│ name          │ messages │
├───────────────┼──────────┤
│ jobs          │ 3        │
├───────────────┼──────────┤
│ odd\011name\\ │ 0        │
└───────────────┴──────────┘
`, "")
	f.expect(t, []string{"list_queues", "--formatter", "pretty", "-q", "messages"}, 0, "┌──────────┐\n│ messages │\n├──────────┤\n│ 3        │\n├──────────┤\n│ 0        │\n└──────────┘\n", "")
	f.expect(t, []string{"list_queues", "--formatter", "json_stream", "name", "messages"}, 0,
		"{\"name\":\"jobs\",\"messages\":3}\n{\"name\":\"odd\\tname\\\\\",\"messages\":0}\n", "")
	f.expect(t, []string{"list_queues", "--formatter", "json", "owner_pid"}, 0, "[\n{\"owner_pid\":null},\n{\"owner_pid\":\"a -> b\"}\n]\n", "")
	for format, want := range map[string]string{"json": "[\n]\n", "json_stream": "", "pretty": "", "csv": "name,messages\n", "pretty_table": "", "table": ""} {
		f.expect(t, []string{"list_queues", "-q", "-p", "empty", "--formatter", format}, 0, want, "")
	}
	f.expect(t, []string{"list_queues", "--formatter", "xml"}, 64, "", "Error: formatter \"xml\" is not known: use one of table, json, json_stream, csv, pretty, pretty_table\n")
}

func TestOtherLists(t *testing.T) {
	f := newFake(t, answers{
		"GET /api/exchanges/%2F": {200, `[{"name":"","type":"direct"},{"name":"amq.topic","type":"topic"}]`},
		"GET /api/bindings/%2F": {200, `[{"source":"","destination":"q","destination_type":"queue","routing_key":"q","arguments":{}},
			{"source":"logs","destination":"x","destination_type":"exchange","routing_key":"a.*","arguments":{"x-match":"any"}}]`},
		"GET /api/consumers/%2F": {200, `[{"queue":{"name":"q","vhost":"/"},"consumer_tag":"ctag","ack_required":true,"prefetch_count":1,"active":true,"arguments":{},
			"channel_details":{"name":"a -> b (1)","node":"n1"}},
			{"queue":{"name":"r","vhost":"/"},"consumer_tag":"other","ack_required":false,"prefetch_count":0,"active":true,"arguments":{},"channel_details":{"node":"n2"}}]`},
		"GET /api/connections": {200, `[{"user":"guest","peer_host":"127.0.0.1","peer_port":4000,"state":"running","name":"a -> b"}]`},
		"GET /api/channels":    {200, `[{"name":"a -> b (1)","user":"guest","consumer_count":1,"messages_unacknowledged":2,"connection_details":{"name":"a -> b"}}]`},
		"GET /api/vhosts":      {200, `[{"name":"/","tracing":false}]`},
	})
	f.expect(t, []string{"list_exchanges"}, 0, "Listing exchanges for vhost / ...\nname\ttype\n\tdirect\namq.topic\ttopic\n", "")
	f.expect(t, []string{"list_bindings"}, 0, `Listing bindings for vhost /...
source_name	source_kind	destination_name	destination_kind	routing_key	arguments
	exchange	q	queue	q	[]
logs	exchange	x	exchange	a.*	[{"x-match","any"}]
`, "")
	f.expect(t, []string{"list_bindings", "-s", "source_kind"}, 0, "exchange\nexchange\n", "")
	f.expect(t, []string{"list_consumers"}, 0, `Listing consumers in vhost / ...
queue_name	channel_pid	consumer_tag	ack_required	prefetch_count	active	arguments
q	a -> b (1)	ctag	true	1	true	[]
r	n2	other	false	0	true	[]
`, "")
	f.expect(t, []string{"list_connections"}, 0, "Listing connections ...\nuser\tpeer_host\tpeer_port\tstate\nguest\t127.0.0.1\t4000\trunning\n", "")
	f.expect(t, []string{"list_connections", "-s", "pid", "name"}, 0, "a -> b\ta -> b\n", "")
	f.expect(t, []string{"list_channels"}, 0, "Listing channels ...\npid\tuser\tconsumer_count\tmessages_unacknowledged\na -> b (1)\tguest\t1\t2\n", "")
	f.expect(t, []string{"list_channels", "-s", "connection"}, 0, "a -> b\n", "")
	f.expect(t, []string{"list_vhosts"}, 0, "Listing vhosts ...\nname\n/\n", "")
}

// TestDefaultsAreColumns checks the tables of columns themselves.
func TestDefaultsAreColumns(t *testing.T) {
	for _, l := range lists() {
		if _, err := l.choose(nil); err != nil {
			t.Error(err)
		}
		if _, err := l.choose(l.names()); err != nil {
			t.Error(err)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	for _, c := range []struct {
		args   []string
		stderr string
	}{
		{[]string{"list_vhosts", "nmae", "name", "x"}, "Error: list_vhosts has no column nmae, x. Columns: name, tracing, description, tags, default_queue_type, protected_from_deletion, cluster_state, metadata, messages, messages_ready, messages_unacknowledged\n"},
		{[]string{"list_nothing"}, "Error: unknown command \"list_nothing\" for \"warrenctl\"\nSee 'warrenctl --help'.\n"},
		{[]string{"status", "x"}, "Error: unknown command \"x\" for \"warrenctl status\"\nSee 'warrenctl --help'.\n"},
		{[]string{"forget_cluster_node"}, "Error: accepts 1 arg(s), received 0\nSee 'warrenctl --help'.\n"},
		{[]string{"status", "--nonsense"}, "Error: unknown flag: --nonsense\nSee 'warrenctl --help'.\n"},
		{[]string{"status", "-n", "ftp://x"}, "Error: node \"ftp://x\": scheme \"ftp\" is neither http nor https\n"},
		{[]string{"status", "-n", "http://"}, "Error: node \"http://\": the host is missing\n"},
		{[]string{"status", "-t", "0"}, "Error: timeout must be more than 0 seconds and at most 31536000, not 0\n"},
	} {
		code, out, errs := run(c.args...)
		if code != 64 || out != "" || errs != c.stderr {
			t.Errorf("%q: exit code %d\n%s%s--- want\n%s", c.args, code, out, errs, c.stderr)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"list_queues", "--help"}, {}, {"completion", "bash"}} {
		code, out, errs := run(args...)
		if code != 0 || errs != "" || !strings.Contains(out, "warrenctl") {
			t.Errorf("%q: %d %s %s", args, code, out, errs)
		}
	}
	code, out, _ := run("__complete", "list_queues", "messages_u")
	if code != 0 || !strings.HasPrefix(out, "messages_unacknowledged\n") {
		t.Errorf("completion: %d %s", code, out)
	}
}

// closedPort is an address that refuses connections.
func closedPort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func TestNodesInTurn(t *testing.T) {
	dead := closedPort(t)
	stuck := newFake(t, answers{"GET /api/vhosts": {503, `{"error":"service_unavailable","reason":"no quorum"}`}})
	good := newFake(t, answers{"GET /api/vhosts": {200, `[{"name":"/"}]`}, "DELETE /api/cluster/nodes/n3": {204, ""}})

	code, out, errs := run("list_vhosts", "-s", "-n", dead, "-n", stuck.URL+","+good.URL)
	if code != 0 || out != "/\n" {
		t.Errorf("%d %q %q", code, out, errs)
	}
	t.Setenv("WARREN_NODES", dead+","+good.URL)
	if code, out, errs = run("list_vhosts", "-s"); code != 0 || out != "/\n" {
		t.Errorf("WARREN_NODES: %d %q %q", code, out, errs)
	}
	if code, out, errs = run("forget_cluster_node", "-q", "n3"); code != 0 || out != "" {
		t.Errorf("a write when the first node is down: %d %q %q", code, out, errs)
	}
	code, _, errs = run("list_vhosts", "-q", "-n", dead, "-n", stuck.URL)
	for _, part := range []string{
		"Error: unable to connect to node http://" + dead + ": dial tcp " + dead + ": connect: connection refused\n",
		stuck.URL + ": no quorum\n", "Is the node running?",
	} {
		if code != 69 || !strings.Contains(errs, part) {
			t.Errorf("exit code %d, want %q in\n%s", code, part, errs)
		}
	}
}

// TestWriteIsSentOnce: a write whose answer is lost may have happened.
func TestWriteIsSentOnce(t *testing.T) {
	var sent atomic.Int32
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent.Add(1)
		panic(http.ErrAbortHandler)
	}))
	defer broken.Close()
	other := newFake(t, answers{"DELETE /api/queues/%2F/q": {204, ""}})
	code, _, errs := run("delete_queue", "q", "-q", "-n", broken.URL, "-n", other.URL)
	if code != 69 || sent.Load() != 1 || len(other.requests) != 0 || !strings.Contains(errs, "It is not known whether the command was carried out.") {
		t.Errorf("exit code %d, sent %d, other %v: %s", code, sent.Load(), other.requests, errs)
	}
}

func TestLoginRefused(t *testing.T) {
	f := newFake(t, nil)
	const want = "Error: node NODE refuses the login of user 'guest'\n--user and --password, or WARRENCTL_USER and WARRENCTL_PASSWORD, name whom to log in as.\n"
	f.expect(t, []string{"ping", "--password", "wrong"}, 77, "", want)
	t.Setenv("WARRENCTL_USER", "nobody")
	f.expect(t, []string{"ping"}, 77, "", strings.Replace(want, "guest", "nobody", 1))
}

func TestTimeout(t *testing.T) {
	hang := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer s.Close()
	defer close(hang)
	code, _, errs := run("ping", "-t", "0.05", "-n", s.URL)
	if code != 75 || errs != "Error: operation on node "+s.URL+" timed out after 0.05 seconds\n--timeout SECONDS waits longer.\n" {
		t.Errorf("%d %q", code, errs)
	}
}

func TestNotOurs(t *testing.T) {
	f := newFake(t, answers{"GET /api/vhosts": {200, "<html>"}})
	code, _, errs := run("list_vhosts", "-q", "-n", f.URL)
	if code != 70 || !strings.Contains(errs, "Is this the HTTP port of a Warren node?") {
		t.Errorf("%d %s", code, errs)
	}
}

func TestActions(t *testing.T) {
	f := newFake(t, answers{
		"DELETE /api/cluster/nodes/n3":          {204, ""},
		"DELETE /api/cluster/nodes/n1":          {409, `{"error":"node_running","reason":"forget n1: the node is running: stop it first"}`},
		"DELETE /api/queues/%2F/a%2Fb/contents": {204, ""},
		"DELETE /api/queues/%2F/q":              {204, ""},
		"DELETE /api/delayed/%2F/5":             {204, ""},
		"DELETE /api/queues/%2F/used":           {400, `{"error":"bad_request","reason":"queue 'used' in vhost '/' in use"}`},
		"DELETE /api/connections/a%20-%3E%20b":  {204, ""},
		"POST /api/cluster/leader":              {204, ""},
		"GET /api/whoami":                       {200, `{"name":"guest"}`},
		"GET /health":                           {200, `{"status":"ok"}`},
	})
	f.expect(t, []string{"forget_cluster_node", "n3"}, 0, "Removing node n3 from the cluster\n", "")
	f.expect(t, []string{"forget_cluster_node", "-q", "n1"}, 65, "", "Error: node NODE: forget n1: the node is running: stop it first\nDrain it (warrenctl drain n1), stop it (SIGTERM), and ask again, of another node.\n")
	f.expect(t, []string{"forget_cluster_node", "-q", "n9"}, 65, "", "Error: the cluster has no node n9\n'warrenctl cluster_status' shows names and ids.\n")
	f.expect(t, []string{"transfer_leadership"}, 0, "Handing leadership over ...\n", "")
	f.expect(t, []string{"transfer_leadership", "-q", "n2"}, 0, "", "")
	if got := f.body; got != `{"node":"n2"}` {
		t.Errorf("sent %s", got)
	}
	f.expect(t, []string{"purge_queue", "a/b"}, 0, "Purging queue 'a/b' in vhost '/' ...\n", "")
	f.expect(t, []string{"purge_queue", "-q", "none"}, 65, "", "Error: Queue 'none' in vhost '/' does not exist\n")
	f.expect(t, []string{"cancel_delayed", "5"}, 0, "Cancelling delayed message 5 in vhost '/' ...\n", "")
	f.expect(t, []string{"cancel_delayed", "-q", "6"}, 65, "", "Error: there is no delayed message 6 in vhost '/'\n")
	f.expect(t, []string{"delete_queue", "q", "--if-empty", "-u"}, 0, "Deleting queue 'q' on vhost '/' ...\n", "")
	f.expect(t, []string{"delete_queue", "-q", "used"}, 65, "", "Error: node NODE: queue 'used' in vhost '/' in use\n")
	f.expect(t, []string{"close_connection", "a -> b", "go away"}, 0, "Closing connection a -> b, reason: go away...\n", "")
	if f.reason != "go away" {
		t.Errorf("reason %q", f.reason)
	}
	f.expect(t, []string{"close_connection", "-q", "x", "y"}, 65, "", "Error: there is no connection x\n")
	f.expect(t, []string{"ping"}, 0, "Ping succeeded: NODE\n", "")
	f.expect(t, []string{"await_startup"}, 0, "NODE serves clients\n", "")
}

func TestAwaitStartup(t *testing.T) {
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			w.WriteHeader(503)
			_, _ = w.Write([]byte(`{"status":"failed","reason":"2 of 3 nodes"}`))
		}
	}))
	defer s.Close()
	if code, _, errs := run("await_startup", "-q", "-n", s.URL); code != 0 || asked.Load() != 3 {
		t.Errorf("%d after %d questions: %s", code, asked.Load(), errs)
	}
	asked.Store(-1 << 30)
	code, _, errs := run("await_startup", "-q", "-t", "0.3", "-n", s.URL)
	if want := "Error: " + s.URL + " does not serve clients after 0.3 seconds: 2 of 3 nodes\n"; code != 75 || errs != want {
		t.Errorf("%d %q, want %q", code, errs, want)
	}
}

const clusterJSON = `{"name":"warren","node":"n1","id":"id1","leader":"n2","raft_state":"Follower","raft_term":3,"raft_commit_index":12,
 "raft_applied_index":11,"raft_last_index":12,"raft_snapshot_index":5,"serving":true,
 "alarms":[{"node":"n2","resource":"memory"}],"members":[
 {"id":"id1","name":"n1","cluster_address":"h1:7900","amqp_address":"h1:5672","http_address":"h1:15672","version":"0.1","raft_voter":true,"raft_leader":false,"running":true},
 {"id":"id2","name":"n2","cluster_address":"h2:7900","amqp_address":"","http_address":"","version":"0.1","raft_voter":true,"raft_leader":true,"running":true},
 {"id":"id3","name":"n3","cluster_address":"h3:7900","amqp_address":"","http_address":"","version":"","raft_voter":false,"raft_leader":false,"running":false}]}`

func TestClusterStatus(t *testing.T) {
	f := newFake(t, answers{"GET /api/cluster": {200, clusterJSON}})
	f.expect(t, []string{"cluster_status"}, 0, `Cluster status of node n1 ...
Basics

Cluster name: warren
Leader: n2
Raft term: 3
Raft log: 12 committed, 11 applied here, snapshot at 5

Disk Nodes

n1: voter, running, cluster h1:7900, AMQP h1:5672, HTTP h1:15672, id id1
n2: leader, running, cluster h2:7900, id id2
n3: non-voter, not running, cluster h3:7900, id id3

Running Nodes

n1
n2

Versions

n1: Warren 0.1
n2: Warren 0.1

Maintenance status

Node: n1, status: not under maintenance
Node: n2, status: not under maintenance
Node: n3, status: not under maintenance

Alarms

Memory alarm on node n2
`, "")
	code, out, _ := run("cluster_status", "--formatter", "json", "-n", f.URL)
	var doc struct {
		Disk    []string `json:"disk_nodes"`
		Running []string `json:"running_nodes"`
		Leader  string   `json:"leader"`
		Alarms  []alarm  `json:"alarms"`
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil || code != 0 || len(doc.Disk) != 3 || len(doc.Running) != 2 || doc.Leader != "n2" || len(doc.Alarms) != 1 {
		t.Errorf("%d %v %+v", code, err, doc)
	}
	f = newFake(t, answers{"GET /api/cluster": {200, `{"name":"warren","node":"n1","leader":"","waiting":"2 of 3 nodes","members":[]}`}})
	code, out, _ = run("cluster_status", "-q", "-n", f.URL)
	if code != 0 || !strings.Contains(out, "Leader: (none is known") || !strings.Contains(out, "Waiting for: 2 of 3 nodes") || !strings.Contains(out, "Running Nodes\n\n(none)\n") {
		t.Errorf("%d %s", code, out)
	}
}

func TestStatus(t *testing.T) {
	f := newFake(t, answers{
		"GET /api/overview": {200, `{"node":"n1","cluster_name":"warren","product_name":"Warren","product_version":"0.1",
			"object_totals":{"connections":2,"channels":3,"queues":4,"consumers":5},"queue_totals":{"messages_ready":6,"messages_ready_details":{"rate":0.2},"messages_unacknowledged":7},
			"listeners":[{"node":"n1","protocol":"amqp","ip_address":"0.0.0.0","port":5672}]}`},
		"GET /api/nodes/n1": {200, `{"id":"id1","os_pid":"42","uptime":3723000,"mem_used":3145728,"mem_limit":6291456,"disk_free":1048576,"disk_free_limit":2097152,"raft_state":"Follower","raft_leader":false,"raft_applied_index":11,"raft_commit_index":12}`},
		"GET /api/cluster":  {200, `{"alarms":[{"node":"n1","resource":"disk"},{"node":"n2","resource":"memory"}]}`},
	})
	f.expect(t, []string{"status"}, 0, `Status of node n1 ...
Runtime

OS PID: 42
Uptime: 1h2m3s
Warren version: 0.1
Node name: n1
Node id: id1
Cluster name: warren
Raft state: follower
Raft log: applied 11 of 12 committed

Alarms

Free disk space alarm on node n1
Memory alarm on node n2

Memory

Used: 3.0 MiB
Watermark: 6.0 MiB

Free Disk Space

Free: 1.0 MiB
Low free disk space watermark: 2.0 MiB

Totals

Connection count: 2
Channel count: 3
Queue count: 4
Consumer count: 5
Messages ready: 6
Messages unacknowledged: 7

Listeners

Interface: 0.0.0.0, port: 5672, protocol: amqp
`, "")
	code, out, _ := run("status", "--formatter", "json", "-n", f.URL)
	var doc struct {
		Overview, Node map[string]any
		Alarms         []alarm
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil || code != 0 || doc.Overview["node"] != "n1" || doc.Node["os_pid"] != "42" || len(doc.Alarms) != 2 {
		t.Errorf("%d %v %s", code, err, out)
	}
}

func TestNodeURL(t *testing.T) {
	for in, want := range map[string]string{
		"localhost": "http://localhost:15672", "h:1": "http://h:1", "http://h": "http://h:15672", "https://h/": "https://h",
		"http://h:80/prefix/": "http://h:80/prefix", "[::1]:5": "http://[::1]:5",
	} {
		if got, err := nodeURL(in); got != want || err != nil {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
}
