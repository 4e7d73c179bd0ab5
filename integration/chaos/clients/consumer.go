package clients

import (
	"errors"
	"math/rand/v2"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/chaos/history"
)

// A consumer takes messages until the load leaves, and settles them.
type consumer struct {
	*Load
	home     int
	queue    string
	prefetch int
	requeue  float64 // part of the messages that it gives back, when they come for the first time
	reject   bool    // refuse all, for dead-lettering
	get      bool    // with basic.get
	together int     // how many it acknowledges at once; 0 or 1: one by one

	choice *rand.Rand
	held   []history.Event // acks that are to be sent together, on this session,
	last   amqp.Delivery   // by that of the last one
}

// getPause is between two basic.get of an empty queue.
const getPause = 20 * time.Millisecond

func (c *consumer) run() {
	c.choice = c.Random()
	work := c.consume
	if c.get {
		work = c.getAll
	}
	c.keep(c.Leave, c.home, work)
}

func (c *consumer) consume(s *session) error {
	if err := s.ch.Qos(c.prefetch, 0, false); err != nil {
		return err
	}
	c.Add(history.Event{Kind: history.Consuming, Channel: s.number, Queue: c.queue, Prefetch: c.prefetch, Note: s.node})
	deliveries, err := s.ch.Consume(c.queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	tick := time.NewTicker(c.Scale.SyncTime)
	defer tick.Stop()
	settled := 0
	c.held = nil
	for {
		select {
		case <-c.Leave.Done():
			return s.sync(c.queue) // nothing is held, or the queue would not be empty
		case d, ok := <-deliveries:
			if !ok {
				return errors.New("deliveries ended")
			}
			if err := c.settle(s, d); err != nil {
				return err
			}
			if settled++; settled < c.Scale.SyncEvery {
				continue
			}
		case <-tick.C:
			if settled == 0 {
				continue
			}
		}
		if err := c.acknowledge(); err != nil {
			return err
		}
		if err := s.sync(c.queue); err != nil {
			return err
		}
		settled = 0
	}
}

func (c *consumer) getAll(s *session) error {
	const oneByOne = 1
	c.Add(history.Event{Kind: history.Consuming, Channel: s.number, Queue: c.queue, Prefetch: oneByOne, Note: s.node})
	settled := 0
	for c.Leave.Err() == nil {
		d, ok, err := s.ch.Get(c.queue, false)
		if err != nil {
			return err
		}
		if ok {
			if err := c.settle(s, d); err != nil {
				return err
			}
			settled++
		}
		if settled > 0 && (!ok || settled >= c.Scale.SyncEvery) {
			if err := s.sync(c.queue); err != nil {
				return err
			}
			settled = 0
		}
		if !ok {
			pause(c.Leave, getPause)
		}
	}
	return nil
}

// settle writes a delivery down and answers it.
func (c *consumer) settle(s *session, d amqp.Delivery) error {
	id, err := c.Scale.numberOf(d.Body)
	if err != nil {
		c.Complain("corrupted", "queue %s, channel %d: %v", c.queue, s.number, err)
	}
	e := history.Event{Kind: history.Delivered, Channel: s.number, Queue: c.queue, Message: id, Redelivered: d.Redelivered}
	c.Add(e)
	e.Redelivered = false
	switch {
	case c.reject:
		e.Kind = history.Rejected
		c.Add(e)
		return d.Reject(false)
	case !d.Redelivered && c.choice.Float64() < c.requeue:
		e.Kind = history.Requeued
		c.Add(e)
		return d.Nack(false, true)
	default:
		e.Kind = history.Acked
		c.held, c.last = append(c.held, e), d
		if len(c.held) < c.together {
			return nil
		}
		return c.acknowledge()
	}
}

// acknowledge sends the acks that are held.
func (c *consumer) acknowledge() error {
	if len(c.held) == 0 {
		return nil
	}
	for _, e := range c.held {
		c.Add(e)
	}
	several := len(c.held) > 1
	c.held = c.held[:0]
	return c.last.Ack(several)
}
