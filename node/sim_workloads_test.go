package node

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/chaos/history"
)

// A judge knows what a workload has to come to.
type judge struct {
	queues []string // that have to be there and empty at the end
	rules  map[string]history.Rules
	check  func() []history.Violation // what the history does not tell; nil: nothing
}

// workloads are all ways in which clients use the cluster, each on queues of its own, by name.
var workloads = map[string]func(*sim) judge{
	"work queue": workQueue, "fan-out": fanOut, "basic.get": basicGet, "dead letters": deadLetters, "expiry": expiry,
	"transactions": transactions, "topology": topology, "registers": registers,
}

// drawWorkloads chooses some.
func (s *sim) drawWorkloads() []string {
	names := slices.Sorted(maps.Keys(workloads))
	s.random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names[:1+s.random.IntN(2)]
}

func final(queues ...string) map[string]history.Rules {
	rules := map[string]history.Rules{}
	for _, q := range queues {
		rules[q] = history.Rules{Final: true}
	}
	return rules
}

// to is a publishing for one queue.
func to(queue string) publishing { return publishing{key: queue, to: []string{queue}, mandatory: true} }

func workQueue(s *sim) judge {
	const queue = "work"
	s.setUp(func(ch *amqp.Channel) error { return declare(ch, queue, nil) })
	for i := range 2 {
		p := &publisher{sim: s, workload: "work queue", home: i, next: func(random *rand.Rand) publishing {
			m := to(queue)
			m.transient = random.IntN(4) == 0
			return m
		}}
		c := &consumer{sim: s, home: i + 1, queue: queue, prefetch: 1 + i*10, requeue: 0.1}
		s.put(p.run)
		s.take(c.run)
	}
	return judge{queues: []string{queue}, rules: final(queue)}
}

func fanOut(s *sim) judge {
	queues := []string{"fan1", "fan2"}
	s.setUp(func(ch *amqp.Channel) error {
		err := ch.ExchangeDeclare("fan", "fanout", true, false, false, false, nil)
		for _, q := range queues {
			err = errors.Join(err, declare(ch, q, nil), ch.QueueBind(q, "", "fan", false, nil))
		}
		return err
	})
	p := &publisher{sim: s, workload: "fan-out", home: 2, next: func(*rand.Rand) publishing {
		return publishing{exchange: "fan", to: queues, mandatory: true}
	}}
	s.put(p.run)
	for i, q := range queues {
		s.take((&consumer{sim: s, home: i, queue: q, prefetch: 20}).run)
	}
	return judge{queues: queues, rules: final(queues...)}
}

func basicGet(s *sim) judge {
	const queue = "get"
	s.setUp(func(ch *amqp.Channel) error { return declare(ch, queue, nil) })
	s.put((&publisher{sim: s, workload: "basic.get", next: func(*rand.Rand) publishing { return to(queue) }}).run)
	s.take((&consumer{sim: s, home: 1, queue: queue, get: true, requeue: 0.1}).run)
	return judge{queues: []string{queue}, rules: final(queue)}
}

// deadLetters: a message expires in the first queue, by the queue's TTL or its own, is rejected in the second, and comes
// out of the third.
func deadLetters(s *sim) judge {
	const first, second, third = "dead1", "dead2", "dead3"
	s.setUp(func(ch *amqp.Channel) error {
		to := func(queue string) amqp.Table {
			return amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue}
		}
		expiring := to(second)
		expiring["x-message-ttl"] = int32(100)
		return errors.Join(declare(ch, first, expiring), declare(ch, second, to(third)), declare(ch, third, nil))
	})
	s.put((&publisher{sim: s, workload: "dead letters", home: 1, next: func(random *rand.Rand) publishing {
		m := publishing{key: first, to: []string{first, second, third}, mandatory: true}
		if random.IntN(2) == 0 {
			m.expiration = fmt.Sprint(random.IntN(150))
		}
		return m
	}}).run)
	s.take((&consumer{sim: s, queue: second, prefetch: 10, reject: true}).run)
	s.take((&consumer{sim: s, home: 1, queue: third, prefetch: 10}).run)
	rules := map[string]history.Rules{second: {Final: true, DeadLetters: true}, third: {Final: true, DeadLetters: true}}
	return judge{queues: []string{first, second, third}, rules: rules}
}

// expiry: messages that nobody takes go by themselves, when the queue's time for them or their own is up.
func expiry(s *sim) judge {
	const queue = "expiry"
	s.setUp(func(ch *amqp.Channel) error { return declare(ch, queue, amqp.Table{"x-message-ttl": int32(300)}) })
	s.put((&publisher{sim: s, workload: "expiry", home: 2, next: func(random *rand.Rand) publishing {
		m := to(queue)
		m.expiration = fmt.Sprint(random.IntN(500))
		return m
	}}).run)
	return judge{queues: []string{queue}}
}

// topology: what one node was told to declare and to bind is there for a message that comes to another one after that.
func topology(s *sim) judge {
	random := s.source()
	s.setUp(func(ch *amqp.Channel) error {
		return ch.ExchangeDeclare("top", "topic", true, false, false, false, nil)
	})
	made := 0
	s.put(func() {
		for s.stop.Err() == nil {
			made++
			queue, from, home := fmt.Sprintf("top%d", made), random.IntN(s.nodes), random.IntN(s.nodes)
			s.keep(s.stop, from, func(l *link) error {
				return errors.Join(declare(l.ch, queue, nil), l.ch.QueueBind(queue, queue+".#", "top", false, nil))
			})
			if s.stop.Err() != nil {
				return // it may not be there
			}
			s.keep(s.stop, home, func(l *link) error { return routed(l, queue) })
			sleep(s.stop, pace)
		}
	})
	return judge{}
}

// routed publishes a message that has to have a route, and takes the queue away.
func routed(l *link, queue string) error {
	confirms := l.ch.NotifyPublish(make(chan amqp.Confirmation, 1))
	returns := l.ch.NotifyReturn(make(chan amqp.Return, 1))
	err := errors.Join(l.ch.Confirm(false), l.ch.Publish("top", queue+".key", true, false, amqp.Publishing{Body: body(l.Message())}))
	if err != nil {
		return err
	}
	if _, ok := <-confirms; !ok {
		return errors.New("the channel is closed")
	}
	select {
	case r, ok := <-returns:
		if ok {
			l.complain("topology", "a message for %s through %s was returned: %s", queue, l.to.name(), r.ReplyText)
		}
	default:
	}
	l.done("topology")
	// A link that breaks now would have it published again, to a queue that may be gone.
	_, _ = l.ch.QueueDelete(queue, false, false, true)
	return nil
}

// Registers are queues for one message, of which the newest stays. They are used one after the other: the fewer
// operations there are on one, the faster is its check.
const (
	registerTime = 200 * time.Millisecond
	registersMax = 10
)

func registers(s *sim) judge {
	var all [registersMax]history.Register
	for i := range all {
		all[i].Name = fmt.Sprintf("cell%d", i)
	}
	s.setUp(func(ch *amqp.Channel) error {
		var err error
		for i := range all {
			err = errors.Join(err, declare(ch, all[i].Name, amqp.Table{"x-max-length": int32(1)}))
		}
		return err
	})
	begun := time.Now()
	var mu sync.Mutex
	for i := range 3 {
		random := s.source()
		client := i
		s.put(func() {
			s.keep(s.stop, i, func(l *link) error {
				confirms := l.ch.NotifyPublish(make(chan amqp.Confirmation, 1))
				if err := l.ch.Confirm(false); err != nil {
					return err
				}
				for s.stop.Err() == nil {
					cell := int(time.Since(begun)/registerTime) % registersMax
					a := history.Access{Client: client, Put: random.IntN(2) == 0, Call: s.Now()}
					err := access(l, all[cell].Name, &a, confirms)
					a.Answer, a.Unknown = s.Now(), err != nil
					mu.Lock()
					all[cell].Accesses = append(all[cell].Accesses, a)
					mu.Unlock()
					if err != nil {
						return err
					}
					s.done("registers")
					sleep(s.stop, upTo(random, pace))
				}
				return nil
			})
		})
	}
	return judge{check: func() []history.Violation {
		v := history.CheckRegister(all[:], 10*time.Second)
		if v.Undecided > 0 {
			v.Violations = append(v.Violations, history.Violation{Check: "linearizable", Text: fmt.Sprintf("%d registers could not be decided", v.Undecided)})
		}
		return v.Violations
	}}
}

func access(l *link, queue string, a *history.Access, confirms <-chan amqp.Confirmation) error {
	if a.Put {
		a.Value = l.Message()
		if err := l.ch.Publish("", queue, false, false, amqp.Publishing{Body: body(a.Value)}); err != nil {
			return err
		}
		c, ok := <-confirms
		if !ok {
			return errors.New("the channel is closed")
		}
		if !c.Ack {
			l.complain("nacked", "queue %s refused a message, though the oldest one is to go", queue)
		}
		return nil
	}
	d, ok, err := l.ch.Get(queue, true)
	if err == nil && ok {
		a.Value = l.numberOf(d.Body)
	}
	return err
}
