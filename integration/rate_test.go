package integration

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestRate measures, and prints, how many durable messages of 1 KiB with confirms
// go through three nodes. It asserts nothing about speed.
func TestRate(t *testing.T) {
	c := sharedCluster(t, 3)
	for _, publishers := range []int{3, 12} {
		t.Run(fmt.Sprintf("%d_publishers", publishers), func(t *testing.T) { measureRate(t, c, publishers) })
	}
}

// measureRate runs publishers, spread over the nodes, with one queue each and a
// consumer with acks on the next node.
func measureRate(t *testing.T, c *cluster, publishers int) {
	const (
		size     = 1024
		inFlight = 500
		lasting  = 2 * time.Second
	)
	var sent, arrived atomic.Int64
	var all sync.WaitGroup
	start := time.Now()
	for i := range publishers {
		pub, con := open(t, c.node(i)), open(t, c.node(i+1))
		queue := declare(t, pub, c.node(i), nil)
		if err := pub.Confirm(false); err != nil {
			t.Fatal(err)
		}
		if err := con.Qos(500, 0, false); err != nil {
			t.Fatal(err)
		}
		deliveries := consume(t, con, queue)
		go func() {
			n := 0
			for d := range deliveries {
				arrived.Add(1)
				if n++; n%50 == 0 {
					_ = d.Ack(true) // a broken connection ends the deliveries
				}
			}
		}()
		all.Go(func() {
			body := pattern(size)
			confirms := pub.NotifyPublish(make(chan amqp.Confirmation, inFlight))
			for open := 0; time.Since(start) < lasting || open > 0; {
				if open < inFlight && time.Since(start) < lasting {
					err := pub.PublishWithContext(context.Background(), "", queue, false, false,
						amqp.Publishing{DeliveryMode: amqp.Persistent, Body: body})
					if err != nil {
						t.Errorf("publish: %v", err)
						return
					}
					open++
					if open < inFlight {
						continue
					}
				}
				select {
				case conf, ok := <-confirms:
					if !ok || !conf.Ack {
						t.Errorf("confirm: %+v", conf)
						return
					}
					open--
					sent.Add(1)
				case <-time.After(patience):
					t.Error("no confirm")
					return
				}
			}
		})
	}
	all.Wait()
	took := time.Since(start)
	t.Logf("%d publishers on %d nodes, %d bytes, durable, confirmed: %.0f messages/s published, %.0f messages/s consumed",
		publishers, len(c.nodes), size, float64(sent.Load())/took.Seconds(), float64(arrived.Load())/took.Seconds())
}
