package integration

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/proc"
	"warren/node/management/openapitest"
)

// A described is the API of a live node, of which every answer is held against the description that the node serves.
type described struct {
	t      *testing.T
	node   *node
	spec   *openapitest.Spec
	params map[string]string // of paths
}

// do carries out an operation of the description, like "PUT vhosts/{vhost}". Parameters of the path are those of params,
// but for those that are given here, as names and values in turn. status 0: any that is a success.
func (d *described) do(operation string, body any, status int, params ...string) []byte {
	d.t.Helper()
	method, path, _ := strings.Cut(operation, " ")
	all := map[string]string{}
	for name, v := range d.params {
		all[name] = v
	}
	for i := 0; i < len(params); i += 2 {
		all[params[i]] = params[i+1]
	}
	for name, v := range all {
		path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(v))
	}
	if strings.Contains(path, "{") {
		d.t.Fatalf("%s: no value for a parameter of %s", operation, path)
	}
	return d.send(method, "/api/"+path, body, status)
}

func (d *described) send(method, path string, body any, status int) []byte {
	d.t.Helper()
	var asked []byte
	kind := "application/json"
	switch b := body.(type) {
	case nil:
	case url.Values:
		asked, kind = []byte(b.Encode()), "application/x-www-form-urlencoded"
	default:
		var err error
		if asked, err = json.Marshal(b); err != nil {
			d.t.Fatal(err)
		}
	}
	req, err := http.NewRequest(method, "http://"+d.node.http+path, bytes.NewReader(asked))
	if err != nil {
		d.t.Fatal(err)
	}
	req.SetBasicAuth("guest", "guest")
	req.Header.Set("Content-Type", kind)
	resp, err := proc.HTTP.Do(req)
	if err != nil {
		d.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatalf("%s %s: %v", method, path, err)
	}
	if status != 0 && resp.StatusCode != status || status == 0 && resp.StatusCode >= 300 {
		d.t.Errorf("%s %s: %d, want %d: %.500s", method, path, resp.StatusCode, status, answer)
	}
	if d.spec != nil {
		x := openapitest.Exchange{Method: method, URL: path, Asked: asked, Status: resp.StatusCode, Type: resp.Header.Get("Content-Type"), Answers: answer}
		if err := d.spec.Check(&x); err != nil {
			d.t.Errorf("not as the description says: %v", err)
		}
	}
	return answer
}

// TestOpenAPI carries out every operation that a node describes, and holds requests and answers against the description:
// all that can be done without harm to the cluster succeeds.
//
// row: 1.8 description of the API; 1.8 errors
func TestOpenAPI(t *testing.T) {
	c := sharedCluster(t, 3)
	if c.peer {
		t.Skip("a peer has its own description")
	}
	d := &described{t: t, node: c.node(1)}
	text := d.send("GET", "/api/openapi.yaml", nil, 200)
	spec, err := openapitest.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	d.spec = spec
	vhost := unique(t)
	d.params = map[string]string{
		"vhost": vhost, "queue": "q", "exchange": "x", "destination": "q", "props": "k", "node": c.node(1).name, "user": vhost + "-user",
		"password": "secret", "policy": "p", "name": "up", "component": "federation-upstream", "limit": "max-queues", "flag": "quorum_queue",
		"port": portOf(t, c.node(1).amqp), "protocol": "amqp", "within": "1", "unit": "days", "pattern": ".*",
	}
	t.Cleanup(func() { _, _ = c.node(0).tryCtl("delete_vhost", vhost) })
	d.make()
	d.do("PUT trace/{vhost}/{name}", fields{"routing_key": "#", "seconds": 3600}, 201) // of what comes now
	d.client(vhost)
	d.use(c)
	skipped := []string{"GET connections/{connection}/sessions"} // there are none
	for _, operation := range spec.Operations() {
		if method, _, _ := strings.Cut(operation, " "); method != "GET" || slices.Contains(skipped, operation) {
			continue
		}
		if strings.Contains(operation, "/e/{destination}") {
			d.do(operation, nil, 200, "destination", "amq.topic")
			continue
		}
		d.do(operation, nil, 200)
	}
	d.do("GET connections/{connection}/sessions", nil, 400)
	d.lists()
	d.errors()
	d.remove()
	d.do("POST cluster/nodes/{node}/drain", fields{}, 200)
	d.do("POST cluster/nodes/{node}/reload", nil, 200)
	d.do("PUT cluster/nodes/{node}/log-level", fields{"level": "info"}, 204)
	d.do("POST cluster/nodes/{node}/revive", nil, 204)
	harmful := []string{"POST nodes/{node}/stop", "DELETE cluster/nodes/{node}", "POST cluster/leader", "POST queues/{vhost}/{queue}/actions"}
	used := spec.Used()
	for _, operation := range spec.Operations() {
		if !slices.Contains(used, operation) && !slices.Contains(append(skipped, harmful...), operation) {
			t.Errorf("%s was not tried with success", operation)
		}
	}
}

func portOf(t *testing.T, addr string) string {
	t.Helper()
	at := strings.LastIndex(addr, ":")
	if at < 0 {
		t.Fatalf("%s has no port", addr)
	}
	return addr[at+1:]
}

// make declares what the paths name.
func (d *described) make() {
	d.do("PUT vhosts/{vhost}", fields{"description": "for a test"}, 201)
	d.do("PUT users/{user}", fields{"password": "p", "tags": "management"}, 201)
	d.do("PUT permissions/{vhost}/{user}", fields{"configure": "", "write": "", "read": ""}, 201)
	d.do("PUT permissions/{vhost}/{user}", fields{"configure": ".*", "write": ".*", "read": ".*"}, 0, "user", "guest")
	d.do("PUT topic-permissions/{vhost}/{user}", fields{"exchange": "amq.topic", "write": "", "read": ""}, 201)
	d.do("PUT vhost-limits/{vhost}/{limit}", fields{"value": 100}, 204)
	d.do("PUT user-limits/{user}/{limit}", fields{"value": 100}, 204, "limit", "max-channels")
	d.do("PUT users/{user}/tags", fields{"tags": []string{"management"}}, 204)
	d.do("PUT users/{user}/password", fields{"password": "other"}, 204)
	d.do("POST users/{user}/authenticate", fields{"password": "other"}, 200)
	d.do("PUT exchanges/{vhost}/{exchange}", fields{"type": "topic", "durable": true}, 201)
	d.do("PUT exchanges/{vhost}/{exchange}", fields{"type": "topic", "durable": "true"}, 204)
	d.do("PUT queues/{vhost}/{queue}", fields{"durable": true, "arguments": fields{"x-max-length": 1000}}, 201)
	d.do("PUT queues/{vhost}/{queue}", fields{"durable": true}, 201, "queue", "other")
	d.do("POST bindings/{vhost}/e/{exchange}/q/{destination}", fields{"routing_key": "k"}, 201)
	d.do("POST bindings/{vhost}/e/{exchange}/e/{destination}", fields{"routing_key": "k"}, 201, "destination", "amq.topic")
	d.do("PUT policies/{vhost}/{policy}", fields{"pattern": "^q", "definition": fields{"max-length": 500}, "apply-to": "queues"}, 201)
	d.do("PUT operator-policies/{vhost}/{policy}", fields{"pattern": "^q", "definition": fields{"max-length": 400}}, 201)
	d.do("PUT parameters/{component}/{vhost}/{name}", fields{"value": fields{"uri": "amqp://"}}, 201)
	nowhere := fields{"src-uri": "amqp://127.0.0.1:1", "src-queue": "other", "dest-uri": "amqp://127.0.0.1:1", "dest-queue": "q"}
	d.do("PUT parameters/{component}/{vhost}/{name}", fields{"value": nowhere}, 201, "component", "shovel")
	d.do("PUT global-parameters/{name}", fields{"value": fields{"a": 1}}, 201)
	d.do("PUT feature-flags/{flag}/enable", fields{}, 204)
}

// client opens a connection with a channel that consumes.
func (d *described) client(vhost string) {
	d.t.Helper()
	conn, err := amqp.DialConfig("amqp://guest:guest@"+d.node.amqp, amqp.Config{Vhost: vhost, Dial: amqp.DefaultDial(patience)})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = conn.Close() })
	ch := channel(d.t, conn)
	if _, err := ch.Consume("other", "tag", false, false, false, false, nil); err != nil {
		d.t.Fatal(err)
	}
	if _, err := ch.QueueDeclare("mine", false, false, true, false, nil); err != nil {
		d.t.Fatal(err)
	}
	var channels []struct {
		Name       string
		Connection struct{ Name string } `json:"connection_details"`
	}
	eventually(d.t, "the client's channel is listed", func() error {
		if err := json.Unmarshal(d.do("GET vhosts/{vhost}/channels", nil, 200), &channels); err != nil || len(channels) == 0 {
			return errTimeout
		}
		return nil
	})
	d.params["channel"], d.params["connection"] = channels[0].Name, channels[0].Connection.Name
}

// use does what leaves all as it is, or nearly.
func (d *described) use(c *cluster) {
	publish := "POST exchanges/{vhost}/{exchange}/publish"
	for range 3 {
		d.do(publish, fields{"properties": fields{"timestamp": 1700000000}, "routing_key": "k", "payload": "text", "payload_encoding": "string"}, 200)
	}
	d.do(publish, fields{"properties": fields{"headers": fields{"x-delay": time.Hour.Milliseconds()}}, "routing_key": "k", "payload": "later"}, 200)
	d.do("POST exchanges/{vhost}/{exchange}/route", fields{"routing_key": "k"}, 200)
	d.do("POST queues/{vhost}/{queue}/get", fields{"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}, 200)
	d.do("POST queues/{vhost}/{queue}/move", fields{"to": fields{"queue": "other"}, "count": 1}, 200)
	var delayed []struct{ ID string }
	if err := json.Unmarshal(d.do("GET delayed/{vhost}", nil, 200), &delayed); err != nil || len(delayed) != 1 {
		d.t.Fatalf("%d delayed messages, %v", len(delayed), err)
	}
	d.params["id"] = delayed[0].ID
	var name struct{ Name string }
	if err := json.Unmarshal(d.do("GET cluster-name", nil, 200), &name); err != nil {
		d.t.Fatal(err)
	}
	d.do("PUT cluster-name", fields{"name": name.Name}, 204)
	d.do("POST login", url.Values{"username": {"guest"}, "password": {"guest"}}, 200)
	d.do("POST vhosts/{vhost}/deletion/protection", fields{}, 204)
	d.do("DELETE vhosts/{vhost}", nil, 412)
	d.do("DELETE vhosts/{vhost}/deletion/protection", nil, 204)
	d.do("POST vhosts/{vhost}/start/{node}", fields{}, 204)
	d.do("POST queues/quorum/{vhost}/{queue}/replicas/add", fields{"node": c.node(0).name}, 204)
	d.do("DELETE queues/quorum/{vhost}/{queue}/replicas/delete", fields{"node": "nobody"}, 204)
	d.do("POST queues/quorum/replicas/on/{node}/grow", fields{}, 204)
	d.do("DELETE queues/quorum/replicas/on/{node}/shrink", nil, 204, "node", "nobody")
	d.do("POST rebalance/queues", fields{}, 204)
	d.do("POST queues/{vhost}/{queue}/actions", fields{"action": "sync"}, 400)
	d.do("POST definitions", fields{}, 204)
	d.do("POST all-configuration", fields{}, 204)
	d.do("POST definitions/{vhost}", fields{"queues": []fields{{"name": "q", "durable": true}}}, 204)
	d.do("POST cluster/leader", fields{"node": "nobody"}, 404)
	d.do("DELETE cluster/nodes/{node}", nil, 404, "node", "nobody")
	d.do("POST nodes/{node}/stop", nil, 400, "node", c.node(0).name) // it has to be asked itself
}

// lists looks at lists with what all of them understand, and at samples.
func (d *described) lists() {
	for _, path := range []string{"queues", "exchanges", "bindings", "connections", "channels", "consumers", "vhosts", "users", "nodes", "policies"} {
		d.send("GET", "/api/"+path+"?page=1&page_size=2&sort=name&sort_reverse=true", nil, 200)
		d.send("GET", "/api/"+path+"?columns=name", nil, 200)
		d.send("GET", "/api/"+path+"?page=100000", nil, 400)
	}
	d.send("GET", "/api/queues?disable_stats=true&enable_queue_totals=true", nil, 200)
	for _, path := range []string{"queues", "exchanges", "overview", "nodes"} {
		d.send("GET", "/api/"+path+"?msg_rates_age=60&msg_rates_incr=5&lengths_age=60&lengths_incr=5&node_stats_age=60&node_stats_incr=5", nil, 200)
	}
	d.send("GET", "/api/queues?msg_rates_age=x&msg_rates_incr=5", nil, 400)
}

// errors asks for what is refused.
func (d *described) errors() {
	d.do("GET queues/{vhost}/{queue}", nil, 404, "queue", "none")
	d.do("GET vhosts/{vhost}", nil, 404, "vhost", "none")
	d.do("PUT queues/{vhost}/{queue}", fields{"durable": false}, 400)
	d.do("PUT queues/{vhost}/{queue}", fields{"durable": "perhaps"}, 400)
	d.do("PUT policies/{vhost}/{policy}", fields{"pattern": "("}, 400)
	d.do("POST exchanges/{vhost}/{exchange}/publish", fields{"routing_key": "k"}, 400)
	d.do("GET health/checks/port-listener/{port}", nil, 503, "port", "1")
	d.do("GET health/checks/port-listener/{port}", nil, 400, "port", "x")
	d.do("GET health/checks/certificate-expiration/{within}/{unit}", nil, 400, "unit", "moons")
	// Of definitions true and false only are taken, as RabbitMQ does; the other paths take texts as well.
	d.do("POST definitions", fields{"queues": []fields{{"name": "odd", "vhost": d.params["vhost"], "durable": "true"}}}, 400)
	d.do("GET queues/{vhost}/{queue}", nil, 404, "queue", "odd")
}

// remove takes all away again.
func (d *described) remove() {
	d.do("DELETE delayed/{vhost}/{id}", nil, 204)
	d.do("DELETE connections/{connection}", nil, 204)
	d.do("DELETE connections/username/{user}", nil, 204)
	d.do("DELETE auth/attempts/{node}", nil, 204)
	d.do("DELETE auth/attempts/{node}/source", nil, 204)
	d.do("DELETE reset", nil, 204)
	d.do("DELETE reset/{node}", nil, 204)
	d.do("DELETE bindings/{vhost}/e/{exchange}/q/{destination}/{props}", nil, 204)
	d.do("DELETE bindings/{vhost}/e/{exchange}/e/{destination}/{props}", nil, 204, "destination", "amq.topic")
	d.do("DELETE queues/{vhost}/{queue}/contents", nil, 204)
	d.do("DELETE queues/{vhost}/{queue}", nil, 204)
	d.do("DELETE exchanges/{vhost}/{exchange}", nil, 204)
	d.do("DELETE policies/{vhost}/{policy}", nil, 204)
	d.do("DELETE operator-policies/{vhost}/{policy}", nil, 204)
	d.do("POST trace/{vhost}/{name}/stop", nil, 204)
	d.do("DELETE trace/{vhost}/{name}", nil, 204)
	d.do("DELETE shovels/vhost/{vhost}/{name}/restart", nil, 204)
	d.do("DELETE shovels/vhost/{vhost}/{name}", nil, 204)
	d.do("DELETE parameters/{component}/{vhost}/{name}", nil, 204)
	d.do("DELETE global-parameters/{name}", nil, 204)
	d.do("DELETE vhost-limits/{vhost}/{limit}", nil, 204)
	d.do("DELETE user-limits/{user}/{limit}", nil, 204, "limit", "max-channels")
	d.do("DELETE topic-permissions/{vhost}/{user}/{exchange}", nil, 204, "exchange", "amq.topic")
	d.do("PUT topic-permissions/{vhost}/{user}", fields{"exchange": "amq.topic", "write": "", "read": ""}, 201)
	d.do("DELETE topic-permissions/{vhost}/{user}", nil, 204)
	d.do("DELETE permissions/{vhost}/{user}", nil, 204)
	d.do("DELETE users/{user}/password", nil, 204)
	d.do("DELETE users/{user}", nil, 204)
	d.do("POST users/bulk-delete", fields{"users": []string{d.params["user"]}}, 204)
	d.do("DELETE vhosts/{vhost}", nil, 204)
}
