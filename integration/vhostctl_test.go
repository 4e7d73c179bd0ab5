package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestWarrenctlVHosts makes, limits, empties and deletes vhosts as an operator types it, at
// other nodes than the clients are on.
func TestWarrenctlVHosts(t *testing.T) {
	bothSizes(t, func(t *testing.T, c *cluster) {
		vhost := unique(t)
		n := c.node(0)
		n.ctl(t, "add_vhost", vhost, "--description", "text", "--tags", "a,b", "--default-queue-type", "quorum")
		n.ctl(t, "add_vhost", vhost, "--description", "other") // it is there
		t.Cleanup(func() { _, _ = n.tryCtl("delete_vhost", vhost) })
		wantRow(t, n, []string{vhost, "text", "[a, b]", "quorum"}, "list_vhosts", "name", "description", "tags", "default_queue_type")
		n.ctl(t, "update_vhost_metadata", vhost, "--description", "new")
		n.ctl(t, "set_vhost_tags", vhost, "c")
		wantRow(t, n, []string{vhost, "new", "[c]"}, "list_vhosts", "name", "description", "tags")

		n.ctl(t, "-p", vhost, "set_vhost_limits", `{"max-queues": 1, "max-connections": 5}`)
		if out := n.ctl(t, "-q", "-p", vhost, "list_vhost_limits"); out != `{"max-connections":5,"max-queues":1}`+"\n" {
			t.Errorf("limits are %s", out)
		}
		conn, ch := inVHost(t, c.node(1), vhost)
		if _, err := ch.QueueDeclare("q", true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		publish(t, ch, "q", "m")
		wantDepth(t, ch, "q", 1)
		_, err := ch.QueueDeclare("r", true, false, false, false, nil)
		refusal(t, err, 406, "PRECONDITION_FAILED - cannot declare queue 'r': queue limit in vhost '"+vhost+"' (1) is reached")
		n.ctl(t, "-p", vhost, "clear_vhost_limits")
		if out, err := n.tryCtl("-p", vhost, "delete_queue", "q", "--if-empty"); err == nil {
			t.Errorf("a queue that is not empty was deleted: %s", out)
		}
		n.ctl(t, "-p", vhost, "purge_queue", "q")
		n.ctl(t, "-p", vhost, "delete_queue", "q", "--if-empty", "--if-unused")

		closed := conn.NotifyClose(make(chan *amqp.Error, 1))
		other := dial(t, c.node(1))
		if out := n.ctl(t, "-q", "-p", vhost, "close_all_connections", "time to go"); out != "Closed 1 connections\n" {
			t.Errorf("close_all_connections: %s", out)
		}
		refusal(t, receive(t, "the end of the connection", closed), 320, "CONNECTION_FORCED - time to go")
		usable(t, other)

		n.ctl(t, "enable_vhost_deletion_protection", vhost)
		if out, err := n.tryCtl("delete_vhost", vhost); err == nil {
			t.Errorf("a protected vhost was deleted: %s", out)
		}
		n.ctl(t, "disable_vhost_deletion_protection", vhost)
		n.ctl(t, "delete_vhost", vhost)
		if out := n.ctl(t, "-q", "list_vhosts", "name"); strings.Contains(out, vhost) {
			t.Errorf("it is there still: %s", out)
		}
	})
}

// TestCloseConnections closes one connection by name, and all of a user, from another node.
//
// row: 1.1 close by operator
func TestCloseConnections(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 3} {
		c := startCluster(t, size) // of its own: all connections of guest are closed
		named, err := amqp.DialConfig(c.node(1).url, amqp.Config{Properties: amqp.Table{"connection_name": "mine"}})
		if err != nil {
			t.Fatal(err)
		}
		closed := named.NotifyClose(make(chan *amqp.Error, 1))
		name := ""
		for line := range strings.Lines(c.node(0).ctl(t, "-q", "list_connections", "name", "user_provided_name")) {
			if fields := strings.Split(strings.TrimSpace(line), "\t"); len(fields) == 2 && fields[1] == "mine" {
				name = fields[0]
			}
		}
		c.node(0).ctl(t, "close_connection", name, "you asked")
		refusal(t, receive(t, "the end of the connection", closed), 320, "CONNECTION_FORCED - you asked")
		var all []chan *amqp.Error
		for i := range 3 {
			all = append(all, dial(t, c.node(i)).NotifyClose(make(chan *amqp.Error, 1)))
		}
		c.node(0).ctl(t, "close_all_user_connections", "guest", "all of you")
		for _, ch := range all {
			refusal(t, receive(t, "the end of a connection", ch), 320, "CONNECTION_FORCED - all of you")
		}
	}
}

// TestDefinitionsMove exports the definitions of one cluster and imports them into another.
func TestDefinitionsMove(t *testing.T) {
	t.Parallel()
	from, to := startCluster(t, 1), startCluster(t, 3)
	file := filepath.Join(t.TempDir(), "definitions.json")
	from.node(0).ctl(t, "add_vhost", "v", "--default-queue-type", "quorum")
	from.node(0).ctl(t, "-p", "v", "set_vhost_limits", `{"max-queues": 7}`)
	_, ch := inVHost(t, from.node(0), "v")
	if err := ch.ExchangeDeclare("x", "topic", true, false, false, false, amqp.Table{"alternate-exchange": "amq.fanout"}); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare("q", true, false, false, false, amqp.Table{"x-max-length": int32(5)}); err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind("q", "a.#", "x", false, nil); err != nil {
		t.Fatal(err)
	}
	from.node(0).ctl(t, "export_definitions", file)
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	to.node(0).ctl(t, "import_definitions", file)
	if got := to.node(0).ctl(t, "export_definitions", "-"); got != string(want) {
		t.Errorf("imported and exported again:\n%s\nand not\n%s", got, want)
	}
	_, there := inVHost(t, to.node(2), "v")
	if err := there.Confirm(false); err != nil {
		t.Fatal(err)
	}
	confirmed(t, there, "x", "a.b", amqp.Publishing{Body: []byte("m")})
	get(t, there, "q", "m")
}
