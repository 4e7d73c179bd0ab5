package management

import "testing"

// row: 1.6 maintenance
func TestMaintenance(t *testing.T) {
	a := newAPI(t)
	const checks = "/api/health/checks/"
	a.do("POST", "/api/cluster/nodes/n1/drain", "", 409, `{"error":"quorum_critical","reason":"the node cannot be drained now: n3 is drained"}`)
	a.do("GET", checks+"is-in-service", "", 200, `{"status":"ok"}`)
	a.do("POST", "/api/cluster/nodes/n9/drain", "", 404, "")
	a.do("POST", "/api/cluster/nodes/n3/drain", "", 400, `{"error":"bad_request"}`)
	a.do("POST", "/api/cluster/nodes/n1/drain", `{"force":"yes"}`, 400, "")
	a.do("POST", "/api/cluster/nodes/n1/drain", `{"force":true}`, 200, `{"connections_closed":3}`)
	for _, check := range []string{"is-in-service", "ready-to-serve-clients"} {
		a.do("GET", checks+check, "", 503, `{"status":"failed"}`)
	}
	a.do("GET", "/health", "", 503, `{"status":"failed"}`)
	a.do("GET", checks+"quorum-queues-without-elected-leaders/all-vhosts", "", 200, `{"status":"ok"}`)
	a.do("POST", "/api/cluster/nodes/n9/revive", "", 404, "")
	a.do("POST", "/api/cluster/nodes/n1/revive", "", 204, "")
	a.do("GET", checks+"is-in-service", "", 200, `{"status":"ok"}`)
	a.do("GET", "/health", "", 200, "")
	a.do("PUT", "/api/users/looks", `{"password":"pw","tags":"monitoring,policymaker"}`, 201, "")
	for _, path := range []string{"cluster/nodes/n1/drain", "cluster/nodes/n1/revive", "cluster/nodes/n1/reload", "nodes/n1/stop"} {
		a.as("looks", "POST", "/api/"+path, "", 401, "Not administrator user")
	}
}

func TestReload(t *testing.T) {
	a := newAPI(t)
	a.do("POST", "/api/cluster/nodes/n1/reload", "", 200, `{"applied":["log_level"],"need_restart":[]}`)
	a.do("POST", "/api/cluster/nodes/n2/reload", "", 400, `{"error":"bad_request"}`)
	a.do("POST", "/api/cluster/nodes/n9/reload", "", 404, "")
}

func TestLogLevel(t *testing.T) {
	a := newAPI(t)
	for said, set := range map[string]string{"debug": "debug", "warning": "warn", "warn": "warn", "error": "error"} {
		a.do("PUT", "/api/cluster/nodes/n1/log-level", `{"level":"`+said+`"}`, 204, "")
		if a.closed != "log level "+set {
			t.Errorf("%s: %s", said, a.closed)
		}
	}
	a.do("PUT", "/api/cluster/nodes/n1/log-level", `{"level":"critical"}`, 400, `{"reason":"level must be debug, info, warning or error, not \"critical\""}`)
	a.do("PUT", "/api/cluster/nodes/n1/log-level", `{}`, 400, "")
	a.do("PUT", "/api/cluster/nodes/n2/log-level", `{"level":"info"}`, 400, `{"reason":"the level of the log stays as it was: it cannot"}`)
	a.do("PUT", "/api/cluster/nodes/n9/log-level", `{"level":"info"}`, 404, "")
}
