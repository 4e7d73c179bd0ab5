package integration

import (
	"encoding/binary"
	"fmt"
	"regexp"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// briefly is an acknowledgement timeout that a test waits for, in milliseconds; longer is one that
// no test waits for.
const (
	briefly = int32(300)
	longer  = int32(3_600_000)
)

// timedOut is what closes a channel whose client has kept a delivery for too long.
func timedOut(channel int, ms int32) string {
	return fmt.Sprintf("PRECONDITION_FAILED - delivery acknowledgement on channel %d timed out. Timeout value used: %d ms. "+
		"This timeout value can be configured, see consumers doc guide to learn more", channel, ms)
}

// patient consumes with a timeout that does not matter.
func patient(t testing.TB, ch *amqp.Channel, queue string) <-chan amqp.Delivery {
	t.Helper()
	return consumeFor(t, ch, queue, "", longer)
}

func consumeFor(t testing.TB, ch *amqp.Channel, queue, tag string, timeout int32) <-chan amqp.Delivery {
	t.Helper()
	d, err := ch.Consume(queue, tag, false, false, false, false, amqp.Table{"x-consumer-timeout": timeout})
	if err != nil {
		t.Fatalf("consume %s: %v", queue, err)
	}
	return d
}

// timeoutSemantics: what becomes of deliveries that are not settled in time.
var timeoutSemantics = []semantic{
	// row: 1.3 consumer timeout; 1.5 x-consumer-timeout; 1.3 consumer cancel notify
	{"a consumer that keeps a delivery too long is cancelled", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		q := declare(t, ch, c.node(0), amqp.Table{"x-consumer-timeout": briefly, "x-delivery-limit": int32(0)})
		slow, other := open(t, c.node(1)), open(t, c.node(2))
		cancelled := slow.NotifyCancel(make(chan string, 4))
		first, err := slow.Consume(q, "slow", false, false, false, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		publish(t, ch, q, "m")
		late := next(t, first, "m")
		if tag := receive(t, "cancel", cancelled); tag != "slow" {
			t.Errorf("consumer %q was cancelled", tag)
		}
		// It comes again, in spite of the delivery limit: nobody failed with it.
		d := next(t, patient(t, other, q), "m")
		if got, _ := d.Headers["x-acquired-count"].(int64); !d.Redelivered || got != 1 {
			t.Errorf("redelivered %v, headers %v", d.Redelivered, d.Headers)
		}
		// The late acknowledgement is no error, and does not settle what is the other's now.
		if err := late.Ack(false); err != nil {
			t.Fatal(err)
		}
		wantConsumers(t, slow, q, 1)
		if err := d.Nack(false, false); err != nil {
			t.Fatal(err)
		}
		wantUnacked(t, c.node(1), q, 0)
		// The channel of the first one goes on.
		again, err := slow.Consume(q, "slow", false, false, false, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
		publish(t, ch, q, "n")
		if err := next(t, again, "n").Ack(false); err != nil {
			t.Fatal(err)
		}
		wantUnacked(t, c.node(0), q, 0)
	}},
	// row: 1.3 consumer timeout; 1.5 x-consumer-timeout
	{"the consumer's timeout is stronger than the queue's, and that than a policy", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		q := declare(t, ch, c.node(0), amqp.Table{"x-consumer-timeout": longer})
		name := unique(t)
		c.node(1).ctl(t, "set_policy", name, "^"+regexp.QuoteMeta(q), `{"consumer-timeout": 1}`, "--apply-to", "queues")
		conn := dial(t, c.node(1))
		hasty := channel(t, conn)
		cancelled := hasty.NotifyCancel(make(chan string, 4))
		if err := hasty.Qos(1, 0, false); err != nil {
			t.Fatal(err)
		}
		publish(t, ch, q, "0")
		publish(t, ch, q, "1")
		kept := next(t, consume(t, hasty, q), "0")
		next(t, consumeFor(t, hasty, q, "hasty", briefly), "1")
		if tag := receive(t, "cancel", cancelled); tag != "hasty" {
			t.Errorf("consumer %q was cancelled", tag)
		}
		wantDepth(t, ch, q, 1)
		if err := kept.Ack(false); err != nil { // by the queue's time
			t.Fatal(err)
		}
		// A queue without a timeout of its own follows the policy, also for what was given out before.
		other := q + "-other"
		declareNamed(t, ch, c.node(0), other, nil)
		publish(t, ch, other, "2")
		second := channel(t, conn)
		gone := second.NotifyCancel(make(chan string, 1))
		c.node(2).ctl(t, "clear_policy", name)
		if _, err := second.Consume(other, "second", false, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		wantUnacked(t, c.node(1), other, 1)
		c.node(2).ctl(t, "set_policy", name, "^"+regexp.QuoteMeta(q), `{"consumer-timeout": 1}`, "--apply-to", "queues")
		defer c.node(2).ctl(t, "clear_policy", name)
		if tag := receive(t, "cancel", gone); tag != "second" {
			t.Errorf("consumer %q was cancelled", tag)
		}
		wantDepth(t, ch, other, 1)
	}},
	// row: 1.3 consumer timeout
	{"what basic.get took and is kept too long closes the channel", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		q := declare(t, ch, c.node(0), amqp.Table{"x-consumer-timeout": briefly})
		publish(t, ch, q, "m")
		wantDepth(t, ch, q, 1)
		conn := dial(t, c.node(1))
		slow := channel(t, conn)
		closed := slow.NotifyClose(make(chan *amqp.Error, 1))
		get(t, slow, q, "m")
		refusal(t, receive(t, "close", closed), amqp.PreconditionFailed, timedOut(1, briefly))
		usable(t, conn)
		wantDepth(t, ch, q, 1)
	}},
	// row: 1.3 consumer timeout
	{"a client that ended its consumer and keeps a delivery too long loses its channel", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		q := declare(t, ch, c.node(0), nil)
		conn := dial(t, c.node(1))
		slow := channel(t, conn)
		closed := slow.NotifyClose(make(chan *amqp.Error, 1))
		from := consumeFor(t, slow, q, "ended", 1500)
		publish(t, ch, q, "m")
		next(t, from, "m")
		if err := slow.Cancel("ended", false); err != nil {
			t.Fatal(err)
		}
		refusal(t, receive(t, "close", closed), amqp.PreconditionFailed, timedOut(1, 1500))
		usable(t, conn)
		wantDepth(t, ch, q, 1)
	}},
	// row: 1.3 consumer timeout
	{"a client that does not understand cancels loses its channel", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		q := declare(t, ch, c.node(0), amqp.Table{"x-consumer-timeout": briefly})
		publish(t, ch, q, "m")
		raw := rawDial(t, c.node(1))
		raw.handshake()
		raw.openChannel(7)
		raw.method(7, 60, 20, raw.short(0), raw.shortstr(q), raw.shortstr("tag"), []byte{0}, raw.long(0)) // basic.consume
		raw.expectMethod(7, 60, 21)
		raw.expectMethod(7, 60, 60)
		for {
			typ, _, payload := raw.readFrame()
			if typ != frameMethod { // the content
				continue
			}
			if class, method := binary.BigEndian.Uint16(payload), binary.BigEndian.Uint16(payload[2:]); class != 20 || method != 40 {
				t.Fatalf("got method %d.%d, want channel.close", class, method)
			}
			code, text := binary.BigEndian.Uint16(payload[4:]), string(payload[7:7+payload[6]])
			if want := timedOut(7, briefly); code != amqp.PreconditionFailed || text != want {
				t.Errorf("closed with %d %q, want %q", code, text, want)
			}
			break
		}
		raw.method(7, 20, 41)
		raw.openChannel(7)
		wantDepth(t, ch, q, 1)
	}},
	// row: 1.3 consumer timeout; 1.3 transactions
	{"a transaction that settles what was taken back does nothing", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		in := declare(t, ch, c.node(0), amqp.Table{"x-consumer-timeout": briefly})
		out := declare(t, ch, c.node(0), nil)
		publish(t, ch, in, "input")
		slow := open(t, c.node(1))
		cancelled := slow.NotifyCancel(make(chan string, 1))
		if err := slow.Tx(); err != nil {
			t.Fatal(err)
		}
		d := next(t, consume(t, slow, in), "input")
		publish(t, slow, out, "output")
		receive(t, "cancel", cancelled)
		if err := d.Ack(false); err != nil {
			t.Fatal(err)
		}
		refusal(t, slow.TxCommit(), amqp.PreconditionFailed, "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out: …")
		wantDepth(t, ch, in, 1)
		wantDepth(t, ch, out, 0)
	}},
	// row: 1.5 x-consumer-timeout
	{"a timeout that is no positive integer is refused", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		q := declare(t, ch, c.node(0), nil)
		for _, bad := range []struct {
			value  any
			reason string
		}{
			{int32(0), "{value_zero,0}"},
			{int64(-1), "{value_negative,-1}"},
			{"soon", `"expected integer, got longstr"`},
		} {
			args := amqp.Table{"x-consumer-timeout": bad.value}
			name := unique(t)
			_, err := open(t, c.node(0)).QueueDeclare(name, true, false, false, false, args)
			refusal(t, err, amqp.PreconditionFailed, fmt.Sprintf("PRECONDITION_FAILED - invalid arg 'x-consumer-timeout' for queue '%s' in vhost '/': %s", name, bad.reason))
			_, err = open(t, c.node(1)).Consume(q, "", false, false, false, false, args)
			refusal(t, err, amqp.PreconditionFailed, fmt.Sprintf("PRECONDITION_FAILED - invalid arg 'x-consumer-timeout' for queue '%s' in vhost '/': %s", q, bad.reason))
		}
	}},
}

// wantUnacked waits until a queue has so many unsettled deliveries, and no message besides.
func wantUnacked(t testing.TB, n *node, queue string, want int) {
	t.Helper()
	eventually(t, "unsettled deliveries of "+queue, func() error {
		var q struct {
			Unacked  int `json:"messages_unacknowledged"`
			Messages int `json:"messages"`
		}
		if err := n.getJSON("/api/queues/%2F/"+queue, &q); err != nil {
			return err
		}
		if q.Unacked != want || q.Messages != want {
			return fmt.Errorf("%d unsettled of %d messages, want %d", q.Unacked, q.Messages, want)
		}
		return nil
	})
}

// TestTimeoutsOutliveFaults: how long a delivery has been out is known when the leader is killed
// meanwhile, and when a node was brought up to date by a snapshot.
//
// row: 1.3 consumer timeout
func TestTimeoutsOutliveFaults(t *testing.T) {
	t.Parallel()
	c := startClusterWith(t, 3, options{args: []string{"--snapshot-bytes", "1MiB"}})
	leader := c.leader(t)
	home := c.others(leader)[0]
	conn := dial(t, home)
	const queue, count, timeout = "slow", 200, int32(4000)
	ch := channel(t, conn)
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare(queue, true, false, false, false, amqp.Table{"x-consumer-timeout": timeout}); err != nil {
		t.Fatal(err)
	}
	for i := range count {
		confirmed(t, ch, "", queue, numbered(i, 10))
	}
	slow := channel(t, conn)
	cancelled := slow.NotifyCancel(make(chan string, 1))
	held := consume(t, slow, queue)
	for range count {
		receive(t, "delivery", held)
	}
	leader.kill(t)
	fillPastSnapshot(t, c.leader(t), ch, "filler", 0)
	receive(t, "cancel", cancelled)
	wantDepth(t, ch, queue, count)
	leader.start(t)
	leader.waitReady(t)

	killAll(t, c)
	for _, n := range c.nodes {
		n.start(t)
	}
	c.waitReady(t)
	again := open(t, leader)
	gone := again.NotifyCancel(make(chan string, 1))
	held = consume(t, again, queue)
	for i := range count {
		if d := receive(t, "delivery", held); numberOf(d) != i || !d.Redelivered {
			t.Fatalf("message %d came in place %d, redelivered %v", numberOf(d), i, d.Redelivered)
		}
	}
	receive(t, "cancel", gone)
	got := patient(t, open(t, home), queue)
	for i := range count {
		if d := receive(t, "delivery", got); numberOf(d) != i {
			t.Fatalf("message %d came in place %d", numberOf(d), i)
		}
	}
}
