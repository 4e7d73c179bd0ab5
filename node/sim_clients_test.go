package node

import (
	"context"
	"math/rand/v2"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/chaos/clients"
)

// scale is how much the clients of a history do: it lasts for a second.
var scale = clients.Scale{
	Body: 256, Large: 1,
	Several: 3, Copies: 2, Window: 16, SyncEvery: 10, SyncTime: 100 * time.Millisecond, TTL: 100 * time.Millisecond,
	Tokens: 10, Moves: 3, Rest: 15 * time.Millisecond, Registers: 10, RegisterTime: 200 * time.Millisecond, Patience: patience,
}

// drawWorkloads chooses some.
func (s *sim) drawWorkloads() []clients.Workload {
	all := clients.Workloads()
	s.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:1+s.random.IntN(2)]
}

// dial connects a client to the member in a slot.
func (s *sim) dial(slot int) (clients.Conn, error) {
	members := s.all()
	m := members[slot%len(members)]
	ctx, cancel := context.WithTimeout(s.Quit, 3*time.Second)
	defer cancel()
	c := clients.Conn{Node: m.name(), Spared: m.spared}
	var err error
	if c.Raw, err = s.client.Dial(ctx, m.ip+":5672"); err != nil {
		return c, err
	}
	if err := c.Raw.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return c, err
	}
	c.AMQP, err = amqp.Open(c.Raw, amqp.Config{
		SASL:  []amqp.Authentication{&amqp.PlainAuth{Username: DefaultUser, Password: DefaultPass}},
		Vhost: "/", Heartbeat: 5 * time.Second, Locale: "en_US",
	})
	if err != nil {
		_ = c.Raw.Close() // it may be closed already
	}
	return c, err
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func upTo(r *rand.Rand, most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	return time.Duration(r.Int64N(int64(most)))
}
