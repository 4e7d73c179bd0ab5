package integration

import (
	"fmt"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// argumentSemantics: the arguments of queue.declare that change nothing here, and
// what is refused.
var argumentSemantics = []semantic{
	// row: 1.5 x-queue-type
	{"queue types", func(t *testing.T, c *cluster) {
		here, there := open(t, c.node(0)), open(t, c.node(1))
		for _, kind := range []string{"classic", "quorum"} {
			q := declare(t, here, c.node(0), amqp.Table{"x-queue-type": kind})
			for _, other := range []string{"classic", "quorum"} {
				if c.peer && other != kind { // RabbitMQ has two types
					continue
				}
				declareNamed(t, there, c.node(1), q, amqp.Table{"x-queue-type": other})
			}
			publish(t, there, q, "m")
			wantDepth(t, here, q, 1)
			get(t, here, q, "m")
		}
		for _, kind := range []any{"stream", "nosuch", int32(1)} {
			if c.peer && kind == "stream" {
				continue
			}
			ch := open(t, c.node(0))
			_, err := ch.QueueDeclare(unique(t), true, false, false, false, amqp.Table{"x-queue-type": kind})
			refusal(t, err, amqp.PreconditionFailed, "PRECONDITION_FAILED - invalid arg 'x-queue-type' for queue '…")
		}
	}},
	// row: 1.5 shape of a quorum queue
	{"any shape of a quorum queue", func(t *testing.T, c *cluster) {
		if c.peer {
			t.Skip("RabbitMQ's quorum queues have one shape")
		}
		quorum := amqp.Table{"x-queue-type": "quorum"}
		for _, s := range []struct {
			name                           string
			durable, autoDelete, exclusive bool
		}{
			{"", true, false, false}, {"", false, false, true}, {unique(t) + "-transient", false, false, false},
			{unique(t) + "-auto", true, true, false}, {unique(t) + "-exclusive", true, false, true},
		} {
			ch := open(t, c.node(0))
			q, err := ch.QueueDeclare(s.name, s.durable, s.autoDelete, s.exclusive, false, quorum)
			if err != nil {
				t.Fatalf("%+v: %v", s, err)
			}
			deleteAtEnd(t, c.node(0), q.Name)
			publish(t, ch, q.Name, "m")
			get(t, ch, q.Name, "m")
			if _, err := ch.QueueDelete(q.Name, false, false, false); err != nil {
				t.Fatalf("%+v: %v", s, err)
			}
		}
	}},
	// row: 1.2 transient queue
	{"transient and not exclusive", func(t *testing.T, c *cluster) {
		here, there := open(t, c.node(0)), open(t, c.node(1))
		q, err := here.QueueDeclare(unique(t), false, false, false, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		deleteAtEnd(t, c.node(0), q.Name)
		publish(t, there, q.Name, "m")
		wantDepth(t, here, q.Name, 1)
		get(t, here, q.Name, "m")
	}},
	// row: 1.5 x-quorum-initial-group-size; 1.5 x-queue-leader-locator; 1.5 x-dead-letter-strategy; 1.5 other compatibility arguments
	{"arguments that are accepted", func(t *testing.T, c *cluster) {
		for _, args := range []amqp.Table{
			{"x-queue-type": "quorum", "x-quorum-initial-group-size": int32(3)}, {"x-queue-leader-locator": "balanced"}, {"x-queue-leader-locator": "client-local"},
			{"x-queue-type": "quorum", "x-dead-letter-exchange": "amq.fanout", "x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"},
			{"x-queue-version": int32(2)}, {"x-queue-mode": "lazy"}, {"x-queue-type": "quorum", "x-max-in-memory-length": int32(1), "x-max-in-memory-bytes": int64(1)},
			{"x-of-our-own": amqp.Table{"kept": true}},
		} {
			q := declare(t, open(t, c.node(0)), c.node(0), args)
			there := open(t, c.node(1))
			declareNamed(t, there, c.node(1), q, args)
			publish(t, there, q, "m")
			wantDepth(t, there, q, 1)
			get(t, there, q, "m")
		}
	}},
	// row: 1.5 argument checks
	{"arguments that are refused", func(t *testing.T, c *cluster) {
		for _, r := range []struct {
			args   amqp.Table
			name   string
			reason string
		}{
			{amqp.Table{"x-message-ttl": int32(-1)}, "x-message-ttl", "{value_negative,-1}"},
			{amqp.Table{"x-expires": int32(0)}, "x-expires", "{value_zero,0}"},
			{amqp.Table{"x-max-length": int64(-5)}, "x-max-length", "{value_negative,-5}"},
			{amqp.Table{"x-max-priority": int32(256)}, "x-max-priority", "{max_value_exceeded,256}"},
			{amqp.Table{"x-dead-letter-routing-key": "k"}, "x-dead-letter-routing-key", "routing_key_but_no_dlx_defined"},
			{amqp.Table{"x-overflow": "spill"}, "x-overflow", "invalid_overflow"},
			{amqp.Table{"x-queue-leader-locator": "here"}, "x-queue-leader-locator", "invalid_queue_locator_arg"},
			{amqp.Table{"x-queue-type": "quorum", "x-quorum-initial-group-size": int32(0)}, "x-quorum-initial-group-size", "{value_zero,0}"},
		} {
			name := unique(t)
			_, err := open(t, c.node(0)).QueueDeclare(name, true, false, false, false, r.args)
			refusal(t, err, amqp.PreconditionFailed,
				fmt.Sprintf("PRECONDITION_FAILED - invalid arg '%s' for queue '%s' in vhost '/': %s", r.name, name, r.reason))
		}
	}},
}
