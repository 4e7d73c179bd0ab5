package integration

import (
	"fmt"
	"regexp"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// lifeSemantics: what becomes of messages with time: TTL, dead-lettering, limits.
var lifeSemantics = []semantic{
	// row: 1.5 x-message-ttl; 1.5 expiration
	{"x-message-ttl and expiration, wherever a message stands", func(t *testing.T, c *cluster) {
		ch, there := open(t, c.node(0)), open(t, c.node(1))
		q := declare(t, ch, c.node(0), amqp.Table{"x-message-ttl": int32(60_000)})
		publish(t, ch, q, "first, and long")
		publishTo(t, ch, "", q, amqp.Publishing{Body: []byte("short"), Expiration: "50"})
		publishTo(t, ch, "", q, amqp.Publishing{Body: []byte("also long"), Expiration: "999999"})
		wantDepth(t, there, q, 2) // nothing else happens: a tick brings the time
		get(t, there, q, "first, and long")
		get(t, there, q, "also long")
	}},
	// row: 1.5 x-message-ttl
	{"TTL 0: delivered at once or gone", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		q := declare(t, ch, c.node(0), amqp.Table{"x-message-ttl": int32(0)})
		if err := ch.Confirm(false); err != nil {
			t.Fatal(err)
		}
		confirmed(t, ch, "", q, amqp.Publishing{Body: []byte("nobody is here")})
		wantDepth(t, ch, q, 0)
		from := consume(t, open(t, c.node(1)), q)
		confirmed(t, ch, "", q, amqp.Publishing{Body: []byte("taken")})
		next(t, from, "taken")
	}},
	// row: 1.3 basic.publish
	{"a bad expiration is 406", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		closed := ch.NotifyClose(make(chan *amqp.Error, 1))
		publishTo(t, ch, "", "q", amqp.Publishing{Expiration: "soon"})
		refusal(t, receive(t, "close", closed), amqp.PreconditionFailed,
			"PRECONDITION_FAILED - invalid expiration 'soon': no_integer")
	}},
	// row: 1.5 x-expires
	{"x-expires: a queue that nobody uses goes", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		q := unique(t)
		if _, err := ch.QueueDeclare(q, true, false, false, false, amqp.Table{"x-expires": int32(200)}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the queue is gone", func() error {
			// Over HTTP, as a declare would use it.
			var queue map[string]any
			if err := c.node(1).getJSON("/api/queues/%2F/"+q, &queue); err == nil {
				return fmt.Errorf("it is there")
			}
			return nil
		})
	}},
	// row: 1.4 x-death; 1.4 first and last death; 1.5 x-dead-letter-exchange, x-dead-letter-routing-key; 1.5 x-max-length, x-max-length-bytes
	{"dead letters: rejected, expired and maxlen, with their history", func(t *testing.T, c *cluster) {
		ch, there := open(t, c.node(0)), open(t, c.node(1))
		dead := declare(t, ch, c.node(0), nil)
		dlx := unique(t) + "-x"
		if err := ch.ExchangeDeclare(dlx, "fanout", false, true, false, false, nil); err != nil {
			t.Fatal(err)
		}
		if err := ch.QueueBind(dead, "", dlx, false, nil); err != nil {
			t.Fatal(err)
		}
		q := declare(t, ch, c.node(0), amqp.Table{"x-dead-letter-exchange": dlx, "x-max-length": int32(1)})
		publishTo(t, ch, "", q, amqp.Publishing{Body: []byte("1"), Headers: amqp.Table{"own": "header"}})
		get(t, ch, q, "1").Reject(false)
		from := consume(t, there, dead)
		d := next(t, from, "1")
		if d.Exchange != dlx || d.RoutingKey != q || d.Headers["own"] != "header" {
			t.Errorf("exchange %q, key %q, headers %v", d.Exchange, d.RoutingKey, d.Headers)
		}
		wantDeath(t, d, 0, q, "rejected", 1, "")
		for _, which := range []string{"first", "last"} {
			for what, want := range map[string]string{"reason": "rejected", "queue": q, "exchange": ""} {
				if got := d.Headers["x-"+which+"-death-"+what]; got != want {
					t.Errorf("x-%s-death-%s is %v, want %q", which, what, got, want)
				}
			}
		}
		publishTo(t, ch, "", q, amqp.Publishing{Body: []byte("2")})
		publishTo(t, ch, "", q, amqp.Publishing{Body: []byte("3"), Expiration: "30"})
		wantDeath(t, next(t, from, "2"), 0, q, "maxlen", 1, "")
		d = next(t, from, "3")
		wantDeath(t, d, 0, q, "expired", 1, "30")
		if d.Expiration != "" {
			t.Errorf("the expiration %q is still there", d.Expiration)
		}
	}},
	// row: 1.4 dead-letter cycles; 1.5 x-dead-letter-exchange, x-dead-letter-routing-key
	// row: 1.4 dead-letter cycles
	{"dead letters: a retry loop is counted, a cycle without a client ends", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		work, wait := unique(t)+"-work", unique(t)+"-wait"
		declareNamed(t, ch, c.node(0), work, amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": wait})
		declareNamed(t, ch, c.node(0), wait, amqp.Table{
			"x-dead-letter-exchange": "", "x-dead-letter-routing-key": work, "x-message-ttl": int32(20),
		})
		publish(t, ch, work, "again")
		from := consume(t, open(t, c.node(1)), work)
		for round := range int64(3) {
			d := next(t, from, "again")
			if round > 0 {
				wantDeath(t, d, 0, wait, "expired", round, "")
				wantDeath(t, d, 1, work, "rejected", round, "")
			}
			if err := d.Reject(false); err != nil {
				t.Fatal(err)
			}
		}
		if err := next(t, from, "again").Ack(false); err != nil {
			t.Fatal(err)
		}
		// Two queues that expire into each other, where nobody rejects, lose the message.
		a, b := unique(t)+"-a", unique(t)+"-b"
		for q, to := range map[string]string{a: b, b: a} {
			declareNamed(t, ch, c.node(0), q, amqp.Table{
				"x-dead-letter-exchange": "", "x-dead-letter-routing-key": to, "x-message-ttl": int32(20),
			})
		}
		publish(t, ch, a, "round")
		wantDepth(t, ch, a, 0)
		wantDepth(t, ch, b, 0)
		wantDepth(t, ch, a, 0)
	}},
	// row: 1.5 x-overflow
	// row: 1.5 x-overflow; 1.5 x-max-length, x-max-length-bytes
	{"x-overflow reject-publish: nack, and a commit that does nothing", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		q := declare(t, ch, c.node(0), amqp.Table{"x-max-length": int32(1), "x-overflow": "reject-publish"})
		if err := ch.Confirm(false); err != nil {
			t.Fatal(err)
		}
		confirms := ch.NotifyPublish(make(chan amqp.Confirmation, 10))
		for range 3 {
			publish(t, ch, q, "m")
		}
		for i, want := range []bool{true, false, false} {
			if got := receive(t, "confirm", confirms); got.Ack != want || got.DeliveryTag != uint64(i+1) {
				t.Errorf("confirm %+v, want ack %v", got, want)
			}
		}
		wantDepth(t, open(t, c.node(1)), q, 1)
		tx := open(t, c.node(1))
		if err := tx.Tx(); err != nil {
			t.Fatal(err)
		}
		other := declare(t, ch, c.node(0), nil)
		publish(t, tx, other, "m")
		publish(t, tx, q, "m")
		refusal(t, tx.TxCommit(), amqp.PreconditionFailed, "PRECONDITION_FAILED - partial tx completion")
		wantDepth(t, open(t, c.node(1)), other, 0)
	}},
	// row: 1.4 x-delivery-count; 1.5 x-delivery-limit; 1.6 poison messages
	// row: 1.5 x-delivery-limit; 1.4 x-delivery-count; 1.6 poison messages
	{"x-delivery-limit: counted, then dead-lettered, or parked", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		dead := declare(t, ch, c.node(0), nil)
		q := declare(t, ch, c.node(0), amqp.Table{
			"x-delivery-limit": int32(2), "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead,
		})
		publish(t, ch, q, "poison")
		from := consume(t, open(t, c.node(1)), q)
		for try := range int64(3) {
			d := next(t, from, "poison")
			if got, _ := d.Headers["x-delivery-count"].(int64); got != try || d.Redelivered != (try > 0) {
				t.Errorf("try %d: x-delivery-count %v, redelivered %v", try, d.Headers["x-delivery-count"], d.Redelivered)
			}
			if err := d.Nack(false, true); err != nil {
				t.Fatal(err)
			}
		}
		wantDeath(t, next(t, consume(t, ch, dead), "poison"), 0, q, "delivery_limit", 1, "")

		alone := declare(t, ch, c.node(0), amqp.Table{"x-delivery-limit": int32(0)})
		publish(t, ch, alone, "poison")
		if err := next(t, consume(t, open(t, c.node(2)), alone), "poison").Reject(true); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the message is parked", func() error {
			var queue struct {
				Parked   int `json:"messages_parked"`
				Messages int `json:"messages"`
			}
			if err := c.node(1).getJSON("/api/queues/%2F/"+alone, &queue); err != nil || queue.Parked != 1 || queue.Messages != 1 {
				return fmt.Errorf("%+v, %v", queue, err)
			}
			return nil
		})
		if n, err := ch.QueuePurge(alone, false); err != nil || n != 1 {
			t.Errorf("purge of what is parked: %d, %v", n, err)
		}
	}},
	// row: 1.7 policy keys
	{"policies set TTL, length and dead-lettering of a queue that is there", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		dead := declare(t, ch, c.node(0), nil)
		q := declare(t, ch, c.node(0), nil)
		for i := range 3 {
			publish(t, ch, q, fmt.Sprint(i))
		}
		wantDepth(t, ch, q, 3)
		name := unique(t)
		c.node(1).ctl(t, "set_policy", name, "^"+regexp.QuoteMeta(q)+"$", fmt.Sprintf(
			`{"max-length": 1, "message-ttl": 50, "dead-letter-exchange": "", "dead-letter-routing-key": %q}`, dead), "--apply-to", "queues")
		wantDepth(t, ch, q, 1)
		wantDepth(t, ch, dead, 2)
		publish(t, ch, q, "3")
		wantDepth(t, ch, q, 0)
		c.node(2).ctl(t, "clear_policy", name)
		publish(t, ch, q, "4")
		publish(t, ch, q, "5")
		wantDepth(t, ch, q, 2)
		for _, body := range []string{"0", "1", "2", "3"} {
			get(t, ch, dead, body)
		}
	}},
}

// wantDeath checks a row of the header x-death.
func wantDeath(t testing.TB, d amqp.Delivery, row int, queue, reason string, count int64, expiration string) {
	t.Helper()
	rows, _ := d.Headers["x-death"].([]interface{})
	if row >= len(rows) {
		t.Errorf("x-death has %d rows: %v", len(rows), d.Headers)
		return
	}
	death, _ := rows[row].(amqp.Table)
	if death["queue"] != queue || death["reason"] != reason || death["count"] != count {
		t.Errorf("row %d of x-death is %v, want queue %s, reason %s, count %d", row, death, queue, reason, count)
	}
	if got, _ := death["original-expiration"].(string); got != expiration {
		t.Errorf("original-expiration %q, want %q", got, expiration)
	}
}

// TestLifeThroughFaults: what is to happen to messages happens when the leader is killed
// meanwhile, and after all nodes were.
func TestLifeThroughFaults(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	ch := open(t, c.others(c.leader(t))[0])
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	const count = 500
	declareNamed(t, ch, c.node(0), "dead", nil)
	args := amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead", "x-message-ttl": int32(3000)}
	for _, q := range []string{"before", "after"} {
		if _, err := ch.QueueDeclare(q, true, false, false, false, args); err != nil {
			t.Fatal(err)
		}
	}
	for i := range count {
		confirmed(t, ch, "", "before", amqp.Publishing{Body: fmt.Append(nil, i), DeliveryMode: amqp.Persistent})
	}
	c.leader(t).kill(t)
	survivor := func() *node {
		for _, n := range c.nodes {
			if n.running() {
				return n
			}
		}
		t.Fatal("no node runs")
		return nil
	}
	ch = open(t, survivor())
	wantDepth(t, ch, "before", 0)
	wantDepth(t, ch, "dead", count)
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	for i := range count {
		confirmed(t, ch, "", "after", amqp.Publishing{Body: fmt.Append(nil, count+i), DeliveryMode: amqp.Persistent})
	}
	for _, n := range c.nodes {
		if n.running() {
			n.kill(t)
		}
	}
	for _, n := range c.nodes {
		n.start(t)
	}
	c.waitReady(t)
	ch = open(t, c.node(1))
	wantDepth(t, ch, "after", 0)
	wantDepth(t, ch, "dead", 2*count)
	for i := range 2 * count {
		d := get(t, ch, "dead", fmt.Sprint(i)) // each once, in order
		wantDeath(t, d, 0, []string{"before", "after"}[i/count], "expired", 1, "")
	}
}
