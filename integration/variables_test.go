package integration

import (
	"net/http"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestRabbitMQVariables: the variables of RabbitMQ's image make the first user and vhost of a new cluster, as an
// existing compose file expects, and change nothing later.
//
// row: 1.1 loopback users; 1.7 vhosts; 1.7 user tags
func TestRabbitMQVariables(t *testing.T) {
	t.Parallel()
	skipWithPeer(t)
	c, err := newCluster(executable(t, "warren"), executable(t, "warrenctl"), 3, options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.end(t.Failed(), t.Logf) })
	for _, n := range c.nodes {
		n.url = "amqp://app:s%C3%A9cret@" + n.amqp + "/shop"
	}
	startAndCheck := func(user, password, vhost string) {
		t.Helper()
		for _, n := range c.nodes {
			n.proc.Env = []string{
				"RABBITMQ_DEFAULT_USER=" + user, "RABBITMQ_DEFAULT_PASS=" + password, "RABBITMQ_DEFAULT_VHOST=" + vhost,
			}
			n.start(t)
		}
		c.waitReady(t)
		for _, n := range c.nodes {
			q := declare(t, open(t, n), n, nil)
			publish(t, open(t, c.node(0)), q, "m")
			wantDepth(t, open(t, n), q, 1)
			for _, user := range []string{"guest", "other"} {
				_, err := dialAs(t, n, user, user)
				refusal(t, err, 403, "username or password not allowed")
			}
			_, err := dialAs(t, n, "app", "sécret") // to "/"
			refusal(t, err, amqp.NotAllowed, "NOT_ALLOWED - vhost / not found")
			if status, body := n.api(t, "app", "sécret", http.MethodGet, "/api/whoami", nil); status != http.StatusOK || !strings.Contains(body, `"administrator"`) {
				t.Errorf("%s: %d %s", n.name, status, body)
			}
		}
	}
	startAndCheck("app", "sécret", "shop")
	killAll(t, c)
	startAndCheck("other", "other", "/")
}
