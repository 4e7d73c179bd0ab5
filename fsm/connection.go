package fsm

import (
	"slices"

	"warren/fsm/command"
	"warren/fsm/queue"
)

func (m *Machine) closeConnection(e *epoch, number uint64) {
	c := e.connections[number]
	if c == nil {
		return
	}
	m.closeConnections([]*connection{c}, (*queue.Channel).Recover)
	delete(e.connections, number)
}

// closeConnections ends connections as one: first all their consumers, then
// their exclusive queues, and only then their deliveries go back, so that no
// message hops to a consumer that is about to go.
func (m *Machine) closeConnections(all []*connection, giveBack func(*queue.Channel)) {
	var channels []*queue.Channel
	for _, c := range all {
		for _, number := range sortedKeys(c.channels) {
			channels = append(channels, c.channels[number])
		}
	}
	for _, ch := range channels {
		ch.CancelAll(m.left)
	}
	for _, c := range all {
		for _, q := range slices.Clone(c.exclusive) {
			m.dropQueue(m.vhosts[q.Spec.VHost], q)
		}
	}
	for _, ch := range channels {
		giveBack(ch)
	}
	for _, c := range all {
		m.counts.remove(c)
	}
}

func (m *Machine) closeChannel(e *epoch, id command.Channel) {
	c := e.connections[id.Conn]
	if c == nil {
		return
	}
	m.counts.removeChannel(c, id.Number)
	if ch := c.channels[id.Number]; ch != nil {
		ch.CancelAll(m.left)
		ch.Recover()
		delete(c.channels, id.Number)
		e.tidy(c)
	}
}

// tidy forgets a connection of which nothing is left.
func (e *epoch) tidy(c *connection) {
	if len(c.channels) == 0 && len(c.exclusive) == 0 && c.counted == nil {
		delete(e.connections, c.number)
	}
}

// left does what is due when a consumer has left its queue.
func (m *Machine) left(c *queue.Consumer) {
	q := c.Queue
	m.consumerDeleted(c)
	if q.Spec.AutoDelete && q.Consumers() == 0 {
		if v := m.vhosts[q.Spec.VHost]; v.queues[q.Spec.Name] == q {
			m.dropQueue(v, q)
		}
	}
}
