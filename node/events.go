package node

import (
	"context"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"warren/fsm"
	"warren/fsm/command"
	exchanges "warren/fsm/topology"
	"warren/node/alarm"
	"warren/node/session"
	"warren/protocol/wire"
)

const (
	// emitMost and emitBytes bound what waits to be emitted on a node. What comes above is dropped.
	emitMost, emitBytes = 4096, 8 << 20
	// emitCost is what an emission costs besides its bytes.
	emitCost = 256
	// emitDrops is how often at most it is logged that some were dropped.
	emitDrops = 10 * time.Second
)

// emitter puts messages of the node's own in the log, for those who look on: what happens to connections, and copies of
// messages where a vhost is traced. Nobody waits for it, and it never holds anybody up: what it cannot take is dropped,
// as with RabbitMQ. The machine itself tells of what the log does: see fsm/events.go.
type emitter struct {
	n    *Node
	taps atomic.Pointer[session.Taps]
	wake chan struct{} // capacity 1

	mu      sync.Mutex
	waiting []emission
	bytes   int
	dropped uint64
}

// An emission is an event or a copy of a message.
type emission struct {
	event  *session.Event
	tapped *session.Tapped
	at     int64 // milliseconds since the Unix epoch
}

// size is about how many bytes it takes. Names of users and connections are as long as clients make them.
func (e *emission) size() int {
	if e.tapped != nil {
		return emitCost + len(e.tapped.Properties) + len(e.tapped.Body)
	}
	size := emitCost
	for i := range e.event.Headers {
		if text, ok := e.event.Headers[i].Value.(string); ok {
			size += len(text)
		}
	}
	return size
}

func newEmitter(n *Node) *emitter { return &emitter{n: n, wake: make(chan struct{}, 1)} }

// event takes an event. It does not block.
func (m *emitter) event(e session.Event) {
	m.add(emission{event: &e, at: time.Now().UnixMilli()})
}

// tap takes a copy of a message. It does not block.
func (m *emitter) tap(t *session.Tapped) {
	if t.Exchange == traceExchange {
		return // a copy of a copy
	}
	m.add(emission{tapped: t})
}

func (m *emitter) add(e emission) {
	m.mu.Lock()
	defer m.mu.Unlock()
	size := e.size()
	if len(m.waiting) >= emitMost || m.bytes+size > emitBytes && len(m.waiting) > 0 {
		m.dropped++
		return
	}
	m.bytes += size
	m.waiting = append(m.waiting, e)
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// take returns what waits.
func (m *emitter) take() (all []emission, dropped uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all, dropped = m.waiting, m.dropped
	m.waiting, m.bytes, m.dropped = nil, 0, 0
	return all, dropped
}

// run emits until ctx ends.
func (m *emitter) run(ctx context.Context) {
	var lost uint64
	var logged time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		}
		all, dropped := m.take()
		if lost += dropped; lost > 0 && time.Since(logged) > emitDrops {
			m.n.log.Warn("events and copies of messages were dropped: there are more than the cluster takes", "dropped", lost)
			lost, logged = 0, time.Now()
		}
		for i := range all {
			for _, cmd := range m.commands(&all[i]) {
				if !m.propose(ctx, cmd) {
					return
				}
			}
		}
	}
}

// propose waits for its turn, as everybody does. It returns false when ctx ends.
func (m *emitter) propose(ctx context.Context, cmd command.Command) bool {
	if room := m.n.proposer.Room(); room != nil {
		select {
		case <-ctx.Done():
			m.n.proposer.Leave(room)
			return false
		case <-room:
		}
	}
	m.n.proposer.Propose(cmd, nil, 0)
	return true
}

// commands makes the commands of an emission, one for each vhost in which somebody listens.
func (m *emitter) commands(e *emission) (all []command.Command) {
	if m.n.version.Load() < fsm.Since(command.KindEmit) {
		return nil
	}
	if e.tapped != nil {
		return m.copyOf(e.tapped)
	}
	var properties []byte
	m.n.replica.View(func(machine *fsm.Machine) {
		for _, vhost := range fsm.EventVHosts(e.event.VHost) {
			if !machine.Listened(vhost, exchanges.EventExchange) {
				continue
			}
			if properties == nil {
				properties = fsm.EventProperties(e.event.Headers, e.at)
			}
			all = append(all, &command.Emit{VHost: vhost, Exchange: exchanges.EventExchange, Key: []byte(e.event.Key), Properties: properties})
		}
	})
	return all
}

// loginEvent tells of a login that was tried.
func (n *Node) loginEvent(protocol, user string, remote net.Addr, err error) {
	key := "user.authentication.success"
	if err != nil {
		key = "user.authentication.failure"
	}
	headers := wire.Table{{Name: "name", Value: user}, {Name: "protocol", Value: protocol}, {Name: "node", Value: n.cfg.NodeName}}
	if remote != nil {
		headers = append(headers, wire.Field{Name: "peer", Value: remote.String()})
	}
	if err != nil {
		headers = append(headers, wire.Field{Name: "error", Value: err.Error()})
	}
	n.emitter.event(session.Event{Key: key, Headers: headers})
}

// alarmEvents tells which alarms of this node have changed.
func (n *Node) alarmEvents(before, now alarm.Set) {
	tell := func(key string, set, other alarm.Set) {
		for _, resource := range set.Resources() {
			if !slices.Contains(other.Resources(), resource) {
				n.emitter.event(session.Event{Key: key, Headers: wire.Table{
					{Name: "resource", Value: resource}, {Name: "node", Value: n.cfg.NodeName},
				}})
			}
		}
	}
	tell("alarm.set", now, before)
	tell("alarm.cleared", before, now)
}
