package command

import "warren/protocol/wire"

// MaxPriority returns the x-max-priority of a queue, 0 without one
// (https://www.rabbitmq.com/docs/priority).
func (m *QueueDeclare) MaxPriority() int {
	v, _ := m.Args.Get("x-max-priority")
	n, _ := wire.Int(v)
	return int(min(max(n, 0), 255))
}

// Priority returns the priority property of a message, 0 without one.
func (m *Message) Priority() int { return int(wire.Priority(m.Properties)) }
