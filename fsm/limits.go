package fsm

import (
	"fmt"
	"slices"

	"warren/fsm/command"
)

// limits are the limits of a vhost or a user by name. A negative value is kept,
// shown, and without effect.
type limits map[string]int64

// The limits that there are.
var (
	vhostLimits = []string{command.MaxConnections, command.MaxQueues}
	userLimits  = []string{command.MaxConnections, command.MaxChannels}
)

// get returns a limit that is in force.
func (l limits) get(name string) (int64, bool) {
	n, ok := l[name]
	return n, ok && n >= 0
}

// change returns the limits after a change; nil when none is left.
func (l limits) change(c *command.Limits) limits {
	changed := make(limits)
	for _, name := range sortedKeys(l) {
		if !c.ClearAll && !slices.Contains(c.Clear, name) {
			changed[name] = l[name]
		}
	}
	for _, s := range c.Set {
		changed[s.Name] = s.Value
	}
	if len(changed) == 0 {
		return nil
	}
	return changed
}

// unrecognised returns RabbitMQ's reason for limits that are not known, "" when all are.
func unrecognised(set []command.Limit, known []string, of string) string {
	for _, l := range set {
		if !slices.Contains(known, l.Name) {
			return fmt.Sprintf("Unrecognised terms [{<<%q>>,%d}] in %s", l.Name, l.Value, of)
		}
	}
	return ""
}

func (m *Machine) limitVHost(c *command.VHostLimits) *command.Error {
	v := m.vhosts[c.VHost]
	if v == nil {
		return errVHostMissing(c.VHost)
	}
	if reason := unrecognised(c.Set, vhostLimits, "limits"); reason != "" {
		return refuse(preconditionFailed, "Validation failed\n\n%s\n", reason)
	}
	v.limits = v.limits.change(&c.Limits)
	if v.countsConnections() {
		m.effect(command.Effect{Kind: command.EffectLimited})
	}
	return nil
}

func (m *Machine) limitUser(c *command.UserLimits) *command.Error {
	if reason := unrecognised(c.Set, userLimits, "user-limits"); reason != "" {
		return refuse(preconditionFailed, "%s", reason)
	}
	if _, ok := m.access.User(c.User); !ok {
		return refuse(notFound, "user '%s' does not exist", c.User)
	}
	changed := m.limits[c.User].change(&c.Limits)
	if changed == nil {
		delete(m.limits, c.User)
		return nil
	}
	m.limits[c.User] = changed
	if m.countsUser(c.User) {
		m.effect(command.Effect{Kind: command.EffectLimited})
	}
	return nil
}

func (v *vhost) countsConnections() bool {
	_, ok := v.limits.get(command.MaxConnections)
	return ok
}

func (m *Machine) countsUser(user string) bool {
	_, connections := m.limits[user].get(command.MaxConnections)
	_, channels := m.limits[user].get(command.MaxChannels)
	return connections || channels
}

// checkQueueLimit refuses a new queue in a vhost that has as many as it may have.
func (v *vhost) checkQueueLimit(name string) *command.Error {
	most, ok := v.limits.get(command.MaxQueues)
	if !ok || int64(len(v.queues)) < most {
		return nil
	}
	return refuse(preconditionFailed, "cannot declare queue '%s': queue limit in vhost '%s' (%d) is reached", name, v.name, most)
}

// counted is what is known of a connection that counts for limits.
type counted struct {
	vhost, user string
	channels    map[uint16]struct{}
}

// counts are the connections and channels that are counted. They follow from the
// connections.
type counts struct {
	vhosts   map[string]int // connections
	users    map[string]int // connections
	channels map[string]int // by user
}

func newCounts() counts {
	return counts{vhosts: make(map[string]int), users: make(map[string]int), channels: make(map[string]int)}
}

// bump adds to a count, and forgets it at 0.
func bump(m map[string]int, name string, n int) {
	if m[name] += n; m[name] == 0 {
		delete(m, name)
	}
}

func (n *counts) add(c *counted) {
	bump(n.vhosts, c.vhost, 1)
	bump(n.users, c.user, 1)
	bump(n.channels, c.user, len(c.channels))
}

// remove ends the counting of a connection.
func (n *counts) remove(c *connection) {
	if c.counted == nil {
		return
	}
	bump(n.vhosts, c.counted.vhost, -1)
	bump(n.users, c.counted.user, -1)
	bump(n.channels, c.counted.user, -len(c.counted.channels))
	c.counted = nil
}

func (n *counts) removeChannel(c *connection, number uint16) {
	if c.counted == nil {
		return
	}
	if _, ok := c.counted.channels[number]; ok {
		delete(c.counted.channels, number)
		bump(n.channels, c.counted.user, -1)
	}
}

func (n *counts) equal(other *counts) error {
	for _, pair := range []struct{ a, b map[string]int }{
		{n.vhosts, other.vhosts}, {n.users, other.users}, {n.channels, other.channels},
	} {
		if !slices.Equal(sortedKeys(pair.a), sortedKeys(pair.b)) {
			return fmt.Errorf("counted are %v and not %v", sortedKeys(pair.b), sortedKeys(pair.a))
		}
		for _, name := range sortedKeys(pair.a) {
			if pair.a[name] != pair.b[name] {
				return fmt.Errorf("%q is counted %d times and not %d", name, pair.b[name], pair.a[name])
			}
		}
	}
	return nil
}

func (m *Machine) openConnection(e *epoch, c *command.ConnectionOpen) *command.Error {
	if old := e.connections[c.Conn]; old != nil && old.counted != nil {
		m.counts.remove(old)
		defer e.tidy(old) // when it is refused
	}
	v, err := m.vhost(c.VHost)
	if err != nil {
		return refuse(notAllowed, "vhost %s not found", c.VHost)
	}
	if !c.Existing {
		if err := m.checkConnectionLimits(v, c.User); err != nil {
			return err
		}
	}
	known := &counted{vhost: c.VHost, user: c.User, channels: make(map[uint16]struct{}, len(c.Channels))}
	for _, number := range c.Channels {
		known.channels[number] = struct{}{}
	}
	e.connection(c.Conn).counted = known
	m.counts.add(known)
	return nil
}

func (m *Machine) checkConnectionLimits(v *vhost, user string) *command.Error {
	if most, ok := v.limits.get(command.MaxConnections); ok && int64(m.counts.vhosts[v.name]) >= most {
		return refuse(notAllowed, "access to vhost '%s' refused for user '%s': connection limit (%d) is reached", v.name, user, most)
	}
	if most, ok := m.limits[user].get(command.MaxConnections); ok && int64(m.counts.users[user]) >= most {
		return refuse(notAllowed, "connection refused for user '%s': user connection limit (%d) is reached", user, most)
	}
	return nil
}

func (m *Machine) openChannel(e *epoch, id command.Channel) *command.Error {
	c := e.connections[id.Conn]
	if c == nil || c.counted == nil {
		return nil // its node was given up meanwhile, and makes it known again
	}
	if _, ok := c.counted.channels[id.Number]; ok {
		return nil
	}
	user := c.counted.user
	if most, ok := m.limits[user].get(command.MaxChannels); ok && int64(m.counts.channels[user]) >= most {
		return refuse(notAllowed, "number of channels opened for user '%s' has reached the maximum allowed user limit of %d", user, most)
	}
	c.counted.channels[id.Number] = struct{}{}
	bump(m.counts.channels, user, 1)
	return nil
}
