package fsm

import (
	"warren/fsm/command"
	"warren/fsm/queue"
	"warren/fsm/topology"
)

// The states of messages that are browsed.
const (
	BrowseReady   = queue.IsReady
	BrowseUnacked = queue.IsUnacked
	BrowseParked  = queue.IsParked
	BrowseDelayed = queue.IsDelayed
)

// MessageState is what a message of a queue waits for; states are bits.
type MessageState = queue.State

// BrowsedMessage is a message as it stands in a queue.
type BrowsedMessage = queue.Browsed

// A BrowseQuery says which messages of a queue to look at.
type BrowseQuery struct {
	From   uint64       // sequence to begin at; 0: at the head
	States MessageState // those of messages that count
	Most   int          // messages wanted
	command.Filter
}

// browseFilter is how many bytes of properties one Browse looks through, as the machine waits for it.
const browseFilter = 64 << 20

// Browse returns messages of a queue in their order, without changing anything; ok is false for a queue that is not
// there. next is where to go on, 0 when all were looked at: a call looks at some 10,000 messages only and reads some 16 MiB, so it
// may return fewer than are wanted. The error is an *Unreadable.
func (m *Machine) Browse(vhost, name string, b *BrowseQuery) (all []BrowsedMessage, next uint64, ok bool, err error) {
	v := m.vhosts[vhost]
	if v == nil || v.queues[name] == nil {
		return nil, 0, false, nil
	}
	cost := 0
	next, err = v.queues[name].Browse(b.From, b.States, func(one queue.Browsed) bool {
		if len(all) == b.Most || cost > browseFilter {
			return false
		}
		cost += filterCost(&b.Filter, one.Message)
		if b.Matches(one.Message) {
			all = append(all, one)
		}
		return true
	})
	return all, next, true, err
}

// Explain returns the way that a message would take now from an exchange on, and why; see topology.Explain. Refusals are those
// of a publish.
func (m *Machine) Explain(vhost string, msg *topology.Message, most int) (topology.Way, *command.Error) {
	v, err := m.vhost(vhost)
	if err != nil {
		return topology.Way{}, err
	}
	if err := v.topology.Check(msg.Exchange); err != nil {
		return topology.Way{}, err
	}
	return v.topology.Explain(msg, most), nil
}
