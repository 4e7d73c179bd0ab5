// Command failover shows what clients see when nodes go: it publishes numbered
// messages on one node, each after the confirm of the one before, consumes them on
// another, and prints once a second what was confirmed, what arrived, and the
// longest silence between two confirms.
//
//	go run ./docs/examples/failover -urls amqp://guest:guest@localhost:5672/,amqp://...
//
// A client whose own node goes connects to the next one. The publisher cannot
// know whether the message that it was waiting for was taken, so it publishes it
// again: that one may arrive twice. What the consumer's node had been given and the
// consumer had not acknowledged comes again, behind newer messages, once the cluster
// has seen that the node is gone: until then those are counted as missing.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const queue = "failover"

func main() {
	urls := flag.String("urls", "amqp://guest:guest@localhost:5672/,amqp://guest:guest@localhost:5673/,amqp://guest:guest@localhost:5674/",
		"nodes, separated by commas: the publisher begins with the first, the consumer with the last")
	flag.Parse()
	nodes := strings.Split(*urls, ",")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	if err := prepare(nodes); err != nil {
		fmt.Fprintln(os.Stderr, "failover:", err)
		os.Exit(1)
	}
	t := tally{missing: map[int]bool{}}
	var clients sync.WaitGroup
	clients.Go(func() { t.run(ctx, "publisher", nodes, 0, t.publish) })
	clients.Go(func() { t.run(ctx, "consumer", nodes, len(nodes)-1, t.consume) })
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
			t.print()
		case <-ctx.Done():
		}
	}
	clients.Wait()
	t.print()
}

// A tally counts what happened to the messages 1, 2, 3 …
type tally struct {
	mu                  sync.Mutex
	confirmed, received int
	missing             map[int]bool // numbers below received that have not come yet
	late, repeated      int          // came behind a higher number; came more than once
	lastConfirm         time.Time
	silence             time.Duration // longest since the last line
	longest             time.Duration // longest of all
}

func (t *tally) confirm(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if !t.lastConfirm.IsZero() {
		t.silence = max(t.silence, now.Sub(t.lastConfirm))
		t.longest = max(t.longest, t.silence)
	}
	t.confirmed, t.lastConfirm = n, now
}

func (t *tally) receive(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case n > t.received:
		for m := t.received + 1; m < n; m++ {
			t.missing[m] = true
		}
		t.received = n
	case t.missing[n]:
		delete(t.missing, n)
		t.late++
	default:
		t.repeated++
	}
}

func (t *tally) print() {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Printf("confirmed %d  received %d  missing %d  late %d  repeated %d  longest silence %v (of all: %v)\n", t.confirmed, t.received,
		len(t.missing), t.late, t.repeated, t.silence.Round(time.Millisecond), t.longest.Round(time.Millisecond))
	t.silence = 0
}

// run runs a client on one node after the other, from the given one on, until
// ctx ends.
func (t *tally) run(ctx context.Context, name string, nodes []string, first int, client func(context.Context, *amqp.Channel) error) {
	said := ""
	for i := first; ctx.Err() == nil; i++ {
		url := nodes[i%len(nodes)]
		connected, err := session(ctx, url, client)
		if ctx.Err() != nil {
			return
		}
		if what := fmt.Sprintf("%s: %v: %v", name, host(url), err); what != said {
			fmt.Println(what)
			said = what
		}
		if connected {
			continue // the next node should be there: lose no time
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// session runs a client on one node, as long as that goes well.
func session(ctx context.Context, url string, client func(context.Context, *amqp.Channel) error) (connected bool, err error) {
	conn, err := amqp.DialConfig(url, amqp.Config{Dial: amqp.DefaultDial(2 * time.Second)})
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }() // what counts is confirmed or acknowledged by now
	ch, err := conn.Channel()
	if err != nil {
		return true, err
	}
	return true, client(ctx, ch)
}

// prepare makes the queue, empty, on the first node that answers.
func prepare(nodes []string) (err error) {
	for _, url := range nodes {
		_, err = session(context.Background(), url, func(_ context.Context, ch *amqp.Channel) error {
			if _, err := ch.QueueDelete(queue, false, false, false); err != nil {
				return err
			}
			_, err := ch.QueueDeclare(queue, true, false, false, false, nil)
			return err
		})
		if err == nil {
			return nil
		}
	}
	return err
}

// publish goes on where the last session ended.
func (t *tally) publish(ctx context.Context, ch *amqp.Channel) error {
	if err := ch.Confirm(false); err != nil {
		return err
	}
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	for n := t.confirmed + 1; ; n++ { // only this goroutine writes it
		confirm, err := ch.PublishWithDeferredConfirmWithContext(ctx, "", queue, false, false, amqp.Publishing{
			DeliveryMode: amqp.Persistent,
			Body:         []byte(strconv.Itoa(n)),
		})
		if err != nil {
			return err
		}
		select {
		case <-confirm.Done():
		case err := <-closed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
		if !confirm.Acked() {
			return fmt.Errorf("message %d was not confirmed", n)
		}
		t.confirm(n)
	}
}

func (t *tally) consume(ctx context.Context, ch *amqp.Channel) error {
	if err := ch.Qos(100, 0, false); err != nil {
		return err
	}
	deliveries, err := ch.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	for {
		select {
		case d, ok := <-deliveries:
			if !ok {
				return <-closed
			}
			n, err := strconv.Atoi(string(d.Body))
			if err != nil {
				return fmt.Errorf("message %q is no number", d.Body)
			}
			t.receive(n)
			if err := d.Ack(false); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// host is the part of a URL that tells the nodes apart, without the password.
func host(url string) string {
	if u, err := amqp.ParseURI(url); err == nil {
		return fmt.Sprintf("%s:%d", u.Host, u.Port)
	}
	return "node"
}
