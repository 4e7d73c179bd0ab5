package session

import (
	"maps"
	"slices"

	"warren/fsm/access"
	"warren/fsm/command"
	"warren/protocol"
)

// maxGranted is how many permissions a connection remembers to have.
const maxGranted = 64

// permits are what the user of a connection may do. What was granted is remembered until
// users or permissions change anywhere, so a change counts for the next operation, and an
// operation that is repeated costs a comparison of versions and a look into a map.
// It belongs to the loop.
type permits struct {
	from        Access // nil: everything is allowed
	user, vhost string
	id          uint64 // of the user; 0: the cluster had none when it logged in
	version     uint64
	rules       Rules
	granted     map[access.Need]struct{}
	needs       []access.Need
}

// begin looks up the rules of a user for a vhost, and reports whether the user may enter it.
func (p *permits) begin(from Access, user, vhost string) bool {
	p.from, p.user, p.vhost = from, user, vhost
	if from == nil {
		return true
	}
	p.granted = make(map[access.Need]struct{})
	p.refresh()
	p.id = p.rules.User()
	return p.rules.Enter()
}

// refresh takes the present rules, if what is known is older.
func (p *permits) refresh() {
	if v := p.from.Version(); v != p.version {
		p.version, p.rules = v, p.from.Rules(p.user, p.vhost)
		clear(p.granted)
	}
}

// userGone reports whether the user has been deleted.
func (p *permits) userGone() bool {
	if p.from == nil {
		return false
	}
	p.refresh()
	if p.id == 0 {
		p.id = p.rules.User()
	}
	return p.rules.User() != p.id
}

// impersonates reports whether the user may publish in the name of others
// (https://www.rabbitmq.com/docs/validated-user-id).
func (p *permits) impersonates() bool {
	if p.from == nil {
		return false
	}
	p.refresh()
	return p.rules.Impersonates()
}

// check returns the refusal of a command, nil when the user may do it.
func (p *permits) check(cmd command.Command) *command.Error {
	if p.from == nil {
		return nil
	}
	p.refresh()
	p.needs = access.Needs(p.needs[:0], cmd)
	if cap(p.needs) > maxGranted {
		defer func() { p.needs = nil }() // a message may have very many further keys
	}
	for i := range p.needs {
		if n := &p.needs[i]; !p.has(n) {
			return n.Refusal(p.user, p.vhost)
		}
	}
	return nil
}

func (p *permits) has(n *access.Need) bool {
	if _, ok := p.granted[*n]; ok {
		return true
	}
	if !p.rules.Allows(n) {
		return false
	}
	if n.Topic {
		return true // the exchange may be another one of that name the next time
	}
	if len(p.granted) >= maxGranted {
		clear(p.granted)
	}
	p.granted[*n] = struct{}{}
	return true
}

// writable is an exchange that may be published to, whatever the routing key, at a version.
type writable struct {
	version  uint64
	exchange string
}

// mayPublish returns the refusal of a publish. It costs two comparisons when the exchange
// is that of the last publish and no topic permissions are set for it.
func (ch *channel) mayPublish(exchange, key []byte) error {
	p := &ch.c.permits
	if p.from == nil || ch.writable.version == p.from.Version() && ch.writable.exchange == string(exchange) {
		return nil
	}
	name := string(exchange)
	err := p.check(&command.Publish{Exchange: exchange, Key: key})
	if err != nil {
		return refused(protocol.IDBasicPublish, err)
	}
	ch.writable = writable{}
	if !p.rules.Restricted(name) {
		ch.writable = writable{version: p.version, exchange: name}
	}
	return nil
}

// mayPublishKeyed returns the refusal of a publish with further routing keys, which come
// with its header: a topic permission is needed for each of them, too.
func (ch *channel) mayPublishKeyed(properties []byte) error {
	t := &ch.content
	err := ch.c.permits.check(&command.Publish{Exchange: t.exchange, Key: t.key, Keyed: true, Properties: properties})
	if err != nil {
		return refused(protocol.IDBasicPublish, err)
	}
	return nil
}

// recheck looks anew whether the user may be in the vhost, and ends the consumers of queues that it may not
// read any more (rabbit_channel: recheck_consumers).
func (c *connection) recheck(id protocol.ID) *protocol.Error {
	if c.permits.from == nil {
		return nil
	}
	c.permits.refresh()
	if !c.permits.rules.Enter() {
		return protocol.Errorf(protocol.NotAllowed, id, "access to vhost '%s' refused for user '%s'", c.vhost, c.user)
	}
	for _, number := range slices.Sorted(maps.Keys(c.channels)) {
		ch := c.channels[number]
		for _, tag := range slices.Sorted(maps.Keys(ch.consumers)) {
			if err := c.permits.check(&command.Consume{Queue: ch.consumers[tag].queue}); err != nil {
				c.log.Warn("a consumer is ended after the secret was renewed", "channel", number, "tag", tag, "error", err.Text)
				ch.expel(tag)
			}
		}
	}
	return nil
}

// expel ends a consumer of the client and tells it, if it wants to know. What the consumer holds stays the client's
// to settle.
func (ch *channel) expel(tag string) {
	ch.flushSettles()
	ch.c.cfg.Proposer.Propose(&command.Cancel{Channel: ch.name(), Tag: tag}, nil, 0)
	ch.cancelled(tag)
}

// checkUser ends the connection if its user is gone, as RabbitMQ does
// (rabbit_connection_tracking).
func (c *connection) checkUser() {
	if c.state == stateRunning && c.permits.userGone() {
		c.forced(protocol.ConnectionForced, "user '"+c.user+"' was deleted")
	}
}
