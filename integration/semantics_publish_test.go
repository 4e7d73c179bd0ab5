package integration

import (
	"context"
	"fmt"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// publishSemantics: confirms and returns.
var publishSemantics = []semantic{
	// row: 1.3 publisher confirms
	{"confirms number the publishes", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(1))
		q := declare(t, ch, c.node(1), nil)
		if err := ch.Confirm(false); err != nil {
			t.Fatal(err)
		}
		const count = 500
		confirms := ch.NotifyPublish(make(chan amqp.Confirmation, count))
		for i := range count {
			// Routed or not: all are confirmed.
			publishTo(t, ch, "", []string{q, "nosuch"}[i%2], amqp.Publishing{Body: []byte("m"), DeliveryMode: 2})
		}
		for i := range count {
			if conf := receive(t, "confirm", confirms); !conf.Ack || conf.DeliveryTag != uint64(i+1) {
				t.Fatalf("confirm %d: %+v", i+1, conf)
			}
		}
		if n, _ := depth(t, open(t, c.node(0)), q); n != count/2 {
			t.Errorf("%d messages in the queue, want %d: it must hold what is confirmed", n, count/2)
		}
	}},
	// row: 1.3 publisher confirms; 1.6 any node
	{"confirmed is in the queue, seen from any node", func(t *testing.T, c *cluster) {
		ch, there := open(t, c.node(0)), open(t, c.node(1))
		q := declare(t, ch, c.node(0), nil)
		if err := ch.Confirm(false); err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			confirmed(t, ch, "", q, amqp.Publishing{Body: []byte(fmt.Sprint(i)), DeliveryMode: 2})
			get(t, there, q, fmt.Sprint(i))
		}
	}},
	// row: 1.3 mandatory
	{"return before confirm", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(1))
		if err := ch.Confirm(false); err != nil {
			t.Fatal(err)
		}
		// One unbuffered listener at a time is served: the client's reader stands
		// still in the return, so a confirm seen first would have come first.
		returns := ch.NotifyReturn(make(chan amqp.Return))
		confirms := ch.NotifyPublish(make(chan amqp.Confirmation, 10))
		sent := amqp.Publishing{
			Body: []byte("back to me"), MessageId: "id-1", Headers: amqp.Table{"h": "v"}, DeliveryMode: 2,
		}
		for range 3 {
			if err := ch.PublishWithContext(context.Background(), "amq.direct", "nowhere", true, false, sent); err != nil {
				t.Fatal(err)
			}
			select {
			case got := <-returns:
				if got.ReplyCode != amqp.NoRoute || got.ReplyText != "NO_ROUTE" || got.Exchange != "amq.direct" ||
					got.RoutingKey != "nowhere" || string(got.Body) != "back to me" || got.MessageId != "id-1" || got.Headers["h"] != "v" {
					t.Fatalf("returned: %+v", got)
				}
			case conf := <-confirms:
				t.Fatalf("%+v came before the return", conf)
			case <-time.After(patience):
				t.Fatal("nothing came back")
			}
			if conf := receive(t, "confirm", confirms); !conf.Ack {
				t.Fatalf("confirm: %+v", conf)
			}
		}
	}},
	{"mandatory and routable", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		q := declare(t, ch, c.node(0), nil)
		if err := ch.Confirm(false); err != nil {
			t.Fatal(err)
		}
		returns := ch.NotifyReturn(make(chan amqp.Return, 1))
		conf, err := ch.PublishWithDeferredConfirmWithContext(context.Background(), "", q, true, false, amqp.Publishing{})
		if err != nil || !conf.Wait() {
			t.Fatalf("publish: %v", err)
		}
		select {
		case r := <-returns:
			t.Fatalf("came back: %+v", r)
		default:
		}
	}},
	// row: 1.3 mandatory
	{"mandatory without confirms", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(2))
		returns := ch.NotifyReturn(make(chan amqp.Return, 1))
		if err := ch.PublishWithContext(context.Background(), "", "nosuch", true, false, amqp.Publishing{Body: nil}); err != nil {
			t.Fatal(err)
		}
		if r := receive(t, "return", returns); len(r.Body) != 0 || r.RoutingKey != "nosuch" {
			t.Fatalf("returned: %+v", r)
		}
	}},
	{"order from one channel into one queue", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(1))
		q := declare(t, ch, c.node(1), nil)
		got := consume(t, open(t, c.node(2)), q)
		const count = 1000
		for i := range count {
			publish(t, ch, q, fmt.Sprint(i))
		}
		for i := range count {
			next(t, got, fmt.Sprint(i))
		}
	}},
}
