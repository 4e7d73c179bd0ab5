package integration

import (
	"context"
	"fmt"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// directReplyTo is the pseudo-queue of https://www.rabbitmq.com/docs/direct-reply-to.
const directReplyTo = "amq.rabbitmq.reply-to"

// A caller makes remote procedure calls on a channel of its own.
type caller struct {
	ch      *amqp.Channel
	queue   string
	to      string // where answers go
	replies <-chan amqp.Delivery
	calls   int
}

func newCaller(t testing.TB, n *node, queue string) *caller {
	t.Helper()
	ch := open(t, n)
	replies, err := ch.Consume(directReplyTo, "", true, false, false, false, nil)
	if err != nil {
		t.Fatalf("consume replies: %v", err)
	}
	return &caller{ch: ch, queue: queue, to: directReplyTo, replies: replies}
}

// call makes a call and waits for the answer, which must be that of this call.
func (c *caller) call(t testing.TB) amqp.Delivery {
	t.Helper()
	c.calls++
	id := fmt.Sprint(c.calls)
	publishTo(t, c.ch, "", c.queue, amqp.Publishing{ReplyTo: c.to, CorrelationId: id, Body: []byte("ping " + id)})
	d := receive(t, "answer to call "+id, c.replies)
	if d.CorrelationId != id || string(d.Body) != "pong "+id {
		t.Fatalf("answer %q of call %s to call %s", d.Body, d.CorrelationId, id)
	}
	return d
}

// serve answers the calls of a queue until the connection ends. What it was
// asked is counted on the channel that it returns.
func serve(t testing.TB, n *node, queue string) <-chan string {
	t.Helper()
	ch := open(t, n)
	requests := consume(t, ch, queue)
	names := make(chan string, 1<<16)
	go func() {
		for d := range requests {
			m := amqp.Publishing{CorrelationId: d.CorrelationId, Body: append([]byte("pong"), d.Body[len("ping"):]...)}
			if err := ch.PublishWithContext(context.Background(), "", d.ReplyTo, false, false, m); err != nil {
				return // the connection ended
			}
			names <- d.ReplyTo
			if err := d.Ack(false); err != nil {
				return
			}
		}
	}()
	return names
}

// TestDirectReplyTo: calls between all pairs of nodes, and what a name leads to
// while its channel is there and when it is not.
//
// row: 1.3 direct reply-to
func TestDirectReplyTo(t *testing.T) {
	for _, size := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d_nodes", size), func(t *testing.T) {
			c := sharedCluster(t, size)
			for i := range size {
				queue := declare(t, open(t, c.node(i)), c.node(i), nil)
				names := serve(t, c.node(i), queue)
				for j := range size {
					testCalls(t, c, newCaller(t, c.node(j), queue), names)
				}
			}
		})
	}
}

func testCalls(t *testing.T, c *cluster, client *caller, names <-chan string) {
	const calls = 20
	var name string
	for i := range calls {
		d := client.call(t)
		name = receive(t, "name", names)
		if d.Exchange != "" || d.RoutingKey != name || d.Redelivered || d.DeliveryTag != uint64(i+1) {
			t.Errorf("answer: exchange %q, key %q, redelivered %v, tag %d", d.Exchange, d.RoutingKey, d.Redelivered, d.DeliveryTag)
		}
	}
	for i := range c.nodes {
		q, err := open(t, c.node(i)).QueueDeclarePassive(name, false, false, false, false, nil)
		if err != nil || q.Name != name || q.Messages != 0 || q.Consumers != 1 {
			t.Errorf("%+v, %v", q, err)
		}
	}
	if err := client.ch.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range c.nodes {
		wantNoReceiver(t, c.node(i), name)
	}
}

// wantNoReceiver checks that a reply to a name comes back, and is confirmed.
func wantNoReceiver(t testing.TB, n *node, name string) {
	t.Helper()
	ch := open(t, n)
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	returns := ch.NotifyReturn(make(chan amqp.Return, 1))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conf, err := ch.PublishWithDeferredConfirmWithContext(ctx, "", name, true, false, amqp.Publishing{Body: []byte("late")})
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := conf.WaitContext(ctx); err != nil || !ok {
		t.Fatalf("confirm: %v, %v", ok, err)
	}
	if r := receive(t, "return", returns); r.ReplyCode != amqp.NoRoute || r.RoutingKey != name || string(r.Body) != "late" {
		t.Errorf("%+v", r)
	}
	_, err = ch.QueueDeclarePassive(name, false, false, false, false, nil)
	refusal(t, err, amqp.NotFound, fmt.Sprintf("NOT_FOUND - no queue '%s' in vhost '/'", name))
}

// TestDirectReplyToErrors: what RabbitMQ refuses, with its words.
//
// row: 1.3 direct reply-to
func TestDirectReplyToErrors(t *testing.T) {
	n := sharedCluster(t, 1).node(0)
	replies := func(ch *amqp.Channel, noAck bool) error {
		_, err := ch.Consume(directReplyTo, "", noAck, false, false, false, nil)
		return err
	}
	refusal(t, replies(open(t, n), false), amqp.PreconditionFailed, "PRECONDITION_FAILED - reply consumer cannot acknowledge")
	twice := open(t, n)
	if err := replies(twice, true); err != nil {
		t.Fatal(err)
	}
	refusal(t, replies(twice, true), amqp.PreconditionFailed, "PRECONDITION_FAILED - reply consumer already set")

	early := open(t, n)
	closed := early.NotifyClose(make(chan *amqp.Error, 1))
	publishTo(t, early, "", "nowhere", amqp.Publishing{ReplyTo: directReplyTo})
	refusal(t, receive(t, "channel.close", closed), amqp.PreconditionFailed, "PRECONDITION_FAILED - fast reply consumer does not exist")

	err := open(t, n).QueueBind(directReplyTo, "k", "amq.direct", false, nil)
	refusal(t, err, amqp.AccessRefused, "ACCESS_REFUSED - cannot bind or unbind to a volatile (direct reply-to) queue")

	for _, name := range []string{directReplyTo + ".x", directReplyTo + "x"} {
		_, err := open(t, n).QueueDeclare(name, false, false, false, false, nil)
		refusal(t, err, amqp.NotFound, fmt.Sprintf("NOT_FOUND - no queue '%s' in vhost '/'", name))
	}
}

// TestDirectReplyToLeaderKill: calls between the surviving nodes go on when the
// leader is killed, and names that led to it lead nowhere.
//
// row: 1.3 direct reply-to
func TestDirectReplyToLeaderKill(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	leader := c.leader(t)
	others := c.others(leader)
	queue := declare(t, open(t, others[0]), others[0], nil)
	names := serve(t, others[0], queue)
	lost := newCaller(t, leader, queue)
	lost.call(t)
	gone := receive(t, "name", names)
	clients := []*caller{newCaller(t, others[0], queue), newCaller(t, others[1], queue)}
	round := func(calls int) (longest time.Duration) {
		for range calls {
			for _, k := range clients {
				start := time.Now()
				k.call(t)
				longest = max(longest, time.Since(start))
			}
		}
		return longest
	}
	before := round(50)
	leader.kill(t)
	after := round(100)
	t.Logf("longest call %v before, %v across the loss of the leader", before, after)
	for _, n := range others {
		wantNoReceiver(t, n, gone)
	}
	leader.start(t)
	leader.waitReady(t)
	for _, n := range c.nodes {
		wantNoReceiver(t, n, gone)
	}
	clients = append(clients, newCaller(t, leader, queue))
	round(20)
}
