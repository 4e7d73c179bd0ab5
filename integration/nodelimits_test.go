package integration

import (
	"fmt"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// anonymous is the mechanism ANONYMOUS.
type anonymous struct{}

func (anonymous) Mechanism() string { return "ANONYMOUS" }
func (anonymous) Response() string  { return "" }

// TestNodeLimits: connection-max, channel-max-per-node and consumer-max-per-channel hold on
// each node by itself, give room again, and count anew after a kill.
//
// row: 1.1 update-secret
func TestNodeLimits(t *testing.T) {
	for _, size := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d_nodes", size), func(t *testing.T) {
			c := startClusterWith(t, size, options{args: []string{
				"--connection-max", "2", "--channel-max-per-node", "3", "--consumer-max-per-channel", "1",
				"--anonymous-login-user", "guest", "--anonymous-login-pass", "guest",
			}})
			for _, n := range c.nodes {
				testNodeLimits(t, n)
			}
			c.node(0).kill(t)
			c.node(0).start(t)
			c.waitReady(t)
			testNodeLimits(t, c.node(0))
		})
	}
}

func testNodeLimits(t *testing.T, n *node) {
	t.Helper()
	dial := func(config amqp.Config) (*amqp.Connection, error) { return amqp.DialConfig(n.url, config) }
	// The connection that found the node ready may still count.
	soon := func(config amqp.Config) (conn *amqp.Connection) {
		t.Helper()
		eventually(t, "room for a connection", func() (err error) {
			conn, err = dial(config)
			return err
		})
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	first := soon(amqp.Config{SASL: []amqp.Authentication{anonymous{}}})
	second := soon(amqp.Config{})
	_, err := dial(amqp.Config{})
	refusal(t, err, amqp.NotAllowed, "NOT_ALLOWED - connection refused: node connection limit (2) is reached")

	channel := func(conn *amqp.Connection) *amqp.Channel {
		t.Helper()
		ch, err := conn.Channel()
		if err != nil {
			t.Fatal(err)
		}
		return ch
	}
	one, _, _ := channel(first), channel(first), channel(second)
	_, err = second.Channel()
	refusal(t, err, amqp.NotAllowed,
		fmt.Sprintf("NOT_ALLOWED - number of channels opened on node '%s' has reached the maximum allowed limit of 3", n.name))
	// That connection is over, and its channel with it.
	eventually(t, "room for a connection", func() (err error) {
		second, err = dial(amqp.Config{})
		return err
	})
	if err := second.UpdateSecret("guest", "the same"); err != nil {
		t.Error(err)
	}
	channel(second)

	q, err := one.QueueDeclare("", false, false, true, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := one.Consume(q.Name, "", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	_, err = one.Consume(q.Name, "", true, false, false, false, nil)
	refusal(t, err, amqp.NotAllowed, "NOT_ALLOWED - reached maximum (1) of consumers per channel")
	refusal(t, second.UpdateSecret("wrong", "a mistake"), amqp.NotAllowed, "NOT_ALLOWED - New secret was refused by one of the backends")
}
