package fsm

import (
	"slices"

	"warren/fsm/command"
	"warren/fsm/queue"
)

// A Shortcut is an exclusive queue whose next message could go straight to its
// consumer, past the log: the queue is empty, and has one consumer, which needs no
// acknowledgements and has room.
type Shortcut struct {
	Queue    uint64        // its id
	Node     string        // the owner's node
	Consumer command.Owner // the consumer's channel; its epoch and connection are the queue's owner
	Tag      string        // the consumer's
}

// passive are the arguments of queues that have no say in a message that does not
// wait: those of the storage, and those that act on messages that wait or are rejected.
var passive = []string{
	"x-queue-type", "x-queue-version", "x-queue-mode", "x-queue-leader-locator", "x-quorum-initial-group-size",
	"x-max-in-memory-length", "x-max-in-memory-bytes", "x-max-priority", "x-single-active-consumer",
	"x-message-ttl", "x-expires", "x-dead-letter-exchange", "x-dead-letter-routing-key",
	"x-dead-letter-strategy", "x-delivery-limit",
}

// Shortcut returns what a message for a queue could be handed to without being
// queued, false when it has to be queued. See "Messages that need no log" in
// node/session/DESIGN.md.
func (m *Machine) Shortcut(vhost, name string) (Shortcut, bool) {
	v := m.vhosts[vhost]
	if v == nil {
		return Shortcut{}, false
	}
	q := v.queues[name]
	if q == nil || !q.Spec.Exclusive || !onlyPassive(q) || q.Dedup() != nil {
		return Shortcut{}, false
	}
	if s := q.Settings(); s.MaxLength != queue.None || s.MaxBytes != queue.None { // by a policy
		return Shortcut{}, false
	}
	c := q.Taker()
	e := m.epochs[q.Owner.Epoch]
	if c == nil || e == nil {
		return Shortcut{}, false
	}
	return Shortcut{Queue: q.ID, Node: e.node, Consumer: c.Channel.Owner, Tag: c.Spec.Tag}, true
}

// HasExclusiveQueue reports whether there is an exclusive queue of that id, which
// is connection conn's in an epoch.
func (m *Machine) HasExclusiveQueue(epoch, conn, id uint64) bool {
	e := m.epochs[epoch]
	if e == nil || e.connections[conn] == nil {
		return false
	}
	return slices.ContainsFunc(e.connections[conn].exclusive, func(q *queue.Queue) bool { return q.ID == id })
}

func onlyPassive(q *queue.Queue) bool {
	for i := range q.Spec.Args {
		if !slices.Contains(passive, q.Spec.Args[i].Name) {
			return false
		}
	}
	return true
}
