package node

import (
	"fmt"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"

	"warren/fsm/command"
)

// setShovel sets a shovel, as the HTTP API does.
func setShovel(t *testing.T, n *Node, name, value string) {
	t.Helper()
	r, err := (broker{n}).Propose(t.Context(), &command.ParameterPut{VHost: "/", Component: shovelComponent, Name: name, Value: value})
	if err != nil || r.Err != nil {
		t.Fatal(err, r.Err)
	}
}

// TestShovelInside runs shovels over a node's connections to itself: one that ends by itself, one that is changed, restarted and
// deleted, one that cannot be understood. Nothing of them is left when the node is closed.
func TestShovelInside(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	n := start(t, testConfig(t.TempDir()))
	defer stop(t, n)
	conn, ch := dial(t, n)
	defer func() { _ = conn.Close() }()
	for _, q := range []string{"a", "b"} {
		if _, err := ch.QueueDeclare(q, true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 50 {
		publish(t, ch, "a", false, amqp.Publishing{Body: fmt.Append(nil, i)})
	}
	setShovel(t, n, "once", `{"src-uri":"amqp://","src-queue":"a","dest-uri":"amqp://","dest-queue":"b","src-delete-after":"queue-length","prefetch-count":7}`)
	within(t, "the shovel has ended", func() bool { return len(n.shovels.wanted()) == 0 })
	got, err := ch.Consume("b", "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if d := next(t, got); string(d.Body) != fmt.Sprint(i) {
			t.Fatalf("message %d is %s", i, d.Body)
		}
	}
	state := func(want string) func() bool {
		return func() bool {
			for _, s := range n.Shovels(t.Context()) {
				if s.Name == "on" && s.State == want {
					return true
				}
			}
			return false
		}
	}
	setShovel(t, n, "on", `{"src-uri":"amqp://","src-queue":"a","src-protocol":"amqp10","dest-uri":"amqp://"}`)
	within(t, "what is not spoken is told", state("terminated"))
	setShovel(t, n, "on", `{"src-uri":"amqp://guest:guest@anywhere","src-protocol":"local","src-queue":"a","dest-uri":"amqp://","dest-queue":"b"}`)
	within(t, "the shovel runs", state("running"))
	if err := n.RestartShovel(t.Context(), "/", "on"); err != nil {
		t.Fatal(err)
	}
	publish(t, ch, "a", false, amqp.Publishing{Body: []byte("again")})
	if d := next(t, got); string(d.Body) != "again" {
		t.Errorf("got %s", d.Body)
	}
	setShovel(t, n, "on", `{"src-uri":"amqp://guest:wrong@","src-protocol":"local","src-queue":"a","dest-uri":"amqp://","reconnect-delay":0}`)
	within(t, "a wrong password is refused inside too", state("terminated"))
}
