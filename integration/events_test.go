package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// listen declares a queue of its own and binds it to an exchange.
func listen(t testing.TB, ch *amqp.Channel, exchange, key string) <-chan amqp.Delivery {
	t.Helper()
	q, err := ch.QueueDeclare("", false, false, true, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind(q.Name, key, exchange, false, nil); err != nil {
		t.Fatal(err)
	}
	d, err := ch.Consume(q.Name, "", true, true, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// awaitEvent takes messages until one has the key and the header.
func awaitEvent(t testing.TB, from <-chan amqp.Delivery, key, header string, value any) amqp.Delivery {
	t.Helper()
	for {
		d := receive(t, fmt.Sprintf("%s with %s=%v", key, header, value), from)
		if d.RoutingKey == key && d.Headers[header] == value {
			return d
		}
	}
}

// TestEvents listens to what happens, on another node than it happens on: what the log does is told once by the whole
// cluster, what clients do by their node.
//
// row: 1.10 events
func TestEvents(t *testing.T) {
	skipWithPeer(t)
	c := sharedCluster(t, 3)
	here, there := c.node(0), c.node(1)
	here.operate(t, "PUT", "/api/exchanges/%2F/amq.rabbitmq.event", map[string]any{"type": "topic", "durable": true, "internal": true})
	t.Cleanup(func() { _, _ = here.api(t, "guest", "guest", "DELETE", "/api/exchanges/%2F/amq.rabbitmq.event", nil) })
	events := listen(t, open(t, here), "amq.rabbitmq.event", "#")
	// A node tells of its clients once it has applied the binding.
	eventually(t, there.name+" knows that somebody listens", func() error {
		var bindings []map[string]any
		err := there.getJSON("/api/exchanges/%2F/amq.rabbitmq.event/bindings/source", &bindings)
		if err == nil && len(bindings) == 0 {
			err = fmt.Errorf("it has no binding")
		}
		return err
	})

	queue, user := unique(t), "u"+unique(t)
	conn, err := amqp.DialConfig(there.url, amqp.Config{Properties: amqp.Table{"connection_name": queue}})
	if err != nil {
		t.Fatal(err)
	}
	d := awaitEvent(t, events, "connection.created", "user_provided_name", queue)
	name := d.Headers["name"].(string)
	if d.Headers["node"] != there.name || d.Headers["user"] != "guest" || d.Headers["vhost"] != "/" || d.Timestamp.IsZero() {
		t.Errorf("connection.created: %v, %v", d.Headers, d.Timestamp)
	}
	ch := channel(t, conn)
	awaitEvent(t, events, "channel.created", "connection", name)
	if _, err := ch.QueueDeclare(queue, true, false, false, false, amqp.Table{"x-max-length": 5}); err != nil {
		t.Fatal(err)
	}
	d = awaitEvent(t, events, "queue.created", "name", queue)
	if args, _ := d.Headers["arguments"].(amqp.Table); args["x-max-length"] == nil || d.Headers["durable"] != true || d.Exchange != "amq.rabbitmq.event" {
		t.Errorf("queue.created: %v", d.Headers)
	}
	if _, err := ch.QueueDelete(queue, false, false, false); err != nil {
		t.Fatal(err)
	}
	// The first that comes with the name: there was no second queue.created.
	for d = range events {
		if d.Headers["name"] == queue {
			break
		}
	}
	if d.RoutingKey != "queue.deleted" {
		t.Errorf("behind queue.created comes %s", d.RoutingKey)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	awaitEvent(t, events, "channel.closed", "connection", name)
	awaitEvent(t, events, "connection.closed", "name", name)

	there.addUser(t, user, "p", "management")
	awaitEvent(t, events, "user.created", "name", user)
	if _, err := amqp.Dial(strings.Replace(there.url, "guest:guest", user+":wrong", 1)); err == nil {
		t.Error("a wrong password is right")
	}
	awaitEvent(t, events, "user.authentication.failure", "name", user)
	if out := there.ctl(t, "list_exchanges", "-s", "name", "type", "internal"); !strings.Contains(out, "amq.rabbitmq.event\ttopic\ttrue\n") {
		t.Errorf("list_exchanges prints %s", out)
	}
}

// TestFirehose traces a vhost, and wants copies of what is published and delivered, on whichever node, until it is off.
//
// row: 1.10 firehose
func TestFirehose(t *testing.T) {
	skipWithPeer(t)
	c := sharedCluster(t, 3)
	vhost := "v" + unique(t)
	c.node(0).ctl(t, "add_vhost", vhost)
	t.Cleanup(func() { c.node(0).ctl(t, "delete_vhost", vhost) })
	c.node(0).ctl(t, "set_permissions", "-p", vhost, "guest", ".*", ".*", ".*")
	in := func(n *node) *amqp.Channel {
		conn, err := amqp.Dial(n.url + vhost)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return channel(t, conn)
	}
	copies := listen(t, in(c.node(0)), "amq.rabbitmq.trace", "#")
	ch := in(c.node(1))
	q, err := ch.QueueDeclare("traced", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind(q.Name, "k", "amq.direct", false, nil); err != nil {
		t.Fatal(err)
	}
	confirms := in(c.node(2))
	if err := confirms.Confirm(false); err != nil {
		t.Fatal(err)
	}
	got := consume(t, ch, q.Name)
	send := func(body string) {
		confirmed(t, confirms, "amq.direct", "k", amqp.Publishing{Body: []byte(body), MessageId: "id", Headers: amqp.Table{"h": "v"}})
		if err := next(t, got, body).Ack(false); err != nil {
			t.Fatal(err)
		}
	}
	send("untraced")
	if out := c.node(0).ctl(t, "trace_on", "-q", "-p", vhost); out != "Trace enabled for vhost "+vhost+"\n" {
		t.Errorf("trace_on prints %q", out)
	}
	traced := func(on bool) {
		t.Helper()
		for _, n := range c.nodes {
			eventually(t, n.name+" knows whether the vhost is traced", func() error {
				if out := n.ctl(t, "list_vhosts", "-s", "name", "tracing"); !strings.Contains(out, fmt.Sprintf("%s\t%v\n", vhost, on)) {
					return fmt.Errorf("it prints %s", out)
				}
				return nil
			})
		}
	}
	traced(true)
	send("one")
	seen := make(map[string]amqp.Delivery)
	for len(seen) < 2 {
		d := receive(t, "a copy", copies)
		if string(d.Body) != "one" {
			t.Fatalf("a copy of %q", d.Body)
		}
		seen[d.RoutingKey] = d
	}
	published, delivered := seen["publish.amq.direct"], seen["deliver.traced"]
	properties, _ := published.Headers["properties"].(amqp.Table)
	inner, _ := properties["headers"].(amqp.Table)
	h := published.Headers
	if h["exchange_name"] != "amq.direct" || fmt.Sprint(h["routing_keys"]) != "[k]" || fmt.Sprint(h["routed_queues"]) != "[traced]" ||
		h["node"] != c.node(2).name || h["vhost"] != vhost || h["user"] != "guest" || h["channel"] != int32(1) ||
		properties["message_id"] != "id" || inner["h"] != "v" {
		t.Errorf("the copy of what was published: %v", h)
	}
	if h := delivered.Headers; h["redelivered"] != int32(0) || h["node"] != c.node(1).name || h["exchange_name"] != "amq.direct" {
		t.Errorf("the copy of what was delivered: %v", h)
	}
	if out, err := c.node(1).tryCtl("list_parameters", "-q", "-p", vhost); err != nil || strings.Contains(out, "firehose") {
		t.Errorf("how tracing is kept shows: %v, %s", err, out)
	}
	c.node(2).ctl(t, "trace_off", "-p", vhost)
	traced(false)
	send("after")
	select {
	case d := <-copies:
		t.Errorf("a copy of %q after the end", d.Body)
	case <-time.After(100 * time.Millisecond):
	}
	if out, err := c.node(0).tryCtl("trace_on", "-p", "none-such"); err == nil || !strings.Contains(out, "does not exist") {
		t.Errorf("tracing an unknown vhost: %v, %s", err, out)
	}
}
