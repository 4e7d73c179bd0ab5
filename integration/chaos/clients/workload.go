package clients

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/chaos/history"
)

// A Workload is a way in which clients use the broker, on queues of its own.
type Workload struct {
	Name string
	// Start makes what is needed and starts the clients. It returns how to judge them.
	Start func(l *Load) (*Judge, error)
}

// A Judge knows what a workload has to come to.
type Judge struct {
	// Queues have to be there and empty at the end; Rules are for the history.
	Queues    []string
	Exchanges []string
	Rules     map[string]history.Rules
	// Litter are queues that may be there at the end, with messages in them; nil: none.
	Litter *Litter
	// Check and Registers are for what the history does not tell; nil: nothing.
	Check     func() []history.Violation
	Registers func() history.Verdict
}

// Workloads are all of them.
func Workloads() []Workload {
	return []Workload{
		{"work queue", workQueue},
		{"fan-out", fanOut},
		{"basic.get", basicGet},
		{"returns", returns},
		{"dead letters", deadLetters},
		{"expiry", expiry},
		{"transactions", transactions},
		{"topology", topology},
		{"private queues", privateQueues},
		{"registers", linearizable},
	}
}

// final are the rules of queues that everything confirmed has to come out of.
func final(queues ...string) map[string]history.Rules {
	rules := map[string]history.Rules{}
	for _, q := range queues {
		rules[q] = history.Rules{Final: true}
	}
	return rules
}

func milliseconds(d time.Duration) int32 { return int32(d.Milliseconds()) }

func declare(ch *amqp.Channel, queue string, args amqp.Table) error {
	_, err := ch.QueueDeclare(queue, true, false, false, false, args)
	return err
}

// workQueue: some publishers, some consumers that give a part back.
func workQueue(l *Load) (*Judge, error) {
	queue := l.name("work")
	if err := l.SetUp("work queue", func(ch *amqp.Channel) error { return declare(ch, queue, nil) }); err != nil {
		return nil, err
	}
	for i := range l.Scale.Several {
		p := &publisher{Load: l, workload: "work queue", home: i, pace: 15 * time.Millisecond, next: func(random *rand.Rand) publishing {
			return publishing{key: queue, to: []string{queue}, transient: random.IntN(4) == 0}
		}}
		c := &consumer{Load: l, home: i + 1, queue: queue, prefetch: 1 + i*20, requeue: 0.1, together: i * 3}
		l.put(p.run)
		l.take(c.run)
	}
	return &Judge{Queues: []string{queue}, Rules: final(queue)}, nil
}

// fanOut: each message goes to several queues.
func fanOut(l *Load) (*Judge, error) {
	exchange := l.name("fan")
	var queues []string
	for i := range l.Scale.Copies {
		queues = append(queues, l.name(fmt.Sprintf("fan%d", i)))
	}
	err := l.SetUp("fan-out", func(ch *amqp.Channel) error {
		if err := ch.ExchangeDeclare(exchange, "fanout", true, false, false, false, nil); err != nil {
			return err
		}
		for _, q := range queues {
			if err := errors.Join(declare(ch, q, nil), ch.QueueBind(q, "", exchange, false, nil)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	p := &publisher{Load: l, workload: "fan-out", home: 2, pace: 25 * time.Millisecond, next: func(*rand.Rand) publishing {
		return publishing{exchange: exchange, to: queues, mandatory: true}
	}}
	l.put(p.run)
	for i, q := range queues {
		c := &consumer{Load: l, home: i, queue: q, prefetch: 50}
		l.take(c.run)
	}
	return &Judge{Queues: queues, Exchanges: []string{exchange}, Rules: final(queues...)}, nil
}

// basicGet: clients that ask for one message at a time.
func basicGet(l *Load) (*Judge, error) {
	queue := l.name("get")
	if err := l.SetUp("basic.get", func(ch *amqp.Channel) error { return declare(ch, queue, nil) }); err != nil {
		return nil, err
	}
	p := &publisher{Load: l, workload: "basic.get", home: 0, pace: 30 * time.Millisecond, next: func(*rand.Rand) publishing {
		return publishing{key: queue, to: []string{queue}, mandatory: true}
	}}
	l.put(p.run)
	for i := range l.Scale.Copies - 1 {
		c := &consumer{Load: l, home: i + 1, queue: queue, get: true, requeue: 0.1}
		l.take(c.run)
	}
	return &Judge{Queues: []string{queue}, Rules: final(queue)}, nil
}

// returns: mandatory messages, some of which have no route.
func returns(l *Load) (*Judge, error) {
	exchange, queue := l.name("returns"), l.name("returned")
	err := l.SetUp("returns", func(ch *amqp.Channel) error {
		return errors.Join(ch.ExchangeDeclare(exchange, "direct", true, false, false, false, nil),
			declare(ch, queue, nil), ch.QueueBind(queue, "there", exchange, false, nil))
	})
	if err != nil {
		return nil, err
	}
	p := &publisher{Load: l, workload: "returns", home: 1, pace: 25 * time.Millisecond, next: func(random *rand.Rand) publishing {
		m := publishing{exchange: exchange, key: "nowhere", mandatory: random.IntN(4) > 0}
		if random.IntN(2) == 0 {
			m.key, m.to = "there", []string{queue}
		}
		return m
	}}
	c := &consumer{Load: l, home: 2, queue: queue, prefetch: 10}
	l.put(p.run)
	l.take(c.run)
	return &Judge{Queues: []string{queue}, Exchanges: []string{exchange}, Rules: final(queue)}, nil
}

// deadLetters: a message expires in the first queue, by the queue's TTL or its own, is rejected in the second, and comes
// out of the third.
func deadLetters(l *Load) (*Judge, error) {
	first, second, third := l.name("dead1"), l.name("dead2"), l.name("dead3")
	err := l.SetUp("dead letters", func(ch *amqp.Channel) error {
		to := func(queue string) amqp.Table {
			return amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue}
		}
		expiring := to(second)
		expiring["x-message-ttl"] = milliseconds(l.Scale.TTL)
		return errors.Join(declare(ch, first, expiring), declare(ch, second, to(third)), declare(ch, third, nil))
	})
	if err != nil {
		return nil, err
	}
	p := &publisher{Load: l, workload: "dead letters", home: 1, pace: 25 * time.Millisecond, next: func(random *rand.Rand) publishing {
		m := publishing{key: first, to: []string{first, second, third}, mandatory: true}
		if random.IntN(2) == 0 {
			m.expiration = fmt.Sprint(random.IntN(int(3 * milliseconds(l.Scale.TTL) / 2)))
		}
		return m
	}}
	l.put(p.run)
	for i := range l.Scale.Copies - 1 {
		refuses := &consumer{Load: l, home: i, queue: second, prefetch: 10, reject: true}
		takes := &consumer{Load: l, home: i + 1, queue: third, prefetch: 10}
		l.take(refuses.run)
		l.take(takes.run)
	}
	rules := map[string]history.Rules{second: {Final: true, DeadLetters: true}, third: {Final: true, DeadLetters: true}}
	return &Judge{Queues: []string{first, second, third}, Rules: rules}, nil
}

// expiry: messages that nobody takes go by themselves, when the queue's time for them or their own is up.
func expiry(l *Load) (*Judge, error) {
	queue := l.name("expiry")
	err := l.SetUp("expiry", func(ch *amqp.Channel) error {
		return declare(ch, queue, amqp.Table{"x-message-ttl": 5 * milliseconds(l.Scale.TTL)})
	})
	if err != nil {
		return nil, err
	}
	p := &publisher{Load: l, workload: "expiry", home: 2, pace: 30 * time.Millisecond, next: func(random *rand.Rand) publishing {
		return publishing{key: queue, to: []string{queue}, mandatory: true, expiration: fmt.Sprint(random.IntN(int(10 * milliseconds(l.Scale.TTL))))}
	}}
	l.put(p.run)
	return &Judge{Queues: []string{queue}}, nil
}
