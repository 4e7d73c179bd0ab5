package management

import (
	"net/http"
	"strings"
	"testing"

	"warren/fsm/command"
)

// as sends a request as a user, whose password is "pw".
func (a *api) as(user, method, path, body string, status int, want string) {
	a.t.Helper()
	w := a.request(method, path, body, func(r *http.Request) { r.SetBasicAuth(user, "pw") })
	if w.Code != status || !strings.Contains(w.Body.String(), want) {
		a.t.Errorf("%s: %s %s: %d %s, want %d %s", user, method, path, w.Code, w.Body, status, want)
	}
}

// While a node is not up to date users may look at it, and no more.
func TestNotUpToDate(t *testing.T) {
	a := newAPI(t)
	a.do("PUT", "/api/users/maker", `{"password":"pw","tags":"policymaker"}`, 201, "")
	a.do("PUT", "/api/users/none", `{"password":"pw","tags":""}`, 201, "")
	before := a.index
	a.behind = true
	a.cluster.Waiting = "for others"
	for _, path := range []string{"overview", "nodes", "nodes/n1", "cluster", "health/checks/alarms", "health/checks/port-listener/5672"} {
		a.do("GET", "/api/"+path, "", 200, "")
	}
	a.do("GET", "/api/health/checks/ready-to-serve-clients", "", 503, `{"status":"failed","reason":"for others"}`)
	a.do("GET", "/api/whoami", "", 200, `{"name":"guest","tags":["monitoring"]}`)
	a.as("maker", "GET", "/api/whoami", "", 200, `"tags":["management"]`)
	a.as("maker", "GET", "/api/cluster", "", 401, "Not monitor user")
	a.as("none", "GET", "/api/overview", "", 401, "Not management user")
	a.as("nobody", "GET", "/api/overview", "", 401, "not_authorized")
	for _, r := range []string{
		"PUT users/eve", "DELETE users/maker", "GET users", "GET definitions", "POST definitions", "GET queues", "GET connections",
		"PUT queues/%2F/q", "POST queues/%2F/q/get", "POST exchanges/%2F/amq.direct/publish", "GET aliveness-test/%2F",
		"DELETE connections/x", "DELETE cluster/nodes/n3", "POST users/guest/authenticate", "GET debug/pprof/goroutine",
	} {
		method, path, _ := strings.Cut(r, " ")
		a.do(method, "/api/"+path, `{}`, 503,
			`{"error":"service_unavailable","reason":"the node is starting and does not know the present state of the cluster: for others"}`)
	}
	if a.index != before || a.forgotten != "" || a.closed != "" {
		t.Error("something was done")
	}
	a.behind = false
	a.do("GET", "/api/whoami", "", 200, `{"tags":["administrator"]}`)
}

// row: 1.8 users
func TestUsers(t *testing.T) {
	a := newAPI(t)
	a.do("GET", "/api/users", "", 200, `[{"name":"guest","tags":["administrator"],"hashing_algorithm":"rabbit_password_hashing_sha256"}]`)
	a.do("GET", "/api/users/u", "", 404, `{"error":"Object Not Found","reason":"Not Found"}`)
	a.do("PUT", "/api/users/u", `{"password":"one"}`, 400, `{"reason":"tags_not_present"}`)
	a.do("PUT", "/api/users/u", `{"password":"one","password_hash":"x","tags":""}`, 400, `{"reason":"both_password_and_password_hash_are_provided"}`)
	a.do("PUT", "/api/users/u", `{"password_hash":"x","tags":""}`, 400, `{"error":"bad_request"}`)
	a.do("PUT", "/api/users/u", `{"password_hash":"","hashing_algorithm":"rot13","tags":[1]}`, 400, `{"error":"bad_request"}`)
	a.do("PUT", "/api/users/u", `{"password":"one","tags":"management, policymaker"}`, 201, "")
	a.do("PUT", "/api/users/u", `{"password":"one","tags":["management","management"]}`, 204, "")
	a.do("GET", "/api/users/u", "", 200, `{"name":"u","tags":["management"],"limits":{},"hashing_algorithm":"warren_password_hashing_argon2id"}`)
	a.do("POST", "/api/users/u/authenticate", `{"password":"one"}`, 200, `{"authenticated":true}`)
	a.do("POST", "/api/users/u/authenticate", `{"password":"two"}`, 200, `{"authenticated":false}`)
	if w := a.request("PUT", "/api/users/u", `{"password":"x","tags":""}`, func(r *http.Request) { r.Header.Set("If-None-Match", "*") }); w.Code != 412 {
		t.Errorf("a user that is there is added: %d %s", w.Code, w.Body)
	}
	a.do("PUT", "/api/users/u/password", `{"password":"two"}`, 204, "")
	a.do("PUT", "/api/users/u/tags", `{"tags":["monitoring"]}`, 204, "")
	a.do("POST", "/api/users/u/authenticate", `{"password":"two"}`, 200, `{"authenticated":true}`)
	a.do("GET", "/api/users/u", "", 200, `{"tags":["monitoring"]}`)
	a.do("DELETE", "/api/users/u/password", "", 204, "")
	a.do("POST", "/api/users/u/authenticate", `{"password":""}`, 200, `{"authenticated":false}`)
	a.do("PUT", "/api/users/nobody/tags", `{"tags":[]}`, 404, `{"error":"not_found"}`)
	// Imported, as definitions have it.
	a.do("PUT", "/api/users/i", `{"password_hash":"`+guestHash+`","tags":"administrator"}`, 201, "")
	a.do("POST", "/api/users/i/authenticate", `{"password":"guest"}`, 200, `{"authenticated":true}`)
	a.do("GET", "/api/users/without-permissions", "", 200, `[{"name":"i"},{"name":"u"}]`)
	a.do("POST", "/api/users/bulk-delete", `{"users":["i","nobody"]}`, 204, "")
	a.do("DELETE", "/api/users/u", "", 204, "")
	a.do("DELETE", "/api/users/u", "", 404, `{"error":"Object Not Found"}`)
	a.do("GET", "/api/users", "", 200, `[{"name":"guest"}]`)
}

// What a session checks of a message counts over HTTP too.
func TestPublishAsOverAMQP(t *testing.T) {
	a := newAPI(t)
	for _, user := range []string{"u", "imp"} {
		tags := map[string]string{"u": "management", "imp": "management,impersonator"}[user]
		a.do("PUT", "/api/users/"+user, `{"password":"pw","tags":"`+tags+`"}`, 201, "")
		a.do("PUT", "/api/permissions/%2F/"+user, `{"configure":"","write":".*","read":""}`, 201, "")
	}
	const publish = "/api/exchanges/%2F/amq.topic/publish"
	properties := func(p string) string { return `{"routing_key":"a.b","payload":"","properties":{` + p + `}}` }
	a.as("u", "POST", publish, properties(`"user_id":"u","expiration":"100"`), 200, "")
	a.as("u", "POST", publish, properties(`"user_id":"guest"`), 400, "user_id property set to 'guest' but authenticated user was 'u'")
	a.as("imp", "POST", publish, properties(`"user_id":"guest"`), 200, "")
	a.as("imp", "POST", publish, properties(`"expiration":"soon"`), 400, "invalid expiration 'soon': no_integer")
	a.as("imp", "POST", publish, properties(`"expiration":"-1"`), 400, "invalid expiration '-1': {value_negative,-1}")

	a.do("PUT", "/api/topic-permissions/%2F/u", `{"exchange":"amq.topic","write":"^a","read":""}`, 201, "")
	a.as("u", "POST", publish, properties(`"headers":{"CC":["a.c"],"BCC":["a.d"]}`), 200, "")
	for _, header := range []string{"CC", "BCC"} {
		a.as("u", "POST", publish, properties(`"headers":{"`+header+`":["a.c","x.y"]}`), 401,
			"write access to topic 'x.y' in exchange topic 'amq.topic' in vhost '/' refused for user 'u'")
	}
	a.as("u", "POST", "/api/exchanges/%2F/amq.direct/publish", properties(`"headers":{"CC":["x.y"]}`), 200, "")
}

// The machine takes line breaks out of names: the permission has to fit what is left.
func TestLineBreaksInNames(t *testing.T) {
	a := newAPI(t)
	a.do("PUT", "/api/users/u", `{"password":"pw","tags":"management"}`, 201, "")
	a.do("PUT", "/api/permissions/%2F/u", `{"configure":"^(own|sec\\n)","write":"","read":""}`, 201, "")
	for _, kind := range []string{"queues", "exchanges"} {
		for _, path := range []string{"/sec%0Aret", "/sec%0D%0Aret", "/%0Aown"} {
			status, text := 401, "'secret'"
			if strings.HasSuffix(path, "own") {
				status, text = 201, ""
			}
			a.as("u", "PUT", "/api/"+kind+"/%2F"+path, `{}`, status, text)
		}
		a.do("GET", "/api/"+kind+"/%2F/own%0A", "", 200, `{"name":"own"}`)
		a.do("GET", "/api/"+kind+"/%2F/secret", "", 404, "")
	}
}

// row: 1.8 users
func TestPermissionsOverHTTP(t *testing.T) {
	a := newAPI(t)
	all := `{"configure":"^u","write":".*","read":""}`
	a.do("PUT", "/api/permissions/%2F/u", all, 400, `{"error":"bad_request","reason":"vhost_or_user_not_found"}`)
	a.must(&command.UserPut{Name: "u"})
	a.do("PUT", "/api/permissions/nowhere/u", all, 400, `{"reason":"vhost_or_user_not_found"}`)
	a.do("PUT", "/api/permissions/%2F/u", `{"configure":"","write":""}`, 400, `{"reason":"key_missing: read"}`)
	a.do("PUT", "/api/permissions/%2F/u", `{"configure":"(","write":"","read":""}`, 400, `{"error":"bad_request"}`)
	a.do("GET", "/api/permissions/%2F/u", "", 404, "")
	a.do("PUT", "/api/permissions/%2F/u", all, 201, "")
	a.do("PUT", "/api/permissions/%2F/u", all, 204, "")
	one := `{"user":"u","vhost":"/","configure":"^u","write":".*","read":""}`
	a.do("GET", "/api/permissions/%2F/u", "", 200, one)
	a.do("GET", "/api/users/u/permissions", "", 200, "["+one+"]")
	a.do("GET", "/api/users/nobody/permissions", "", 404, "")
	a.do("GET", "/api/permissions", "", 200, `[{"user":"guest"},`+one+"]")
	a.do("GET", "/api/vhosts/%2F/permissions", "", 200, `[{"user":"guest"},`+one+"]")
	a.do("DELETE", "/api/permissions/%2F/u", "", 204, "")
	a.do("DELETE", "/api/permissions/%2F/u", "", 404, "")

	a.do("GET", "/api/topic-permissions/%2F/u", "", 404, "")
	a.do("PUT", "/api/topic-permissions/%2F/u", `{"exchange":"amq.topic","write":"^a"}`, 400, `{"reason":"key_missing: read"}`)
	a.do("PUT", "/api/topic-permissions/%2F/u", `{"exchange":"amq.topic","write":"^a","read":"^b"}`, 201, "")
	a.do("PUT", "/api/topic-permissions/%2F/u", `{"exchange":"other","write":"^a","read":"^b"}`, 204, "")
	topic := `{"user":"u","vhost":"/","exchange":"amq.topic","write":"^a","read":"^b"}`
	a.do("GET", "/api/topic-permissions/%2F/u", "", 200, "["+topic+`,{"exchange":"other"}]`)
	a.do("GET", "/api/users/u/topic-permissions", "", 200, "["+topic+`,{}]`)
	a.do("DELETE", "/api/topic-permissions/%2F/u/other", "", 204, "")
	a.do("GET", "/api/topic-permissions", "", 200, "["+topic+`]`)
	a.do("DELETE", "/api/topic-permissions/%2F/u", "", 204, "")
	a.do("DELETE", "/api/topic-permissions/%2F/u", "", 404, "")
	a.do("GET", "/api/vhosts/%2F/topic-permissions", "", 200, "[]")
}

// TestTags checks what each tag lets a user see and do.
//
// row: 1.7 user tags
func TestTags(t *testing.T) {
	a := newAPI(t)
	hash, algorithm, _ := a.access().Hash(t.Context(), "pw")
	for _, tag := range []string{"none", "management", "policymaker", "monitoring", "administrator"} {
		a.must(&command.UserPut{Name: tag, SetPassword: true, Hash: hash, Algorithm: algorithm, SetTags: true, Tags: []string{tag}})
		if tag != "monitoring" && tag != "administrator" {
			a.must(&command.PermissionSet{User: tag, VHost: "/", Configure: "^own", Write: "^own|^amq", Read: "^own"})
		}
	}
	a.must(&command.UserPut{Name: "stranger", SetPassword: true, Hash: hash, Algorithm: algorithm, SetTags: true, Tags: []string{"management"}})
	a.connections = []Connection{
		{ConnectionKey: ConnectionKey{"id1", 1}, Name: "c1", User: "management", VHost: "/"},
		{ConnectionKey: ConnectionKey{"id1", 2}, Name: "c2", User: "guest", VHost: "/"},
	}

	a.as("none", "GET", "/api/whoami", "", 401, `{"error":"not_authorised","reason":"Not management user"}`)
	a.as("management", "GET", "/api/whoami", "", 200, `"tags":["management"]`)
	for _, path := range []string{"/api/users", "/api/permissions", "/api/users/guest/permissions", "/api/topic-permissions", "/api/debug/pprof/heap"} {
		for _, who := range []string{"management", "policymaker", "monitoring"} {
			a.as(who, "GET", path, "", 401, `{"error":"not_authorised","reason":"Not administrator user"}`)
		}
		a.as("administrator", "GET", path, "", 200, "")
	}
	a.as("management", "PUT", "/api/users/management", `{"password":"x","tags":"administrator"}`, 401, "Not administrator user")
	a.as("management", "GET", "/api/nodes", "", 401, "Not monitor user")
	a.as("monitoring", "GET", "/api/nodes", "", 200, `"n1"`)
	a.as("monitoring", "DELETE", "/api/cluster/nodes/n3", "", 401, "Not administrator user")
	a.as("monitoring", "POST", "/api/cluster/leader", "", 401, "Not administrator user")
	a.as("monitoring", "GET", "/api/cluster/state", "", 401, "Not administrator user")

	for _, path := range []string{"/api/vhost-limits/%2F/max-queues", "/api/parameters/vhost-limits/%2F/limits"} {
		for _, method := range []string{"PUT", "DELETE"} {
			a.as("policymaker", method, path, `{"value":{"max-queues":1}}`, 401, "Not administrator user")
		}
	}

	for _, path := range []string{"/api/parameters/shovel/%2F/s", "/api/global-parameters/g", "/api/parameters", "/api/global-parameters"} {
		for _, who := range []string{"management", "monitoring"} {
			a.as(who, "GET", path, "", 401, "User not authorised to access object")
		}
	}
	shovel := `{"value":{"src-uri":"amqp://","src-queue":"q","dest-uri":"amqp://"}}`
	a.as("policymaker", "PUT", "/api/parameters/shovel/%2F/s", shovel, 201, "")
	a.must(&command.VHostPut{Name: "closed"})
	a.as("policymaker", "PUT", "/api/parameters/shovel/closed/s", shovel, 401, "User not authorised to access object")
	a.as("administrator", "PUT", "/api/parameters/shovel/closed/s", shovel, 201, "")
	a.as("policymaker", "GET", "/api/parameters?columns=name,vhost", "", 200, `[{"name":"s","vhost":"/"}]`)
	a.as("policymaker", "PUT", "/api/parameters/operator_policy/%2F/o", `{"value":{"pattern":"","definition":{"max-length":1}}}`, 401, "Not administrator user")
	a.as("policymaker", "PUT", "/api/global-parameters/g", `{"value":1}`, 201, "")
	a.as("policymaker", "PUT", "/api/cluster-name", `{"name":"n"}`, 401, "Not administrator user")
	a.as("administrator", "PUT", "/api/cluster-name", `{"name":"n"}`, 204, "")
	a.as("management", "GET", "/api/cluster-name", "", 200, "name")

	a.as("management", "PUT", "/api/queues/%2F/own", `{}`, 201, "")
	a.as("management", "PUT", "/api/queues/%2F/other", `{}`, 401, "configure access to queue 'other' in vhost '/' refused for user 'management'")
	a.as("management", "POST", "/api/exchanges/%2F/amq.default/publish", `{"routing_key":"own","payload":"x","properties":{},"payload_encoding":"string"}`, 200, `"routed":true`)
	a.as("management", "POST", "/api/exchanges/%2F/amq.topic/publish", `{"routing_key":"own","payload":"x","properties":{},"payload_encoding":"string"}`, 200, "")
	a.must(&command.TopicPermissionSet{User: "management", VHost: "/", Exchange: "amq.topic", Write: "^a"})
	a.as("management", "POST", "/api/exchanges/%2F/amq.topic/publish", `{"routing_key":"own","payload":"x","properties":{},"payload_encoding":"string"}`, 401, "write access to topic 'own'")
	a.must(&command.QueueDeclare{VHost: "/", Name: "other", Durable: true})
	a.as("management", "DELETE", "/api/queues/%2F/other/contents", "", 401, "read access to queue 'other'")
	a.as("management", "POST", "/api/queues/%2F/other/get", `{"count":1,"ackmode":"ack_requeue_true","encoding":"auto"}`, 401, "read access to queue 'other'")
	a.as("administrator", "PUT", "/api/queues/%2F/admins", `{}`, 401, "configure access to queue 'admins'") // an administrator has no permissions by that

	a.as("stranger", "GET", "/api/overview?columns=object_totals,listeners", "", 200,
		`{"object_totals":{"channels":0,"connections":0,"consumers":0,"exchanges":0,"queues":0}}`)
	a.as("management", "GET", "/api/overview?columns=object_totals.queues,object_totals.connections,listeners", "", 200,
		`{"object_totals":{"connections":1,"queues":2}}`)
	a.as("monitoring", "GET", "/api/overview", "", 200, `"listeners":[{`)

	// Lists hold what the user may see.
	a.as("management", "GET", "/api/queues", "", 200, `"own"`)
	a.as("monitoring", "GET", "/api/queues", "", 200, `"own"`)
	a.as("stranger", "GET", "/api/queues", "", 200, "[]")
	a.as("stranger", "GET", "/api/vhosts", "", 200, "[]")
	a.as("stranger", "GET", "/api/queues/%2F", "", 401, "User not authorised to access virtual host")
	a.as("stranger", "GET", "/api/exchanges/%2F/amq.direct", "", 401, "User not authorised to access virtual host")
	a.as("stranger", "GET", "/api/queues/nowhere", "", 404, "Not Found")
	a.as("stranger", "GET", "/api/connections", "", 200, "[]")
	a.as("stranger", "GET", "/api/connections/c1", "", 401, "User not authorised to access object")
	a.as("management", "GET", "/api/connections/c1", "", 200, `"c1"`)
	a.as("management", "GET", "/api/connections/c2", "", 401, "User not authorised to access object")
	a.as("monitoring", "GET", "/api/connections/c2", "", 200, `"c2"`)
	a.as("monitoring", "DELETE", "/api/connections/c2", "", 401, "User not authorised to access object")
	a.as("management", "DELETE", "/api/connections/c1", "", 204, "")
	a.as("administrator", "DELETE", "/api/connections/c2", "", 204, "")
}
