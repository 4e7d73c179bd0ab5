package integration

import (
	"fmt"
	"regexp"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// policySemantics: each key of a policy has its effect on a queue that is there, and loses it.
var policySemantics = []semantic{
	// row: 1.7 policy keys
	{"max-length-bytes and overflow", func(t *testing.T, c *cluster) {
		ch, there := open(t, c.node(0)), open(t, c.node(1))
		q := declare(t, ch, c.node(0), nil)
		if err := ch.Confirm(false); err != nil {
			t.Fatal(err)
		}
		accepted := func(body string) bool {
			t.Helper()
			conf, err := ch.PublishWithDeferredConfirm("", q, false, false, amqp.Publishing{Body: []byte(body)})
			if err != nil {
				t.Fatal(err)
			}
			return receiveConfirm(t, conf)
		}
		accepted("12345")
		accepted("67890")
		set, unset := policyOf(t, c, q)
		set("", `{"max-length-bytes": 6}`)
		wantDepth(t, there, q, 1)
		set("", `{"max-length-bytes": 6, "overflow": "reject-publish"}`)
		if accepted("ab") {
			t.Error("a message above the limit is taken")
		}
		if !accepted("a") {
			t.Error("a message below the limit is refused")
		}
		unset("")
		if !accepted("ab") {
			t.Error("the policy is gone, and its limit is not")
		}
		wantDepth(t, there, q, 3)
	}},
	// row: 1.7 policy keys
	{"delivery-limit with dead-lettering", func(t *testing.T, c *cluster) {
		ch, there := open(t, c.node(0)), open(t, c.node(1))
		dead, q := declare(t, ch, c.node(0), nil), declare(t, ch, c.node(0), nil)
		set, unset := policyOf(t, c, q)
		set("", fmt.Sprintf(`{"delivery-limit": 1, "dead-letter-exchange": "", "dead-letter-routing-key": %q, "dead-letter-strategy": "at-least-once"}`, dead))
		publish(t, ch, q, "m")
		got := consume(t, there, q)
		for range 2 {
			if err := next(t, got, "m").Nack(false, true); err != nil {
				t.Fatal(err)
			}
		}
		wantDeath(t, next(t, consume(t, ch, dead), "m"), 0, q, "delivery_limit", 1, "")
		unset("")
		publish(t, ch, q, "n")
		for range 5 {
			if err := next(t, got, "n").Nack(false, true); err != nil {
				t.Fatal(err)
			}
		}
		next(t, got, "n")
	}},
	// row: 1.7 policy keys
	{"expires", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		q := unique(t)
		if _, err := ch.QueueDeclare(q, true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		set, _ := policyOf(t, c, q)
		set("", `{"expires": 200}`)
		eventually(t, "the queue is gone", func() error {
			var queue map[string]any // over HTTP, as a declare would use it
			if err := c.node(1).getJSON("/api/queues/%2F/"+q, &queue); err == nil {
				return fmt.Errorf("it is there")
			}
			return nil
		})
	}},
	// row: 1.7 arguments and policies; 1.7 operator policies
	{"beside arguments, and below an operator's policy", func(t *testing.T, c *cluster) {
		ch, there := open(t, c.node(0)), open(t, c.node(1))
		mine, theirs := declare(t, ch, c.node(0), nil), declare(t, ch, c.node(0), nil)
		q := declare(t, ch, c.node(0), amqp.Table{
			"x-max-length": int32(3), "x-overflow": "drop-head", "x-dead-letter-exchange": "", "x-dead-letter-routing-key": mine,
		})
		set, unset := policyOf(t, c, q)
		set("", fmt.Sprintf(`{"max-length": 5, "overflow": "reject-publish", "dead-letter-routing-key": %q}`, theirs))
		if err := ch.Confirm(false); err != nil {
			t.Fatal(err)
		}
		confirms := ch.NotifyPublish(make(chan amqp.Confirmation, 4))
		for i := range 4 {
			publish(t, ch, q, fmt.Sprint(i))
		}
		for i := range 4 { // the lower number, the policy's overflow
			if got := receive(t, "confirm", confirms); got.Ack != (i < 3) {
				t.Errorf("confirm %+v", got)
			}
		}
		if err := get(t, there, q, "0").Reject(false); err != nil { // the argument's dead-lettering
			t.Fatal(err)
		}
		wantDepth(t, there, mine, 1)
		wantDepth(t, there, theirs, 0)
		set("operator_", `{"max-length": 1, "overflow": "drop-head"}`) // the operator's of both
		wantDepth(t, there, q, 1)
		wantDepth(t, there, mine, 2)
		get(t, there, q, "2")
		unset("operator_")
		unset("")
	}},
}

// policyOf returns what sets a policy, or with "operator_" an operator policy, for one queue, on one node
// after the other, and what clears it.
func policyOf(t *testing.T, c *cluster, queue string) (set func(kind, definition string), unset func(kind string)) {
	t.Helper()
	name, turn := unique(t), 0
	there := map[string]bool{}
	next := func() *node { turn++; return c.node(turn) }
	t.Cleanup(func() {
		for kind := range there {
			next().ctl(t, "clear_"+kind+"policy", name)
		}
	})
	set = func(kind, definition string) {
		t.Helper()
		next().ctl(t, "set_"+kind+"policy", name, "^"+regexp.QuoteMeta(queue)+"$", definition, "--apply-to", "queues")
		there[kind] = true
	}
	unset = func(kind string) {
		t.Helper()
		next().ctl(t, "clear_"+kind+"policy", name)
		delete(there, kind)
	}
	return set, unset
}
