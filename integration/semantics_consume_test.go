package integration

import (
	"fmt"
	"sort"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// consumeSemantics: deliveries, and what becomes of them.
var consumeSemantics = []semantic{
	// row: 1.3 requeue position; 1.3 redelivered
	{"requeue returns to the original place", func(t *testing.T, c *cluster) {
		ch, q := filled(t, c, 6)
		d := drainN(t, ch, q, 4)
		for _, i := range []int{2, 0, 3} { // in no order at all
			if err := d[i].Nack(false, true); err != nil {
				t.Fatal(err)
			}
		}
		if err := d[1].Ack(false); err != nil {
			t.Fatal(err)
		}
		wantDepth(t, ch, q, 5)
		there := open(t, c.node(1))
		for i, want := range []string{"0", "2", "3", "4", "5"} {
			if m := get(t, there, q, want); m.Redelivered != (i < 3) {
				t.Errorf("message %s: redelivered %v", want, m.Redelivered)
			}
		}
	}},
	// row: 1.3 ack, nack, reject
	{"nack multiple, reject", func(t *testing.T, c *cluster) {
		ch, q := filled(t, c, 5)
		d := drainN(t, ch, q, 5)
		if err := d[4].Reject(false); err != nil { // gone
			t.Fatal(err)
		}
		if err := d[3].Reject(true); err != nil {
			t.Fatal(err)
		}
		if err := d[1].Nack(true, true); err != nil { // 0 and 1
			t.Fatal(err)
		}
		wantDepth(t, ch, q, 3)
		get(t, ch, q, "0")
		get(t, ch, q, "1")
		get(t, ch, q, "3")
		if _, ok, err := ch.Get(q, false); ok || err != nil {
			t.Fatalf("one more message (%v)", err)
		}
	}},
	// row: 1.3 ack, nack, reject
	{"ack multiple and all", func(t *testing.T, c *cluster) {
		ch, q := filled(t, c, 6)
		d := drainN(t, ch, q, 5)
		if err := d[2].Ack(true); err != nil {
			t.Fatal(err)
		}
		if err := ch.Ack(0, true); err != nil { // tag 0 with multiple: all
			t.Fatal(err)
		}
		if err := ch.Ack(0, true); err != nil { // nothing left is no error
			t.Fatal(err)
		}
		if err := ch.Close(); err != nil {
			t.Fatal(err)
		}
		other := open(t, c.node(1))
		wantDepth(t, other, q, 1)
		get(t, other, q, "5")
	}},
	// row: 1.3 redelivered; 1.2 channel.open, channel.close
	{"a closed channel gives back what it holds", func(t *testing.T, c *cluster) {
		ch, q := filled(t, c, 4)
		got := consume(t, ch, q)
		for i := range 4 {
			d := next(t, got, fmt.Sprint(i))
			if d.Redelivered {
				t.Errorf("message %d redelivered at first", i)
			}
			if i == 1 {
				if err := d.Ack(false); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := ch.Close(); err != nil {
			t.Fatal(err)
		}
		there := open(t, c.node(1))
		wantDepth(t, there, q, 3)
		for _, want := range []string{"0", "2", "3"} {
			if d := get(t, there, q, want); !d.Redelivered {
				t.Errorf("message %s is not marked redelivered", want)
			}
		}
	}},
	// row: 1.3 redelivered
	{"a lost connection gives back what it holds", func(t *testing.T, c *cluster) {
		_, q := filled(t, c, 2)
		raw := rawDial(t, c.node(1))
		raw.handshake()
		raw.openChannel(1)
		raw.method(1, 60, 70, raw.short(0), raw.shortstr(q), []byte{0}) // basic.get
		raw.expectMethod(1, 60, 71)
		_ = raw.conn.Close()
		ch := open(t, c.node(0))
		wantDepth(t, ch, q, 2)
		if d := get(t, ch, q, "0"); !d.Redelivered {
			t.Error("not marked redelivered")
		}
		get(t, ch, q, "1")
	}},
	// row: 1.3 basic.qos
	{"qos per consumer", func(t *testing.T, c *cluster) {
		ch, q := filled(t, c, 10)
		if err := ch.Qos(2, 0, false); err != nil {
			t.Fatal(err)
		}
		a, b := consume(t, ch, q), consume(t, ch, q)
		wantDepth(t, open(t, c.node(1)), q, 6) // two for each
		if err := receive(t, "delivery", a).Ack(false); err != nil {
			t.Fatal(err)
		}
		wantDepth(t, ch, q, 5)
		// A new limit is for new consumers.
		if err := ch.Qos(1, 0, false); err != nil {
			t.Fatal(err)
		}
		consume(t, ch, q)
		wantDepth(t, ch, q, 4)
		if err := receive(t, "delivery", b).Ack(false); err != nil {
			t.Fatal(err)
		}
		wantDepth(t, ch, q, 3)
	}},
	// row: 1.3 basic.qos
	{"qos per channel", func(t *testing.T, c *cluster) {
		ch, q := filled(t, c, 10)
		if err := ch.Qos(3, 0, true); err != nil {
			t.Fatal(err)
		}
		a, b := consume(t, ch, q), consume(t, ch, q)
		wantDepth(t, open(t, c.node(1)), q, 7) // three for both
		var held []amqp.Delivery
		for range 3 {
			select {
			case d := <-a:
				held = append(held, d)
			case d := <-b:
				held = append(held, d)
			case <-time.After(patience):
				t.Fatal("no delivery")
			}
		}
		sort.Slice(held, func(i, j int) bool { return held[i].DeliveryTag < held[j].DeliveryTag })
		if err := held[1].Ack(true); err != nil {
			t.Fatal(err)
		}
		wantDepth(t, ch, q, 5)
	}},
	// row: 1.3 basic.consume
	{"no-ack needs none and ignores qos", func(t *testing.T, c *cluster) {
		ch, q := filled(t, c, 300)
		if err := ch.Qos(1, 0, false); err != nil {
			t.Fatal(err)
		}
		got, err := ch.Consume(q, "", true, false, false, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 300 {
			next(t, got, fmt.Sprint(i))
		}
		if err := ch.Close(); err != nil {
			t.Fatal(err)
		}
		wantDepth(t, open(t, c.node(1)), q, 0)
	}},
	// row: 1.3 basic.get
	{"get", func(t *testing.T, c *cluster) {
		ch, q := filled(t, c, 3)
		there := open(t, c.node(1))
		d := get(t, there, q, "0")
		if d.MessageCount != 2 || d.Redelivered || d.RoutingKey != q || d.Exchange != "" {
			t.Errorf("got %+v", d)
		}
		if _, ok, err := ch.Get(q, true); !ok || err != nil {
			t.Fatalf("get without ack: %v %v", ok, err)
		}
		get(t, ch, q, "2")
		if _, ok, err := ch.Get(q, true); ok || err != nil {
			t.Fatalf("get from an empty queue: %v %v", ok, err)
		}
		if err := there.Close(); err != nil {
			t.Fatal(err)
		}
		wantDepth(t, ch, q, 1)
		if d := get(t, ch, q, "0"); !d.Redelivered {
			t.Error("not marked redelivered")
		}
	}},
	// row: 1.3 basic.recover
	{"recover", func(t *testing.T, c *cluster) {
		ch, q := filled(t, c, 3)
		got := consume(t, ch, q)
		for i := range 3 {
			next(t, got, fmt.Sprint(i))
		}
		//lint:ignore SA1019 old clients send it, so the broker must answer it
		if err := ch.Recover(true); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if d := next(t, got, fmt.Sprint(i)); !d.Redelivered {
				t.Errorf("message %d is not marked redelivered", i)
			}
		}
	}},
	// row: 1.3 basic.cancel
	{"cancel", func(t *testing.T, c *cluster) {
		ch, q := filled(t, c, 2)
		if err := ch.Qos(1, 0, false); err != nil {
			t.Fatal(err)
		}
		got, err := ch.Consume(q, "mine", false, false, false, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		d := next(t, got, "0")
		if d.ConsumerTag != "mine" {
			t.Errorf("tag %q", d.ConsumerTag)
		}
		if err := ch.Cancel("mine", false); err != nil {
			t.Fatal(err)
		}
		if err := ch.Cancel("nosuch", false); err != nil {
			t.Fatalf("cancel of no consumer: %v", err)
		}
		if _, n := depth(t, ch, q); n != 0 {
			t.Errorf("%d consumers after cancel", n)
		}
		if err := d.Ack(false); err != nil { // what was in flight stays ours
			t.Fatal(err)
		}
		wantDepth(t, open(t, c.node(1)), q, 1)
	}},
	// row: 1.3 consumer cancel notify
	{"cancel notify when the queue goes", func(t *testing.T, c *cluster) {
		ch, q := filled(t, c, 0)
		cancels := ch.NotifyCancel(make(chan string, 2))
		if _, err := ch.Consume(q, "mine", false, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := open(t, c.node(1)).QueueDelete(q, false, false, false); err != nil {
			t.Fatal(err)
		}
		if tag := receive(t, "basic.cancel", cancels); tag != "mine" {
			t.Errorf("cancelled %q", tag)
		}
		if err := ch.ExchangeDeclarePassive("amq.direct", "direct", true, false, false, false, nil); err != nil {
			t.Errorf("the channel did not survive: %v", err)
		}
	}},
	// row: 1.3 basic.consume
	{"server-made consumer tags", func(t *testing.T, c *cluster) {
		raw := rawDial(t, c.node(0))
		_, q := filled(t, c, 0)
		raw.handshake()
		raw.openChannel(1)
		tags := map[string]bool{}
		for range 2 {
			raw.method(1, 60, 20, raw.short(0), raw.shortstr(q), raw.shortstr(""), []byte{0}, raw.long(0))
			payload := raw.expectMethod(1, 60, 21)
			tag := string(payload[1 : 1+payload[0]])
			if !strings.HasPrefix(tag, "amq.ctag-") || tags[tag] {
				t.Errorf("tag %q", tag)
			}
			tags[tag] = true
		}
	}},
	{"round-robin over nodes", func(t *testing.T, c *cluster) {
		ch, q := filled(t, c, 0)
		var all []<-chan amqp.Delivery
		for i := range 3 {
			all = append(all, consume(t, open(t, c.node(i)), q))
		}
		wantConsumers(t, ch, q, 3)
		const each = 20
		for i := range 3 * each {
			publish(t, ch, q, fmt.Sprint(i))
		}
		for i, from := range all {
			for range each {
				receive(t, fmt.Sprintf("delivery to consumer %d", i), from)
			}
		}
	}},
	// row: 1.3 basic.consume
	{"exclusive consumer", func(t *testing.T, c *cluster) {
		ch, q := filled(t, c, 1)
		got, err := ch.Consume(q, "only", false, true, false, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		next(t, got, "0")
		if err := ch.Close(); err != nil {
			t.Fatal(err)
		}
		there := open(t, c.node(1))
		wantConsumers(t, there, q, 0)
		next(t, consume(t, there, q), "0")
	}},
	// row: 1.2 channel.flow
	{"channel.flow on", func(t *testing.T, c *cluster) {
		if err := open(t, c.node(0)).Flow(true); err != nil {
			t.Fatal(err)
		}
	}},
}

// filled declares a queue on node 0 with messages "0", "1", "2" …
func filled(t *testing.T, c *cluster, count int) (*amqp.Channel, string) {
	t.Helper()
	ch := open(t, c.node(0))
	q := declare(t, ch, c.node(0), nil)
	for i := range count {
		publish(t, ch, q, fmt.Sprint(i))
	}
	wantDepth(t, ch, q, count)
	return ch, q
}

// drainN gets the first n messages without settling them.
func drainN(t *testing.T, ch *amqp.Channel, queue string, n int) []amqp.Delivery {
	t.Helper()
	var all []amqp.Delivery
	for i := range n {
		all = append(all, get(t, ch, queue, fmt.Sprint(i)))
	}
	return all
}
