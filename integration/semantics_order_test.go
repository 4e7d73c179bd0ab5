package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// orderSemantics: which message and which consumer is next.
var orderSemantics = []semantic{
	// row: 1.5 x-max-priority
	{"priorities", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		q := declare(t, ch, c.node(0), amqp.Table{"x-max-priority": int32(5)})
		publishRanked(t, ch, q, 0, 3, 5, 3, 9)
		wantDepth(t, ch, q, 5)
		there := open(t, c.node(1))
		var held []amqp.Delivery
		for _, body := range []string{"2", "4", "1"} {
			held = append(held, get(t, there, q, body))
		}
		for _, i := range []int{1, 2, 0} { // back in any order
			if err := held[i].Nack(false, true); err != nil {
				t.Fatal(err)
			}
		}
		wantDepth(t, there, q, 5)
		got := consume(t, there, q)
		for _, body := range []string{"2", "4", "1", "3", "0"} {
			d := next(t, got, body)
			if body == "4" && d.Priority != 9 {
				t.Errorf("the priority came as %d", d.Priority)
			}
		}
	}},
	// row: 1.5 x-max-priority
	{"priorities above 255", func(t *testing.T, c *cluster) {
		name := unique(t)
		_, err := open(t, c.node(0)).QueueDeclare(name, true, false, false, false, amqp.Table{"x-max-priority": int32(256)})
		refusal(t, err, amqp.PreconditionFailed, fmt.Sprintf("PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue '%s' in vhost '/': {max_value_exceeded,256}", name))
	}},
	// row: 1.5 x-single-active-consumer
	{"single active consumer", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		q := declare(t, ch, c.node(0), amqp.Table{"x-single-active-consumer": true})
		one, two := open(t, c.node(1)), open(t, c.node(2))
		first, second := consume(t, one, q), consume(t, two, q)
		for i := range 10 {
			publish(t, ch, q, fmt.Sprint(i))
		}
		for i := range 10 {
			if d := next(t, first, fmt.Sprint(i)); i < 5 {
				if err := d.Ack(false); err != nil {
					t.Fatal(err)
				}
			}
		}
		wantDepth(t, ch, q, 0)
		if err := one.Close(); err != nil {
			t.Fatal(err)
		}
		for i := 5; i < 10; i++ {
			if d := next(t, second, fmt.Sprint(i)); !d.Redelivered {
				t.Errorf("message %d is not marked redelivered", i)
			}
		}
		_, err := open(t, c.node(0)).Consume(q, "only", false, true, false, false, nil)
		refusal(t, err, amqp.AccessRefused, fmt.Sprintf("ACCESS_REFUSED - queue '%s' in vhost '/' in exclusive use", q))
	}},
	// row: 1.5 x-single-active-consumer; 1.3 consumer priorities
	{"single active consumer by priority", func(t *testing.T, c *cluster) {
		ch, there := open(t, c.node(0)), open(t, c.node(1))
		q := declare(t, ch, c.node(0), amqp.Table{"x-single-active-consumer": true})
		low := consume(t, ch, q)
		publish(t, ch, q, "1")
		d := next(t, low, "1")
		high, err := there.Consume(q, "high", false, false, false, false, amqp.Table{"x-priority": int16(3)})
		if err != nil {
			t.Fatal(err)
		}
		publish(t, ch, q, "2")
		wantDepth(t, ch, q, 1) // nobody gets it before the active one has settled
		if err := d.Ack(false); err != nil {
			t.Fatal(err)
		}
		next(t, high, "2")
		if err := there.Cancel("high", false); err != nil {
			t.Fatal(err)
		}
		publish(t, ch, q, "3")
		next(t, low, "3")
	}},
	// row: 1.3 basic.consume
	{"exclusive consumer keeps others out", func(t *testing.T, c *cluster) {
		ch, q := filled(t, c, 0)
		if _, err := ch.Consume(q, "only", false, true, false, false, nil); err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("ACCESS_REFUSED - queue '%s' in vhost '/' in exclusive use", q)
		for _, exclusive := range []bool{false, true} {
			_, err := open(t, c.node(1)).Consume(q, "other", false, exclusive, false, false, nil)
			refusal(t, err, amqp.AccessRefused, text)
		}
		if err := ch.Cancel("only", false); err != nil {
			t.Fatal(err)
		}
		if _, err := ch.Consume(q, "shared", false, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		_, err := open(t, c.node(2)).Consume(q, "late", false, true, false, false, nil)
		refusal(t, err, amqp.AccessRefused, text)
	}},
	// row: 1.3 consumer priorities
	{"consumer priorities", func(t *testing.T, c *cluster) {
		ch, q := filled(t, c, 0)
		there := open(t, c.node(1))
		if err := there.Qos(1, 0, false); err != nil {
			t.Fatal(err)
		}
		low := consume(t, ch, q)
		high, err := there.Consume(q, "", false, false, false, false, amqp.Table{"x-priority": int64(10)})
		if err != nil {
			t.Fatal(err)
		}
		wantConsumers(t, ch, q, 2)
		publish(t, ch, q, "1")
		publish(t, ch, q, "2")
		d := next(t, high, "1")
		next(t, low, "2") // the other one is full
		if err := d.Ack(false); err != nil {
			t.Fatal(err)
		}
		depth(t, there, q) // its answer says that the ack is through
		publish(t, ch, q, "3")
		next(t, high, "3")
		_, err = open(t, c.node(2)).Consume(q, "", false, false, false, false, amqp.Table{"x-priority": "high"})
		refusal(t, err, amqp.PreconditionFailed, fmt.Sprintf("PRECONDITION_FAILED - invalid arg 'x-priority' for queue '%s' in vhost '/': \"expected integer, got longstr\"", q))
	}},
	// row: 1.4 deduplication
	{"deduplication by exchange", func(t *testing.T, c *cluster) {
		ch, there := open(t, c.node(0)), open(t, c.node(1))
		x, q := unique(t), declare(t, ch, c.node(0), nil)
		args := amqp.Table{"x-cache-size": int32(100), "x-cache-ttl": int32(600_000), "x-cache-persistence": "disk"}
		if err := ch.ExchangeDeclare(x, "x-message-deduplication", true, true, false, false, args); err != nil {
			t.Fatal(err)
		}
		if err := ch.QueueBind(q, "any", x, false, nil); err != nil {
			t.Fatal(err)
		}
		for _, publisher := range []*amqp.Channel{ch, there, there} {
			if err := publisher.Confirm(false); err != nil {
				t.Fatal(err)
			}
			marked(t, publisher, x, "key", "once", "id-1")
			marked(t, publisher, x, "key", "every time", nil)
		}
		marked(t, ch, x, "key", "another", "id-2")
		wantDepth(t, ch, q, 5)
		get(t, there, q, "once")
	}},
	// row: 1.4 deduplication
	{"deduplication needs a size", func(t *testing.T, c *cluster) {
		err := open(t, c.node(0)).ExchangeDeclare(unique(t), "x-message-deduplication", true, false, false, false, nil)
		refusal(t, err, amqp.PreconditionFailed, "PRECONDITION_FAILED - Missing or invalid argument, 'x-cache-size' must be an integer greater than 0")
	}},
	// row: 1.4 deduplication
	{"deduplication by queue", func(t *testing.T, c *cluster) {
		ch, there := open(t, c.node(0)), open(t, c.node(1))
		q := declare(t, ch, c.node(0), amqp.Table{"x-message-deduplication": true})
		for _, publisher := range []*amqp.Channel{ch, there} {
			if err := publisher.Confirm(false); err != nil {
				t.Fatal(err)
			}
			marked(t, publisher, "", q, "first", int64(7))
		}
		d := get(t, there, q, "first")
		marked(t, ch, "", q, "not yet", int32(7))
		if err := d.Ack(false); err != nil {
			t.Fatal(err)
		}
		wantDepth(t, there, q, 0)
		marked(t, ch, "", q, "second", int64(7))
		get(t, there, q, "second")
	}},
	// row: 1.4 deduplication
	{"deduplication in a transaction", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		q := declare(t, ch, c.node(0), amqp.Table{"x-message-deduplication": true, "x-cache-size": int32(10)})
		if err := ch.Tx(); err != nil {
			t.Fatal(err)
		}
		send := func(body string) {
			t.Helper()
			publishTo(t, ch, "", q, amqp.Publishing{Body: []byte(body), Headers: amqp.Table{"x-deduplication-header": "tx"}})
		}
		send("rolled back")
		if err := ch.TxRollback(); err != nil {
			t.Fatal(err)
		}
		send("one")
		send("two")
		if err := ch.TxCommit(); err != nil {
			t.Fatal(err)
		}
		send("three")
		if err := ch.TxCommit(); err != nil {
			t.Fatal(err)
		}
		there := open(t, c.node(1))
		wantDepth(t, there, q, 1)
		get(t, there, q, "one")
	}},
	// row: 1.4 x-delayed-message
	{"x-delay on any exchange", func(t *testing.T, c *cluster) {
		ch, there := open(t, c.node(0)), open(t, c.node(1))
		if err := ch.Confirm(false); err != nil {
			t.Fatal(err)
		}
		q := declare(t, ch, c.node(0), nil)
		late := func(body string, delay any) {
			t.Helper()
			confirmed(t, ch, "", q, amqp.Publishing{Body: []byte(body), Headers: amqp.Table{"x-delay": delay}})
		}
		begin := time.Now()
		late("third", int64(900))
		late("second", int32(300))
		late("first", int32(-5))
		got := consume(t, there, q)
		for _, want := range []struct {
			body  string
			delay int32
		}{{"first", -5}, {"second", -300}, {"third", -900}} {
			d := next(t, got, want.body)
			if v, ok := d.Headers["x-delay"].(int32); !ok || v != want.delay {
				t.Errorf("%s came with x-delay %v", want.body, d.Headers["x-delay"])
			}
			if passed := time.Since(begin); want.delay < -5 && passed < time.Duration(-want.delay)*time.Millisecond-2*time.Millisecond {
				t.Errorf("%s came after %v", want.body, passed)
			}
		}
	}},
	// row: 1.4 x-delayed-message
	{"x-delayed-message", func(t *testing.T, c *cluster) {
		ch, there := open(t, c.node(0)), open(t, c.node(1))
		x, q := unique(t), declare(t, ch, c.node(0), nil)
		if err := ch.ExchangeDeclare(x, "x-delayed-message", true, true, false, false, amqp.Table{"x-delayed-type": "topic"}); err != nil {
			t.Fatal(err)
		}
		if err := ch.Confirm(false); err != nil {
			t.Fatal(err)
		}
		returned := ch.NotifyReturn(make(chan amqp.Return, 1))
		publishLate := func(key, body string) {
			t.Helper()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			conf, err := ch.PublishWithDeferredConfirmWithContext(ctx, x, key, true, false, amqp.Publishing{
				Body: []byte(body), Headers: amqp.Table{"x-delay": int32(300)}, DeliveryMode: amqp.Persistent,
			})
			if err != nil {
				t.Fatal(err)
			}
			if ok, err := conf.WaitContext(ctx); !ok || err != nil {
				t.Fatalf("confirm: %v %v", ok, err)
			}
		}
		publishLate("a.b", "late")
		publishLate("nowhere", "lost")
		// It is routed by the bindings of that time.
		if err := there.QueueBind(q, "a.*", x, false, nil); err != nil {
			t.Fatal(err)
		}
		d := next(t, consume(t, there, q), "late")
		if d.Exchange != x || d.RoutingKey != "a.b" || d.Headers["x-delay"] != int32(-300) {
			t.Errorf("it came as %+v", d)
		}
		select {
		case r := <-returned:
			t.Errorf("%q was returned", r.Body)
		default:
		}
		err := open(t, c.node(0)).ExchangeDeclare(unique(t), "x-delayed-message", true, false, false, false, nil)
		refusal(t, err, amqp.PreconditionFailed, "PRECONDITION_FAILED - Invalid argument, 'x-delayed-type' must be an existing exchange type")
	}},
	// row: 1.4 x-delayed-message
	{"x-delay in a transaction", func(t *testing.T, c *cluster) {
		ch := open(t, c.node(0))
		q := declare(t, ch, c.node(0), nil)
		if err := ch.Tx(); err != nil {
			t.Fatal(err)
		}
		late := amqp.Publishing{Body: []byte("late"), Headers: amqp.Table{"x-delay": int32(200)}}
		publishTo(t, ch, "", q, late)
		if err := ch.TxRollback(); err != nil {
			t.Fatal(err)
		}
		publishTo(t, ch, "", q, late)
		if err := ch.TxCommit(); err != nil {
			t.Fatal(err)
		}
		there := open(t, c.node(1))
		next(t, consume(t, there, q), "late")
		wantDepth(t, ch, q, 0)
	}},
}

// marked publishes a message with a deduplication header, nil: without, and waits for its confirm.
func marked(t *testing.T, ch *amqp.Channel, exchange, key, body string, value any) {
	t.Helper()
	p := amqp.Publishing{Body: []byte(body), DeliveryMode: amqp.Persistent}
	if value != nil {
		p.Headers = amqp.Table{"x-deduplication-header": value}
	}
	confirmed(t, ch, exchange, key, p)
}

// publishRanked publishes messages "0", "1", "2" … with these priorities.
func publishRanked(t *testing.T, ch *amqp.Channel, queue string, priorities ...uint8) {
	t.Helper()
	for i, p := range priorities {
		publishTo(t, ch, "", queue, amqp.Publishing{Body: fmt.Append(nil, i), Priority: p, DeliveryMode: amqp.Persistent})
	}
}

// TestPrioritiesOutliveFaults: the order of a large queue with priorities stays across the
// loss of the leader, snapshots, messages on disk, and a restart of all nodes.
//
// row: 1.5 x-max-priority
func TestPrioritiesOutliveFaults(t *testing.T) {
	t.Parallel()
	c := startClusterWith(t, 3, options{args: []string{"--message-memory", "1MiB", "--snapshot-bytes", "2MiB"}})
	leader := c.leader(t)
	ch := open(t, c.others(leader)[0])
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	const queue, highest, count = "ranked", 4, 5000
	if _, err := ch.QueueDeclare(queue, true, false, false, false, amqp.Table{"x-max-priority": int32(highest)}); err != nil {
		t.Fatal(err)
	}
	body := pattern(1000)
	fill := func(from, to int) {
		t.Helper()
		var last *amqp.DeferredConfirmation
		for i := from; i < to; i++ {
			var err error
			last, err = ch.PublishWithDeferredConfirmWithContext(context.Background(), "", queue, false, false, amqp.Publishing{
				Body: body, Priority: uint8(i % (highest + 1)), MessageId: fmt.Sprint(i), DeliveryMode: amqp.Persistent,
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if ok, err := last.WaitContext(ctx); !ok || err != nil {
			t.Fatalf("confirm: %v %v", ok, err)
		}
	}
	fill(0, count/2)
	leader.kill(t)
	fill(count/2, count)
	leader.start(t)
	leader.waitReady(t)
	killAll(t, c)
	for _, n := range c.nodes {
		n.start(t)
	}
	c.waitReady(t)
	there := open(t, c.node(1))
	wantDepth(t, there, queue, count)
	if err := there.Qos(100, 0, false); err != nil {
		t.Fatal(err)
	}
	got := consume(t, there, queue)
	for p := highest; p >= 0; p-- {
		for i := p; i < count; i += highest + 1 {
			d := receive(t, "delivery", got)
			if d.MessageId != fmt.Sprint(i) || d.Priority != uint8(p) {
				t.Fatalf("message %s of priority %d came, want %d of %d", d.MessageId, d.Priority, i, p)
			}
			if err := d.Ack(false); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestSingleActiveOutlivesFaults: when the node of the active consumer is lost, what that held
// comes back in order to the next one. Who is active stays across the loss of a leader and a restart.
//
// row: 1.5 x-single-active-consumer
func TestSingleActiveOutlivesFaults(t *testing.T) {
	t.Parallel()
	c := startClusterWith(t, 3, options{args: []string{"--node-grace", "1s"}})
	leader := c.leader(t)
	lost, stays := c.others(leader)[0], c.others(leader)[1]
	ch := open(t, stays)
	const queue = "single"
	if _, err := ch.QueueDeclare(queue, true, false, false, false, amqp.Table{"x-single-active-consumer": true}); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, lost).Consume(queue, "one", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	two, err := ch.Consume(queue, "two", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	three, err := open(t, leader).Consume(queue, "three", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	const count = 20
	for i := range count {
		publish(t, ch, queue, fmt.Sprint(i))
	}
	wantDepth(t, ch, queue, 0)
	active := func(n *node, tag string) {
		t.Helper()
		eventually(t, "active consumer", func() error {
			var q struct {
				Tag       string `json:"single_active_consumer_tag"`
				Consumers []struct {
					Tag      string `json:"consumer_tag"`
					Active   bool   `json:"active"`
					Activity string `json:"activity_status"`
				} `json:"consumer_details"`
			}
			if err := n.getJSON("/api/queues/%2F/"+queue, &q); err != nil {
				return err
			}
			for _, d := range q.Consumers {
				if d.Active != (d.Tag == tag) || (d.Activity == "single_active") != d.Active || (d.Activity == "waiting") == d.Active {
					return fmt.Errorf("consumers %+v", q.Consumers)
				}
			}
			if q.Tag != tag {
				return fmt.Errorf("%q is active, want %q", q.Tag, tag)
			}
			return nil
		})
	}
	active(stays, "one")
	lost.kill(t)
	for i := range count {
		if d := next(t, two, fmt.Sprint(i)); !d.Redelivered {
			t.Errorf("message %d is not marked redelivered", i)
		} else if err := d.Ack(false); err != nil {
			t.Fatal(err)
		}
	}
	active(stays, "two")
	lost.start(t)
	lost.waitReady(t)
	leader.kill(t)
	publish(t, ch, queue, "still two")
	next(t, two, "still two")
	active(lost, "two")
	select {
	case d := <-three:
		if len(d.Body) > 0 {
			t.Errorf("consumer three was given %q", d.Body)
		}
	default:
	}
	leader.start(t)
	leader.waitReady(t)
	killAll(t, c)
	for _, n := range c.nodes {
		n.start(t)
	}
	c.waitReady(t)
	next(t, consume(t, open(t, lost), queue), "still two")
}

// TestDeduplicationOutlivesFaults: a publisher sends everything again after the leader was
// lost, and after a restart of all nodes: all is confirmed, and stored once.
//
// row: 1.4 deduplication
func TestDeduplicationOutlivesFaults(t *testing.T) {
	t.Parallel()
	c := startClusterWith(t, 3, options{args: []string{"--snapshot-bytes", "1MiB"}})
	const exchange, queue, count = "once", "q", 1000
	leader := c.leader(t)
	ch := open(t, c.others(leader)[0])
	if err := ch.ExchangeDeclare(exchange, "x-message-deduplication", true, false, false, false, amqp.Table{"x-cache-size": int32(count)}); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare(queue, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind(queue, "", exchange, false, nil); err != nil {
		t.Fatal(err)
	}
	send := func(ch *amqp.Channel) {
		t.Helper()
		if err := ch.Confirm(false); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		var all []*amqp.DeferredConfirmation
		for i := range count {
			conf, err := ch.PublishWithDeferredConfirmWithContext(ctx, exchange, "", true, false, amqp.Publishing{
				Body: fmt.Append(nil, i), DeliveryMode: amqp.Persistent, Headers: amqp.Table{"x-deduplication-header": fmt.Sprintf("id-%d", i)},
			})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, conf)
		}
		for i, conf := range all {
			if ok, err := conf.WaitContext(ctx); !ok || err != nil {
				t.Fatalf("confirm %d: %v %v", i, ok, err)
			}
		}
	}
	send(ch)
	leader.kill(t)
	send(ch)
	leader.start(t)
	leader.waitReady(t)
	send(open(t, leader))
	killAll(t, c)
	for _, n := range c.nodes {
		n.start(t)
	}
	c.waitReady(t)
	there := open(t, leader)
	send(there)
	wantDepth(t, there, queue, count)
	for i := range count {
		get(t, there, queue, fmt.Sprint(i))
	}
}

// TestDelayedOutliveFaults: delayed messages are listed and cancelled on any node, and come when
// they are due, once, across the loss of the leader, snapshots, messages on disk and a restart of all nodes.
//
// row: 1.4 x-delayed-message
func TestDelayedOutliveFaults(t *testing.T) {
	t.Parallel()
	c := startClusterWith(t, 3, options{args: []string{"--message-memory", "1MiB", "--snapshot-bytes", "1MiB"}})
	leader := c.leader(t)
	ch := open(t, c.others(leader)[0])
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	const queue, exchange, count, hour = "late", "later", 2000, 3_600_000
	if _, err := ch.QueueDeclare(queue, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.ExchangeDeclare(exchange, "x-delayed-message", true, false, false, false, amqp.Table{"x-delayed-type": "fanout"}); err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind(queue, "", exchange, false, nil); err != nil {
		t.Fatal(err)
	}
	body := pattern(1000)
	send := func(id string, delay int) {
		t.Helper()
		confirmed(t, ch, exchange, "key-"+id, amqp.Publishing{
			Body: body, MessageId: id, DeliveryMode: amqp.Persistent, Headers: amqp.Table{"x-delay": int64(delay)},
		})
	}
	send("much later", hour)
	send("cancelled", hour)
	// A delay that no fault below can outlast, on a machine however slow, is not needed: what came due
	// meanwhile comes late, and nothing comes twice.
	for i := range count {
		send(fmt.Sprint(i), 4000+(i*7919)%3000)
	}
	var list []struct {
		ID       string `json:"id"`
		Exchange string `json:"exchange"`
		Key      string `json:"routing_key"`
		Bytes    int    `json:"bytes"`
		Delay    int64  `json:"delay"`
	}
	cancel := func(n *node) {
		t.Helper()
		if err := json.Unmarshal([]byte(n.ctl(t, "--quiet", "--formatter", "json", "list_delayed", "id", "exchange", "routing_key", "bytes", "delay")), &list); err != nil {
			t.Fatal(err)
		}
		if err := n.getJSON("/api/exchanges/%2F/"+exchange+"/delayed?limit=10000", &list); err != nil {
			t.Fatal(err)
		}
		for _, d := range list {
			if d.Key == "key-cancelled" {
				if d.Exchange != exchange || d.Bytes != len(body) || d.Delay != hour {
					t.Errorf("listed as %+v", d)
				}
				n.ctl(t, "cancel_delayed", d.ID)
				if out, err := n.tryCtl("cancel_delayed", d.ID); err == nil || !strings.Contains(out+err.Error(), "there is no delayed message") {
					t.Errorf("cancelled twice: %s %v", out, err)
				}
				return
			}
		}
		t.Errorf("a delayed message is not listed, of %d", len(list))
	}
	cancel(c.others(leader)[1])
	leader.kill(t)
	delayed := func(n *node, want int) {
		t.Helper()
		eventually(t, "delayed messages", func() error {
			var x struct {
				Delayed int `json:"messages_delayed"`
			}
			var all struct {
				Totals struct {
					Delayed int `json:"messages_delayed"`
				} `json:"queue_totals"`
			}
			if err := n.getJSON("/api/exchanges/%2F/"+exchange, &x); err != nil {
				return err
			}
			if err := n.getJSON("/api/overview", &all); err != nil {
				return err
			}
			if x.Delayed != want || all.Totals.Delayed != want {
				return fmt.Errorf("%d and %d are delayed, want %d", x.Delayed, all.Totals.Delayed, want)
			}
			return nil
		})
	}
	delayed(c.others(leader)[0], 1)
	leader.start(t)
	leader.waitReady(t)
	for i := range 100 {
		send(fmt.Sprint(count+i), 1000)
	}
	killAll(t, c)
	for _, n := range c.nodes {
		n.start(t)
	}
	c.waitReady(t)
	there := open(t, leader)
	wantDepth(t, there, queue, count+100)
	delayed(leader, 1)
	seen := make(map[string]bool)
	got := consume(t, there, queue)
	for range count + 100 {
		d := receive(t, "delivery", got)
		if seen[d.MessageId] || string(d.Body) != string(body) || d.RoutingKey != "key-"+d.MessageId {
			t.Fatalf("message %s came twice or changed", d.MessageId)
		}
		seen[d.MessageId] = true
	}
	delayed(leader, 1)
}
