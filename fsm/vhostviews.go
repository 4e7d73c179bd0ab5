package fsm

import "warren/fsm/command"

// VHostInfo is what there is to know of a vhost. Tags must not be changed.
type VHostInfo struct {
	Name, Description string
	Tags              []string
	DefaultType       string // of queues; empty: none is added to their arguments
	Protected         bool   // from deletion
	Limits            []command.Limit
}

// VHost describes a vhost.
func (m *Machine) VHost(name string) (VHostInfo, bool) {
	v := m.vhosts[name]
	if v == nil {
		return VHostInfo{}, false
	}
	return VHostInfo{
		Name: v.name, Description: v.description, Tags: v.tags, DefaultType: v.defaultType, Protected: v.protected,
		Limits: v.limits.list(),
	}, true
}

// VHostTotals returns sums over the queues of a vhost; nothing for an unknown one.
func (m *Machine) VHostTotals(name string) Totals {
	var t Totals
	v := m.vhosts[name]
	if v == nil {
		return t
	}
	t.VHosts = 1
	t.Exchanges, t.Bindings = v.topology.Count()
	for _, name := range sortedKeys(v.queues) {
		t.add(v.queues[name])
	}
	return t
}

// UserLimitsInfo is a user that has limits.
type UserLimitsInfo struct {
	User   string
	Limits []command.Limit
}

// LimitedUsers returns the users that have limits, by name.
func (m *Machine) LimitedUsers() []UserLimitsInfo {
	var all []UserLimitsInfo
	for _, name := range sortedKeys(m.limits) {
		all = append(all, UserLimitsInfo{User: name, Limits: m.limits[name].list()})
	}
	return all
}

// UserLimits returns the limits of a user, by name.
func (m *Machine) UserLimits(user string) []command.Limit { return m.limits[user].list() }

func (l limits) list() []command.Limit {
	var all []command.Limit
	for _, name := range sortedKeys(l) {
		all = append(all, command.Limit{Name: name, Value: l[name]})
	}
	return all
}

// Counts reports whether a connection of that vhost and user has to be made known
// with ConnectionOpen, because a limit is in force for one of them.
func (m *Machine) Counts(vhost, user string) bool {
	v := m.vhosts[vhost]
	return v != nil && v.countsConnections() || m.countsUser(user)
}

// Seeded reports whether there was a Seed.
func (m *Machine) Seeded() bool { return m.seeded }

// CountedInfo is a connection that counts for limits.
type CountedInfo struct {
	Epoch, Conn uint64
	VHost, User string
	Channels    []uint16
}

// CountedConnections returns the connections that count for limits, by epoch and number.
func (m *Machine) CountedConnections() []CountedInfo {
	var all []CountedInfo
	m.eachEpoch(func(e *epoch) {
		for _, number := range sortedKeys(e.connections) {
			if c := e.connections[number].counted; c != nil {
				all = append(all, CountedInfo{
					Epoch: e.number, Conn: number, VHost: c.vhost, User: c.user, Channels: sortedKeys(c.channels),
				})
			}
		}
	})
	return all
}
