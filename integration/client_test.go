package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// dial connects to a node; the connection ends with the test.
func dial(t testing.TB, n *node) *amqp.Connection {
	t.Helper()
	conn, err := amqp.DialConfig(n.url, amqp.Config{Dial: amqp.DefaultDial(patience)})
	if err != nil {
		t.Fatalf("connect to %s: %v", n.name, err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil && !errors.Is(err, amqp.ErrClosed) {
			t.Logf("close connection: %v", err)
		}
	})
	return conn
}

// open opens a channel on a new connection.
func open(t testing.TB, n *node) *amqp.Channel {
	t.Helper()
	return channel(t, dial(t, n))
}

func channel(t testing.TB, conn *amqp.Connection) *amqp.Channel {
	t.Helper()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatalf("open channel: %v", err)
	}
	return ch
}

var names atomic.Uint64

// unique makes a name that no other test and no other run uses.
func unique(t testing.TB) string {
	test := strings.Map(func(r rune) rune {
		if r == ' ' || r == '/' {
			return '.'
		}
		return r
	}, t.Name())
	if len(test) > 150 {
		test = test[len(test)-150:]
	}
	return fmt.Sprintf("%s-%x-%d", test, time.Now().UnixNano(), names.Add(1))
}

// declare makes a durable queue that is deleted when the test ends.
func declare(t testing.TB, ch *amqp.Channel, n *node, args amqp.Table) string {
	t.Helper()
	name := unique(t)
	declareNamed(t, ch, n, name, args)
	return name
}

func declareNamed(t testing.TB, ch *amqp.Channel, n *node, name string, args amqp.Table) {
	t.Helper()
	if _, err := ch.QueueDeclare(name, true, false, false, false, args); err != nil {
		t.Fatalf("declare queue: %v", err)
	}
	deleteAtEnd(t, n, name)
}

// deleteAtEnd removes a queue over a connection of its own when the test ends.
func deleteAtEnd(t testing.TB, n *node, queue string) {
	t.Cleanup(func() {
		if n.ended() {
			return
		}
		if err := deleteQueue(n, queue); err != nil {
			t.Logf("delete queue %s: %v", queue, err)
		}
	})
}

func deleteQueue(n *node, queue string) error {
	conn, err := amqp.Dial(n.url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	_, err = ch.QueueDelete(queue, false, false, false)
	return err
}

// publish sends a persistent message to a queue through the default exchange.
func publish(t testing.TB, ch *amqp.Channel, queue, body string) {
	t.Helper()
	publishTo(t, ch, "", queue, amqp.Publishing{Body: []byte(body), DeliveryMode: amqp.Persistent})
}

func publishTo(t testing.TB, ch *amqp.Channel, exchange, key string, p amqp.Publishing) {
	t.Helper()
	if err := ch.PublishWithContext(context.Background(), exchange, key, false, false, p); err != nil {
		t.Fatalf("publish: %v", err)
	}
}

// confirmed publishes on a channel in confirm mode and waits for the ack.
func confirmed(t testing.TB, ch *amqp.Channel, exchange, key string, p amqp.Publishing) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conf, err := ch.PublishWithDeferredConfirmWithContext(ctx, exchange, key, false, false, p)
	if err != nil {
		t.Fatalf("publish: %v", err)
	}
	if conf == nil {
		t.Fatal("publish: the channel is not in confirm mode")
	}
	if ok, err := conf.WaitContext(ctx); err != nil || !ok {
		t.Fatalf("confirm: ack %v, %v", ok, err)
	}
}

// consume starts a consumer with acknowledgements.
func consume(t testing.TB, ch *amqp.Channel, queue string) <-chan amqp.Delivery {
	t.Helper()
	d, err := ch.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		t.Fatalf("consume %s: %v", queue, err)
	}
	return d
}

// next takes one delivery and checks its body.
func next(t testing.TB, from <-chan amqp.Delivery, body string) amqp.Delivery {
	t.Helper()
	d := receive(t, "delivery of "+body, from)
	if string(d.Body) != body {
		t.Fatalf("got %q, want %q", d.Body, body)
	}
	return d
}

// get fetches the next message of a queue and checks its body.
func get(t testing.TB, ch *amqp.Channel, queue, body string) amqp.Delivery {
	t.Helper()
	d, ok, err := ch.Get(queue, false)
	if err != nil {
		t.Fatalf("get from %s: %v", queue, err)
	}
	if !ok {
		t.Fatalf("get from %s: empty, want %q", queue, body)
	}
	if string(d.Body) != body {
		t.Fatalf("get from %s: %q, want %q", queue, d.Body, body)
	}
	return d
}

// depth is the number of ready messages and of consumers of a queue.
func depth(t testing.TB, ch *amqp.Channel, queue string) (messages, consumers int) {
	t.Helper()
	q, err := ch.QueueDeclarePassive(queue, false, false, false, false, nil)
	if err != nil {
		t.Fatalf("inspect %s: %v", queue, err)
	}
	return q.Messages, q.Consumers
}

// wantDepth waits until a queue holds so many ready messages.
func wantDepth(t testing.TB, ch *amqp.Channel, queue string, messages int) {
	t.Helper()
	eventually(t, "depth of "+queue, func() error {
		if got, _ := depth(t, ch, queue); got != messages {
			return fmt.Errorf("%d messages ready, want %d", got, messages)
		}
		return nil
	})
}

// wantConsumers waits until a queue has so many consumers.
func wantConsumers(t testing.TB, ch *amqp.Channel, queue string, consumers int) {
	t.Helper()
	eventually(t, "consumers of "+queue, func() error {
		if _, got := depth(t, ch, queue); got != consumers {
			return fmt.Errorf("%d consumers, want %d", got, consumers)
		}
		return nil
	})
}

// refusal wants err to be an AMQP error of this code and text. A text that ends
// in … is a prefix.
func refusal(t testing.TB, err error, code int, text string) {
	t.Helper()
	var e *amqp.Error
	if !errors.As(err, &e) {
		t.Fatalf("got error %v, want %d %s", err, code, text)
	}
	prefix, cut := strings.CutSuffix(text, "…")
	if e.Code != code || (cut && !strings.HasPrefix(e.Reason, prefix)) || (!cut && e.Reason != text) {
		t.Fatalf("got %d %q, want %d %q", e.Code, e.Reason, code, text)
	}
}

// usable wants a connection to go on serving: it opens a channel and uses it.
func usable(t testing.TB, conn *amqp.Connection) {
	t.Helper()
	ch := channel(t, conn)
	if err := ch.ExchangeDeclarePassive("amq.direct", "direct", true, false, false, false, nil); err != nil {
		t.Fatalf("the connection is not usable: %v", err)
	}
	if err := ch.Close(); err != nil {
		t.Fatalf("close channel: %v", err)
	}
}
