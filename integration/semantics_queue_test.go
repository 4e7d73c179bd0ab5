package integration

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// queueSemantics: the life of queues.
var queueSemantics = []semantic{
	// row: 1.6 any node; 1.2 default exchange
	{"declared here, used there at once", func(t *testing.T, c *cluster) {
		here, there := open(t, c.node(0)), open(t, c.node(1))
		for range 20 {
			q := declare(t, here, c.node(0), nil)
			publish(t, there, q, "m")
			wantDepth(t, here, q, 1)
			if n, err := there.QueueDelete(q, false, false, false); err != nil || n != 1 {
				t.Fatalf("delete: %d messages, %v", n, err)
			}
			if n, err := open(t, c.node(2)).QueueDelete(q, false, false, false); err != nil || n != 0 {
				t.Fatalf("delete of a queue that is gone: %d messages, %v", n, err)
			}
		}
	}},
	// row: 1.2 queue.declare; 1.2 empty queue name
	{"server-named", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		a, err := ch.QueueDeclare("", false, false, true, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := ch.QueueDeclare("", false, false, true, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		form := regexp.MustCompile(`^amq\.gen-[A-Za-z0-9_-]{22}$`)
		if !form.MatchString(a.Name) || !form.MatchString(b.Name) || a.Name == b.Name {
			t.Fatalf("names %q and %q", a.Name, b.Name)
		}
		// The empty name is now the one declared last on this channel.
		if err := ch.QueueBind("", "key", "amq.direct", false, nil); err != nil {
			t.Fatal(err)
		}
		publishTo(t, ch, "amq.direct", "key", amqp.Publishing{Body: []byte("m")})
		wantDepth(t, ch, b.Name, 1)
		if d, ok, err := ch.Get("", true); err != nil || !ok || string(d.Body) != "m" {
			t.Fatalf("get from the current queue: %q %v %v", d.Body, ok, err)
		}
		// … for all but declare.
		_, err = ch.QueueDeclarePassive("", false, false, true, false, nil)
		refusal(t, err, amqp.NotFound, "NOT_FOUND - no queue '' in vhost '/'")
	}},
	// row: 1.2 queue.declare
	{"declare-ok counts", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		q := declare(t, ch, c.node(0), nil)
		publish(t, ch, q, "1")
		publish(t, ch, q, "2")
		wantDepth(t, open(t, c.node(1)), q, 2)
		got, err := ch.QueueDeclare(q, true, false, false, false, nil)
		if err != nil || got.Messages != 2 || got.Consumers != 0 || got.Name != q {
			t.Fatalf("declare again: %+v, %v", got, err)
		}
		consume(t, open(t, c.node(2)), q)
		wantConsumers(t, ch, q, 1)
		wantDepth(t, ch, q, 0)
	}},
	// row: 1.2 queue.purge
	{"purge takes ready messages only", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		q := declare(t, ch, c.node(0), nil)
		for i := range 3 {
			publish(t, ch, q, fmt.Sprint(i))
		}
		wantDepth(t, ch, q, 3)
		held := get(t, ch, q, "0")
		if n, err := open(t, c.node(1)).QueuePurge(q, false); err != nil || n != 2 {
			t.Fatalf("purge: %d, %v", n, err)
		}
		if err := held.Nack(false, true); err != nil {
			t.Fatal(err)
		}
		wantDepth(t, ch, q, 1)
	}},
	// row: 1.2 exclusive queue
	{"exclusive goes with its connection", func(t *testing.T, c *cluster) {
		conn := dial(t, c.node(0))
		q, err := channel(t, conn).QueueDeclare(unique(t), false, false, true, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		// Any node may publish to it; only its connection may touch it.
		publish(t, open(t, c.node(1)), q.Name, "m")
		ch := channel(t, conn)
		wantDepth(t, ch, q.Name, 1)
		if err := ch.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := channel(t, conn).QueueDeclarePassive(q.Name, false, false, true, false, nil); err != nil {
			t.Fatalf("the queue did not outlive its channel: %v", err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the queue is gone", func() error { return wantNoQueue(c.node(2), q.Name) })
	}},
	{"exclusive goes with a lost connection", func(t *testing.T, c *cluster) {
		raw := rawDial(t, c.node(0))
		raw.handshake()
		raw.openChannel(1)
		name := unique(t)
		// durable 0, exclusive 4 (bits: passive durable exclusive auto-delete no-wait)
		raw.method(1, 50, 10, raw.short(0), raw.shortstr(name), []byte{0b00100}, raw.long(0))
		raw.expectMethod(1, 50, 11)
		_ = raw.conn.Close()
		eventually(t, "the queue is gone", func() error { return wantNoQueue(c.node(1), name) })
	}},
	// row: 1.2 auto-delete queue
	{"auto-delete goes with its last consumer", func(t *testing.T, c *cluster) {
		here, there := open(t, c.node(0)), open(t, c.node(1))
		q, err := here.QueueDeclare(unique(t), false, true, false, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		publish(t, there, q.Name, "m")
		wantDepth(t, here, q.Name, 1) // never consumed from: it stays
		a, err := here.Consume(q.Name, "a", false, false, false, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		next(t, a, "m")
		if _, err := there.Consume(q.Name, "b", false, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		if err := here.Cancel("a", false); err != nil {
			t.Fatal(err)
		}
		wantConsumers(t, here, q.Name, 1)
		if err := there.Close(); err != nil { // takes b with it
			t.Fatal(err)
		}
		eventually(t, "the queue is gone", func() error { return wantNoQueue(c.node(2), q.Name) })
	}},
	// row: 1.2 queue.delete
	{"delete if unused and if empty", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		q := declare(t, ch, c.node(0), nil)
		if n, err := open(t, c.node(1)).QueueDelete(q, true, true, false); err != nil || n != 0 {
			t.Fatalf("delete: %d, %v", n, err)
		}
		if err := wantNoQueue(c.node(2), q); err != nil {
			t.Fatal(err)
		}
	}},
	// row: 1.2 queue.declare
	{"equivalent declare", func(t *testing.T, c *cluster) {
		here, there := open(t, c.node(0)), open(t, c.node(1))
		q := declare(t, here, c.node(0), amqp.Table{"x-max-length": int32(10), "x-note": "kept"})
		// Integers are equal across widths.
		_, err := there.QueueDeclare(q, true, false, false, false, amqp.Table{"x-max-length": int64(10), "x-note": "kept"})
		if err != nil {
			t.Fatalf("declare with a wider integer: %v", err)
		}
	}},
	// row: 1.2 queue.declare; 1.2 exclusive queue
	{"line ends are no part of a name, and an exclusive queue is not durable", func(t *testing.T, c *cluster) {
		ch, name := open(t, c.node(0)), unique(t)
		q, err := ch.QueueDeclare("\r\n"+name+"\n", true, false, true, false, nil)
		if err != nil || q.Name != name {
			t.Fatalf("%+v, %v", q, err)
		}
		if _, err := ch.QueueDeclare(name, false, false, true, false, nil); err != nil {
			t.Errorf("the same without durable: %v", err)
		}
	}},
	{"unbind", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		q := declare(t, ch, c.node(0), nil)
		key := unique(t)
		for range 2 { // binding twice is binding once
			if err := ch.QueueBind(q, key, "amq.direct", false, nil); err != nil {
				t.Fatal(err)
			}
		}
		there := open(t, c.node(1))
		publishTo(t, there, "amq.direct", key, amqp.Publishing{Body: []byte("1")})
		wantDepth(t, ch, q, 1)
		if err := there.QueueUnbind(q, key, "amq.direct", nil); err != nil {
			t.Fatal(err)
		}
		if err := there.QueueUnbind(q, key, "amq.direct", nil); err != nil {
			t.Fatalf("unbind what is not bound: %v", err)
		}
		publishTo(t, ch, "amq.direct", key, amqp.Publishing{Body: []byte("2")})
		publish(t, ch, q, "3")
		wantDepth(t, ch, q, 2)
		get(t, ch, q, "1")
		get(t, ch, q, "3")
	}},
	{"no-wait", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		q := unique(t)
		if _, err := ch.QueueDeclare(q, true, false, false, true, nil); err != nil {
			t.Fatal(err)
		}
		deleteAtEnd(t, c.node(0), q)
		if err := ch.QueueBind(q, q, "amq.direct", true, nil); err != nil {
			t.Fatal(err)
		}
		publishTo(t, ch, "amq.direct", q, amqp.Publishing{Body: []byte("m")})
		wantDepth(t, ch, q, 1)
	}},
	{"long names", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		q := unique(t)
		q += strings.Repeat("q", 255-len(q))
		declareNamed(t, ch, c.node(0), q, nil)
		publish(t, open(t, c.node(1)), q, "m")
		wantDepth(t, ch, q, 1)
	}},
}

// wantNoQueue returns an error while a queue exists.
func wantNoQueue(n *node, queue string) error {
	conn, err := amqp.Dial(n.url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	_, err = ch.QueueDeclarePassive(queue, false, false, false, false, nil)
	if e, ok := err.(*amqp.Error); ok && e.Code == amqp.NotFound {
		return nil
	}
	return fmt.Errorf("queue %s: %v, want 404", queue, err)
}
