package integration

import (
	"fmt"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestTopologyOutlivesFaults: exchanges and bindings of each kind, and what queues were declared with, are what
// they were after the leader was killed, and after all nodes were; then what is not durable has gone.
//
// row: 1.2 exchange.bind, exchange.unbind; 1.2 internal exchange; 1.2 auto-delete exchange; 1.2 auto-delete queue
// row: 1.2 transient queue; 1.2 exclusive queue; 1.4 exchange types; 1.4 alternate-exchange; 1.5 x-overflow
// row: 1.5 x-max-length, x-max-length-bytes; 1.5 x-expires; 1.5 x-dead-letter-exchange, x-dead-letter-routing-key
// row: 1.6 metadata; 1.2 queue.declare; 1.2 exchange.declare
func TestTopologyOutlivesFaults(t *testing.T) {
	t.Parallel()
	c := startClusterWith(t, 3, options{args: []string{"--snapshot-bytes", "1MiB", "--node-grace", "1s"}})
	leader := c.leader(t)
	ch := open(t, c.others(leader)[0])
	buildTopology(t, ch)
	owned, err := open(t, leader).QueueDeclare("exclusive", true, false, true, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	checkTopology(t, c.others(leader)[1], "before")
	if _, err := ch.QueueDeclare("transient", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}

	leader.kill(t)
	left := &cluster{nodes: c.others(leader)}
	left.waitReady(t)
	for _, n := range left.nodes {
		checkTopology(t, n, "killed leader")
		eventually(t, "the exclusive queue goes with its node", func() error { return wantNoQueue(n, owned.Name) })
		wantDepth(t, open(t, n), "transient", 0) // it is the cluster's
	}
	leader.start(t)
	c.waitReady(t)
	checkTopology(t, leader, "after its return")

	killAll(t, c)
	for _, n := range c.nodes {
		n.start(t)
	}
	c.waitReady(t)
	for _, n := range c.nodes {
		checkTopology(t, n, "restart")
		if err := wantNoQueue(n, "transient"); err != nil {
			t.Error(err)
		}
	}
	last := open(t, c.node(0))
	if err := last.QueueUnbind("all", "", "auto", nil); err != nil {
		t.Fatal(err)
	}
	err = last.ExchangeDeclarePassive("auto", "fanout", true, true, false, false, nil)
	refusal(t, err, amqp.NotFound, "NOT_FOUND - no exchange 'auto' in vhost '/'")
}

// buildTopology: "in" leads by topic to "inner", an internal exchange of headers, and what it cannot route to "rest".
func buildTopology(t *testing.T, ch *amqp.Channel) {
	t.Helper()
	for _, x := range []struct {
		name, kind           string
		autoDelete, internal bool
		args                 amqp.Table
	}{
		{"rest", "fanout", false, false, nil},
		{"in", "topic", false, false, amqp.Table{"alternate-exchange": "rest"}},
		{"inner", "headers", false, true, nil},
		{"auto", "fanout", true, false, nil},
	} {
		if err := ch.ExchangeDeclare(x.name, x.kind, true, x.autoDelete, x.internal, false, x.args); err != nil {
			t.Fatal(err)
		}
	}
	for name, args := range topologyQueues {
		if _, err := ch.QueueDeclare(name, true, name == "auto-delete", false, false, args); err != nil {
			t.Fatal(err)
		}
	}
	if err := ch.ExchangeBind("inner", "in.#", "in", false, nil); err != nil {
		t.Fatal(err)
	}
	for _, b := range []struct {
		queue, exchange string
		args            amqp.Table
	}{
		{"all", "inner", amqp.Table{"x-match": "all", "n": int32(1), "s": "x"}},
		{"any", "inner", amqp.Table{"x-match": "any-with-x", "x-n": int32(2), "s": "x"}},
		{"rest", "rest", nil},
		{"all", "auto", nil},
	} {
		if err := ch.QueueBind(b.queue, "", b.exchange, false, b.args); err != nil {
			t.Fatal(err)
		}
	}
}

var topologyQueues = map[string]amqp.Table{
	"all": nil, "any": nil, "rest": nil, "dead": nil, "auto-delete": nil,
	"full": {
		"x-max-length": int32(2), "x-max-length-bytes": int32(9), "x-overflow": "reject-publish-dlx",
		"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead", "x-expires": int64(3_600_000), "x-max-priority": int16(5),
	},
}

// checkTopology checks that all is there as it was, from one node, and leaves the queues empty.
func checkTopology(t *testing.T, n *node, when string) {
	t.Helper()
	ch := open(t, n)
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	for name, args := range topologyQueues {
		if _, err := ch.QueueDeclare(name, true, name == "auto-delete", false, false, args); err != nil {
			t.Fatalf("%s: declare %s again: %v", when, name, err)
		}
	}
	if err := ch.ExchangeDeclare("inner", "headers", true, false, true, false, nil); err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	for i, m := range []struct {
		exchange, key string
		headers       amqp.Table
		want          []string
	}{
		{"in", "in.a.b", amqp.Table{"n": int32(1), "s": "x"}, []string{"all", "any"}},
		{"in", "in", amqp.Table{"x-n": int32(2)}, []string{"any"}},
		{"in", "in.a", amqp.Table{"n": int32(1)}, nil}, // a binding fitted, so the alternate exchange is not asked
		{"in", "else", nil, []string{"rest"}},
		{"auto", "", nil, []string{"all"}},
	} {
		body := fmt.Sprint(when, " ", i)
		confirmed(t, ch, m.exchange, m.key, amqp.Publishing{Headers: m.headers, Body: []byte(body)})
		for _, q := range m.want {
			if d, ok, err := ch.Get(q, true); err != nil || !ok || string(d.Body) != body {
				t.Fatalf("%s: queue %s has %q, %v, %v, want %q", when, q, d.Body, ok, err, body)
			}
		}
		for q := range topologyQueues {
			if got, _ := depth(t, ch, q); got != 0 {
				t.Errorf("%s: %q is in %s, too", when, body, q)
			}
		}
	}
	confirms := ch.NotifyPublish(make(chan amqp.Confirmation, 3))
	for _, body := range []string{"1234", "123456", "12345"} {
		publish(t, ch, "full", body)
	}
	for i, want := range []bool{true, false, true} {
		if got := receive(t, "confirm", confirms); got.Ack != want {
			t.Errorf("%s: confirm %d of a full queue: ack %v", when, i, got.Ack)
		}
	}
	d, _, err := ch.Get("dead", true)
	if err != nil || string(d.Body) != "123456" {
		t.Fatalf("%s: dead letter %q, %v", when, d.Body, err)
	}
	wantDeath(t, d, 0, "full", "maxlen", 1, "")
	for q, want := range map[string]int{"full": 2, "dead": 0} {
		if got, err := ch.QueuePurge(q, false); err != nil || got != want {
			t.Errorf("%s: %d messages in %s, want %d (%v)", when, got, q, want, err)
		}
	}
}
