package integration

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestChaos lets random faults happen to random nodes under load, one at a time,
// while another client makes and removes queues and bindings. WARREN_TEST_SEED
// repeats a run's choices, WARREN_TEST_FAULTS makes it longer (8 faults).
func TestChaos(t *testing.T) {
	c := startCluster(t, 3)
	seed := uint64(setting(t, "WARREN_TEST_SEED", int(time.Now().UnixNano()&0xffffff)))
	t.Logf("WARREN_TEST_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	flows := startFlows(t, c)
	stopChurn := churn(t, c)

	type fault struct {
		name       string
		hurt, heal func(n *node)
	}
	start := func(n *node) { n.start(t); n.waitReady(t) }
	faults := []fault{
		{"kill", func(n *node) { n.kill(t) }, start},
		{"stop", func(n *node) { n.stop(t) }, start},
		{"pause", func(n *node) { n.pause(t) }, func(n *node) { n.resume(t); n.waitReady(t) }},
		{"kill and start at once", func(n *node) { n.kill(t) }, nil},
		{"kill the leader", nil, start},
	}
	for range setting(t, "WARREN_TEST_FAULTS", 8) {
		f, n := faults[random.IntN(len(faults))], c.node(random.IntN(len(c.nodes)))
		if f.hurt == nil {
			n, f.hurt = c.leader(t), faults[0].hurt
		}
		t.Logf("%s: %s", f.name, n.name)
		f.hurt(n)
		if f.heal == nil {
			f.heal = start
		} else {
			var elsewhere []*flow // flows that are not on the node go on
			for _, flow := range flows {
				if flow.pub.home() != n {
					elsewhere = append(elsewhere, flow)
				}
			}
			progress(t, elsewhere, uint64(random.IntN(1000)))
		}
		f.heal(n)
		progress(t, flows, 100)
	}
	stopChurn()
	for _, f := range flows {
		f.finish(t)
		for _, err := range f.check(loss{publisher: true, consumer: true}) {
			t.Errorf("queue %s: %v", f.queue, err)
		}
	}
}

// setting is a number from the environment.
func setting(t testing.TB, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// churn makes and removes queues, bindings and consumers through whatever node
// serves, until the returned function is called.
func churn(t testing.TB, c *cluster) (stop func()) {
	stopped, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for round := 0; ; round++ {
			select {
			case <-stopped:
				return
			default:
			}
			// A round that a fault cuts short is none the worse for it.
			_ = churnOnce(c.node(round), "churn-"+strconv.Itoa(round))
		}
	}()
	return func() {
		close(stopped)
		select {
		case <-done:
		case <-time.After(patience):
			t.Error("a client hangs")
		}
	}
}

func churnOnce(n *node, name string) error {
	s, err := connectLoad(n)
	if err != nil {
		time.Sleep(poll)
		return err
	}
	defer func() { _ = s.conn.Close() }()
	if _, err := s.ch.QueueDeclare(name, false, false, true, false, nil); err != nil {
		return err
	}
	if err := s.ch.QueueBind(name, name+".#", "amq.topic", false, nil); err != nil {
		return err
	}
	for range 10 {
		if err := s.ch.Publish("amq.topic", name+".x", false, false, amqp.Publishing{Body: []byte("m")}); err != nil {
			return err
		}
	}
	if _, err := s.ch.Consume(name, "", false, false, false, false, nil); err != nil {
		return err
	}
	_, err = s.ch.QueueDelete(name, false, false, false)
	return err
}
