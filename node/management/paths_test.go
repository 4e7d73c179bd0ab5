package management

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"warren/fsm/command"
)

// row: 1.8 health checks
func TestMoreHealthChecks(t *testing.T) {
	a := newAPI(t)
	const checks = "/api/health/checks/"
	a.do("GET", checks+"protocol-listener/amqp091", "", 200, `{"status":"ok","protocol":"amqp"}`)
	a.do("GET", checks+"protocol-listener/AMQP", "", 200, `{"status":"ok","protocol":"amqp"}`)
	a.do("GET", checks+"protocol-listener/mqtt", "", 503, `{"status":"failed","reason":"No active listener","missing":"mqtt","protocols":["amqp","http"]}`)
	a.do("GET", checks+"metadata-store/initialized", "", 200, `{"status":"ok"}`)
	a.do("GET", checks+"metadata-store/initialized/with-data", "", 200, `{"status":"ok"}`)
	a.do("GET", checks+"virtual-hosts", "", 200, `{"status":"ok"}`)
	a.do("GET", checks+"is-in-service", "", 200, `{"status":"ok"}`)
	a.do("GET", checks+"below-node-connection-limit", "", 200, `{"status":"ok","limit":"infinity","connections":0}`)
	a.do("GET", checks+"reached-target-cluster-size", "", 200, `{"status":"ok"}`)
	a.do("GET", "/api/healthchecks/node", "", 200, `{"status":"ok"}`)
	a.do("GET", "/api/healthchecks/node/n2", "", 200, `{"status":"ok"}`)
	a.do("GET", "/api/healthchecks/node/n3", "", 200, `{"status":"failed","reason":"node n3 does not run"}`)
	a.do("GET", "/api/healthchecks/node/n9", "", 404, notFoundBody)

	a.cluster.Serving = false
	a.do("GET", checks+"is-in-service", "", 503, `{"status":"failed"}`)
	a.behind = true
	a.do("GET", checks+"metadata-store/initialized", "", 503, `{"status":"failed","reason":"Metadata store has not yet been initialized"}`)
}

func TestHealthChecksWithLimits(t *testing.T) {
	a := newAPI(t)
	a.fill()
	a.handler = New(Config{Broker: a.broker, Access: a.access(), Node: "n1", ConnectionMax: 1, TargetSize: 3})
	a.do("GET", "/api/health/checks/below-node-connection-limit", "", 503,
		`{"status":"failed","reason":"node connection limit is reached","limit":1,"connections":1}`)
	a.do("GET", "/api/health/checks/reached-target-cluster-size", "", 503,
		`{"status":"failed","target_cluster_size":3,"current_cluster_size":2}`)
}

// TestOpenChecks checks that what a load balancer asks for needs no login, and that nothing else goes without.
func TestOpenChecks(t *testing.T) {
	a := newAPI(t)
	nobody := func(r *http.Request) { r.Header.Del("Authorization") }
	for _, rt := range (&server{}).table() {
		path := "/api/" + strings.NewReplacer("{", "", "}", "").Replace(strings.Join(rt.pattern, "/"))
		w := a.request(rt.method, path, "", nobody)
		if login := w.Code == http.StatusUnauthorized; login == rt.open && path != "/api/login" {
			t.Errorf("%s %s: status %d, open: %v", rt.method, path, w.Code, rt.open)
		}
	}
}

func TestLeaderlessQueues(t *testing.T) {
	a := newAPI(t)
	a.must(&command.QueueDeclare{VHost: "/", Name: "orders.new", Durable: true})
	a.must(&command.QueueDeclare{VHost: "/", Name: "mails", Durable: true})
	const check = "/api/health/checks/quorum-queues-without-elected-leaders/"
	for _, path := range []string{"all-vhosts", "all-vhosts/", "vhost/%2F", "vhost/%2F/pattern/.*"} {
		a.do("GET", check+path, "", 200, `{"status":"ok"}`)
	}
	a.cluster.Leader, a.cluster.Waiting = "", "no quorum"
	a.do("GET", check+"all-vhosts", "", 503, `{"status":"failed","count":2,"queues":[{"name":"mails","virtual_host":"/"},{"name":"orders.new"}]}`)
	a.do("GET", check+"vhost/%2F/pattern/%5Eorders", "", 503, `{"status":"failed","count":1,"queues":[{"name":"orders.new"}]}`)
	a.do("GET", check+"all-vhosts/pattern/nothing", "", 200, `{"status":"ok"}`)
	a.do("GET", check+"all-vhosts/pattern/(", "", 400, `{"error":"bad_request"}`)
}

func TestCertificateExpiration(t *testing.T) {
	a := newAPI(t)
	soon := time.Now().Add(10 * 24 * time.Hour)
	a.handler = New(Config{Broker: a.broker, Access: a.access(), Node: "n1", Certificates: func() []Certificates {
		return []Certificates{{
			Listener: Listener{"https", "0.0.0.0", 15671}, CertFile: "c.pem", CAFile: "ca.pem",
			CertExpires: []time.Time{soon}, CAExpire: []time.Time{soon.AddDate(10, 0, 0)},
		}}
	}})
	const check = "/api/health/checks/certificate-expiration/"
	a.do("GET", check+"1/weeks", "", 200, `{"status":"ok"}`)
	a.do("GET", check+"2/Weeks", "", 503, `{"status":"failed","reason":"Certificates expiring","expired":[{"node":"n1","protocol":"https","port":15671,
		"certfile":"c.pem","certfile_expires_on":["`+soon.UTC().Format("2006-01-02 15:04:05")+`"],"cacertfile":"ca.pem","cacertfile_expires_on":[]}]}`)
	a.do("GET", check+"1/months", "", 503, `{"status":"failed"}`)
	a.do("GET", check+"1/fortnights", "", 400, `{"error":"bad_request","reason":"Time unit not recognised. Supported units: days, weeks, months, years."}`)
	a.do("GET", check+"x/days", "", 400, `{"error":"bad_request","reason":"Invalid expiration value."}`)
}

// row: 1.8 overview; 1.8 feature flags
func TestAbout(t *testing.T) {
	a := newAPI(t)
	a.do("GET", "/api/version", "", 200, "")
	if got := strings.TrimSpace(a.request("GET", "/api/version", "").Body.String()); got != `"`+apiLevel+`"` {
		t.Errorf("version %s", got)
	}
	a.do("GET", "/api/extensions", "", 200, `[]`)
	a.do("GET", "/api/auth", "", 200, `{"oauth_enabled":false}`)
	a.do("GET", "/api/deprecated-features", "", 200, `[]`)
	a.do("GET", "/api/deprecated-features/used", "", 200, `[]`)
	a.do("GET", "/api/feature-flags?page=1&name=quorum_queue", "", 200,
		`{"items":[{"name":"quorum_queue","state":"enabled","stability":"required","provided_by":"warren"}]}`)
	a.do("PUT", "/api/feature-flags/quorum_queue/enable", `{}`, 204, "")
	a.do("PUT", "/api/feature-flags/nothing/enable", `{}`, 400, `{"error":"bad_request","reason":"feature flag 'nothing' is unsupported"}`)

	form := func(r *http.Request) {
		r.Header.Del("Authorization")
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if w := a.request("POST", "/api/login", "username=guest&password=guest", form); w.Code != 200 || w.Body.String() != "\"ok\"\n" {
		t.Errorf("login: %d %s", w.Code, w.Body)
	}
	if w := a.request("POST", "/api/login", "username=guest&password=wrong", form); w.Code != 401 {
		t.Errorf("login with a wrong password: %d %s", w.Code, w.Body)
	}

	a.handler = New(Config{Broker: a.broker, Access: a.access(), Settings: map[string]string{"amqp_addr": ":5672"}})
	a.do("GET", "/api/config/effective", "", 200, `{"amqp_addr":":5672"}`)
}

// row: 1.7 login attempts
func TestAttempts(t *testing.T) {
	a := newAPI(t)
	a.do("GET", "/api/auth/attempts/n1", "", 200, `[{"protocol":"amqp091","auth_attempts":3,"auth_attempts_succeeded":1,"auth_attempts_failed":2}]`)
	a.do("GET", "/api/auth/attempts/n1/source", "", 200, `[{"protocol":"amqp091","remote_address":"10.0.0.1","username":"u","auth_attempts":3}]`)
	a.do("GET", "/api/auth/attempts/n3", "", 503, `{"error":"service_unavailable"}`)
	a.do("GET", "/api/auth/attempts/n9", "", 404, notFoundBody)
	a.do("DELETE", "/api/auth/attempts/n2", "", 204, "")
	if a.resetAttempts != "id2" {
		t.Errorf("reset on %q", a.resetAttempts)
	}
}

func TestNodeMemory(t *testing.T) {
	a := newAPI(t)
	a.stats = map[string]NodeStats{"id1": {Memory: Memory{
		Messages: 300, Heap: 200, Stacks: 1, Runtime: 99, Unused: 100, Allocated: 700, Resident: 1000,
	}}}
	a.do("GET", "/api/nodes/n1/memory", "", 200, `{"memory":{"binary":300,"queue_procs":200,"other_proc":1,"other_system":99,
		"allocated_unused":100,"reserved_unallocated":300,"mnesia":0,"strategy":"rss","total":{"rss":1000,"erlang":700,"allocated":700}}}`)
	a.do("GET", "/api/nodes/n1/memory/relative", "", 200, `{"memory":{"binary":30,"queue_procs":20,"other_proc":1,"other_system":10,"mnesia":0,"total":100}}`)
	a.do("GET", "/api/nodes/n2/memory", "", 200, `{"memory":"not_available"}`)
	a.do("GET", "/api/nodes/n9/memory", "", 404, notFoundBody)
}

// row: 1.8 replicas of queues
func TestQuorumOperations(t *testing.T) {
	a := newAPI(t)
	a.must(&command.QueueDeclare{VHost: "/", Name: "q", Durable: true})
	a.stats = map[string]NodeStats{"id2": {RaftStats: RaftStats{State: "Leader", Term: 3, CommitIndex: 12, AppliedIndex: 11, LastIndex: 13, SnapshotIndex: 5}}}
	const q = "/api/queues/quorum/%2F/q/"
	a.do("GET", q+"status", "", 200, `[{"Node Name":"n1","Raft State":"noproc","Membership":"voter"},
		{"Node Name":"n2","Raft State":"leader","Term":3,"Commit Index":12,"Last Applied":11,"Last Log Index":13,"Snapshot Index":5},{"Node Name":"n3"}]`)
	a.do("POST", q+"replicas/add", `{"node":"n3"}`, 204, "")
	a.do("POST", q+"replicas/add", `{"node":"n9"}`, 400, `{"error":"bad_request"}`)
	a.do("POST", q+"replicas/add", `{}`, 400, `{"reason":"[{key_missing,node}]"}`)
	a.do("POST", "/api/queues/quorum/%2F/none/replicas/add", `{"node":"n3"}`, 404, notFoundBody)
	a.do("DELETE", q+"replicas/delete", `{"node":"n9"}`, 204, "")
	a.do("DELETE", q+"replicas/delete", `{"node":"n3"}`, 400, `{"error":"bad_request"}`)
	a.do("POST", "/api/queues/quorum/replicas/on/n2/grow", `{}`, 204, "")
	a.do("POST", "/api/queues/quorum/replicas/on/n9/grow", `{}`, 400, "")
	a.do("DELETE", "/api/queues/quorum/replicas/on/n2/shrink", "", 400, "")
	a.do("POST", "/api/rebalance/queues", "", 204, "")
	a.do("POST", "/api/queues/%2F/q/actions", `{"action":"sync"}`, 400, `{"error":"bad_request","reason":"{unknown,<<\"sync\">>}"}`)
	a.do("POST", "/api/queues/%2F/q/actions", `{}`, 400, `{"reason":"[{key_missing,action}]"}`)
	a.do("POST", "/api/queues/%2F/none/actions", `{"action":"sync"}`, 404, "")
}
