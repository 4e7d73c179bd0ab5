package integration

import (
	"fmt"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// creditSemantics: who is given how much while limits and consumers change.
var creditSemantics = []semantic{
	// row: 1.3 basic.qos
	{"the channel's limit is raised, lowered and taken away while it consumes", func(t *testing.T, c *cluster) {
		ch, q := filled(t, c, 10)
		there := open(t, c.node(1))
		limit := func(n int) {
			t.Helper()
			if err := ch.Qos(n, 0, true); err != nil {
				t.Fatal(err)
			}
		}
		limit(1)
		got := consume(t, ch, q)
		wantDepth(t, there, q, 9)
		limit(4)
		wantDepth(t, there, q, 6)
		limit(2)
		for i := range 2 {
			if err := next(t, got, fmt.Sprint(i)).Ack(false); err != nil {
				t.Fatal(err)
			}
		}
		// Two are left, as many as there may be: a further ack makes room for one.
		if err := next(t, got, "2").Ack(false); err != nil {
			t.Fatal(err)
		}
		wantDepth(t, there, q, 5)
		limit(0)
		wantDepth(t, there, q, 0)
	}},
	// row: 1.3 basic.qos
	{"a limit of consumers takes away that of the channel", func(t *testing.T, c *cluster) {
		ch, q := filled(t, c, 10)
		there := open(t, c.node(1))
		if err := ch.Qos(1, 0, true); err != nil {
			t.Fatal(err)
		}
		held := consume(t, ch, q)
		wantDepth(t, there, q, 9)
		if err := ch.Qos(3, 0, false); err != nil {
			t.Fatal(err)
		}
		wantDepth(t, there, q, 0) // the consumer is older, and has no limit of its own
		for i := range 10 {
			next(t, held, fmt.Sprint(i))
		}
		for i := range 5 {
			publish(t, there, q, fmt.Sprint(i))
		}
		for i := range 5 {
			next(t, held, fmt.Sprint(i))
		}
	}},
	// row: 1.5 x-single-active-consumer
	{"the next consumer takes over on a cancel, and what is in flight stays", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		q := declare(t, ch, c.node(0), amqp.Table{"x-single-active-consumer": true})
		one, two := open(t, c.node(1)), open(t, c.node(2))
		first, err := one.Consume(q, "first", false, false, false, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		second := consume(t, two, q)
		publish(t, ch, q, "1")
		held := next(t, first, "1")
		if err := one.Cancel("first", false); err != nil {
			t.Fatal(err)
		}
		publish(t, ch, q, "2")
		if err := next(t, second, "2").Ack(false); err != nil {
			t.Fatal(err)
		}
		if err := held.Ack(false); err != nil {
			t.Fatal(err)
		}
		if err := two.Close(); err != nil {
			t.Fatal(err)
		}
		wantConsumers(t, ch, q, 0)
		wantDepth(t, ch, q, 0)
		publish(t, ch, q, "3")
		wantDepth(t, ch, q, 1)
		get(t, one, q, "3") // basic.get is for anybody
	}},
	// row: 1.3 basic.recover
	{"recover-async has no answer, and gives back what basic.get took", func(t *testing.T, c *cluster) {
		_, q := filled(t, c, 2)
		raw := rawDial(t, c.node(1))
		raw.handshake()
		raw.openChannel(1)
		fetch := func(redelivered byte) {
			t.Helper()
			raw.method(1, 60, 70, raw.short(0), raw.shortstr(q), []byte{0}) // basic.get
			if ok := raw.expectMethod(1, 60, 71); ok[8] != redelivered {
				t.Errorf("redelivered is %d, want %d", ok[8], redelivered)
			}
			for range 2 { // header and body
				raw.readFrame()
			}
		}
		fetch(0)
		fetch(0)
		raw.method(1, 60, 100, []byte{1}) // basic.recover-async
		fetch(1)
		fetch(1)
	}},
	// row: 1.3 consumer cancel notify
	{"a client that does not understand cancels is not told", func(t *testing.T, c *cluster) {
		ch, q := filled(t, c, 0)
		raw := rawDial(t, c.node(1))
		raw.handshake() // has no such capability
		raw.openChannel(1)
		raw.method(1, 60, 20, raw.short(0), raw.shortstr(q), raw.shortstr("t"), []byte{0}, raw.long(0))
		raw.expectMethod(1, 60, 21)
		if _, err := ch.QueueDelete(q, false, false, false); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the answers to these are all that comes
			raw.method(1, 20, 20, []byte{1}) // channel.flow
			raw.expectMethod(1, 20, 21)
		}
		raw.method(1, 60, 30, raw.shortstr("t"), []byte{0}) // basic.cancel of what is gone
		raw.expectMethod(1, 60, 31)
	}},
	// row: 1.3 basic.consume
	{"no-local is passed over", func(t *testing.T, c *cluster) {
		ch, q := filled(t, c, 0)
		got, err := ch.Consume(q, "", true, false, true, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		publish(t, ch, q, "mine")
		next(t, got, "mine")
	}},
}
