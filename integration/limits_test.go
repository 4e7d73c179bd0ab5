package integration

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// setLimit sets a limit through a node's API and clears it at the end of the test.
func setLimit(t testing.TB, n *node, kind, of, name string, value int) {
	t.Helper()
	path := kind + "/" + url.PathEscape(of) + "/" + name
	n.wantAPI(t, http.StatusNoContent, http.MethodPut, path, map[string]int{"value": value})
	t.Cleanup(func() {
		if n.running() {
			n.admin(t, http.MethodDelete, path, nil)
		}
	})
}

// TestQueueLimit: a vhost has no more queues than it may have, whoever declares them.
//
// row: 1.7 limits
func TestQueueLimit(t *testing.T) {
	bothSizes(t, func(t *testing.T, c *cluster) {
		vhost := unique(t)
		makeVHost(t, c.node(0), vhost, nil)
		setLimit(t, c.node(0), "vhost-limits", vhost, "max-queues", 2)
		conn, ch := inVHost(t, c.node(1), vhost)
		for i := range 4 { // the second time they are there
			if _, err := ch.QueueDeclare(fmt.Sprint(i%2), true, false, false, false, nil); err != nil {
				t.Fatal(err)
			}
		}
		_, err := ch.QueueDeclare("third", true, false, false, false, nil)
		refusal(t, err, 406, "PRECONDITION_FAILED - cannot declare queue 'third': queue limit in vhost '"+vhost+"' (2) is reached")
		ch = channel(t, conn)
		_, err = ch.QueueDeclare("", false, false, true, false, nil)
		refusal(t, err, 406, "PRECONDITION_FAILED - cannot declare queue 'amq.gen-…")
		setLimit(t, c.node(2), "vhost-limits", vhost, "max-queues", -1)
		ch = channel(t, conn)
		if _, err := ch.QueueDeclare("third", true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
	})
}

// TestConnectionLimits fills vhost and user over all nodes, also with connections that
// were there before the limit.
//
// row: 1.7 limits; 1.1 connection.open
func TestConnectionLimits(t *testing.T) {
	for _, size := range []int{1, 3} {
		t.Run(fmt.Sprintf("nodes=%d", size), func(t *testing.T) {
			c := startCluster(t, size) // of its own: a user's limit concerns all tests
			vhost := unique(t)
			makeVHost(t, c.node(0), vhost, nil)
			first, _ := inVHost(t, c.node(0), vhost)
			inVHost(t, c.node(1), vhost)
			setLimit(t, c.node(2), "vhost-limits", vhost, "max-connections", 3)
			// Those two make themselves known on their own.
			wantCounted(t, c, vhost, 3)
			inVHost(t, c.node(2), vhost)
			reached := "NOT_ALLOWED - access to vhost '" + vhost + "' refused for user 'guest': connection limit (3) is reached"
			for i := range 3 {
				_, err := dialVHost(c.node(i), vhost)
				refusal(t, err, 530, reached)
			}
			usable(t, dial(t, c.node(0))) // another vhost
			if err := first.Close(); err != nil {
				t.Fatal(err)
			}
			// The place is free when close-ok is there.
			inVHost(t, c.node(1), vhost)
			_, err := dialVHost(c.node(2), vhost)
			refusal(t, err, 530, reached)
			setLimit(t, c.node(0), "vhost-limits", vhost, "max-connections", 0)
			_, err = dialVHost(c.node(1), vhost)
			refusal(t, err, 530, "NOT_ALLOWED - access to vhost '"+vhost+"' refused for user 'guest': connection limit (0) is reached")
			setLimit(t, c.node(1), "vhost-limits", vhost, "max-connections", -1)
			inVHost(t, c.node(2), vhost)

			// At the same node: another one may learn of it some milliseconds later.
			setLimit(t, c.node(0), "user-limits", "guest", "max-connections", 1)
			_, err = dialVHost(c.node(0), "/")
			refusal(t, err, 530, "NOT_ALLOWED - connection refused for user 'guest': user connection limit (1) is reached")
		})
	}
}

// wantCounted waits until a vhost with room for one more has it for one only: then all
// that there were before the limit are counted.
func wantCounted(t testing.TB, c *cluster, vhost string, most int) {
	t.Helper()
	eventually(t, "connections are counted", func() error {
		var open []*amqp.Connection
		defer func() {
			for _, conn := range open {
				if err := conn.Close(); err != nil {
					t.Errorf("close connection: %v", err)
				}
			}
		}()
		for i := range most {
			conn, err := dialVHost(c.node(i), vhost)
			if err != nil {
				break
			}
			open = append(open, conn)
		}
		if len(open) != 1 {
			return fmt.Errorf("%d places are free", len(open))
		}
		return nil
	})
}

// TestChannelLimit: a user has no more channels than it may have, over all connections.
//
// row: 1.7 limits
func TestChannelLimit(t *testing.T) {
	for _, size := range []int{1, 3} {
		t.Run(fmt.Sprintf("nodes=%d", size), func(t *testing.T) {
			c := startCluster(t, size)
			one := dial(t, c.node(0))
			channel(t, one)
			setLimit(t, c.node(1), "user-limits", "guest", "max-channels", 3)
			two, three := dial(t, c.node(1)), dial(t, c.node(2))
			channel(t, two)
			last := channel(t, three)
			eventually(t, "channel limit", func() error {
				conn := dial(t, c.node(0))
				ch, err := conn.Channel()
				var e *amqp.Error
				if errors.As(err, &e) {
					refusal(t, err, 530, "NOT_ALLOWED - number of channels opened for user 'guest' has reached the maximum allowed user limit of 3")
					return nil
				}
				if err != nil {
					t.Fatal(err)
				}
				if err := ch.Close(); err != nil {
					t.Fatal(err)
				}
				return errors.New("one channel was not counted yet")
			})
			if err := last.Close(); err != nil {
				t.Fatal(err)
			}
			channel(t, two)
			usable := dial(t, c.node(1))
			if ch, err := usable.Channel(); err == nil {
				t.Errorf("a fourth channel: %v", ch)
			}
		})
	}
}

// TestVHostsOutlive: vhosts, limits and what is counted outlive the loss of the leader and
// a restart of all nodes; connections that are gone leave room.
//
// row: 1.7 vhosts
func TestVHostsOutlive(t *testing.T) {
	t.Parallel()
	c := startClusterWith(t, 3, options{args: []string{"--default-vhost", "mine"}, vhost: "mine"})
	_, err := dialVHost(c.node(0), "/")
	refusal(t, err, 530, "NOT_ALLOWED - vhost / not found")
	leader := c.leader(t)
	rest := c.others(leader)
	rest[0].wantAPI(t, http.StatusCreated, http.MethodPut, "vhosts/v", map[string]any{
		"description": "d", "tags": []string{"x"}, "default_queue_type": "quorum", "protected_from_deletion": true,
	})
	setLimit(t, rest[0], "vhost-limits", "v", "max-queues", 1)
	setLimit(t, rest[1], "vhost-limits", "v", "max-connections", 2)
	setLimit(t, rest[1], "user-limits", "guest", "max-channels", 100)
	conn, ch := inVHost(t, rest[0], "v")
	if _, err := ch.QueueDeclare("q", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	confirmed(t, ch, "", "q", amqp.Publishing{DeliveryMode: 2, Body: []byte("m")})
	inVHost(t, leader, "v")
	_, err = dialVHost(rest[1], "v")
	refusal(t, err, 530, "NOT_ALLOWED - access to vhost 'v' refused for user 'guest': connection limit (2) is reached")

	leader.kill(t)
	eventually(t, "room for a connection after the loss of one", func() error {
		second, err := dialVHost(rest[1], "v")
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = second.Close() })
		return nil
	})
	usable(t, conn)
	_, err = dialVHost(rest[0], "v")
	refusal(t, err, 530, "NOT_ALLOWED - access to vhost 'v' refused for user 'guest': connection limit (2) is reached")

	leader.start(t)
	c.waitReady(t)
	killAll(t, c)
	for _, n := range c.nodes {
		n.start(t)
	}
	c.waitReady(t)
	for _, n := range c.nodes {
		var v struct {
			Description string
			Tags        []string
			Type        string `json:"default_queue_type"`
			Protected   bool   `json:"protected_from_deletion"`
			Messages    int
		}
		if err := n.getJSON("/api/vhosts/v", &v); err != nil {
			t.Fatal(err)
		}
		if v.Description != "d" || fmt.Sprint(v.Tags) != "[x]" || v.Type != "quorum" || !v.Protected || v.Messages != 1 {
			t.Errorf("%s: %+v", n.name, v)
		}
		_, err := dialVHost(n, "/")
		refusal(t, err, 530, "NOT_ALLOWED - vhost / not found")
		n.wantAPI(t, http.StatusPreconditionFailed, http.MethodDelete, "vhosts/v", nil)
	}
	eventually(t, "room for two connections after a restart", func() error {
		for i := range 2 {
			conn, err := dialVHost(c.node(i), "v")
			if err != nil {
				return err
			}
			t.Cleanup(func() { _ = conn.Close() })
		}
		return nil
	})
	_, err = dialVHost(c.node(2), "v")
	refusal(t, err, 530, "NOT_ALLOWED - access to vhost 'v' refused for user 'guest': connection limit (2) is reached")
}
