package integration

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRabbitmqadmin does with RabbitMQ's own client of the HTTP API what operators do with it, each command at
// another node.
//
// row: 1.8 queues; 1.8 exchanges; 1.8 bindings; 1.8 vhosts; 1.8 users; 1.8 policies and limits; 1.8 definitions; 1.8 overview
func TestRabbitmqadmin(t *testing.T) {
	c := sharedCluster(t, 3)
	path := needProgram(t, "rabbitmqadmin")
	turn := 0
	admin := func(args ...string) string {
		t.Helper()
		host, port, err := net.SplitHostPort(c.node(turn % 3).http)
		if err != nil {
			t.Fatal(err)
		}
		turn++
		return strings.Join(runProgram(t, t.TempDir(), nil, path, append([]string{"--host", host, "--port", port}, args...)...), "\n")
	}
	wants := func(part string, args ...string) {
		t.Helper()
		if got := admin(args...); !strings.Contains(got, part) {
			t.Errorf("rabbitmqadmin %s printed\n%s\nwithout %q", strings.Join(args, " "), got, part)
		}
	}
	q, x, v, u := unique(t), unique(t)+"-x", unique(t)+"-v", unique(t)+"-u"
	file := filepath.Join(t.TempDir(), "definitions.json")

	wants("4.2", "show", "overview")
	wants("disc", "list", "nodes")
	wants("queue declared", "declare", "queue", "name="+q, "durable=true", `arguments={"x-max-length":10}`)
	wants("exchange declared", "declare", "exchange", "name="+x, "type=topic")
	wants("binding declared", "declare", "binding", "source="+x, "destination="+q, "routing_key=a.#")
	wants("Message published", "publish", "exchange="+x, "routing_key=a.b", "payload=hello", `properties={"delivery_mode":2}`)
	wants("Message published but NOT routed", "publish", "exchange="+x, "routing_key=b", "payload=hello")
	wants("hello", "get", "queue="+q, "ackmode=ack_requeue_true")
	wants("hello", "get", "queue="+q, "count=5", "ackmode=ack_requeue_false")
	wants("No items", "get", "queue="+q)
	wants(q+"\t0", "-f", "tsv", "-q", "list", "queues", "name", "messages")
	wants("message_stats.publish: 1", "-f", "long", "--depth=2", "list", "queues", "name", "message_stats.publish")
	wants(`"routing_key": "a.#"`, "-f", "pretty_json", "list", "bindings")
	wants("topic", "list", "exchanges", "name", "type")
	wants("queue purged", "purge", "queue", "name="+q)

	wants("vhost declared", "declare", "vhost", "name="+v)
	wants("user declared", "declare", "user", "name="+u, "password=secret", "tags=management")
	wants("permission declared", "declare", "permission", "vhost="+v, "user="+u, "configure=.*", "write=.*", "read=.*")
	wants("policy declared", "--vhost", v, "declare", "policy", "name=p", "pattern=^a", `definition={"max-length":5}`, "apply-to=queues", "priority=3")
	wants("operator_policy declared", "--vhost", v, "declare", "operator_policy", "name=o", "pattern=^a", `definition={"max-length":7}`, "apply-to=queues")
	wants("vhost_limit declared", "declare", "vhost_limit", "vhost="+v, "name=max-queues", "value=5")
	wants("max-length", "list", "policies")
	wants("max-queues", "list", "vhost_limits")
	wants(u, "list", "users")
	wants(v, "list", "permissions")
	wants("Exported definitions", "export", file)
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), x) || !strings.Contains(string(text), u) {
		t.Errorf("exported %.500s, %v", text, err)
	}

	ch := open(t, c.node(1))
	if _, err := ch.Consume(q, "a-consumer", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	wants("a-consumer", "list", "consumers")
	wants(" (1)", "list", "channels", "name")
	for _, kind := range []string{"queues", "connections", "channels", "exchanges", "bindings", "vhosts", "nodes"} {
		if got := admin("list", kind); !strings.Contains(got, "| ") { // with all columns
			t.Errorf("rabbitmqadmin list %s printed\n%s", kind, got)
		}
	}
	name := strings.TrimSpace(strings.Split(admin("-f", "tsv", "-q", "list", "connections", "name"), "\n")[0])
	if !strings.Contains(name, " -> ") {
		t.Errorf("the name of a connection is %q", name)
	}

	wants("queue deleted", "delete", "queue", "name="+q)
	wants("exchange deleted", "delete", "exchange", "name="+x)
	wants("Uploaded definitions", "import", file)
	wants(q, "list", "queues", "name")
	for _, args := range [][]string{
		{"queue", "name=" + q}, {"exchange", "name=" + x}, {"vhost", "name=" + v}, {"user", "name=" + u},
	} {
		wants(args[0]+" deleted", append([]string{"delete"}, args...)...)
	}
}
