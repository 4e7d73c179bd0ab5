//go:build linux

package chaos

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/chaos/clients"
	"warren/integration/proc"
)

// patience is how long a client that is connected waits for an answer after everything was
// mended.
const patience = 30 * time.Second

// What a client waits for: long for a machine under load, short for a cluster that is cut in two.
const (
	dialTimeout = 3 * time.Second
	heartbeat   = 2 * time.Second // a silent node is given up after some of them
)

// scale is how much the clients of a round do.
var scale = clients.Scale{
	Body: 1024, Large: 64, // several segments of the network, some pages of memory
	Several: 4, Copies: 3, Window: 32, SyncEvery: 25, SyncTime: 200 * time.Millisecond, TTL: 200 * time.Millisecond,
	Tokens: 40, Moves: 4, Registers: 60, RegisterTime: time.Second,
}

// clientConfig is for the clients of a round.
func (c *Cluster) clientConfig(prefix string, seed uint64, stop, leave, quit context.Context) clients.Config {
	s := scale
	s.Patience = proc.Patience * proc.Slow
	return clients.Config{
		Dial: c.dialClient, Random: sources(seed), Prefix: prefix, Scale: s,
		Stop: stop, Leave: leave, Quit: quit,
	}
}

// sources returns a function that returns sources of choices which follow from a seed.
func sources(seed uint64) func() *rand.Rand {
	var mu sync.Mutex
	count := uint64(0)
	return func() *rand.Rand {
		mu.Lock()
		defer mu.Unlock()
		count++
		return rand.New(rand.NewPCG(seed, count))
	}
}

// dialClient connects to the node in a slot.
func (c *Cluster) dialClient(slot int) (clients.Conn, error) {
	nodes := c.Nodes()
	n := nodes[slot%len(nodes)]
	out := clients.Conn{Node: n.Name, Spared: func() bool { return c.spared(n) }}
	dial := amqp.DefaultDial(dialTimeout * proc.Slow)
	var err error
	out.AMQP, err = amqp.DialConfig(n.URL(), amqp.Config{
		Heartbeat: heartbeat * proc.Slow,
		Dial: func(network, addr string) (net.Conn, error) {
			raw, err := dial(network, addr)
			out.Raw = raw
			return raw, err
		},
	})
	return out, err
}
