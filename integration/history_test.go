package integration

import (
	"fmt"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestRecentHistory binds queues to an exchange that has seen messages, on other nodes than these came from, over the loss
// of the leader and a restart of all.
//
// row: 1.4 x-recent-history
func TestRecentHistory(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d_nodes", size), func(t *testing.T) {
			testRecentHistory(t, startCluster(t, size))
		})
	}
}

func testRecentHistory(t *testing.T, c *cluster) {
	ch := open(t, c.node(0))
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string]amqp.Table{"three": {"x-recent-history-length": int32(3)}, "twenty": nil} {
		if err := ch.ExchangeDeclare(name, "x-recent-history", true, false, false, false, args); err != nil {
			t.Fatal(err)
		}
	}
	if err := ch.ExchangeBind("twenty", "", "three", false, nil); err != nil {
		t.Fatal(err)
	}
	for i := range 25 {
		confirmed(t, ch, "three", fmt.Sprint("key ", i), amqp.Publishing{Body: fmt.Append(nil, i), MessageId: fmt.Sprint("id ", i)})
	}
	confirmed(t, ch, "three", "", amqp.Publishing{Body: []byte("not kept"), Headers: amqp.Table{"x-recent-history-no-store": true}})
	count := 0
	// bound binds new queues on each node and wants the last messages in them.
	bound := func() {
		t.Helper()
		for _, n := range c.nodes {
			if !n.running() {
				continue
			}
			there := open(t, n)
			for exchange, length := range map[string]int{"three": 3, "twenty": 20} {
				count++
				name := fmt.Sprint("q", count)
				declareNamed(t, there, n, name, nil)
				if err := there.QueueBind(name, "any", exchange, false, nil); err != nil {
					t.Fatal(err)
				}
				for i := 25 - length; i < 25; i++ {
					d := get(t, there, name, fmt.Sprint(i))
					if d.Exchange != "three" || d.RoutingKey != fmt.Sprint("key ", i) || d.MessageId != fmt.Sprint("id ", i) || d.Redelivered {
						t.Errorf("message %d of %s came as %+v", i, exchange, d)
					}
				}
				if _, ok, err := there.Get(name, true); ok || err != nil {
					t.Errorf("%s has more than its history: %v", name, err)
				}
				if err := there.QueueUnbind(name, "any", exchange, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	bound()
	throughFaults(t, c, bound)

	ch = open(t, c.node(0))
	err := ch.ExchangeDeclare("none", "x-recent-history", true, false, false, false, amqp.Table{"x-recent-history-length": int32(0)})
	refusal(t, err, amqp.PreconditionFailed, "PRECONDITION_FAILED - Invalid argument 0, 'x-recent-history-length' must be a positive integer")
}
