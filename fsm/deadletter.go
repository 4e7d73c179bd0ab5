package fsm

import (
	"slices"
	"strings"

	"warren/fsm/command"
	"warren/fsm/queue"
	"warren/fsm/topology"
	"warren/protocol/wire"
)

// deadMark is a bit of the flags word of properties that means nothing in AMQP. It says that
// the history in the headers is the broker's own: what a client sends is not believed.
const deadMark = 1 << 1

// A death is one row of the history of a message, the header x-death
// (https://www.rabbitmq.com/docs/dlx).
type death struct {
	queue, reason string
	row           wire.Table
}

// deadLetter sends a message that died to its queue's dead-letter exchange, like a publish
// of the same entry. Without that exchange, or without a queue behind it, the message is gone.
func (m *Machine) deadLetter(d queue.Dead) {
	s := d.Queue.Settings()
	v := m.vhosts[d.Queue.Spec.VHost]
	if m.tracing != nil {
		m.tracing.died(&d)
	}
	if v == nil || !s.DeadLetters {
		if m.tracing != nil {
			m.tracing.gone(&d, "its queue dead-letters nothing any more")
		}
		return
	}
	if _, ok := v.topology.Exchange(s.DeadExchange); !ok {
		if m.tracing != nil {
			m.tracing.gone(&d, "there is no exchange '"+s.DeadExchange+"' to dead-letter it to")
		}
		return
	}
	p, err := wire.ParseProperties(d.Message.Properties)
	if err != nil {
		p = wire.Properties{} // a session lets none such through
	}
	history := deaths(&p, d.Message.Properties)
	history = m.addDeath(history, &p, d)
	setHistory(&p, history, d)
	key := d.Message.Key
	if s.HasDeadKey {
		key = []byte(s.DeadKey)
		p.Headers = without(p.Headers, func(name string) bool { return name == command.HeaderCC })
	}
	p.Present = p.Present&^wire.FlagExpiration | wire.FlagHeaders
	properties := wire.AppendProperties(nil, &p)
	properties[1] |= deadMark
	to := topology.Message{Exchange: []byte(s.DeadExchange), Key: key, Properties: properties, Seed: m.seed()}
	if !s.HasDeadKey {
		to.Also = command.FurtherKeys(properties)
	}
	names := v.topology.RouteDead(m.deadRoutes[:0], &to)
	m.deadRoutes = names
	if m.tracing != nil {
		m.tracing.deadLettered(v, &d, &to, names)
	}
	m.seen.died(d.Reason)
	msg := m.store.NewMessage(s.DeadExchange, key, properties, d.Message.Body)
	m.remember(v, v.topology.Recent(), msg)
	m.budget.Spend(len(names))
	var k mark
	for _, name := range names {
		if d.Reason == queue.Rejected || !cycles(history, name) {
			m.pushDead(v.queues[name], msg, &k)
		} else if m.tracing != nil {
			m.tracing.cycled(name)
		}
	}
}

// pushDead puts a dead letter in a queue. One that comes back to a queue that remembers what it has had is no
// duplicate, though its value is known there.
func (m *Machine) pushDead(q *queue.Queue, msg *command.Message, k *mark) {
	if d := q.Dedup(); d != nil && q.Window() && k.look(msg.Properties) && d.Knows(k.digest, m.now) {
		q.Push(msg, queue.None)
		return
	}
	m.push(q, msg, queue.None, k)
}

// deaths reads the history of a message, newest first.
func deaths(p *wire.Properties, properties []byte) []death {
	if len(properties) < 2 || properties[1]&deadMark == 0 {
		return nil
	}
	rows, _ := p.Headers.Get("x-death")
	list, _ := rows.(wire.Array)
	var all []death
	for _, one := range list {
		row, ok := one.(wire.Table)
		if !ok {
			continue
		}
		all = append(all, death{text(row, "queue"), text(row, "reason"), row})
	}
	return all
}

// addDeath puts a death in front: a new row, or the one that there is of queue and
// reason, counted once more.
func (m *Machine) addDeath(history []death, p *wire.Properties, d queue.Dead) []death {
	now := death{queue: d.Queue.Spec.Name, reason: string(d.Reason)}
	i := slices.IndexFunc(history, func(old death) bool { return old.queue == now.queue && old.reason == now.reason })
	if i >= 0 {
		now.row = slices.Clone(history[i].row)
		count, _ := now.row.Get("count")
		n, _ := wire.Int(count)
		now.row[0] = wire.Field{Name: "count", Value: n + 1}
		return slices.Insert(slices.Delete(slices.Clone(history), i, i+1), 0, now)
	}
	keys := wire.Array{string(d.Message.Key)}
	if cc, ok := p.Headers.Get(command.HeaderCC); ok {
		if more, ok := cc.(wire.Array); ok {
			keys = append(keys, more...)
		}
	}
	now.row = wire.Table{
		{Name: "count", Value: int64(1)},
		{Name: "reason", Value: now.reason},
		{Name: "queue", Value: now.queue},
		{Name: "time", Value: wire.Timestamp(m.now / 1000)},
		{Name: "exchange", Value: d.Message.Exchange},
		{Name: "routing-keys", Value: keys},
	}
	if p.Present&wire.FlagExpiration != 0 {
		now.row = append(now.row, wire.Field{Name: "original-expiration", Value: p.Expiration})
	}
	return append([]death{now}, history...)
}

// setHistory writes the history of a message into its headers.
func setHistory(p *wire.Properties, history []death, d queue.Dead) {
	rows := make(wire.Array, len(history))
	for i := range history {
		rows[i] = history[i].row
	}
	first := len(history) == 1 && count(history[0]) == 1
	p.Headers = without(p.Headers, func(name string) bool {
		return name == "x-death" || strings.HasPrefix(name, "x-last-death-") ||
			first && strings.HasPrefix(name, "x-first-death-")
	})
	p.Headers = append(p.Headers, wire.Field{Name: "x-death", Value: rows})
	put := func(which string) {
		p.Headers = append(p.Headers,
			wire.Field{Name: "x-" + which + "-death-reason", Value: string(d.Reason)},
			wire.Field{Name: "x-" + which + "-death-queue", Value: d.Queue.Spec.Name},
			wire.Field{Name: "x-" + which + "-death-exchange", Value: d.Message.Exchange})
	}
	if first {
		put("first")
	}
	put("last")
}

func count(d death) int64 {
	v, _ := d.row.Get("count")
	n, _ := wire.Int(v)
	return n
}

// without returns the fields of a table but those that a name is dropped for.
func without(t wire.Table, drop func(name string) bool) wire.Table {
	return slices.DeleteFunc(slices.Clone(t), func(f wire.Field) bool { return drop(f.Name) })
}

// cycles reports whether a message with this history has been in the queue and came back
// without a client's doing.
func cycles(history []death, name string) bool {
	for _, d := range history {
		if d.reason == string(queue.Rejected) {
			return false
		}
		if d.queue == name {
			return true
		}
	}
	return false
}

// refuseMessage does what becomes of a message that a full queue refuses.
func (m *Machine) refuseMessage(q *queue.Queue, msg *command.Message) {
	if m.tracing != nil {
		m.tracing.notPut(EventFull, q.Spec.Name)
	}
	if q.Settings().Overflow == queue.RejectPublishDead {
		m.deadLetter(queue.Dead{Queue: q, Message: msg, Reason: queue.MaxLen})
	}
}
