package fsm

import (
	"math"

	"warren/fsm/command"
	"warren/fsm/queue"
)

// An epoch is one uninterrupted presence of a node.
type epoch struct {
	number      uint64 // log index at which it was opened
	node, name  string
	nonce       uint64
	sequence    uint64 // of its last batch applied
	refused     uint64 // of its last batch with a publish that came to more than done: see note
	witness     bool   // see Machine.witness
	connections map[uint64]*connection
}

// A connection is known to the machine while a channel of it holds something,
// it owns exclusive queues, or it is counted.
type connection struct {
	number    uint64
	channels  map[uint16]*queue.Channel
	exclusive []*queue.Queue // in the order of their declaration
	counted   *counted       // nil: it is not
}

func (e *epoch) connection(number uint64) *connection {
	c := e.connections[number]
	if c == nil {
		c = &connection{number: number, channels: make(map[uint16]*queue.Channel)}
		e.connections[number] = c
	}
	return c
}

// channel returns the channel that a command names, making it known.
func (m *Machine) channel(e *epoch, id command.Channel) *queue.Channel {
	c := e.connection(id.Conn)
	ch := c.channels[id.Number]
	if ch == nil {
		ch = m.store.NewChannel(command.Owner{Epoch: e.number, Channel: id})
		c.channels[id.Number] = ch
	}
	return ch
}

// knownChannel returns the channel that a command names, nil when the machine
// holds nothing of it.
func (e *epoch) knownChannel(id command.Channel) *queue.Channel {
	c := e.connections[id.Conn]
	if c == nil {
		return nil
	}
	return c.channels[id.Number]
}

func (m *Machine) openEpoch(c *command.EpochOpen) *command.Error {
	if m.opened {
		return refuse(commandInvalid, "a second epoch in one log entry")
	}
	old := m.epochOf(c.Node)
	if old == nil || old.nonce != c.Nonce {
		m.opened = true
		m.removeEpoch(old)
		m.returned(c)
		old = m.newEpoch(c)
	}
	m.effect(command.Effect{
		Kind: command.EffectEpochOpened, To: command.Owner{Epoch: old.number},
		Node: c.Node, Nonce: c.Nonce,
	})
	return nil
}

func (m *Machine) newEpoch(c *command.EpochOpen) *epoch {
	e := &epoch{
		number: m.index, node: c.Node, name: c.Name, nonce: c.Nonce,
		witness:     len(m.epochs) == 0,
		connections: make(map[uint64]*connection),
	}
	m.epochs[e.number] = e
	m.strangers = m.strangers || !e.witness
	return e
}

func (m *Machine) epochOf(node string) *epoch {
	for _, number := range sortedKeys(m.epochs) {
		if e := m.epochs[number]; e.node == node {
			return e
		}
	}
	return nil
}

// removeEpoch ends an epoch with all that it held; nil is fine.
func (m *Machine) removeEpoch(e *epoch) {
	if e == nil {
		return
	}
	var all []*connection
	for _, number := range sortedKeys(e.connections) {
		all = append(all, e.connections[number])
	}
	m.closeConnections(all, (*queue.Channel).GiveBack)
	delete(m.epochs, e.number)
	m.effect(command.Effect{
		Kind: command.EffectEpochRemoved, To: command.Owner{Epoch: e.number}, Node: e.node, Nonce: e.nonce,
	})
	if e.witness {
		m.witnessGone()
	}
}

// witness says that epoch e is alive at the present entry; nil is fine. Transient
// entities live as long as a process that could remember them. That is known by
// witnesses: an epoch that was alive together with a witness is one itself.
func (m *Machine) witness(e *epoch) {
	if m.strangers && e != nil && e.witness {
		m.allWitness()
	}
}

func (m *Machine) allWitness() {
	m.eachEpoch(func(e *epoch) { e.witness = true })
	m.strangers = false
}

func (m *Machine) eachEpoch(f func(*epoch)) {
	for _, number := range sortedKeys(m.epochs) {
		f(m.epochs[number])
	}
}

// witnessGone does what is due when a witness has ended: if it was the last, what
// is transient goes, except what was declared under the eyes of an epoch that lives.
func (m *Machine) witnessGone() {
	left, oldest := false, uint64(math.MaxUint64)
	m.eachEpoch(func(e *epoch) {
		left = left || e.witness
		oldest = min(oldest, e.number)
	})
	if left {
		return
	}
	m.allWitness()
	for _, name := range sortedKeys(m.vhosts) {
		m.removeTransient(m.vhosts[name], oldest)
	}
}

// removeTransient deletes the queues and exchanges that are not durable and were
// declared before the log index.
func (m *Machine) removeTransient(v *vhost, before uint64) {
	for _, name := range sortedKeys(v.queues) {
		if q := v.queues[name]; q != nil && !q.Spec.Durable && q.Created < before {
			m.dropQueue(v, q)
		}
	}
	for _, x := range v.topology.Exchanges() {
		if _, ok := v.transient(x.Name); ok && v.born[x.Name] < before {
			v.topology.Delete(x.Name, false)
		}
	}
}
