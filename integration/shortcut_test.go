package integration

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// newQueueCaller makes calls whose answers go to an exclusive queue, as in
// https://www.rabbitmq.com/tutorials/tutorial-six-go.
func newQueueCaller(t testing.TB, n *node, queue string) *caller {
	t.Helper()
	ch := open(t, n)
	q, err := ch.QueueDeclare("", false, false, true, false, nil)
	if err != nil {
		t.Fatalf("declare the reply queue: %v", err)
	}
	replies, err := ch.Consume(q.Name, "", true, false, false, false, nil)
	if err != nil {
		t.Fatalf("consume replies: %v", err)
	}
	return &caller{ch: ch, queue: queue, to: q.Name, replies: replies}
}

// logged is how many messages went to a queue by the log.
func logged(t testing.TB, n *node, queue string) (count int) {
	t.Helper()
	eventually(t, "statistics of "+queue, func() error {
		var q struct {
			Stats struct {
				Publish int `json:"publish"`
			} `json:"message_stats"`
		}
		err := n.getJSON("/api/queues/%2F/"+url.PathEscape(queue), &q)
		count = q.Stats.Publish
		return err
	})
	return count
}

// TestExclusiveReplies: calls between all pairs of nodes. Most answers go past the log.
func TestExclusiveReplies(t *testing.T) {
	for _, size := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d_nodes", size), func(t *testing.T) {
			c := sharedCluster(t, size)
			for i := range size {
				queue := declare(t, open(t, c.node(i)), c.node(i), nil)
				serve(t, c.node(i), queue)
				for j := range size {
					client := newQueueCaller(t, c.node(j), queue)
					const calls = 40
					for n := range calls {
						d := client.call(t)
						if d.Exchange != "" || d.RoutingKey != client.to || d.Redelivered || d.DeliveryTag != uint64(n+1) {
							t.Errorf("answer: exchange %q, key %q, redelivered %v, tag %d", d.Exchange, d.RoutingKey, d.Redelivered, d.DeliveryTag)
						}
					}
					if n := logged(t, c.node(j), client.to); n > calls/2 {
						t.Errorf("%d of %d answers from %s to %s went through the log", n, calls, c.node(i).name, c.node(j).name)
					}
				}
			}
		})
	}
}

// TestExclusiveOrder: what one channel sends to an exclusive queue comes in order and
// once, whether it waits for confirms or not, from all nodes at once.
func TestExclusiveOrder(t *testing.T) {
	c := sharedCluster(t, 3)
	ch := open(t, c.node(0))
	q, err := ch.QueueDeclare("", false, false, true, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ch.Consume(q.Name, "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	const rounds, burst = 40, 5
	var senders sync.WaitGroup
	for i := range c.nodes {
		out := open(t, c.node(i))
		if err := out.Confirm(false); err != nil {
			t.Fatal(err)
		}
		senders.Add(1)
		go func() {
			defer senders.Done()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			for n := 0; n < rounds*(1+burst); {
				// One alone, then some at once.
				count := 1
				if n%(1+burst) == 1 {
					count = burst
				}
				var last *amqp.DeferredConfirmation
				for range count {
					n++
					var err error
					last, err = out.PublishWithDeferredConfirmWithContext(ctx, "", q.Name, true, false, amqp.Publishing{AppId: fmt.Sprint(i), MessageId: fmt.Sprint(n)})
					if err != nil {
						t.Errorf("publish: %v", err)
						return
					}
				}
				if ok, err := last.WaitContext(ctx); err != nil || !ok {
					t.Errorf("confirm: %v, %v", ok, err)
					return
				}
			}
		}()
	}
	last := map[string]int{}
	for range len(c.nodes) * rounds * (1 + burst) {
		d := receive(t, "message", got)
		last[d.AppId]++
		if d.MessageId != fmt.Sprint(last[d.AppId]) {
			t.Fatalf("message %s of sender %s, want %d", d.MessageId, d.AppId, last[d.AppId])
		}
	}
	senders.Wait()
}

// confirmingServer answers calls like serve, and checks that each answer is confirmed.
func confirmingServer(t testing.TB, n *node, queue string) (answered func() int) {
	t.Helper()
	ch := open(t, n)
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	requests := consume(t, ch, queue)
	var mu sync.Mutex
	count := 0
	go func() {
		for d := range requests {
			m := amqp.Publishing{CorrelationId: d.CorrelationId, Body: append([]byte("pong"), d.Body[len("ping"):]...)}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			conf, err := ch.PublishWithDeferredConfirmWithContext(ctx, "", d.ReplyTo, false, false, m)
			if err == nil {
				_, err = conf.WaitContext(ctx)
			}
			cancel()
			if errors.Is(err, amqp.ErrClosed) {
				return
			}
			if err != nil {
				t.Errorf("answer: %v", err)
				return
			}
			mu.Lock()
			count++
			mu.Unlock()
			if err := d.Ack(false); err != nil {
				return
			}
		}
	}()
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return count
	}
}

// TestExclusiveRepliesKill: a server on one node answers clients on all, while the
// node of some clients is killed, be it the leader or not. The others' calls go on, each
// answered once, and every answer is confirmed. Then all nodes are killed and started.
func TestExclusiveRepliesKill(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	for _, role := range []string{"follower", "leader"} {
		victim := c.leader(t)
		if role == "follower" {
			victim = c.others(victim)[0]
		}
		others := c.others(victim)
		queue := declare(t, open(t, others[0]), others[0], nil)
		answered := confirmingServer(t, others[0], queue)
		// Clients on the victim flood the server, so that answers to it are on their way.
		doomed := open(t, victim)
		q, err := doomed.QueueDeclare("", false, false, true, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := doomed.Consume(q.Name, "", true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		clients := []*caller{newQueueCaller(t, others[0], queue), newQueueCaller(t, others[1], queue)}
		round := func(calls int, flood bool) (longest time.Duration) {
			for i := range calls {
				if flood {
					publishTo(t, doomed, "", queue, amqp.Publishing{ReplyTo: q.Name, Body: []byte("ping")})
				}
				k := clients[i%len(clients)]
				start := time.Now()
				k.call(t)
				longest = max(longest, time.Since(start))
			}
			return longest
		}
		before := round(60, true)
		publishTo(t, open(t, others[0]), "", queue, amqp.Publishing{ReplyTo: q.Name, Body: []byte("ping")})
		victim.kill(t)
		for range 10 { // answers to a queue whose node has just gone
			publishTo(t, clients[0].ch, "", queue, amqp.Publishing{ReplyTo: q.Name, Body: []byte("ping")})
		}
		after := round(100, false)
		t.Logf("%s killed: longest call %v before, %v across", role, before, after)
		want := 2*60 + 1 + 10 + 100
		eventually(t, "answers", func() error {
			// Requests of the victim's clients that no node had yet are lost with it.
			if n := answered(); n < want-60 {
				return fmt.Errorf("%d answers", n)
			}
			return nil
		})
		victim.start(t)
		victim.waitReady(t)
		clients = append(clients, newQueueCaller(t, victim, queue))
		round(60, false)
	}
	killAll(t, c)
	for _, n := range c.nodes {
		n.start(t)
	}
	c.waitReady(t)
	queue := declare(t, open(t, c.node(0)), c.node(0), nil)
	serve(t, c.node(0), queue)
	for _, n := range c.nodes {
		client := newQueueCaller(t, n, queue)
		for range 20 {
			client.call(t)
		}
	}
}

// TestExclusivePausedNode: a server goes on for others while the node of one of its
// clients stands still, and that client has its answers when the node goes on.
func TestExclusivePausedNode(t *testing.T) {
	c := startCluster(t, 3)
	leader := c.leader(t)
	paused, home := c.others(leader)[0], c.others(leader)[1]
	queue := declare(t, open(t, home), home, nil)
	serve(t, home, queue)
	stuck, client := newQueueCaller(t, paused, queue), newQueueCaller(t, home, queue)
	for range 10 {
		stuck.call(t)
		client.call(t)
	}
	paused.pause(t)
	for n := 11; n <= 13; n++ {
		publishTo(t, client.ch, "", queue, amqp.Publishing{ReplyTo: stuck.to, CorrelationId: fmt.Sprint(n), Body: []byte("ping " + fmt.Sprint(n))})
	}
	start := time.Now()
	for range 10 {
		client.call(t)
	}
	t.Logf("10 calls while a node stood still took %v", time.Since(start))
	paused.resume(t)
	for n := 11; n <= 13; n++ {
		if d := receive(t, "answer", stuck.replies); d.CorrelationId != fmt.Sprint(n) {
			t.Fatalf("answer to %s, want %d", d.CorrelationId, n)
		}
	}
	stuck.calls = 13
	for range 10 {
		stuck.call(t)
		client.call(t)
	}
}
