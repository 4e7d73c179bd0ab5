package integration

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestManyQueues declares many queues, binds all of them to one topic exchange, and
// uses them: a message for each, then one for all, consumed on other nodes than
// they were published on; and once more when the whole cluster was down.
// WARREN_MANY_QUEUES=10000 is the full size.
func TestManyQueues(t *testing.T) {
	m := &manyQueues{cluster: startCluster(t, 3), count: setNumber(t, "WARREN_MANY_QUEUES", 600)}
	r := newReport(t, fmt.Sprintf("%d queues bound to one topic exchange", m.count))
	r.row("what", "took", "a second")
	r.row("---", "---:", "---:")
	step := func(what string, count int, run func(*testing.T)) {
		begin := time.Now()
		run(t)
		took := time.Since(begin)
		rate := any("–")
		if count > 1 {
			rate = int(float64(count) / took.Seconds())
		}
		r.row(what, seconds(took), rate)
	}
	step("declare, with two bindings each", m.count, m.declare)
	step("subscribe", m.count, m.subscribe)
	step("publish to each and deliver", m.count, m.oneEach)
	step("publish one to all and deliver", m.count, m.oneForAll)
	m.settle(t)
	killAll(t, m.cluster)
	step("start of all nodes after they were killed", 1, func(t *testing.T) {
		for _, n := range m.cluster.nodes {
			n.start(t)
		}
		m.cluster.waitReady(t)
	})
	step("publish one to all and look at each", m.count, m.afterRestart)
}

// manyQueues are queues 0 to count-1 with the keys queue.N.x and all.#.
type manyQueues struct {
	cluster *cluster
	count   int

	channels []*amqp.Channel

	mu      sync.Mutex
	bodies  map[string]bool // what came: the queue's number and the body
	doubled []string
	arrived chan struct{} // one for each
}

const manyExchange = "many"

// workers is how many channels share the queues.
const manyWorkers = 24

func manyName(i int) string { return fmt.Sprintf("many-%d", i) }

// each calls do for every queue, on channels spread over the nodes.
func (m *manyQueues) each(t *testing.T, do func(ch *amqp.Channel, i int) error) {
	t.Helper()
	errs := make(chan error, manyWorkers)
	for w := range manyWorkers {
		ch := open(t, m.cluster.node(w))
		m.channels = append(m.channels, ch)
		go func() {
			var err error
			for i := w; i < m.count && err == nil; i += manyWorkers {
				err = do(ch, i)
			}
			errs <- err
		}()
	}
	for range manyWorkers {
		// No patience: ten thousand take longer than anything else here.
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
}

func (m *manyQueues) declare(t *testing.T) {
	t.Helper()
	if err := open(t, m.cluster.node(0)).ExchangeDeclare(manyExchange, "topic", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	m.each(t, func(ch *amqp.Channel, i int) error {
		if _, err := ch.QueueDeclare(manyName(i), true, false, false, false, nil); err != nil {
			return err
		}
		return errors.Join(ch.QueueBind(manyName(i), fmt.Sprintf("queue.%d.*", i), manyExchange, false, nil),
			ch.QueueBind(manyName(i), "all.#", manyExchange, false, nil))
	})
}

func (m *manyQueues) subscribe(t *testing.T) {
	t.Helper()
	m.bodies, m.arrived = map[string]bool{}, make(chan struct{}, 4*m.count)
	m.each(t, func(ch *amqp.Channel, i int) error {
		deliveries, err := ch.Consume(manyName(i), "", false, false, false, false, nil)
		if err != nil {
			return err
		}
		go func() {
			for d := range deliveries {
				m.arrive(fmt.Sprintf("%d %s", i, d.Body))
				_ = d.Ack(false) // a lost connection shows as a message that does not come
			}
		}()
		return nil
	})
}

// settle closes all channels, so that the cluster has their acks.
func (m *manyQueues) settle(t *testing.T) {
	t.Helper()
	for _, ch := range m.channels {
		if err := ch.Close(); err != nil {
			t.Fatal(err)
		}
	}
	m.channels = nil
}

func (m *manyQueues) arrive(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bodies[what] {
		m.doubled = append(m.doubled, what)
	}
	m.bodies[what] = true
	m.arrived <- struct{}{}
}

// wantAll waits for one arrival in each queue and looks at what they are.
func (m *manyQueues) wantAll(t *testing.T, body func(i int) string) {
	t.Helper()
	for range m.count {
		receive(t, "a message of each queue", m.arrived)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.count {
		if what := fmt.Sprintf("%d %s", i, body(i)); !m.bodies[what] {
			t.Fatalf("queue and message %q did not come", what)
		}
	}
	if len(m.bodies) != m.count || len(m.doubled) > 0 {
		t.Fatalf("%d different messages in %d queues, these came twice: %s", len(m.bodies), m.count, strings.Join(m.doubled, ", "))
	}
	clear(m.bodies)
}

func (m *manyQueues) oneEach(t *testing.T) {
	t.Helper()
	m.each(t, func(ch *amqp.Channel, i int) error {
		target := (i + 1) % m.count // so that it is published on another node than it is consumed on
		return ch.Publish(manyExchange, fmt.Sprintf("queue.%d.x", target), true, false, amqp.Publishing{Body: fmt.Append(nil, "to ", target)})
	})
	m.wantAll(t, func(i int) string { return fmt.Sprintf("to %d", i) })
}

func (m *manyQueues) oneForAll(t *testing.T) {
	t.Helper()
	publishTo(t, open(t, m.cluster.node(1)), manyExchange, "all.of.you", amqp.Publishing{Body: []byte("all")})
	m.wantAll(t, func(int) string { return "all" })
}

func (m *manyQueues) afterRestart(t *testing.T) {
	t.Helper()
	ch := open(t, m.cluster.node(2))
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	confirmed(t, ch, manyExchange, "all", amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte("again")})
	m.each(t, func(ch *amqp.Channel, i int) error {
		d, ok, err := ch.Get(manyName(i), true)
		if err == nil && (!ok || string(d.Body) != "again" || d.MessageCount != 0) {
			err = fmt.Errorf("%s has %q, %d behind it", manyName(i), d.Body, d.MessageCount)
		}
		return err
	})
}
