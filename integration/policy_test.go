package integration

import (
	"fmt"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestPolicies sets policies on one node and sees them work on the others, over the loss of
// the leader and a restart of all.
//
// row: 1.7 policies; 1.7 policy keys; 1.7 operator policies
//
// row: 1.7 policies
func TestPolicies(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d_nodes", size), func(t *testing.T) {
			c := startCluster(t, size)
			testPolicies(t, c)
		})
	}
}

func testPolicies(t *testing.T, c *cluster) {
	ch := open(t, c.node(0))
	for name, kind := range map[string]string{"in": "direct", "rest": "fanout"} {
		if err := ch.ExchangeDeclare(name, kind, true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	declareNamed(t, ch, c.node(0), "lost and found", nil)
	if err := ch.QueueBind("lost and found", "", "rest", false, nil); err != nil {
		t.Fatal(err)
	}
	// routed wants a message through the exchange "in", from every node, to be found or lost.
	routed := func(found bool) {
		t.Helper()
		for _, n := range c.nodes {
			there := open(t, n)
			if err := there.Confirm(false); err != nil {
				t.Fatal(err)
			}
			returns := there.NotifyReturn(make(chan amqp.Return, 1))
			mandatory(t, there, "in", "nobody")
			if got := len(returns) == 0; got != found {
				t.Errorf("on %s: routed %v, want %v", n.name, got, found)
			}
		}
	}
	routed(false)
	c.node(1).ctl(t, "set_policy", "--apply-to", "exchanges", "ae", "^in$", `{"alternate-exchange":"rest"}`)
	routed(true)
	if _, err := c.node(0).tryCtl("set_policy", "bad", "^(in", `{"alternate-exchange":"rest"}`); err == nil {
		t.Error("a broken pattern is taken")
	}
	wantRow(t, c.node(2), []string{"/", "ae", "^in$", "exchanges", `{"alternate-exchange":"rest"}`, "0"},
		"list_policies", "-q")

	limited := limitByPolicy(t, c)

	if len(c.nodes) > 1 {
		leader := c.leader(t)
		leader.kill(t)
		left := &cluster{nodes: c.others(leader)}
		left.waitReady(t)
		leader.start(t)
		c.waitReady(t)
		routed(true)
		limited()
	}
	killAll(t, c)
	for _, n := range c.nodes {
		n.start(t)
	}
	c.waitReady(t)
	routed(true)
	limited()
	c.node(2).ctl(t, "clear_policy", "ae")
	routed(false)
	if _, err := c.node(1).tryCtl("clear_policy", "ae"); err == nil {
		t.Error("a policy is cleared twice")
	}
}

// limitByPolicy bounds a queue by a policy and an operator policy while it holds messages, and
// returns what checks that they hold.
func limitByPolicy(t *testing.T, c *cluster) func() {
	t.Helper()
	ch := open(t, c.node(0))
	declareNamed(t, ch, c.node(0), "limited", nil)
	declareNamed(t, ch, c.node(0), "overflow", nil)
	for i := range 5 {
		publish(t, ch, "limited", fmt.Sprint(i))
	}
	wantDepth(t, ch, "limited", 5)
	c.node(1).ctl(t, "set_policy", "length", "^limited$", `{"max-length":4,"dead-letter-exchange":"","dead-letter-routing-key":"overflow"}`)
	wantDepth(t, ch, "limited", 4)
	wantDepth(t, ch, "overflow", 1)
	c.node(2).ctl(t, "set_operator_policy", "most", "^limited$", `{"max-length":3}`)
	wantDepth(t, ch, "limited", 3)
	wantDepth(t, ch, "overflow", 2)
	for _, n := range c.nodes {
		eventually(t, "policies of the queue", func() error {
			var q struct {
				Policy    string         `json:"policy"`
				Operator  string         `json:"operator_policy"`
				Effective map[string]any `json:"effective_policy_definition"`
			}
			if err := n.getJSON("/api/queues/%2F/limited", &q); err != nil {
				return err
			}
			if q.Policy != "length" || q.Operator != "most" || q.Effective["max-length"] != 3.0 {
				return fmt.Errorf("%s shows %+v", n.name, q)
			}
			return nil
		})
	}
	return func() {
		t.Helper()
		there := open(t, c.node(1))
		before, _ := depth(t, there, "overflow")
		publish(t, there, "limited", "one more")
		wantDepth(t, there, "overflow", before+1)
		wantDepth(t, there, "limited", 3)
	}
}
