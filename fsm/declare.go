package fsm

import (
	"slices"
	"strings"

	"warren/fsm/command"
	"warren/fsm/queue"
)

func (m *Machine) declareQueue(e *epoch, c *command.QueueDeclare, r *command.Result) *command.Error {
	c.Name = stripNewlines(c.Name)
	v, q, err := m.findDeclared(e, c)
	if err != nil {
		return err
	}
	if q == nil {
		if err := v.checkQueueLimit(c.Name); err != nil {
			return err
		}
		v.addDefaultType(c)
		if err := m.checkNewQueue(c); err != nil {
			return err
		}
		q = m.addQueue(e, v, c)
	} else {
		q.Use()
	}
	m.seen.Declared++
	r.Name = c.Name
	r.Messages = uint32(q.Ready())
	r.Consumers = uint32(q.Consumers())
	return nil
}

// findDeclared returns the queue that a declare means, nil when it is to be made.
func (m *Machine) findDeclared(e *epoch, c *command.QueueDeclare) (*vhost, *queue.Queue, *command.Error) {
	if c.Passive {
		return m.findQueue(e, c.VHost, c.Conn, c.Name)
	}
	v, err := m.vhost(c.VHost)
	if err != nil {
		return nil, nil, err
	}
	// RabbitMQ checks the name even when the queue exists.
	if strings.HasPrefix(c.Name, "amq.") && !c.Generated {
		return v, nil, refuse(accessRefused, "queue name '%s' contains reserved prefix 'amq.*'", c.Name)
	}
	q := v.queues[c.Name]
	if q == nil {
		return v, nil, nil
	}
	return v, q, m.checkEquivalent(q, e, c)
}

// checkEquivalent refuses to declare a queue again that is another than asked for.
func (m *Machine) checkEquivalent(q *queue.Queue, e *epoch, c *command.QueueDeclare) *command.Error {
	if q.Spec.Exclusive != c.Exclusive || locked(q, e, c.Conn) {
		return errLocked(c.VHost, c.Name)
	}
	if q.Spec.Durable != c.Durable {
		return errInequivalent(c, "durable", quoteBool(c.Durable), quoteBool(q.Spec.Durable))
	}
	if q.Spec.AutoDelete != c.AutoDelete {
		return errInequivalent(c, "auto_delete", quoteBool(c.AutoDelete), quoteBool(q.Spec.AutoDelete))
	}
	return m.checkSameArguments(&q.Spec, c)
}

// checkNewQueue refuses arguments that a queue cannot have.
func (m *Machine) checkNewQueue(c *command.QueueDeclare) *command.Error {
	if err := m.checkArguments(c); err != nil {
		return err
	}
	if m.version >= 2 && wantsDedup(c.Args) {
		return checkCache(c.Args, false)
	}
	return nil
}

func (m *Machine) addQueue(e *epoch, v *vhost, c *command.QueueDeclare) *queue.Queue {
	m.ids++
	m.seen.Created++
	q := m.store.NewQueue(m.ids, *c)
	q.Created = m.index
	if m.version >= 2 {
		q.UseArguments()
		m.dedupQueue(q)
	}
	m.configure(q)
	v.queues[c.Name], v.sorted = q, nil
	v.topology.DeclareQueue(c.Name)
	if c.Exclusive {
		q.Owner = command.Owner{Epoch: e.number, Channel: command.Channel{Conn: c.Conn}}
		owner := e.connection(c.Conn)
		owner.exclusive = append(owner.exclusive, q)
		v.topology.SetEpoch(c.Name, e.number)
	}
	m.queueCreated(v, q)
	return q
}

// dropQueue deletes a queue with all that refers to it, and tells its
// consumers. It returns the number of ready messages that went.
func (m *Machine) dropQueue(v *vhost, q *queue.Queue) int {
	q.EachConsumer(func(c *queue.Consumer) {
		m.effect(command.Effect{
			Kind: command.EffectCancel, To: c.Channel.Owner, Tag: c.Spec.Tag, Queue: q.Spec.Name,
		})
	})
	if q.Spec.Exclusive {
		m.disown(q)
	}
	m.seen.Deleted++
	delete(v.queues, q.Spec.Name)
	v.sorted = nil
	v.topology.RemoveQueue(q.Spec.Name)
	q.EachConsumer(m.consumerDeleted) // it cannot come to the queue itself any more
	if m.tracing != nil {
		m.tracing.emptied(q, true)
	}
	ready := q.Delete()
	m.happened(v.name, "queue.deleted", "name", q.Spec.Name, "vhost", v.name)
	return ready
}

// disown takes an exclusive queue from its connection.
func (m *Machine) disown(q *queue.Queue) {
	e := m.epochs[q.Owner.Epoch]
	c := e.connections[q.Owner.Conn]
	c.exclusive = slices.DeleteFunc(c.exclusive, func(other *queue.Queue) bool { return other == q })
	e.tidy(c)
}

func (m *Machine) deleteQueue(e *epoch, c *command.QueueDelete, r *command.Result) *command.Error {
	v, q, err := m.findQueue(e, c.VHost, c.Conn, c.Name)
	switch {
	case err != nil && err.Code == notFound:
		return nil // deleting what is not there is fine
	case err != nil:
		return err
	case c.IfUnused && q.Consumers() > 0:
		return refuse(preconditionFailed, "%s in use", queueText(v.name, c.Name))
	case c.IfEmpty && q.Ready()+q.Delayed() > 0:
		return refuse(preconditionFailed, "%s not empty", queueText(v.name, c.Name))
	}
	r.Messages = uint32(m.dropQueue(v, q))
	return nil
}

func (m *Machine) purgeQueue(e *epoch, c *command.QueuePurge, r *command.Result) *command.Error {
	_, q, err := m.findQueue(e, c.VHost, c.Conn, c.Name)
	if err != nil {
		return err
	}
	if m.tracing != nil {
		m.tracing.emptied(q, false)
	}
	r.Messages = uint32(q.Purge())
	return nil
}
