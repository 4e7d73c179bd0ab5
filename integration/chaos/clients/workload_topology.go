package clients

import (
	"errors"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/chaos/history"
)

// Litter gathers names of queues that a workload may leave behind when its clients are cut short.
type Litter struct {
	mu    sync.Mutex
	names []string
}

func (l *Litter) add(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.names = append(l.names, name)
}

// All are the names so far.
func (l *Litter) All() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.names
}

// topology: what one node has answered holds on another one at once.
func topology(l *Load) (*Judge, error) {
	exchange := l.name("topic")
	err := l.SetUp("topology", func(ch *amqp.Channel) error {
		return ch.ExchangeDeclare(exchange, "topic", true, false, false, false, nil)
	})
	if err != nil {
		return nil, err
	}
	left := &Litter{}
	for i := range 2 {
		l.put(func() {
			for number := 0; l.Stop.Err() == nil; number++ {
				queue := l.name(fmt.Sprintf("topic%d-%d", i, number))
				left.add(queue)
				l.pair(i+number, func(here, there *confirming) error { return topologyOnce(exchange, queue, here, there) })
				pause(l.Stop, 20*time.Millisecond)
			}
		})
	}
	return &Judge{Exchanges: []string{exchange}, Litter: left}, nil
}

// pair has work done once with sessions on two nodes. It does not matter when it fails because one of
// them is lost.
func (l *Load) pair(home int, work func(here, there *confirming) error) {
	var both [2]*confirming
	for i := range both {
		s, err := l.dial(home + i)
		if err != nil {
			pause(l.Stop, redial)
			return
		}
		defer func() {
			if both[i] == nil { // Confirm failed
				s.broken(errLeft)
			}
		}()
		if err := s.ch.Confirm(false); err != nil {
			return
		}
		both[i] = &confirming{
			session:  s,
			confirms: s.ch.NotifyPublish(make(chan amqp.Confirmation, 1)),
			returns:  s.ch.NotifyReturn(make(chan amqp.Return, 1)),
		}
		defer func() { both[i].finish() }()
	}
	err := work(both[0], both[1])
	for _, c := range both {
		c.failed = err
	}
}

// A confirming session sends one message at a time and waits for its confirm.
type confirming struct {
	*session
	confirms chan amqp.Confirmation
	returns  chan amqp.Return
	failed   error
}

func (c *confirming) finish() {
	switch {
	case c.failed != nil && c.conn.IsClosed():
		c.broken(c.failed)
	case c.failed != nil: // the other one was lost
		c.broken(errLeft)
	default:
		c.end()
	}
}

// route publishes a mandatory message and says whether it was taken.
func (c *confirming) route(exchange, key string, e history.Event) (id uint64, taken bool, err error) {
	e.Kind, e.Channel, e.Message, e.Mandatory = history.Published, c.number, c.Message(), true
	c.Add(e)
	if err := c.ch.Publish(exchange, key, true, false, amqp.Publishing{Body: c.Scale.body(e.Message)}); err != nil {
		return 0, false, err
	}
	confirm, ok := <-c.confirms
	if !ok {
		return 0, false, errors.New("the channel is closed")
	}
	select {
	case <-c.returns:
		c.Add(history.Event{Kind: history.Returned, Channel: c.number, Message: e.Message})
	default:
		taken = true
	}
	if !confirm.Ack {
		c.Add(history.Event{Kind: history.Nacked, Channel: c.number, Message: e.Message})
		return e.Message, false, nil
	}
	c.Add(history.Event{Kind: history.Confirmed, Channel: c.number, Message: e.Message})
	return e.Message, taken, nil
}

// topologyOnce makes a queue and a binding on one node and uses them on another; the history judges what is returned.
func topologyOnce(exchange, queue string, here, there *confirming) error {
	l := here.Load
	if err := declare(here.ch, queue, nil); err != nil {
		return err
	}
	if err := here.ch.QueueBind(queue, queue+".#", exchange, false, nil); err != nil {
		return err
	}
	id, _, err := there.route(exchange, queue+".x", history.Event{To: []string{queue}})
	if err != nil {
		return err
	}
	q, err := here.ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	if err != nil {
		return err
	}
	if q.Messages != 1 {
		l.Complain("topology", "queue %s holds %d messages on %s, after one was confirmed on %s", queue, q.Messages, here.node, there.node)
	}
	if err := here.ch.QueueUnbind(queue, queue+".#", exchange, nil); err != nil {
		return err
	}
	if _, _, err := there.route(exchange, queue+".x", history.Event{}); err != nil {
		return err
	}
	d, ok, err := there.ch.Get(queue, false)
	if err != nil {
		return err
	}
	if got, err := l.Scale.numberOf(d.Body); !ok || err != nil || got != id {
		l.Complain("topology", "queue %s gave %d (%v, %v), want message %d", queue, got, ok, err, id)
	}
	if _, err := there.ch.QueueDelete(queue, false, false, false); err != nil {
		return err
	}
	_, _, err = here.route("", queue, history.Event{})
	l.Done("topology")
	return err
}

// privateQueues: exclusive queues live as long as their connection, auto-delete ones as long as they have consumers.
func privateQueues(l *Load) (*Judge, error) {
	left := &Litter{}
	for i := range 2 {
		l.put(func() {
			for number := 0; l.Stop.Err() == nil; number++ {
				queue := l.name(fmt.Sprintf("private%d-%d", i, number))
				l.pair(i+number+1, func(owner, other *confirming) error {
					return privateOnce(queue, number%2 == 0, owner, other, left)
				})
				pause(l.Stop, 50*time.Millisecond)
			}
		})
	}
	return &Judge{Litter: left}, nil
}

// inPrivate is how many messages are sent to one of these queues.
const inPrivate = 10

func privateOnce(queue string, exclusive bool, owner, other *confirming, left *Litter) error {
	deliveries, err := owner.own(queue, exclusive)
	if err != nil && !exclusive {
		left.add(queue) // one that never had a consumer stays
	}
	if err != nil {
		return err
	}
	owner.Add(history.Event{Kind: history.Consuming, Channel: owner.number, Queue: queue, Note: owner.node})
	if exclusive {
		if err := locked(queue, other); err != nil {
			return err
		}
	}
	for range inPrivate {
		// The owner may have been lost, with its queue.
		if _, _, err := other.route("", queue, history.Event{To: []string{queue}, Perishable: true}); err != nil {
			return err
		}
	}
	for range inPrivate {
		select {
		case <-owner.Quit.Done():
			owner.Complain("lost", "queue %s: its consumer on channel %d did not get %d messages", queue, owner.number, inPrivate)
			return errLeft
		case d, ok := <-deliveries:
			if !ok {
				return errors.New("deliveries ended")
			}
			id, err := owner.Scale.numberOf(d.Body)
			if err != nil {
				owner.Complain("corrupted", "queue %s: %v", queue, err)
			}
			owner.Add(history.Event{Kind: history.Delivered, Channel: owner.number, Queue: queue, Message: id, Redelivered: d.Redelivered})
			owner.Add(history.Event{Kind: history.Acked, Channel: owner.number, Queue: queue, Message: id})
		}
	}
	owner.Done("private queues")
	if exclusive {
		return nil // it goes with the connection
	}
	if err := owner.ch.Cancel("only", false); err != nil {
		return err
	}
	_, _, err = other.route("", queue, history.Event{})
	return err
}

// own makes a private queue and consumes from it.
func (c *confirming) own(queue string, exclusive bool) (<-chan amqp.Delivery, error) {
	if _, err := c.ch.QueueDeclare(queue, false, !exclusive, exclusive, false, nil); err != nil {
		return nil, err
	}
	return c.ch.Consume(queue, "only", true, false, false, false, nil)
}

// locked wants another connection to be refused an exclusive queue.
func locked(queue string, other *confirming) error {
	ch, err := other.conn.Channel()
	if err != nil {
		return err
	}
	_, err = ch.QueueDeclarePassive(queue, false, false, false, false, nil)
	var refusal *amqp.Error
	switch {
	case err == nil:
		other.Complain("exclusive", "queue %s of another connection was shown on %s", queue, other.node)
	case errors.As(err, &refusal) && refusal.Server && refusal.Code == amqp.ResourceLocked:
		return nil
	case errors.As(err, &refusal) && refusal.Server && refusal.Code == amqp.NotFound:
		return errLeft // its owner was lost
	}
	return err
}
