package fsm

import (
	"strings"

	"warren/fsm/command"
	"warren/fsm/queue"
	"warren/fsm/topology"
	"warren/protocol/wire"
)

// eventsSince is the version of the machine from which on there are events, and all nodes know Emit.
const eventsSince = 4

// Events are messages of the machine's own, as those of RabbitMQ's event exchange
// (https://www.rabbitmq.com/docs/event-exchange): what happened is the routing key, the rest are headers. They go to the
// exchange topology.EventExchange of the vhost that it happened in, and to that of the vhost "/", where somebody has
// declared it and bound something to it; else they are not made. As a part of the entry that they tell of they come
// exactly once, in order, and with it.

// EventVHosts are the vhosts in which an event is told: the one that it happened in, empty for none, and "/".
func EventVHosts(vhost string) []string {
	if vhost == "" || vhost == defaultVHost {
		return []string{defaultVHost}
	}
	return []string{vhost, defaultVHost}
}

// EventProperties are those of an event, with the time that it happened, in milliseconds since the Unix epoch.
func EventProperties(headers wire.Table, ms int64) []byte {
	headers = append(headers, wire.Field{Name: "timestamp_in_ms", Value: ms})
	return wire.AppendProperties(nil, &wire.Properties{
		Present: wire.FlagHeaders | wire.FlagDeliveryMode | wire.FlagTimestamp,
		Headers: headers, DeliveryMode: 2, Timestamp: wire.Timestamp(ms / 1000),
	})
}

// Listened reports whether something is bound to an internal exchange.
func (m *Machine) Listened(vhost, exchange string) bool {
	v := m.vhosts[vhost]
	return v != nil && v.topology.Listened(exchange)
}

// listened reports whether anybody wants to hear of a vhost; empty: of what belongs to none. It costs two looks into maps.
func (m *Machine) listened(vhost string) bool {
	return m.version >= eventsSince &&
		(m.Listened(vhost, topology.EventExchange) || m.Listened(defaultVHost, topology.EventExchange))
}

// tell makes an event. The caller has asked whether anybody listens.
func (m *Machine) tell(vhost, key string, headers wire.Table) {
	properties := EventProperties(headers, m.now)
	for _, name := range EventVHosts(vhost) {
		m.emit(&command.Emit{VHost: name, Exchange: topology.EventExchange, Key: []byte(key), Properties: properties})
	}
}

// emit routes a message of the broker's own through an internal exchange. Nobody waits for it: where there is no vhost,
// exchange or queue, or the queue is full, it is gone.
func (m *Machine) emit(c *command.Emit) {
	v := m.vhosts[c.VHost]
	if v == nil || !v.topology.Listened(c.Exchange) {
		return
	}
	names := v.topology.RouteDead(nil, &topology.Message{
		Exchange: []byte(c.Exchange), Key: c.Key, Properties: c.Properties, Seed: m.seed(),
	})
	if len(names) == 0 {
		return
	}
	msg := m.store.NewMessage(c.Exchange, c.Key, c.Properties, c.Body)
	if m.tracing != nil {
		m.tracing.current = m.tracing.current[:0] // the broker's own are not traced
	}
	var k mark
	for _, name := range names {
		if q := v.queues[name]; !q.RejectsPublish(len(c.Body), 0, 0) {
			m.push(q, msg, queue.None, &k)
		}
	}
}

// happened makes an event with headers that are text.
func (m *Machine) happened(vhost, key string, pairs ...string) {
	if !m.listened(vhost) {
		return
	}
	var t wire.Table
	for i := 0; i+1 < len(pairs); i += 2 {
		t = append(t, wire.Field{Name: pairs[i], Value: pairs[i+1]})
	}
	m.tell(vhost, key, t)
}

func (m *Machine) queueCreated(v *vhost, q *queue.Queue) {
	if !m.listened(v.name) {
		return
	}
	m.tell(v.name, "queue.created", wire.Table{
		{Name: "name", Value: q.Spec.Name}, {Name: "vhost", Value: v.name}, {Name: "durable", Value: q.Spec.Durable},
		{Name: "auto_delete", Value: q.Spec.AutoDelete}, {Name: "exclusive", Value: q.Spec.Exclusive},
		{Name: "arguments", Value: eventTable(q.Spec.Args)},
	})
}

func (m *Machine) exchangeCreated(v *vhost, name string) {
	x, ok := v.topology.Exchange(name)
	if !ok || !m.listened(v.name) {
		return
	}
	m.tell(v.name, "exchange.created", wire.Table{
		{Name: "name", Value: x.Name}, {Name: "vhost", Value: v.name}, {Name: "type", Value: x.Type}, {Name: "durable", Value: x.Durable},
		{Name: "auto_delete", Value: x.AutoDelete}, {Name: "internal", Value: x.Internal}, {Name: "arguments", Value: eventTable(x.Args)},
	})
}

func (m *Machine) bindingEvent(v *vhost, key string, c *command.Binding) {
	if !m.listened(v.name) {
		return
	}
	kind := "queue"
	if c.ToExchange {
		kind = "exchange"
	}
	m.tell(v.name, key, wire.Table{
		{Name: "source_name", Value: c.Source}, {Name: "source_kind", Value: "exchange"},
		{Name: "destination_name", Value: c.Destination}, {Name: "destination_kind", Value: kind},
		{Name: "routing_key", Value: c.Key}, {Name: "vhost", Value: v.name}, {Name: "arguments", Value: eventTable(c.Args)},
	})
}

func (m *Machine) consumerCreated(v *vhost, c *command.Consume) {
	if !m.listened(v.name) {
		return
	}
	m.tell(v.name, "consumer.created", wire.Table{
		{Name: "consumer_tag", Value: c.Tag}, {Name: "queue", Value: c.Queue}, {Name: "vhost", Value: v.name},
		{Name: "exclusive", Value: c.Exclusive}, {Name: "ack_required", Value: !c.NoAck}, {Name: "prefetch_count", Value: int64(c.Prefetch)},
		{Name: "arguments", Value: eventTable(c.Args)},
	})
}

func (m *Machine) consumerDeleted(c *queue.Consumer) {
	vhost := c.Queue.Spec.VHost
	m.happened(vhost, "consumer.deleted", "consumer_tag", c.Spec.Tag, "queue", c.Queue.Spec.Name, "vhost", vhost)
}

// eventTable keeps an absent table from being none at all.
func eventTable(t wire.Table) wire.Table {
	if t == nil {
		return wire.Table{}
	}
	return t
}

// accessEvent tells of a change of users or permissions. Hashes are not told. known: the user was there before.
func (m *Machine) accessEvent(cmd command.Command, known bool) {
	switch c := cmd.(type) {
	case *command.UserPut:
		if !known {
			m.happened("", "user.created", "name", c.Name)
		} else if c.SetPassword {
			m.happened("", "user.password.changed", "name", c.Name)
		}
		if c.SetTags {
			m.happened("", "user.tags.set", "name", c.Name, "tags", strings.Join(c.Tags, ","))
		}
	case *command.UserDelete:
		m.happened("", "user.deleted", "name", c.Name)
	case *command.PermissionSet:
		m.happened(c.VHost, "permission.created", "user", c.User, "vhost", c.VHost, "configure", c.Configure, "write", c.Write, "read", c.Read)
	case *command.PermissionClear:
		m.happened(c.VHost, "permission.deleted", "user", c.User, "vhost", c.VHost)
	case *command.TopicPermissionSet:
		m.happened(c.VHost, "topic.permission.created", "user", c.User, "vhost", c.VHost, "exchange", c.Exchange, "write", c.Write, "read", c.Read)
	case *command.TopicPermissionClear:
		m.happened(c.VHost, "topic.permission.deleted", "user", c.User, "vhost", c.VHost, "exchange", c.Exchange)
	}
}
