package fsm

import (
	"warren/fsm/command"
	"warren/fsm/queue"
	"warren/fsm/topology"
)

func (m *Machine) publish(e *epoch, c *command.Publish, r *command.Result) {
	v := m.vhosts[string(c.VHost)]
	if v == nil {
		r.Err = errNoVHost(string(c.VHost))
		return
	}
	routed, err := m.route(e, v, c, r, false)
	if err != nil {
		r.Err = err
		return
	}
	if !routed {
		r.Unroutable = true
		if c.Mandatory {
			r.Message = returned(c)
		}
	}
}

// route puts a message in the queues that it is for, and tells whether there
// was one. With agreed no queue is asked whether it is full: checkRoom has done so for all of a commit.
func (m *Machine) route(e *epoch, v *vhost, c *command.Publish, r *command.Result, agreed bool) (bool, *command.Error) {
	if m.version >= effectsSince {
		if ms := delayOf(c.Properties); ms > 0 {
			err := m.delay(e, v, c, ms)
			return err == nil, err
		}
	}
	m.address(e, c)
	if c.Keyed {
		c.Properties = command.WithoutBCC(c.Properties)
	}
	names, err := v.topology.Route(m.routes[:0], &m.message)
	m.routes = names
	m.seen.Routed += uint64(len(names))
	recent := v.topology.Recent()
	if m.tracing != nil {
		m.tracing.published(e, v, c, names, err)
	}
	if err != nil || len(names) == 0 && len(recent) == 0 {
		return false, err
	}
	var k mark
	seen := v.seenBy(c.Exchange)
	if seen != nil && k.look(c.Properties) && seen.Knows(k.digest, m.now) {
		if m.tracing != nil {
			m.tracing.notPut(EventDuplicate, "")
		}
		return len(names) > 0, nil
	}
	msg := m.store.NewMessage(v.exchangeName(c.Exchange), c.Key, c.Properties, c.Body)
	m.remember(v, recent, msg)
	ttl := m.expiration(c.Properties)
	for _, name := range names {
		q := v.queues[name]
		if !agreed && q.RejectsPublish(len(c.Body), 0, 0) {
			r.Rejected = true
			m.refuseMessage(q, msg)
			continue
		}
		m.push(q, msg, ttl, &k)
	}
	if seen != nil && k.found && !r.Rejected && len(names) > 0 {
		seen.Remember(k.digest, k.ttl, m.now)
	}
	return len(names) > 0, nil
}

// push puts a message in a queue, unless that has it already.
func (m *Machine) push(q *queue.Queue, msg *command.Message, ttl int64, k *mark) {
	d := q.Dedup()
	if d == nil || !k.look(msg.Properties) {
		q.Push(msg, ttl)
		return
	}
	if d.Knows(k.digest, m.now) {
		if m.tracing != nil {
			m.tracing.notPut(EventDuplicate, q.Spec.Name)
		}
		return
	}
	q.Push(msg, ttl)
	q.Remember(msg, k.digest, k.ttl, m.now)
}

// address makes m.message of a publish.
func (m *Machine) address(e *epoch, c *command.Publish) {
	m.message = topology.Message{
		Exchange: c.Exchange, Key: c.Key, Properties: c.Properties, Seed: m.seed(), Epoch: e.number,
	}
	if c.Keyed {
		m.message.Also = command.FurtherKeys(c.Properties)
	}
}

// seedsPerEntry is more than the number of messages that one entry can bring.
const seedsPerEntry = 1 << 24

// seed returns a number for the random choices of one message: another one for each
// message of an entry, and the same on every node.
func (m *Machine) seed() uint64 {
	m.seeds++
	return m.index*seedsPerEntry + m.seeds
}

// exchangeName returns the name of an exchange that is there, without making a
// string of it for each message.
func (v *vhost) exchangeName(name []byte) string {
	if v.lastExchange != string(name) {
		x, _ := v.topology.Exchange(string(name))
		v.lastExchange = x.Name
	}
	return v.lastExchange
}

// returned is an unroutable message as it goes back to its publisher.
func returned(c *command.Publish) *command.Message {
	return &command.Message{
		Exchange: string(c.Exchange), Key: c.Key, Properties: c.Properties,
		Body: c.Body,
	}
}

// commit is tx.commit: it looks whether all publishes can go ahead, and then does all.
func (m *Machine) commit(e *epoch, c *command.Commit, r *command.Result) error {
	v, err := m.vhost(c.VHost)
	if err != nil {
		r.Err = err
		return nil
	}
	refused, broken := m.checkCommit(e, v, c.Commands)
	if refused == nil && broken == nil && m.store.Rejecting() {
		refused = m.checkRoom(e, v, c.Commands)
	}
	if refused != nil || broken != nil {
		r.Err = refused
		return broken
	}
	m.committing = c.Channel
	defer func() { m.committing = command.Channel{} }()
	rest := c.Commands
	for len(rest) > 0 {
		kind, payload, next, _ := command.Next(rest)
		rest = next
		if err := m.applyPart(e, v, kind, payload, r); err != nil {
			return err
		}
	}
	return nil
}

// checkCommit looks whether all commands of a commit are understood and would be
// done. A publish can be refused, and a settle of what the client has lost since, as then another one gets it too. No
// command of a commit changes what another one is refused for.
func (m *Machine) checkCommit(e *epoch, v *vhost, rest []byte) (*command.Error, error) {
	for len(rest) > 0 {
		kind, payload, next, err := command.Next(rest)
		if err != nil {
			return nil, err
		}
		rest = next
		switch kind {
		case command.KindPublish:
			p := &m.decoded.publish
			if err := command.Decode(payload, p); err != nil {
				return nil, err
			}
			if refused := v.topology.Check(p.Exchange); refused != nil {
				return refused, nil
			}
		case command.KindSettle:
			c := &m.decoded.settle
			if err := command.Decode(payload, c); err != nil {
				return nil, err
			}
			if ch := e.knownChannel(c.Channel); ch != nil && ch.Taken(c.From, c.To) {
				return errTakenBack(c.Number), nil
			}
		default:
			return refuse(commandInvalid, "a command of kind %d within a transaction", kind), nil
		}
	}
	return nil, nil
}

// A claim is what a commit is about to put in a queue.
type claim struct {
	messages int
	bytes    uint64
}

// checkRoom looks whether a queue would refuse a message of a commit because it is full.
// RabbitMQ says the same of a transaction whose publish was refused, having done the rest.
// What the commit itself gives back to a queue, or takes out of one, does not count.
func (m *Machine) checkRoom(e *epoch, v *vhost, rest []byte) *command.Error {
	seeds := m.seeds
	defer func() { m.seeds = seeds }() // the publishes are to choose alike
	claims := make(map[string]claim)
	type value struct {
		exchange string
		digest   queue.Digest
	}
	values := make(map[value]bool) // that exchanges will know by the commit itself
	for len(rest) > 0 {
		kind, payload, next, _ := command.Next(rest)
		rest = next
		p := &m.decoded.publish
		if kind != command.KindPublish || command.Decode(payload, p) != nil {
			continue
		}
		if delayOf(p.Properties) > 0 {
			continue
		}
		m.address(e, p)
		m.routes, _ = v.topology.Route(m.routes[:0], &m.message)
		var k mark
		if seen := v.seenBy(p.Exchange); seen != nil && len(m.routes) > 0 && k.look(p.Properties) {
			its := value{string(p.Exchange), k.digest}
			if values[its] || seen.Knows(k.digest, m.now) {
				continue // and will be dropped
			}
			values[its] = true
		}
		for _, name := range m.routes {
			q := v.queues[name]
			if q.Settings().Overflow == queue.DropHead {
				continue
			}
			c := claims[name]
			if q.RejectsPublish(len(p.Body), c.messages, c.bytes) {
				return refuse(preconditionFailed, "partial tx completion")
			}
			claims[name] = claim{c.messages + 1, c.bytes + uint64(len(p.Body))}
		}
	}
	return nil
}

// applyPart does one command of a commit. A publish goes to the vhost of the
// commit, whatever it says itself. Messages are handed out when all is done.
func (m *Machine) applyPart(e *epoch, v *vhost, kind command.Kind, payload []byte, r *command.Result) error {
	if kind == command.KindSettle {
		if err := command.Decode(payload, &m.decoded.settle); err != nil {
			return err
		}
		m.settle(e, &m.decoded.settle)
		return nil
	}
	p := &m.decoded.publish
	if err := command.Decode(payload, p); err != nil {
		return err
	}
	if routed, _ := m.route(e, v, p, r, true); !routed && p.Mandatory {
		r.Returned = append(r.Returned, returned(p))
	}
	return nil
}
