package fsm

import (
	"warren/fsm/command"
	"warren/fsm/queue"
)

func (m *Machine) consume(e *epoch, c *command.Consume) *command.Error {
	v, q, err := m.findQueue(e, c.VHost, c.Conn, c.Queue)
	if err != nil {
		return err
	}
	priority, err := consumerPriority(c)
	if err == nil && m.version >= timeoutsSince {
		err = checkConsumerTimeout(c)
	}
	if err != nil {
		return err
	}
	if q.ExclusivelyConsumed() || c.Exclusive && q.Consumers() > 0 {
		return refuse(accessRefused, "%s in exclusive use", queueText(v.name, c.Queue))
	}
	if ch := e.knownChannel(c.Channel); ch != nil && ch.Consumer(c.Tag) != nil {
		return refuse(notAllowed, "attempt to reuse consumer tag '%s'", c.Tag)
	}
	m.ids++
	m.store.Consume(m.ids, *c, priority, q, m.channel(e, c.Channel))
	m.consumerCreated(v, c)
	return nil
}

func (m *Machine) cancel(e *epoch, c *command.Cancel) {
	if consumer := findConsumer(e, c.Channel, c.Tag); consumer != nil {
		consumer.Cancel()
		m.left(consumer)
	}
}

// findConsumer returns a consumer by its channel and tag, nil when it is gone.
func findConsumer(e *epoch, id command.Channel, tag string) *queue.Consumer {
	ch := e.knownChannel(id)
	if ch == nil {
		return nil
	}
	return ch.Consumer(tag)
}

func (m *Machine) get(e *epoch, c *command.Get, r *command.Result) *command.Error {
	_, q, err := m.findQueue(e, c.VHost, c.Conn, c.Queue)
	if err != nil {
		return err
	}
	q.Use()
	if m.tracing != nil {
		m.tracing.getting = command.Owner{Epoch: e.number, Channel: c.Channel}
	}
	var got queue.Got
	if c.NoAck || q.Ready() == 0 {
		got = q.Get()
	} else {
		ch := m.channel(e, c.Channel)
		m.number(ch)
		got = ch.Get(q)
	}
	r.Message, r.Ordinal, r.Redelivered = got.Message, got.Ordinal, got.Redelivered
	r.Acquired, r.Failed = got.Tries.Acquired, got.Tries.Failed
	r.Messages = uint32(q.Ready())
	return nil
}

func (m *Machine) settle(e *epoch, c *command.Settle) {
	if ch := e.knownChannel(c.Channel); ch != nil {
		ch.Settle(c.From, c.To, c.Outcome)
	}
}

func (m *Machine) credit(e *epoch, c *command.Credit) {
	if consumer := findConsumer(e, c.Channel, c.Tag); consumer != nil {
		consumer.SetLimit(c.Limit)
	}
}

func (m *Machine) qos(e *epoch, c *command.Qos) {
	m.channel(e, c.Channel).SetPrefetch(c.Prefetch)
}

func (m *Machine) recover(e *epoch, id command.Channel) {
	if ch := e.knownChannel(id); ch != nil {
		ch.Recover()
	}
}
