package fsm

import (
	"warren/fsm/command"
	"warren/fsm/topology"
)

func (m *Machine) publish(e *epoch, c *command.Publish, r *command.Result) {
	v := m.vhosts[string(c.VHost)]
	if v == nil {
		r.Err = errNoVHost(string(c.VHost))
		return
	}
	routed, err := m.route(e, v, c)
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
// was one.
func (m *Machine) route(e *epoch, v *vhost, c *command.Publish) (bool, *command.Error) {
	m.message = topology.Message{
		Exchange: c.Exchange, Key: c.Key, Properties: c.Properties, Seed: m.seed(), Epoch: e.number,
	}
	if c.Keyed {
		m.message.Also = command.FurtherKeys(c.Properties)
		c.Properties = command.WithoutBCC(c.Properties)
	}
	names, err := v.topology.Route(m.routes[:0], &m.message)
	m.routes = names
	if err != nil || len(names) == 0 {
		return false, err
	}
	msg := m.store.NewMessage(v.exchangeName(c.Exchange), c.Key, c.Properties, c.Body)
	for _, name := range names {
		v.queues[name].Push(msg)
	}
	return true, nil
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
	refused, broken := m.checkCommit(v, c.Commands)
	if refused != nil || broken != nil {
		r.Err = refused
		return broken
	}
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
// done. Only a publish can be refused, and no command of a commit changes what
// another one is refused for.
func (m *Machine) checkCommit(v *vhost, rest []byte) (*command.Error, error) {
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
			if err := command.Decode(payload, &m.decoded.settle); err != nil {
				return nil, err
			}
		default:
			return refuse(commandInvalid, "a command of kind %d within a transaction", kind), nil
		}
	}
	return nil, nil
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
	if routed, _ := m.route(e, v, p); !routed && p.Mandatory {
		r.Returned = append(r.Returned, returned(p))
	}
	return nil
}
