package integration

import (
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// txSemantics: transactions, which cover all queues of the vhost.
var txSemantics = []semantic{
	// row: 1.3 transactions
	{"commit publishes to all queues", func(t *testing.T, c *cluster) {
		ch, q := filled(t, c, 0)
		p := declare(t, ch, c.node(0), nil)
		tx := transactional(t, c)
		for range 5 {
			publish(t, tx, q, "q")
			publish(t, tx, p, "p")
		}
		// Something answered on the channel says that the publishes have arrived.
		if n, _ := depth(t, tx, q); n != 0 {
			t.Fatalf("%d messages before commit", n)
		}
		if err := tx.TxCommit(); err != nil {
			t.Fatal(err)
		}
		there := open(t, c.node(2))
		for _, name := range []string{q, p} {
			if n, _ := depth(t, there, name); n != 5 {
				t.Errorf("%d messages after commit, want 5", n)
			}
		}
	}},
	{"rollback drops publishes", func(t *testing.T, c *cluster) {
		ch, q := filled(t, c, 0)
		tx := transactional(t, c)
		publish(t, tx, q, "dropped")
		if err := tx.TxRollback(); err != nil {
			t.Fatal(err)
		}
		publish(t, tx, q, "kept")
		if err := tx.TxCommit(); err != nil {
			t.Fatal(err)
		}
		if err := tx.TxCommit(); err != nil {
			t.Fatalf("empty commit: %v", err)
		}
		if n, _ := depth(t, ch, q); n != 1 {
			t.Errorf("%d messages, want 1", n)
		}
		get(t, ch, q, "kept")
	}},
	{"acks happen at commit", func(t *testing.T, c *cluster) {
		ch, q := filled(t, c, 3)
		tx := transactional(t, c)
		d := drainN(t, tx, q, 3)
		if err := d[0].Ack(false); err != nil {
			t.Fatal(err)
		}
		if err := tx.TxCommit(); err != nil {
			t.Fatal(err)
		}
		if err := d[1].Ack(false); err != nil { // never committed
			t.Fatal(err)
		}
		if err := tx.Close(); err != nil {
			t.Fatal(err)
		}
		wantDepth(t, ch, q, 2)
		get(t, ch, q, "1")
		get(t, ch, q, "2")
	}},
	// row: 1.3 transactions
	{"rollback takes acks back", func(t *testing.T, c *cluster) {
		ch, q := filled(t, c, 2)
		tx := transactional(t, c)
		d := drainN(t, tx, q, 2)
		if err := d[0].Ack(false); err != nil {
			t.Fatal(err)
		}
		if err := tx.TxRollback(); err != nil {
			t.Fatal(err)
		}
		if n, _ := depth(t, ch, q); n != 0 {
			t.Errorf("%d messages ready: rollback must not requeue", n)
		}
		// The delivery can be settled again.
		if err := d[0].Ack(false); err != nil {
			t.Fatal(err)
		}
		if err := d[1].Nack(false, true); err != nil {
			t.Fatal(err)
		}
		if err := tx.TxCommit(); err != nil {
			t.Fatal(err)
		}
		wantDepth(t, ch, q, 1)
		get(t, ch, q, "1")
	}},
	{"move a message", func(t *testing.T, c *cluster) {
		ch, q := filled(t, c, 1)
		p := declare(t, ch, c.node(0), nil)
		tx := transactional(t, c)
		d := get(t, tx, q, "0")
		publish(t, tx, p, string(d.Body))
		if err := d.Ack(false); err != nil {
			t.Fatal(err)
		}
		if err := tx.TxCommit(); err != nil {
			t.Fatal(err)
		}
		get(t, ch, p, "0")
		if err := tx.Close(); err != nil {
			t.Fatal(err)
		}
		if n, _ := depth(t, ch, q); n != 0 {
			t.Errorf("%d messages at the source", n)
		}
	}},
	{"closing the channel rolls back", func(t *testing.T, c *cluster) {
		ch, q := filled(t, c, 0)
		tx := transactional(t, c)
		publish(t, tx, q, "never")
		if err := tx.Close(); err != nil {
			t.Fatal(err)
		}
		if n, _ := depth(t, ch, q); n != 0 {
			t.Errorf("%d messages", n)
		}
	}},
	{"an unroutable mandatory publish comes back", func(t *testing.T, c *cluster) {
		tx := transactional(t, c)
		returns := tx.NotifyReturn(make(chan amqp.Return, 1))
		if err := tx.Publish("", "nosuch", true, false, amqp.Publishing{Body: []byte("m")}); err != nil {
			t.Fatal(err)
		}
		if err := tx.TxCommit(); err != nil {
			t.Fatal(err)
		}
		if r := receive(t, "return", returns); r.ReplyCode != amqp.NoRoute {
			t.Errorf("returned: %+v", r)
		}
	}},
}

func transactional(t *testing.T, c *cluster) *amqp.Channel {
	t.Helper()
	ch := open(t, c.node(1))
	if err := ch.Tx(); err != nil {
		t.Fatal(err)
	}
	return ch
}
