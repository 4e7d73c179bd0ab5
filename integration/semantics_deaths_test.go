package integration

import (
	"fmt"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// deathSemantics: what a dead letter tells, and why messages die.
var deathSemantics = []semantic{
	// row: 1.4 x-death; 1.4 first and last death
	{"the history names queues, reasons, exchanges and keys, newest first", func(t *testing.T, c *cluster) {
		r := newRouting(t, c, "direct")
		last := declare(t, r.ch, c.node(0), nil)
		wait := declare(t, r.ch, c.node(0), amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": last})
		first := declare(t, r.ch, c.node(0), amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": wait})
		if err := r.ch.QueueBind(first, "k", r.exchange, false, nil); err != nil {
			t.Fatal(err)
		}
		publishTo(t, r.there, r.exchange, "k", amqp.Publishing{Body: []byte("m"), Headers: amqp.Table{
			"CC": []any{"copy"}, "BCC": []any{"hidden"}, "own": "kept",
			"x-death": []any{amqp.Table{"queue": "a lie", "reason": "rejected", "count": int64(99)}},
		}})
		before := time.Now().Add(-time.Minute)
		if err := next(t, consume(t, r.ch, first), "m").Reject(false); err != nil {
			t.Fatal(err)
		}
		if err := next(t, consume(t, r.there, wait), "m").Reject(false); err != nil {
			t.Fatal(err)
		}
		d := next(t, consume(t, open(t, c.node(2)), last), "m")
		rows, _ := d.Headers["x-death"].([]any)
		if len(rows) != 2 {
			t.Fatalf("x-death is %v", d.Headers["x-death"])
		}
		for i, want := range []amqp.Table{
			{"queue": wait, "exchange": "", "routing-keys": []any{wait}},
			{"queue": first, "exchange": r.exchange, "routing-keys": []any{"k", "copy"}},
		} {
			row, _ := rows[i].(amqp.Table)
			at, isTime := row["time"].(time.Time)
			if !isTime || at.Before(before) || at.After(time.Now().Add(time.Minute)) {
				t.Errorf("row %d: time %v", i, row["time"])
			}
			want["count"], want["reason"], want["time"] = int64(1), "rejected", at
			if fmt.Sprint(row) != fmt.Sprint(want) {
				t.Errorf("row %d is %v, want %v", i, row, want)
			}
		}
		for name, want := range map[string]any{
			"x-first-death-queue": first, "x-first-death-reason": "rejected", "x-first-death-exchange": r.exchange,
			"x-last-death-queue": wait, "x-last-death-reason": "rejected", "x-last-death-exchange": "", "own": "kept",
		} {
			if d.Headers[name] != want {
				t.Errorf("%s is %v, want %v", name, d.Headers[name], want)
			}
		}
	}},
	// row: 1.5 x-max-length, x-max-length-bytes
	{"x-max-length-bytes counts the bodies of what is ready", func(t *testing.T, c *cluster) {
		ch, there := open(t, c.node(0)), open(t, c.node(1))
		q := declare(t, ch, c.node(0), amqp.Table{"x-max-length-bytes": int32(10)})
		publish(t, ch, q, "12345")
		publish(t, ch, q, "67890") // full, and no more than that
		wantDepth(t, there, q, 2)
		get(t, there, q, "12345") // unacknowledged is not counted
		publish(t, ch, q, "abcde")
		wantDepth(t, there, q, 2)
		publish(t, ch, q, "x")
		wantDepth(t, there, q, 2) // the oldest has gone
		get(t, there, q, "abcde")
		get(t, there, q, "x")
	}},
	// row: 1.5 x-overflow; 1.5 x-max-length, x-max-length-bytes
	{"x-overflow reject-publish-dlx: nack, and a dead letter", func(t *testing.T, c *cluster) {
		ch, there := open(t, c.node(0)), open(t, c.node(1))
		dead := declare(t, ch, c.node(0), nil)
		q := declare(t, ch, c.node(0), amqp.Table{
			"x-max-length-bytes": int32(5), "x-overflow": "reject-publish-dlx",
			"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead,
		})
		if err := there.Confirm(false); err != nil {
			t.Fatal(err)
		}
		confirms := there.NotifyPublish(make(chan amqp.Confirmation, 3))
		for _, body := range []string{"1234", "too", "5"} {
			publish(t, there, q, body)
		}
		for i, want := range []bool{true, false, true} {
			if got := receive(t, "confirm", confirms); got.Ack != want || got.DeliveryTag != uint64(i+1) {
				t.Errorf("confirm %+v, want ack %v", got, want)
			}
		}
		wantDeath(t, get(t, ch, dead, "too"), 0, q, "maxlen", 1, "")
		wantDepth(t, ch, q, 2)
	}},
	// row: 1.5 x-dead-letter-exchange, x-dead-letter-routing-key
	{"without its dead-letter exchange a message is gone; without a key of its own it keeps its keys", func(t *testing.T, c *cluster) {
		r := newRouting(t, c, "direct")
		lost := declare(t, r.ch, c.node(0), amqp.Table{"x-dead-letter-exchange": unique(t)})
		publish(t, r.ch, lost, "m")
		wantDepth(t, r.there, lost, 1)
		if err := get(t, r.there, lost, "m").Nack(false, false); err != nil {
			t.Fatal(err)
		}
		q := declare(t, r.ch, c.node(0), amqp.Table{"x-dead-letter-exchange": r.exchange})
		r.bind("by key", q, nil)
		r.bind("by CC", "copy", nil)
		publishTo(t, r.there, "", q, amqp.Publishing{Body: []byte("kept"), Headers: amqp.Table{"CC": []any{"copy"}}})
		wantDepth(t, r.ch, q, 1)
		if err := get(t, r.ch, q, "kept").Reject(false); err != nil {
			t.Fatal(err)
		}
		wantDepth(t, r.ch, lost, 0)
		for _, name := range []string{"by key", "by CC"} {
			wantDepth(t, r.ch, r.queue(name), 1)
			if d := get(t, r.ch, r.queue(name), "kept"); d.RoutingKey != q || d.Exchange != r.exchange {
				t.Errorf("%s: exchange %q, key %q", name, d.Exchange, d.RoutingKey)
			}
		}
	}},
}
