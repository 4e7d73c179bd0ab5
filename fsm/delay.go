package fsm

import (
	"fmt"
	"strconv"

	"warren/fsm/command"
	"warren/fsm/internal/stream"
	"warren/fsm/queue"
	"warren/fsm/topology"
	"warren/protocol/wire"
)

// Delayed messages have the names of RabbitMQ's archived plugin
// (https://github.com/rabbitmq/rabbitmq-delayed-message-exchange): the header x-delay, in
// milliseconds, and the exchange type x-delayed-message. Here the header works with
// every exchange. The message is routed when its time has come, with the header negated.
const headerDelay = "x-delay"

// maxDelay is the longest delay, some 49 days, as with the plugin: a longer one is none.
const maxDelay = 1<<32 - 1

// delayOf returns the delay that a message asks for, in milliseconds, 0 for none. Like the
// plugin it takes numbers of all types, and in strings.
func delayOf(properties []byte) int64 {
	if wire.Present(properties)&wire.FlagHeaders == 0 {
		return 0
	}
	v, ok := wire.Header(properties, headerDelay)
	if !ok {
		return 0
	}
	n, ok := wire.Int(v)
	if s, isText := v.(string); isText {
		n, _ = strconv.ParseInt(s, 10, 64)
	} else if f, isFloat := wire.Float(v); !ok && isFloat && f > 0 && f <= maxDelay {
		n = int64(f)
	}
	if n <= 0 || n > maxDelay {
		return 0
	}
	return n
}

// delay keeps a message until its time has come. It has no publisher to return to then, so
// nobody asks now whether there is a queue for it.
func (m *Machine) delay(e *epoch, v *vhost, c *command.Publish, ms int64) *command.Error {
	err := v.topology.Check(c.Exchange)
	if m.tracing != nil {
		m.tracing.postponed(e, v, c, m.now+ms, err)
	}
	if err != nil {
		return err
	}
	var k mark
	seen := v.seenBy(c.Exchange)
	if seen != nil && k.look(c.Properties) && seen.Knows(k.digest, m.now) {
		if m.tracing != nil {
			m.tracing.notPut(EventDuplicate, "")
		}
		return nil
	}
	if v.delayed == nil {
		m.ids++
		v.delayed = m.store.NewDelayed(m.ids, v.name)
	}
	v.delayed.Add(m.store.NewMessage(v.exchangeName(c.Exchange), c.Key, c.Properties, c.Body), m.now, m.now+ms)
	if k.found {
		seen.Remember(k.digest, k.ttl, m.now)
	}
	return nil
}

// actDelayed routes what is due.
func (m *Machine) actDelayed(d *queue.Delayed) {
	v := m.vhosts[d.Queue().Spec.VHost]
	if v == nil || v.delayed != d { // its vhost went
		d.Delete()
		return
	}
	for n := 1; !m.budget.Spent(); n++ {
		msg, number := d.Next(m.now, &m.budget)
		if msg == nil {
			return
		}
		if m.tracing != nil {
			m.tracing.due(d, number)
		}
		m.routeLate(v, msg, number)
		if n%trimEvery == 0 {
			m.store.Trim()
		}
	}
}

// routeLate puts a delayed message in the queues that it is for now. Without any it is gone, as is
// one whose exchange went.
func (m *Machine) routeLate(v *vhost, msg *command.Message, number uint64) {
	if _, ok := v.topology.Exchange(msg.Exchange); !ok {
		if m.tracing != nil {
			m.tracing.tellAll(TraceEvent{Event: EventDropped, Reason: "its exchange went while it was delayed"})
		}
		return
	}
	properties := negated(msg.Properties)
	to := topology.Message{
		Exchange: []byte(msg.Exchange), Key: msg.Key, Also: command.FurtherKeys(properties), Properties: properties, Seed: m.seed(),
	}
	names := v.topology.RouteDead(m.routes[:0], &to)
	m.routes = names
	if m.tracing != nil {
		m.tracing.late(v, v.delayed, number, &to, names)
	}
	properties = command.WithoutBCC(properties)
	recent := v.topology.Recent()
	if len(names) == 0 && len(recent) == 0 {
		return
	}
	m.budget.Spend(len(names))
	msg = m.store.NewMessage(msg.Exchange, msg.Key, properties, msg.Body)
	m.remember(v, recent, msg)
	m.pushAll(v, names, msg)
}

// negated returns properties with the header x-delay negated: who gets the message sees
// that it was delayed, and it is not delayed again.
func negated(properties []byte) []byte {
	p, err := wire.ParseProperties(properties)
	if err != nil {
		return properties
	}
	ms := delayOf(properties)
	for i := range p.Headers {
		if p.Headers[i].Name != headerDelay {
			continue
		}
		p.Headers[i].Value = -ms
		if ms <= 1<<31 {
			p.Headers[i].Value = int32(-ms)
		}
	}
	again := wire.AppendProperties(nil, &p)
	again[1] |= properties[1] & 3 // bits of the flags word that are no property
	return again
}

// DelayedInfo is what there is to know of a message that is not routed yet.
type DelayedInfo struct {
	ID            uint64
	Due           int64 // milliseconds since the Unix epoch
	Exchange, Key string
	Delay         int64 // that was asked for, in milliseconds
	Bytes         int   // size of the body
}

// Delayed returns delayed messages of a vhost in the order in which they are due: those of an
// exchange, or nil for all, and limit at most. It looks at some 10,000 messages only and reads some 16 MiB; more
// says that there may be others among those that it has not looked at.
func (m *Machine) Delayed(vhost string, exchange *string, limit int) (all []DelayedInfo, more bool) {
	v := m.vhosts[vhost]
	if v == nil || v.delayed == nil || exchange != nil && v.delayed.Count(*exchange) == 0 {
		return nil, false
	}
	more = v.delayed.First(func(d queue.DelayedMessage) bool {
		if len(all) == limit {
			return false
		}
		if exchange == nil || d.Message.Exchange == *exchange {
			all = append(all, DelayedInfo{
				ID: d.ID, Due: d.Due, Exchange: d.Message.Exchange, Key: string(d.Message.Key),
				Delay: delayOf(d.Message.Properties), Bytes: len(d.Message.Body),
			})
		}
		return exchange == nil || len(all) < v.delayed.Count(*exchange)
	})
	return all, more
}

// DelayedCount returns how many messages of an exchange are not routed yet, or of all with nil.
func (m *Machine) DelayedCount(vhost string, exchange *string) int {
	v := m.vhosts[vhost]
	switch {
	case v == nil || v.delayed == nil:
		return 0
	case exchange == nil:
		return v.delayed.Len()
	default:
		return v.delayed.Count(*exchange)
	}
}

func (m *Machine) cancelDelayed(c *command.DelayedCancel) *command.Error {
	v, err := m.vhost(c.VHost)
	if err != nil {
		return err
	}
	if m.tracing != nil && v.delayed != nil {
		m.tracing.cancelled(v.delayed, c.ID)
	}
	if v.delayed == nil || v.delayed.Cancel(c.ID) == nil {
		return refuse(notFound, "no delayed message '%d' in vhost '%s'", c.ID, v.name)
	}
	return nil
}

// A delays is when the delayed messages of a vhost are due, as it was captured.
type delays struct {
	vhost string
	at    queue.Appointments
}

func (m *Machine) captureDelays() (all []delays) {
	for _, name := range sortedKeys(m.vhosts) {
		if v := m.vhosts[name]; v.delayed != nil {
			all = append(all, delays{name, v.delayed.Capture(m.now)})
		}
	}
	return all
}

// lateDelays writes when delayed messages are due, a vhost in a piece.
func lateDelays(s *Snapshot, piece func([]byte)) {
	for i := range s.delays {
		writePiece(piece, s.delays[i].write)
	}
}

func (d *delays) write(w *stream.Writer) {
	w.String(d.vhost)
	d.at.Write(w)
}

// readDelays reads what delays.write wrote, for any number of vhosts.
func (l *loader) readDelays(r *stream.Reader) {
	for r.More() {
		v := l.vhosts[r.String()]
		if r.Err() != nil {
			return
		}
		if v == nil || v.hidden == nil || v.delayed != nil {
			r.Fail("delayed messages belong to nothing, or come twice")
			return
		}
		v.delayed = l.parts.Delayed(r, v.hidden)
	}
}

// checkDelays makes sure that all delayed messages have a time.
func (l *loader) checkDelays() error {
	for _, name := range sortedKeys(l.vhosts) {
		if v := l.vhosts[name]; v.hidden != nil && v.delayed == nil {
			return fmt.Errorf("delayed messages of vhost %q have no time", name)
		}
	}
	return nil
}

// checkDelayed checks the delayed messages of all vhosts.
func (m *Machine) checkDelayed(census *queue.Census) (queues []*queue.Queue, err error) {
	for _, name := range sortedKeys(m.vhosts) {
		d := m.vhosts[name].delayed
		if d == nil || err != nil {
			continue
		}
		if err = census.Queue(d.Queue()); err == nil {
			err = d.Check()
		}
		queues = append(queues, d.Queue())
	}
	return queues, err
}
