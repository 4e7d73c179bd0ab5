package fsm

import (
	"warren/fsm/queue"
	"warren/fsm/topology"
)

// Seen counts what a machine has seen happen. It is for people to look at and no part of the
// state: it begins with the process, is the same on two nodes only by chance, and has no influence on anything.
type Seen struct {
	Routed                     uint64 // messages of clients that entered a queue, counted for each queue
	Declared, Created, Deleted uint64 // queues; Declared counts those that were there, too
	// Messages that went to a dead-letter exchange, by the reason.
	Expired, Rejected, MaxLen, TooOften uint64
}

func (s *Seen) died(reason queue.Reason) {
	switch reason {
	case queue.Expired:
		s.Expired++
	case queue.Rejected:
		s.Rejected++
	case queue.MaxLen:
		s.MaxLen++
	case queue.TooOften:
		s.TooOften++
	}
}

// Seen returns what the machine has seen.
func (m *Machine) Seen() Seen { return m.seen }

// Traffic returns what went through an exchange.
func (m *Machine) Traffic(vhost, exchange string) topology.Traffic {
	v := m.vhosts[vhost]
	if v == nil {
		return topology.Traffic{}
	}
	return v.topology.Traffic(exchange)
}

// EachTraffic calls f for the exchanges of a vhost to which something was published, in any order.
func (m *Machine) EachTraffic(vhost string, f func(exchange string, traffic topology.Traffic)) {
	if v := m.vhosts[vhost]; v != nil {
		v.topology.EachTraffic(f)
	}
}

// EntityCounts returns how many exchanges, bindings, and messages that are not routed yet a vhost has.
func (m *Machine) EntityCounts(vhost string) (exchanges, bindings, delayed int) {
	v := m.vhosts[vhost]
	if v == nil {
		return 0, 0, 0
	}
	exchanges, bindings = v.topology.Count()
	return exchanges, bindings, m.DelayedCount(vhost, nil)
}
