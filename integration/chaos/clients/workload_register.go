package clients

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/chaos/history"
)

// registerLimit is how long porcupine may think about one register.
const registerLimit = 10 * time.Second

// cells are queues for one message each, used as registers.
type cells struct {
	*Load
	begun time.Time

	mu  sync.Mutex
	all []history.Register
}

// linearizable: clients on all nodes put values in registers, and take them.
func linearizable(l *Load) (*Judge, error) {
	c := &cells{Load: l}
	left := &Litter{}
	for i := range l.Scale.Registers {
		c.all = append(c.all, history.Register{Name: l.name(fmt.Sprintf("cell%d", i))})
		left.add(c.all[i].Name)
	}
	err := l.SetUp("registers", func(ch *amqp.Channel) error {
		for _, r := range c.all {
			if err := declare(ch, r.Name, amqp.Table{"x-max-length": int32(1)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.begun = time.Now()
	for i := range l.Scale.Several {
		l.put(func() {
			random := l.Random()
			l.keep(l.Stop, i, func(s *session) error { return c.use(s, i, random) })
		})
	}
	return &Judge{Litter: left, Registers: func() history.Verdict {
		c.mu.Lock()
		defer c.mu.Unlock()
		return history.CheckRegister(c.all, registerLimit)
	}}, nil
}

func (c *cells) use(s *session, number int, random *rand.Rand) error {
	confirms := s.ch.NotifyPublish(make(chan amqp.Confirmation, 1))
	if err := s.ch.Confirm(false); err != nil {
		return err
	}
	for c.Stop.Err() == nil {
		cell := int(time.Since(c.begun)/c.Scale.RegisterTime) % c.Scale.Registers
		a := history.Access{Client: number, Put: random.IntN(2) == 0, Call: c.Now()}
		var err error
		if a.Put {
			a.Value = c.Message()
			err = put(s, c.all[cell].Name, a.Value, confirms)
		} else {
			a.Value, err = take(s, c.all[cell].Name)
		}
		a.Answer, a.Unknown = c.Now(), err != nil
		c.mu.Lock()
		c.all[cell].Accesses = append(c.all[cell].Accesses, a)
		c.mu.Unlock()
		if err != nil {
			return err
		}
		c.Done("registers")
		pause(c.Stop, time.Duration(random.IntN(30))*time.Millisecond)
	}
	return nil
}

func put(s *session, queue string, value uint64, confirms <-chan amqp.Confirmation) error {
	if err := s.ch.Publish("", queue, false, false, amqp.Publishing{Body: s.Scale.body(value)}); err != nil {
		return err
	}
	c, ok := <-confirms
	if !ok {
		return errors.New("the channel is closed")
	}
	if !c.Ack {
		s.Complain("nacked", "queue %s refused a message, though the oldest one is to go", queue)
	}
	return nil
}

func take(s *session, queue string) (uint64, error) {
	d, ok, err := s.ch.Get(queue, true)
	if err != nil || !ok {
		return 0, err
	}
	value, err := s.Scale.numberOf(d.Body)
	if err != nil {
		s.Complain("corrupted", "queue %s: %v", queue, err)
	}
	return value, nil
}
