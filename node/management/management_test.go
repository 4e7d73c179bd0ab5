package management

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"warren/fsm"
	"warren/fsm/command"
	"warren/node/guard"
	"warren/node/trace"
	"warren/protocol/wire"
)

// broker is a Broker with a real state machine, into which commands go one by one.
type broker struct {
	t testing.TB

	mu            sync.Mutex
	machine       *fsm.Machine
	index         uint64
	epoch         uint64
	sequence      uint64
	connections   []Connection
	resetAttempts string
	server        *Server
	histories     map[string]HistoryAnswer // of other nodes
	counted       map[string]uint64
	described     []ConnectionKey // those that Connections was asked for
	stats         map[string]NodeStats
	cluster       ClusterInfo
	closed        string // name and reason of the connection closed last
	shovels       []ShovelStatus
	story         []trace.Part // what nodes know of any trace
	traced        string       // ID of the trace that was asked for
	forgotten     string
	down          error // what Propose fails with
	behind        bool
	guard         *guard.Guard
	leader        string // whom leadership was handed to last
	hashing       error  // what State fails with

	longest time.Duration // that a View took

	image     io.Reader // what Backup gives; nil: it fails
	imageSize int64
	noBackup  error
}

// guestHash is RabbitMQ's hash of the password "guest", with the salt "salt".
var guestHash = func() string {
	sum := sha256.Sum256([]byte("saltguest"))
	return base64.StdEncoding.EncodeToString(append([]byte("salt"), sum[:]...))
}()

func newBroker(t testing.TB) *broker {
	b := &broker{t: t, machine: fsm.New(nil)}
	b.cluster = ClusterInfo{
		Name: "test", Node: "n1", NodeID: "id1", Leader: "n2", State: "Follower", Serving: true,
		Alarms: []Alarm{}, Term: 3, CommitIndex: 12, AppliedIndex: 12, LastIndex: 12, SnapshotIndex: 5,
		Members: []Member{
			{ID: "id1", Name: "n1", ClusterAddr: "127.0.0.1:7900", Voter: true, Running: true},
			{ID: "id2", Name: "n2", ClusterAddr: "127.0.0.1:7901", Voter: true, Leader: true, Running: true},
			{ID: "id3", Name: "n3", ClusterAddr: "127.0.0.1:7902", Voter: true},
		},
	}
	b.apply(command.NewBatch(nil, 0, 0), &command.EpochOpen{Node: "id1", Name: "n1", Nonce: 1})
	b.epoch = b.index
	b.apply(command.NewBatch(nil, 0, 0), &command.Upgrade{Version: fsm.Version})
	b.must(&command.AccessInit{
		User: "guest", Hash: guestHash, Algorithm: "rabbit_password_hashing_sha256", Tags: []string{"administrator"}, VHost: "/",
	})
	return b
}

func (b *broker) apply(batch []byte, cmd command.Command) command.Result {
	b.index++
	batch = command.AppendToBatch(batch, cmd)
	command.Stamp(batch, 1000, b.epoch)
	var out fsm.Output
	if err := b.machine.Apply(fsm.Meta{Index: b.index, Term: 1}, batch, &out); err != nil {
		b.t.Errorf("apply %T: %v", cmd, err)
	}
	if len(out.Results) != 1 {
		b.t.Errorf("apply %T: %d results, verdict %v", cmd, len(out.Results), out.Verdict)
		return command.Result{}
	}
	return out.Results[0]
}

func (b *broker) Propose(_ context.Context, cmd command.Command) (command.Result, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down != nil {
		return command.Result{}, b.down
	}
	b.sequence++
	r := b.apply(command.NewBatch(nil, b.epoch, b.sequence), cmd)
	if b.guard != nil {
		b.guard.Changed()
	}
	return r, nil
}

// must proposes as a client's connection 7 would.
func (b *broker) must(cmd command.Command) {
	b.t.Helper()
	res, err := b.Propose(context.Background(), cmd)
	if err != nil || res.Err != nil {
		b.t.Fatalf("%T: %v, %v", cmd, err, res.Err)
	}
}

func (b *broker) View(f func(*fsm.Machine)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	began := time.Now()
	f(b.machine)
	b.longest = max(b.longest, time.Since(began))
}

func (b *broker) CaughtUp() bool { return !b.behind }

func (b *broker) ConnectionRefs(_ context.Context, name string) ([]ConnectionRef, error) {
	var refs []ConnectionRef
	for _, c := range b.connections {
		if name != "" && c.Name != name {
			continue
		}
		r := ConnectionRef{
			ConnectionKey: c.ConnectionKey, Node: c.Node, Name: c.Name, User: c.User, VHost: c.VHost,
			PeerHost: c.PeerHost, PeerPort: c.PeerPort, ConnectedAt: c.ConnectedAt,
		}
		for _, ch := range c.ChannelInfos {
			r.Channels = append(r.Channels, ch.Number)
		}
		refs = append(refs, r)
	}
	return refs, nil
}

func (b *broker) RefsOf(ctx context.Context, keys []ConnectionKey) ([]ConnectionRef, error) {
	refs, err := b.ConnectionRefs(ctx, "")
	return slices.DeleteFunc(refs, func(r ConnectionRef) bool { return !slices.Contains(keys, r.ConnectionKey) }), err
}

func (b *broker) Connections(_ context.Context, keys []ConnectionKey) ([]Connection, error) {
	b.described = append(b.described, keys...)
	var some []Connection
	for _, c := range b.connections {
		if slices.Contains(keys, c.ConnectionKey) {
			some = append(some, c)
		}
	}
	return some, nil
}

func (b *broker) OpenConnections() int { return len(b.connections) }

func (b *broker) History(_ context.Context, q HistoryQuery) map[string]HistoryAnswer {
	if b.server == nil {
		return nil
	}
	all := map[string]HistoryAnswer{"id1": b.server.History(q)}
	for id, a := range b.histories {
		all[id] = a
	}
	return all
}

func (b *broker) LocalConnections() []Connection { return b.connections }

func (b *broker) LocalAttempts(bySource bool) []Attempts {
	all, _ := b.Attempts(context.Background(), "id1", bySource)
	return all
}

func (b *broker) Counted() map[string]uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.counted
}

// measure sets what the node has counted, and its numbers, while it is being sampled.
func (b *broker) measure(counted map[string]uint64, stats NodeStats) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counted, b.stats = counted, map[string]NodeStats{"id1": stats}
}

func (b *broker) LocalStats() NodeStats { return b.NodeStats(context.Background())["id1"] }

func (b *broker) Attempts(_ context.Context, nodeID string, bySource bool) ([]Attempts, error) {
	switch {
	case nodeID == "id3":
		return nil, ErrUnknownNode
	case bySource:
		return []Attempts{{"amqp091", "10.0.0.1", "u", 1, 2}}, nil
	}
	return []Attempts{{"amqp091", "", "", 1, 2}}, nil
}

func (b *broker) ResetAttempts(_ context.Context, nodeID string) error {
	b.resetAttempts = nodeID
	return nil
}

func (b *broker) CloseConnection(_ context.Context, name, reason string) (bool, error) {
	for _, c := range b.connections {
		if c.Name == name {
			b.closed = name + ": " + reason
			return true, nil
		}
	}
	return false, nil
}

func (b *broker) CloseUserConnections(_ context.Context, user, reason string) error {
	b.closed = "all of " + user + ": " + reason
	return nil
}

func (b *broker) Shovels(context.Context) []ShovelStatus { return b.shovels }

func (b *broker) RestartShovel(_ context.Context, vhost, name string) error {
	b.closed = "shovel " + vhost + " " + name
	return nil
}

func (b *broker) Cluster(context.Context) ClusterInfo { return b.cluster }

func (b *broker) TraceStory(_ context.Context, id string) (trace.Story, error) {
	b.traced = id
	return trace.Merge(b.story), nil
}

func (b *broker) SetLogLevel(_ context.Context, node, level string) error {
	if node == "n2" {
		return fmt.Errorf("%w: it cannot", ErrLogLevel)
	}
	if node != "n1" {
		return fmt.Errorf("%w: %s", ErrUnknownNode, node)
	}
	b.closed = "log level " + level
	return nil
}

func (b *broker) NodeStats(context.Context) map[string]NodeStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stats == nil && b.connections != nil {
		own := NodeStats{SocketsUsed: len(b.connections)}
		for i := range b.connections {
			own.Channels += len(b.connections[i].ChannelInfos)
		}
		return map[string]NodeStats{"id1": own}
	}
	return b.stats
}

func (b *broker) Forget(_ context.Context, node string) error {
	for _, m := range b.cluster.Members {
		switch {
		case m.Name != node:
		case m.Running:
			return fmt.Errorf("forget %s: %w", node, ErrNodeRunning)
		default:
			b.forgotten = node
			return nil
		}
	}
	return fmt.Errorf("forget %s: %w", node, ErrUnknownNode)
}

func (b *broker) Transfer(_ context.Context, to string) error {
	for _, m := range b.cluster.Members {
		if m.Name == to || to == "" {
			b.leader = m.Name
			return nil
		}
	}
	return fmt.Errorf("%w: %s", ErrUnknownNode, to)
}

func (b *broker) Drain(_ context.Context, node string, force bool) (int, error) {
	switch {
	case node == "n3":
		return 0, fmt.Errorf("%w: it is old", ErrNotSupported)
	case node != "n1" && node != "n2":
		return 0, fmt.Errorf("%w: %s", ErrUnknownNode, node)
	case !force:
		return 0, fmt.Errorf("%w: n3 is drained", ErrNeeded)
	}
	b.cluster.BeingDrained, b.cluster.Serving = true, false
	return 3, nil
}

func (b *broker) Revive(_ context.Context, node string) error {
	if node != "n1" {
		return fmt.Errorf("%w: %s", ErrUnknownNode, node)
	}
	b.cluster.BeingDrained, b.cluster.Serving = false, true
	return nil
}

func (b *broker) Reload(_ context.Context, node string) (Reloaded, error) {
	switch node {
	case "n1":
		return Reloaded{Applied: []string{"log_level"}, NeedRestart: []string{}}, nil
	case "n2":
		return Reloaded{}, fmt.Errorf("%w: settings: warren.conf:1: log_level: \"loud\"", ErrReload)
	}
	return Reloaded{}, fmt.Errorf("%w: %s", ErrUnknownNode, node)
}

func (b *broker) State() (StateInfo, error) {
	return StateInfo{Node: "n1", Index: 12, History: "0a", State: "0b"}, b.hashing
}

// guards is the guard of package guard on top of the broker's machine, as Access.
type guards struct{ *guard.Guard }

func (g guards) Rules(user, vhost string) Rules { return g.Guard.Rules(user, vhost) }

func (b *broker) access() guards {
	if b.guard == nil {
		b.guard = guard.New(guard.Config{View: b.View})
	}
	return guards{b.guard}
}

// api is a client of a handler in a test.
type api struct {
	*broker
	t       testing.TB
	handler http.Handler
}

func newAPI(t testing.TB) *api {
	b := newBroker(t)
	b.server = New(Config{
		Broker: b, Access: b.access(), Version: "1.2.3", Node: "n1", Started: time.Now(),
		Listeners: []Listener{{"amqp", "0.0.0.0", 5672}, {"http", "0.0.0.0", 15672}},
		Logger:    slog.New(slog.DiscardHandler), MaxMessageSize: 1 << 20,
	})
	return &api{b, t, b.server}
}

func (a *api) request(method, path, body string, edit ...func(*http.Request)) *httptest.ResponseRecorder {
	a.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.SetBasicAuth("guest", "guest")
	for _, f := range edit {
		f(r)
	}
	w := httptest.NewRecorder()
	a.handler.ServeHTTP(w, r)
	a.conforms(r.Method, r.URL.String(), body, w)
	return w
}

// do checks the status and, unless it is empty, that the body holds the JSON want:
// each field of want, and no more elements of arrays.
func (a *api) do(method, path, body string, status int, want string) {
	a.t.Helper()
	w := a.request(method, path, body)
	if w.Code != status {
		a.t.Errorf("%s %s: status %d, want %d: %s", method, path, w.Code, status, w.Body)
		return
	}
	if want == "" {
		return
	}
	var got, expected any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		a.t.Errorf("%s %s: %v in %s", method, path, err, w.Body)
		return
	}
	if err := json.Unmarshal([]byte(want), &expected); err != nil {
		a.t.Fatalf("the test's own JSON: %v", err)
	}
	if diff := missing("", got, expected); diff != "" {
		a.t.Errorf("%s %s: %s\nin %s", method, path, diff, w.Body)
	}
}

// get reads the answer to a GET into v.
func (a *api) get(path string, v any) {
	a.t.Helper()
	w := a.request("GET", path, "")
	if w.Code != 200 {
		a.t.Fatalf("GET %s: %d %s", path, w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), v); err != nil {
		a.t.Fatalf("GET %s: %v in %s", path, err, w.Body)
	}
}

// missing says what of want is not in got.
func missing(path string, got, want any) string {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return fmt.Sprintf("%s is %v, no object", path, got)
		}
		for name := range w {
			if _, ok := g[name]; !ok {
				return fmt.Sprintf("%s.%s is missing", path, name)
			}
			if d := missing(path+"."+name, g[name], w[name]); d != "" {
				return d
			}
		}
		return ""
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return fmt.Sprintf("%s is %v, want %d elements", path, got, len(w))
		}
		for i := range w {
			if d := missing(fmt.Sprintf("%s[%d]", path, i), g[i], w[i]); d != "" {
				return d
			}
		}
		return ""
	}
	if got != want {
		return fmt.Sprintf("%s is %v, want %v", path, got, want)
	}
	return ""
}

const notFoundBody = `{"error":"Object Not Found","reason":"Not Found"}`

// TestVHostInPath is the reason for our own routing: "%2F" is one segment.
func TestVHostInPath(t *testing.T) {
	a := newAPI(t)
	a.do("PUT", "/api/queues/%2F/a%2Fb", `{}`, 201, "")
	a.do("GET", "/api/queues/%2F/a%2Fb", "", 200, `{"name":"a/b","vhost":"/"}`)
	a.do("GET", "/api/queues/%2f/a%2fb/", "", 200, `{"name":"a/b"}`)
	a.do("GET", "/api/vhosts/%2F", "", 200, `{"name":"/"}`)
	a.do("GET", "/api/queues/%2F", "", 200, `[{"name":"a/b"}]`)
	a.do("GET", "/api/queues/other/a", "", 404, notFoundBody)
}

func TestSplit(t *testing.T) {
	for path, want := range map[string]string{
		"/api/queues/%2F/a.b":  `["api" "queues" "/" "a.b"]`,
		"/api/queues/%2F/":     `["api" "queues" "/"]`,
		"/api/x/a%20b+c/%25":   `["api" "x" "a b+c" "%"]`,
		"/api/x//y":            `["api" "x" "" "y"]`,
		"/api/x/%C3%A4":        `["api" "x" "ä"]`,
		"/api/queues/%2F%2F/a": `["api" "queues" "//" "a"]`,
	} {
		got, err := split(path)
		if s := fmt.Sprintf("%q", got); err != nil || s != want {
			t.Errorf("%s: %s, %v", path, s, err)
		}
	}
	if _, err := split("/api/%zz"); err == nil {
		t.Error("a broken escape was accepted")
	}
}

// TestRoutesDiffer checks that no request fits two routes, unless one names more of the path.
func TestRoutesDiffer(t *testing.T) {
	routes := (&server{}).table()
	for i, r := range routes {
		path := make([]string, len(r.pattern))
		for j, p := range r.pattern {
			path[j] = strings.Trim(p, "{}")
		}
		for _, other := range routes[i+1:] {
			p, _ := match(r.pattern, path)
			if o, ok := match(other.pattern, path); ok && other.method == r.method && len(o) == len(p) {
				t.Errorf("%s %v and %v", r.method, r.pattern, other.pattern)
			}
		}
	}
}

func TestLogin(t *testing.T) {
	a := newAPI(t)
	for name, edit := range map[string]func(*http.Request){
		"none":           func(r *http.Request) { r.Header.Del("Authorization") },
		"wrong password": func(r *http.Request) { r.SetBasicAuth("guest", "x") },
		"not basic":      func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") },
	} {
		for _, path := range []string{"/api/overview", "/api/nothing"} {
			w := a.request("GET", path, "", edit)
			if w.Code != 401 || !strings.Contains(w.Header().Get("WWW-Authenticate"), "Basic") {
				t.Errorf("%s, %s: %d %v", name, path, w.Code, w.Header())
			}
		}
	}
	a.do("GET", "/api/whoami", "", 200, `{"name":"guest","tags":["administrator"]}`)
}

// busy is an Access that is asked for too many passwords.
type busy struct{ Access }

func (busy) Login(context.Context, string, string, net.Addr) error { return ErrBusy }

// Who cannot be let in just now is not told that the password is wrong.
func TestLoginWhenBusy(t *testing.T) {
	a := newAPI(t)
	a.handler = New(Config{Broker: a.broker, Access: busy{a.access()}, Logger: slog.New(slog.DiscardHandler)})
	a.do("GET", "/api/overview", "", 503, `{"error":"service_unavailable"}`)
}

// row: 1.8 errors
func TestUnknownAndMethod(t *testing.T) {
	a := newAPI(t)
	a.do("GET", "/api/nothing", "", 404, notFoundBody)
	a.do("GET", "/api/", "", 404, notFoundBody)
	a.do("GET", "/api/queues/%2F/q", "", 404, notFoundBody)
	a.do("DELETE", "/api/overview", "", 405, `{"error":"method_not_allowed"}`)
	if got := a.request("OPTIONS", "/api/queues/%2F/q", "").Header().Get("Allow"); got != "GET, PUT, DELETE, OPTIONS" {
		t.Errorf("Allow: %q", got)
	}
	if w := a.request("HEAD", "/api/overview", ""); w.Code != 200 {
		t.Errorf("HEAD: %d", w.Code)
	}
}

func TestHealth(t *testing.T) {
	for _, c := range []struct {
		edit   func(*ClusterInfo)
		status int
		want   string
	}{
		{func(*ClusterInfo) {}, 200, `{"status":"ok","leader":"n2"}`},
		{func(i *ClusterInfo) { i.Leader = "" }, 503, `{"status":"failed","reason":"no leader is known: the cluster has no quorum, or this node does not see it"}`},
		{func(i *ClusterInfo) { i.Serving = false }, 503, `{"reason":"the node does not accept clients yet"}`},
		{func(i *ClusterInfo) { i.Waiting = "2 of 3 nodes" }, 503, `{"reason":"2 of 3 nodes"}`},
	} {
		a := newAPI(t)
		c.edit(&a.cluster)
		a.do("GET", "/health", "", c.status, c.want)
		status := "ok"
		if c.status != 200 {
			status = "failed"
		}
		a.do("GET", "/api/health/checks/ready-to-serve-clients", "", c.status, `{"status":"`+status+`"}`)
	}
}

// row: 1.8 health checks
func TestHealthChecks(t *testing.T) {
	a := newAPI(t)
	for _, name := range []string{"alarms", "local-alarms", "virtual-hosts"} {
		a.do("GET", "/api/health/checks/"+name, "", 200, `{"status":"ok"}`)
	}
	a.do("GET", "/api/health/checks/port-listener/5672", "", 200, `{"status":"ok","port":5672}`)
	a.do("GET", "/api/health/checks/port-listener/1", "", 503, `{"status":"failed","reason":"No active listener","missing":1,"ports":[5672,15672]}`)
	a.do("GET", "/api/health/checks/port-listener/x", "", 400, `{"error":"bad_request"}`)
	const critical = "/api/health/checks/node-is-quorum-critical"
	part := func(state string, term uint64) NodeStats {
		return NodeStats{RaftStats: RaftStats{State: state, Term: term}}
	}
	a.stats = map[string]NodeStats{"id1": part("Follower", 3), "id2": part("Leader", 3)}
	a.do("GET", critical, "", 503, `{"status":"failed","queues":[]}`)
	a.stats["id3"] = part("Candidate", 3)
	a.do("GET", critical, "", 503, `{"status":"failed"}`)
	a.stats["id3"] = part("Follower", 2) // it runs, but has not heard of the leader yet
	a.do("GET", critical, "", 503, `{"status":"failed"}`)
	a.stats["id3"] = part("Follower", 3)
	a.do("GET", critical, "", 200, `{"status":"ok"}`)
	a.do("GET", "/api/cluster/nodes/n2/quorum-critical", "", 200, `{"status":"ok"}`)
	a.do("GET", "/api/cluster/nodes/n9/quorum-critical", "", 404, notFoundBody)
	third := a.stats["id3"]
	third.BeingDrained = true // it is about to go
	a.stats["id3"] = third
	a.do("GET", critical, "", 503, `{"status":"failed"}`)
	third.BeingDrained = false
	a.stats["id3"] = third
	behind := a.cluster.CommitIndex
	a.cluster.CommitIndex = upToDate + 1 // it is far behind
	a.do("GET", "/api/cluster/nodes/n2/quorum-critical", "", 503, `{"status":"failed"}`)
	a.cluster.CommitIndex = behind
	a.cluster.Members = a.cluster.Members[:1]
	a.do("GET", "/api/health/checks/node-is-quorum-critical", "", 200, `{"status":"ok"}`)
	a.do("GET", "/api/aliveness-test/%2F", "", 200, `{"status":"ok"}`)
	a.do("GET", "/api/aliveness-test/other", "", 404, "")
}

func TestHealthChecksOfAlarms(t *testing.T) {
	a := newAPI(t)
	a.cluster.Alarms = []Alarm{{"n2", "memory"}, {"n2", "disk"}}
	a.do("GET", "/api/health/checks/alarms", "", 503, `{"status":"failed","reason":"There are alarms in effect in the cluster",
		"alarms":[{"node":"n2","resource":"memory"},{"node":"n2","resource":"disk"}]}`)
	a.do("GET", "/api/health/checks/local-alarms", "", 200, `{"status":"ok"}`)
	a.do("POST", "/api/exchanges/%2F/amq.direct/publish", `{"routing_key":"k","payload":"p"}`, 503,
		`{"error":"service_unavailable","reason":"publishers are blocked: n2 is low on memory"}`)
	a.cluster.Alarms = []Alarm{{"n2", "memory"}, {"n1", "disk"}}
	a.do("GET", "/api/health/checks/local-alarms", "", 503, `{"status":"failed","reason":"There are alarms in effect on the node",
		"alarms":[{"node":"n1","resource":"disk"}]}`)
}

func TestProfiles(t *testing.T) {
	a := newAPI(t)
	for path, want := range map[string]int{
		"": 200, "heap": 200, "heap?debug=1": 200, "goroutine?debug=2": 200, "profile?seconds=1": 200, "cmdline": 404, "nosuch": 404,
	} {
		if w := a.request("GET", "/api/debug/pprof/"+path, ""); w.Code != want || w.Body.Len() == 0 {
			t.Errorf("%q: status %d, want %d; %d bytes", path, w.Code, want, w.Body.Len())
		}
	}
	w := a.request("GET", "/api/debug/pprof/heap", "", func(r *http.Request) { r.SetBasicAuth("guest", "wrong") })
	if w.Code != 401 {
		t.Errorf("status %d without the password", w.Code)
	}
}

// row: 1.8 overview
func TestOverview(t *testing.T) {
	a := newAPI(t)
	a.fill()
	a.counted = map[string]uint64{"publish": 3, "deliver": 1, "get": 1, "connection_created": 5}
	a.do("GET", "/api/overview", "", 200, `{
		"product_name":"Warren","product_version":"1.2.3","cluster_name":"test","node":"n1",
		"queue_totals":{"messages":3,"messages_ready":2,"messages_unacknowledged":1},
		"object_totals":{"connections":1,"channels":1,"exchanges":7,"queues":2,"consumers":1},
		"message_stats":{"publish":3,"publish_details":{"rate":0},"deliver_get":2},"churn_rates":{"connection_created":5,"queue_created":2},
		"listeners":[{"protocol":"amqp","port":5672,"node":"n1"},{"protocol":"http","port":15672}]}`)
	a.do("GET", "/api/overview?columns=node,queue_totals.messages", "", 200, `{"node":"n1","queue_totals":{"messages":3}}`)
	a.do("GET", "/api/cluster-name", "", 200, `{"name":"test"}`)
	a.do("GET", "/api/vhosts", "", 200, `[{"name":"/","messages":3,"cluster_state":{"n1":"running","n2":"running"}}]`)
}

// fill makes two queues; one has a consumer on channel 1 of connection 7, which
// holds one message, and two that wait.
func (a *api) fill() {
	ch := command.Channel{Conn: 7, Number: 1}
	a.must(&command.QueueDeclare{VHost: "/", Name: "jobs", Durable: true, Args: wire.Table{{Name: "x-max-length", Value: int32(9)}}})
	a.must(&command.QueueDeclare{VHost: "/", Conn: 7, Name: "private", Exclusive: true})
	a.must(&command.Consume{VHost: "/", Channel: ch, Queue: "jobs", Tag: "worker", Prefetch: 1, Limit: 100})
	for i := range 3 {
		a.must(&command.Publish{VHost: []byte("/"), Key: []byte("jobs"), Properties: []byte{0, 0}, Body: fmt.Append(nil, "message ", i)})
	}
	a.connections = []Connection{{
		ConnectionKey: ConnectionKey{"id1", 7}, Name: "127.0.0.1:4000 -> 127.0.0.1:5672", User: "guest", VHost: "/", State: "running", Node: "n1",
		Protocol: "AMQP 0-9-1", PeerHost: "127.0.0.1", PeerPort: 4000, Channels: 1,
		ClientProperties: map[string]any{"connection_name": "tester"}, UserProvidedName: "tester",
		ChannelInfos: []Channel{{
			Number: 1, Name: "127.0.0.1:4000 -> 127.0.0.1:5672 (1)", User: "guest", VHost: "/", Node: "n1",
			Connection: ConnectionDetails{"127.0.0.1:4000 -> 127.0.0.1:5672", "127.0.0.1", 4000}, Consumers: 1,
		}},
	}}
}

// row: 1.8 nodes
func TestNodes(t *testing.T) {
	a := newAPI(t)
	a.stats = map[string]NodeStats{
		"id1": {RaftStats: RaftStats{State: "Follower", Term: 3, CommitIndex: 12}, MemoryUsed: 5, MemoryLimit: 10, DiskFree: 1, DiskFreeLimit: 2, DiskFreeAlarm: true, Processors: 4},
		"id2": {MemoryUsed: 11, MemoryLimit: 10, MemoryAlarm: true, DiskFree: 3, DiskFreeLimit: 2, Uptime: 1000, PID: 42},
	}
	a.do("GET", "/api/nodes", "", 200, `[
		{"name":"n1","running":true,"raft_leader":false,"raft_voter":true,"raft_commit_index":12,"processors":4,
		 "mem_used":5,"mem_limit":10,"mem_alarm":false,"disk_free":1,"disk_free_limit":2,"disk_free_alarm":true},
		{"name":"n2","running":true,"raft_leader":true,"os_pid":"42","proc_total":2147483647,"sockets_total":0,"uptime":1000,
		 "mem_used":11,"mem_limit":10,"mem_alarm":true,"disk_free":3,"disk_free_limit":2,"disk_free_alarm":false},
		{"name":"n3","running":false,"mem_alarm":false,"disk_free_alarm":false}]`)
	a.do("GET", "/api/nodes/n2", "", 200, `{"name":"n2","cluster_address":"127.0.0.1:7901"}`)
	a.do("GET", "/api/nodes/n9", "", 404, notFoundBody)
	a.do("GET", "/api/cluster", "", 200, `{"name":"test","leader":"n2","raft_term":3,"members":[{"id":"id1"},{"id":"id2"},{"id":"id3"}]}`)
	a.do("DELETE", "/api/cluster/nodes/n9", "", 404, `{"error":"not_found"}`)
	a.do("DELETE", "/api/cluster/nodes/n2", "", 409, `{"error":"node_running","reason":"forget n2: the node is running: stop it first"}`)
	a.do("DELETE", "/api/cluster/nodes/n3", "", 204, "")
	if a.forgotten != "n3" {
		t.Errorf("forgotten %q", a.forgotten)
	}
}

func TestLeadership(t *testing.T) {
	a := newAPI(t)
	a.do("POST", "/api/cluster/leader", `{"node":"n9"}`, 404, `{"error":"not_found","reason":"no such node in the cluster: n9"}`)
	a.do("POST", "/api/cluster/leader", `{"node":7}`, 400, `{"error":"bad_request"}`)
	a.do("POST", "/api/cluster/leader", `{"node":"n3"}`, 204, "")
	if a.leader != "n3" {
		t.Errorf("leadership went to %q", a.leader)
	}
	a.do("POST", "/api/cluster/leader", "", 204, "")
	if a.leader != "n1" {
		t.Errorf("leadership went to %q", a.leader)
	}
}

func TestState(t *testing.T) {
	a := newAPI(t)
	a.do("GET", "/api/cluster/state", "", 200, `{"node":"n1","index":12,"history_hash":"0a","state_hash":"0b"}`)
	a.hashing = ErrHashing
	a.do("GET", "/api/cluster/state", "", 503, `{"error":"service_unavailable","reason":"the state is being hashed for another request: try again later"}`)
}

// row: 1.8 connections and channels
func TestConnectionsAndChannels(t *testing.T) {
	a := newAPI(t)
	a.do("GET", "/api/connections", "", 200, `[]`)
	a.fill()
	const path = "/api/connections/127.0.0.1%3A4000%20-%3E%20127.0.0.1%3A5672"
	a.do("GET", "/api/connections", "", 200, `[{"name":"127.0.0.1:4000 -> 127.0.0.1:5672","channels":1,"user_provided_name":"tester"}]`)
	a.do("GET", path, "", 200, `{"peer_port":4000,"client_properties":{"connection_name":"tester"}}`)
	a.do("GET", path+"/channels", "", 200, `[{"number":1}]`)
	a.do("GET", "/api/connections/username/guest", "", 200, `[{}]`)
	a.do("GET", "/api/connections/username/other", "", 200, `[]`)
	a.do("GET", "/api/vhosts/%2F/connections", "", 200, `[{}]`)
	a.do("GET", "/api/channels", "", 200, `[{"number":1,"connection_details":{"peer_port":4000}}]`)
	a.do("GET", "/api/vhosts/%2F/channels", "", 200, `[{}]`)
	a.do("GET", "/api/channels/127.0.0.1:4000%20-%3E%20127.0.0.1:5672%20(1)", "", 200, `{"number":1,"consumer_details":[{"consumer_tag":"worker"}]}`)
	a.do("GET", "/api/channels/x", "", 404, notFoundBody)
	for _, field := range []string{`"id"`, `"channel_infos"`} {
		if body := a.request("GET", "/api/connections", "").Body.String(); strings.Contains(body, field) {
			t.Errorf("%s in %s", field, body)
		}
	}
	a.do("DELETE", "/api/connections/x", "", 404, notFoundBody)
	w := a.request("DELETE", path, "", func(r *http.Request) { r.Header.Set("X-Reason", "maintenance") })
	if w.Code != 204 || a.closed != "127.0.0.1:4000 -> 127.0.0.1:5672: maintenance" {
		t.Errorf("%d, %q", w.Code, a.closed)
	}
}

// row: 1.8 exchanges
func TestExchanges(t *testing.T) {
	a := newAPI(t)
	a.do("GET", "/api/exchanges/%2F?columns=name,type", "", 200, `[{"name":"","type":"direct"},{"name":"amq.direct"},{"name":"amq.fanout"},{"name":"amq.headers"},{"name":"amq.match"},{"name":"amq.rabbitmq.trace"},{"name":"amq.topic"}]`)
	a.do("PUT", "/api/exchanges/%2F/x", `{"type":"topic","durable":true,"auto_delete":true,"arguments":{"alternate-exchange":"y"}}`, 201, "")
	a.do("PUT", "/api/exchanges/%2F/x", `{"type":"topic","durable":true,"auto_delete":true,"arguments":{"alternate-exchange":"y"}}`, 204, "")
	a.do("GET", "/api/exchanges/%2F/x", "", 200, `{"name":"x","vhost":"/","type":"topic","durable":true,"auto_delete":true,"internal":false,"arguments":{"alternate-exchange":"y"}}`)
	a.do("PUT", "/api/exchanges/%2F/x", `{"type":"fanout"}`, 400, `{"error":"bad_request","reason":"inequivalent arg 'type' for exchange 'x' in vhost '/': received 'fanout' but current is 'topic'"}`)
	a.do("PUT", "/api/exchanges/%2F/x", `{"type":`, 400, `{"error":"bad_request"}`)
	a.do("PUT", "/api/exchanges/%2F/amq.x", `{}`, 401, `{"error":"not_authorised","reason":"exchange name 'amq.x' contains reserved prefix 'amq.*'"}`)
	a.do("GET", "/api/exchanges/%2F/amq.default", "", 200, `{"name":"","type":"direct"}`)
	a.do("DELETE", "/api/exchanges/%2F/nothing", "", 404, notFoundBody)
	a.do("PUT", "/api/queues/%2F/q", "", 201, "")
	a.do("POST", "/api/bindings/%2F/e/x/q/q", `{"routing_key":"a"}`, 201, "")
	a.do("GET", "/api/exchanges/%2F/x/bindings/source", "", 200, `[{"destination":"q"}]`)
	a.do("GET", "/api/exchanges/%2F/x/bindings/destination", "", 200, `[]`)
	a.do("DELETE", "/api/exchanges/%2F/x?if-unused=true", "", 400, `{"reason":"exchange 'x' in vhost '/' in use"}`)
	a.do("DELETE", "/api/exchanges/%2F/x", "", 204, "")
}

// row: 1.8 queues
func TestQueues(t *testing.T) {
	a := newAPI(t)
	a.fill()
	a.do("GET", "/api/queues", "", 200, `[{"name":"jobs"},{"name":"private"}]`)
	a.do("GET", "/api/queues/%2F/jobs", "", 200, `{
		"name":"jobs","vhost":"/","type":"classic","state":"running","durable":true,"exclusive":false,
		"arguments":{"x-max-length":9},"messages":3,"messages_ready":2,"messages_unacknowledged":1,
		"message_bytes":27,"message_bytes_ready":18,"message_bytes_unacknowledged":9,
		"leader":"n2","members":["n1","n2","n3"],"online":["n1","n2"],"consumers":1,
		"consumer_details":[{"consumer_tag":"worker","ack_required":true,"prefetch_count":1,"queue":{"name":"jobs","vhost":"/"},
			"channel_details":{"name":"127.0.0.1:4000 -> 127.0.0.1:5672 (1)","connection_name":"127.0.0.1:4000 -> 127.0.0.1:5672","number":1,"node":"n1"}}]}`)
	a.do("GET", "/api/queues/%2F/private", "", 200, `{"exclusive":true,"owner_pid_details":{"name":"127.0.0.1:4000 -> 127.0.0.1:5672"}}`)
	a.do("GET", "/api/consumers", "", 200, `[{"consumer_tag":"worker"}]`)
	a.do("GET", "/api/consumers/%2F", "", 200, `[{"consumer_tag":"worker"}]`)
	a.do("PUT", "/api/queues/%2F/new", `{"durable":true,"auto_delete":true,"arguments":{"x-message-ttl":1000,"f":1.5,"n":{"a":[true,null,"x"]}}}`, 201, "")
	a.do("GET", "/api/queues/%2F/new", "", 200, `{"auto_delete":true,"durable":true,"arguments":{"x-message-ttl":1000,"f":1.5,"n":{"a":[true,null,"x"]}}}`)
	a.do("PUT", "/api/queues/%2F/jobs", `{}`, 400, `{"error":"bad_request"}`)
	a.do("PUT", "/api/queues/other/q", `{}`, 404, notFoundBody)
	a.do("DELETE", "/api/queues/%2F/jobs?if-unused=true", "", 400, `{"reason":"queue 'jobs' in vhost '/' in use"}`)
	a.do("DELETE", "/api/queues/%2F/jobs?if-empty=true", "", 400, `{"reason":"queue 'jobs' in vhost '/' not empty"}`)
	a.do("DELETE", "/api/queues/%2F/private", "", 400, "")
	a.do("DELETE", "/api/queues/%2F/jobs/contents", "", 204, "")
	a.do("GET", "/api/queues/%2F/jobs", "", 200, `{"messages_ready":0,"messages_unacknowledged":1}`)
	a.do("DELETE", "/api/queues/%2F/jobs", "", 204, "")
	a.do("DELETE", "/api/queues/%2F/jobs", "", 404, notFoundBody)
	a.do("DELETE", "/api/queues/%2F/jobs/contents", "", 404, notFoundBody)
}

// row: 1.8 bindings
func TestBindings(t *testing.T) {
	a := newAPI(t)
	a.do("PUT", "/api/queues/%2F/q", "", 201, "")
	const pair = "/api/bindings/%2F/e/amq.topic/q/q"
	for _, c := range []struct{ body, key string }{
		{`{}`, "~"},
		{`{"routing_key":"a.*"}`, "a.%2A"},
		{`{"routing_key":"a/b ~"}`, "a%2Fb+%7E"},
		{`{"routing_key":"k","arguments":{"b":1,"a":"x"}}`, ""},
	} {
		w := a.request("POST", pair, c.body)
		location := w.Header().Get("Location")
		if w.Code != 201 || !strings.HasPrefix(location, "q/") {
			t.Fatalf("%s: %d, location %q: %s", c.body, w.Code, location, w.Body)
		}
		at := strings.TrimSuffix(pair, "q") + location
		var b struct {
			Key string `json:"properties_key"`
		}
		if err := json.Unmarshal(a.request("GET", at, "").Body.Bytes(), &b); err != nil {
			t.Fatal(err)
		}
		if c.key != "" && b.Key != c.key {
			t.Errorf("%s: properties key %q", c.body, b.Key)
		}
		a.do("GET", pair+"/"+b.Key, "", 200, `{"source":"amq.topic"}`) // not encoded again
		a.do("DELETE", at, "", 204, "")
		a.do("DELETE", at, "", 404, notFoundBody)
	}
	a.do("POST", pair, `{"routing_key":"k"}`, 201, "")
	a.do("POST", "/api/bindings/%2F/e/amq.topic/e/amq.fanout", `{"routing_key":"k"}`, 201, "")
	a.do("GET", pair, "", 200, `[{"routing_key":"k","destination_type":"queue","properties_key":"k","arguments":{}}]`)
	a.do("GET", "/api/bindings/%2F/e/amq.topic/e/amq.fanout", "", 200, `[{"destination_type":"exchange"}]`)
	a.do("GET", "/api/bindings/%2F/e/amq.default/q/q", "", 200, `[{"source":"","routing_key":"q"}]`)
	a.do("GET", "/api/queues/%2F/q/bindings", "", 200, `[{"source":""},{"source":"amq.topic"}]`)
	a.do("GET", "/api/bindings", "", 200, `[{},{},{}]`)
	a.do("GET", "/api/bindings/%2F", "", 200, `[{},{},{}]`)
	a.do("POST", "/api/bindings/%2F/e/amq.topic/q/nothing", `{}`, 404, notFoundBody)
	a.do("POST", "/api/bindings/%2F/e/nothing/q/q", `{}`, 404, notFoundBody)
	a.do("POST", "/api/bindings/%2F/e/amq.headers/q/q", `{"arguments":{"x-match":"some"}}`, 400, `{"error":"bad_request"}`)
	a.do("POST", "/api/bindings/%2F/e/amq.default/q/q", `{}`, 401, `{"reason":"operation not permitted on the default exchange"}`)
}

// row: 1.8 queues; 1.8 exchanges
func TestPublishAndGet(t *testing.T) {
	a := newAPI(t)
	a.do("PUT", "/api/queues/%2F/q", "", 201, "")
	const publish, get = "/api/exchanges/%2F/amq.default/publish", "/api/queues/%2F/q/get"
	a.do("POST", publish, `{"routing_key":"q","payload":"one","payload_encoding":"string",
		"properties":{"content_type":"text/plain","delivery_mode":2,"priority":3,"timestamp":99,"headers":{"h":1},"unknown":1}}`, 200, `{"routed":true}`)
	a.do("POST", publish, `{"routing_key":"q","payload":"//4=","payload_encoding":"base64","properties":{}}`, 200, `{"routed":true}`)
	a.do("POST", publish, `{"routing_key":"nowhere","payload":"x"}`, 200, `{"routed":false}`)
	for _, bad := range []string{
		`{"payload":"x"}`, `{"routing_key":"q","payload":"x","payload_encoding":"hex"}`, `{"routing_key":"q","payload":"!","payload_encoding":"base64"}`,
		`{"routing_key":"q","payload":"x","properties":{"delivery_mode":"2"}}`, `{"routing_key":"q","payload":"x","properties":{"delivery_mode":300}}`,
		`{"routing_key":"q","payload":"x","properties":{"headers":[]}}`, `{"routing_key":"q","payload":"x","properties":{"type":1}}`,
		`{"routing_key":"` + strings.Repeat("x", 256) + `","payload":"x"}`,
	} {
		a.do("POST", publish, bad, 400, `{"error":"bad_request"}`)
	}
	a.do("POST", publish, `{"routing_key":"q","payload":"`+strings.Repeat("x", 1<<20+1)+`"}`, 400,
		`{"error":"bad_request","reason":"message size 1048577 is larger than configured max size 1048576"}`)
	a.do("POST", "/api/exchanges/%2F/nothing/publish", `{"routing_key":"","payload":""}`, 404, notFoundBody)

	first := `{"payload":"one","payload_encoding":"string","payload_bytes":3,"exchange":"","routing_key":"q","redelivered":%v,"message_count":1,
		"properties":{"content_type":"text/plain","delivery_mode":2,"priority":3,"timestamp":99,"headers":{"h":1}}}`
	second := `{"payload":"//4=","payload_encoding":"base64","payload_bytes":2}`
	a.do("POST", get, `{"count":5,"ackmode":"ack_requeue_true","encoding":"auto"}`, 200, "["+fmt.Sprintf(first, false)+","+second+"]")
	a.do("POST", get, `{"count":1,"ackmode":"reject_requeue_true","encoding":"base64","truncate":1}`, 200, `[{"payload":"bw==","payload_bytes":3,"redelivered":true}]`)
	a.do("GET", "/api/queues/%2F/q", "", 200, `{"messages_ready":2,"messages_unacknowledged":0}`)
	a.do("POST", get, `{"count":1,"ackmode":"ack_requeue_false","encoding":"auto"}`, 200, "["+fmt.Sprintf(first, true)+"]")
	a.do("POST", get, `{"count":9,"ackmode":"reject_requeue_false","encoding":"auto"}`, 200, "["+second+"]")
	a.do("POST", get, `{"count":9,"ackmode":"ack_requeue_false","encoding":"auto"}`, 200, "[]")
	for _, bad := range []string{
		`{}`, `{"count":0,"ackmode":"ack_requeue_true","encoding":"auto"}`, `{"count":1,"ackmode":"x","encoding":"auto"}`,
		`{"count":1,"ackmode":"ack_requeue_true","encoding":"x"}`, `{"count":1,"ackmode":"ack_requeue_true","encoding":"auto","truncate":-1}`,
	} {
		a.do("POST", get, bad, 400, `{"error":"bad_request"}`)
	}
	a.View(func(m *fsm.Machine) {
		if c := m.Connections(a.epoch); len(c) != 0 {
			t.Errorf("connections left in the machine: %v", c)
		}
	})
}

func TestProposeFails(t *testing.T) {
	a := newAPI(t)
	a.down = errors.New("no quorum")
	a.do("PUT", "/api/queues/%2F/q", "", 503, `{"error":"service_unavailable","reason":"no quorum"}`)
}

// row: 1.8 list parameters
func TestLists(t *testing.T) {
	a := newAPI(t)
	for i := range 25 {
		a.do("PUT", fmt.Sprintf("/api/queues/%%2F/q%02d", i), "", 201, "")
	}
	a.do("PUT", "/api/queues/%2F/Other", `{"auto_delete":true}`, 201, "")
	a.do("POST", "/api/exchanges/%2F/amq.default/publish", `{"routing_key":"q07","payload":""}`, 200, "")
	a.do("GET", "/api/queues?page=3&page_size=10&columns=name", "", 200, `{"total_count":26,"item_count":6,"filtered_count":26,"page":3,"page_size":10,"page_count":3}`)
	a.do("GET", "/api/queues?pagination=true&name=OTH&columns=name", "", 200, `{"total_count":26,"filtered_count":1,"item_count":1,"page":1,"page_size":100,"page_count":1,"items":[{"name":"Other"}]}`)
	a.do("GET", "/api/queues?page=1&name=%5Eq0%5B12%5D$&use_regex=true&columns=name&sort=name&sort_reverse=true", "", 200, `{"items":[{"name":"q02"},{"name":"q01"}]}`)
	a.do("GET", "/api/queues?page=1&page_size=1&sort=message_stats.publish&sort_reverse=true&columns=name,message_stats.publish", "", 200, `{"items":[{"name":"q07","message_stats":{"publish":1}}]}`)
	a.do("GET", "/api/queues?page=1&page_size=1&sort=auto_delete&sort_reverse=true&columns=name", "", 200, `{"items":[{"name":"Other"}]}`)
	a.do("GET", "/api/queues?page=1&name=nothing", "", 200, `{"filtered_count":0,"page_count":0,"items":[]}`)
	a.do("GET", "/api/queues?page=3&page_size=13", "", 200, `{"item_count":0,"page_count":2,"items":[]}`) // one behind the last is empty, as in RabbitMQ
	a.do("GET", "/api/queues?page=4&page_size=10", "", 400, `{"error":"page_out_of_range","reason":"Page out of range, page: 4 page size: 10, len: 26"}`)
	a.do("GET", "/api/queues?page=9223372036854775807&page_size=100", "", 400, `{"error":"page_out_of_range","reason":"Page out of range, page: 9223372036854775807 page size: 100, len: 26"}`)
	for query, want := range map[string]string{
		"page=0":                       "invalid_pagination_parameters",
		"page=1&page_size=501":         "invalid_pagination_parameters",
		"page=1&page_size=0":           "invalid_pagination_parameters",
		"page=x":                       "bad_request",
		"page=":                        "bad_request",
		"page_size=x":                  "bad_request",
		"page=1&name=(&use_regex=true": "bad_request",
	} {
		a.do("GET", "/api/queues?"+query, "", 400, `{"error":"`+want+`"}`)
	}
}

func TestNamesTooLong(t *testing.T) {
	a := newAPI(t)
	a.do("PUT", "/api/queues/%2F/q", "", 201, "")
	long := strings.Repeat("x", 256)
	a.do("PUT", "/api/queues/%2F/"+long, "", 400, `{"reason":"queue name is longer than 255 bytes"}`)
	a.do("PUT", "/api/queues/%2F/"+long[1:], "", 201, "")
	a.do("PUT", "/api/exchanges/%2F/"+long, "", 400, `{"reason":"exchange name is longer than 255 bytes"}`)
	a.do("POST", "/api/bindings/%2F/e/amq.topic/q/q", `{"routing_key":"`+long+`"}`, 400, `{"reason":"routing_key is longer than 255 bytes"}`)
}

func TestBodyTooLarge(t *testing.T) {
	a := newAPI(t)
	r := httptest.NewRequest("PUT", "/api/queues/%2F/q", io.MultiReader(strings.NewReader(`{"x":"`), bytes.NewReader(bytes.Repeat([]byte("y"), maxBody+1))))
	r.SetBasicAuth("guest", "guest")
	w := httptest.NewRecorder()
	a.handler.ServeHTTP(w, r)
	if w.Code != 413 {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}

// TestConcurrent has many clients at once, for the race detector.
func TestConcurrent(t *testing.T) {
	a := newAPI(t)
	a.do("PUT", "/api/queues/%2F/q", "", 201, "")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 10 {
				a.do("POST", "/api/exchanges/%2F/amq.default/publish", `{"routing_key":"q","payload":"x"}`, 200, "")
				a.do("POST", "/api/queues/%2F/q/get", `{"count":1,"ackmode":"ack_requeue_true","encoding":"auto"}`, 200, "")
				a.do("GET", "/api/queues", "", 200, "")
			}
		})
	}
	wg.Wait()
	a.do("GET", "/api/queues/%2F/q", "", 200, `{"messages_ready":40,"messages_unacknowledged":0}`)
}

func (b *broker) Backup(context.Context) (io.ReadCloser, int64, error) {
	switch {
	case b.noBackup != nil:
		return nil, 0, b.noBackup
	case b.image == nil:
		return nil, 0, errors.New("no leader")
	}
	return io.NopCloser(b.image), b.imageSize, nil
}

// TestPagesOfOtherSites: what a browser sends for a page of another site changes nothing, though it has the right password along.
func TestPagesOfOtherSites(t *testing.T) {
	a := newAPI(t)
	for _, tt := range []struct {
		method, path, header, value string
		code                        int
	}{
		{"POST", "/api/cluster/nodes/n1/drain", "Sec-Fetch-Site", "cross-site", 403},
		{"POST", "/api/definitions", "Sec-Fetch-Site", "same-site", 403},
		{"POST", "/api/definitions", "Origin", "http://elsewhere.example", 403},
		{"DELETE", "/api/queues/%2F/q", "Sec-Fetch-Site", "cross-site", 403},
		{"GET", "/api/overview", "Sec-Fetch-Site", "cross-site", 200}, // a link; its answer is not for that page
		{"PUT", "/api/queues/%2F/mine", "Sec-Fetch-Site", "same-origin", 201},
		{"PUT", "/api/queues/%2F/mine", "Origin", "http://example.com", 204}, // its own, of a browser that says no more
		{"PUT", "/api/queues/%2F/mine", "", "", 204},                         // no browser
	} {
		w, r := httptest.NewRecorder(), httptest.NewRequest(tt.method, tt.path, strings.NewReader("{}"))
		r.SetBasicAuth("guest", "guest")
		if tt.header != "" {
			r.Header.Set(tt.header, tt.value)
		}
		a.handler.ServeHTTP(w, r)
		if w.Code != tt.code {
			t.Errorf("%s %s, %s %s: %d %s, want %d", tt.method, tt.path, tt.header, tt.value, w.Code, w.Body, tt.code)
		}
	}
}
