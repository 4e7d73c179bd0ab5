// Package delivery brings what the log says to the sessions that it concerns:
// results to those that proposed, effects to those that hold the consumers. It
// knows which sessions there are on this node, and nothing of what they do.
package delivery

import (
	"sync"

	"warren/fsm/command"
)

// A Registry holds the receivers of this node's connections by number. Its
// methods may be called from any goroutine; Dispatch only from the one that
// applies the log.
type Registry[R command.Receiver] struct {
	mu    sync.RWMutex
	conns map[uint64]R
}

// NewRegistry returns an empty registry.
func NewRegistry[R command.Receiver]() *Registry[R] {
	return &Registry[R]{conns: make(map[uint64]R)}
}

// Add makes r the receiver of the connection's effects.
func (g *Registry[R]) Add(conn uint64, r R) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns[conn] = r
}

// Remove ends that. Effects that come later are dropped.
func (g *Registry[R]) Remove(conn uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, conn)
}

// Get returns the connection of that number, if there is one.
func (g *Registry[R]) Get(conn uint64) (R, bool) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	r, ok := g.conns[conn]
	return r, ok
}

// Len is the number of connections.
func (g *Registry[R]) Len() int {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return len(g.conns)
}

// All returns the connections of this moment, in no order.
func (g *Registry[R]) All() map[uint64]R {
	g.mu.RLock()
	defer g.mu.RUnlock()
	all := make(map[uint64]R, len(g.conns))
	for n, r := range g.conns {
		all[n] = r
	}
	return all
}

// Dispatch hands on the output of one log entry: for each of its commands first
// the result, to the waiter of the same index (waiters is empty when another
// node proposed the entry), then the effects that it caused on connections of
// our epoch. Effects are in the order of their commands.
func (g *Registry[R]) Dispatch(epoch uint64, waiters []command.Waiter, results []command.Result, effects []command.Effect) {
	if len(waiters) == 0 && len(effects) == 0 {
		return
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	for i := range waiters {
		for len(effects) > 0 && effects[0].Command < i {
			g.deliver(epoch, &effects[0])
			effects = effects[1:]
		}
		if w := &waiters[i]; w.To != nil && i < len(results) {
			w.To.Result(w.Token, &results[i])
		}
	}
	for i := range effects {
		g.deliver(epoch, &effects[i])
	}
}

func (g *Registry[R]) deliver(epoch uint64, e *command.Effect) {
	switch e.Kind {
	case command.EffectDeliver, command.EffectCancel, command.EffectOverdue:
	default:
		return
	}
	if e.To.Epoch != epoch {
		return
	}
	if r, ok := g.conns[e.To.Conn]; ok {
		r.Effect(e)
	}
}
