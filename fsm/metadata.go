package fsm

import (
	"slices"

	"warren/fsm/command"
	"warren/fsm/queue"
	"warren/protocol/wire"
)

// metadata is what people say of a vhost.
type metadata struct {
	description string
	tags        []string
	defaultType string // of queues; empty: none is added to their arguments
	protected   bool   // from deletion
}

// defaultDescription is what RabbitMQ says of the first vhost of a cluster.
const defaultDescription = "Default virtual host"

// applyToVHosts carries out the commands on vhosts, limits and counted connections,
// and tells whether cmd is one.
func (m *Machine) applyToVHosts(e *epoch, cmd command.Command, r *command.Result) bool {
	switch c := cmd.(type) {
	case *command.VHostPut:
		r.Err = m.putVHost(c)
	case *command.VHostDelete:
		r.Err = m.deleteVHost(c.Name)
	case *command.VHostLimits:
		r.Err = m.limitVHost(c)
	case *command.UserLimits:
		r.Err = m.limitUser(c)
	case *command.ConnectionOpen:
		r.Err = m.openConnection(e, c)
	case *command.ChannelOpen:
		r.Err = m.openChannel(e, c.Channel)
	case *command.Seed:
		m.seedVHost(c)
	default:
		return false
	}
	return true
}

func errVHostMissing(name string) *command.Error {
	return refuse(notFound, "Virtual host '%s' does not exist", name)
}

// knownDefaultType reports whether queues can be of that type; empty is fine.
func knownDefaultType(name string) bool {
	return name == "" || checkQueueType(name, nil) == ""
}

func (m *Machine) putVHost(c *command.VHostPut) *command.Error {
	v := m.vhosts[c.Name]
	switch {
	case c.Name == "":
		return refuse(preconditionFailed, "the name of a virtual host is empty")
	case v == nil && c.IfThere:
		return errVHostMissing(c.Name)
	case v != nil && c.IfMissing:
		return nil
	case c.SetType && !knownDefaultType(c.DefaultType):
		return refuse(preconditionFailed, "Unsupported default queue type '%s'", c.DefaultType)
	case v == nil:
		v = newVHost(c.Name)
		m.vhosts[c.Name] = v
		m.happened(c.Name, "vhost.created", "name", c.Name)
	}
	if c.SetDescription {
		v.description = c.Description
	}
	if c.SetTags {
		v.tags = slices.Clone(c.Tags)
	}
	if c.SetType {
		v.defaultType = c.DefaultType
	}
	if c.SetProtected {
		v.protected = c.Protected
	}
	return nil
}

func (m *Machine) deleteVHost(name string) *command.Error {
	v := m.vhosts[name]
	if v == nil {
		return errVHostMissing(name)
	}
	if v.protected {
		return refuse(preconditionFailed, "Refusing to delete virtual host '%s' because it is protected from deletion", name)
	}
	m.dropVHost(v)
	return nil
}

// dropVHost deletes a vhost with all that is in it. Its consumers are not told one
// by one: their connections are closed, on every node. What else belongs to a
// vhost (permissions, policies …) has to go here too.
func (m *Machine) dropVHost(v *vhost) {
	for _, name := range sortedKeys(v.queues) {
		v.queues[name].Delete()
	}
	if v.delayed != nil {
		v.delayed.Delete()
	}
	for _, exchange := range sortedKeys(v.histories) {
		v.histories[exchange].Delete()
	}
	delete(m.vhosts, v.name)
	m.parameterChanges++
	m.eachEpoch(func(e *epoch) {
		for _, number := range sortedKeys(e.connections) {
			c := e.connections[number]
			if len(c.exclusive) == 0 {
				continue
			}
			c.exclusive = slices.DeleteFunc(c.exclusive, func(q *queue.Queue) bool { return q.Spec.VHost == v.name })
			e.tidy(c)
		}
	})
	if m.access.DeleteVHost(v.name) {
		m.effect(command.Effect{Kind: command.EffectAccess})
	}
	m.effect(command.Effect{Kind: command.EffectVHostDeleted, Tag: v.name})
	m.happened(v.name, "vhost.deleted", "name", v.name)
}

// seedVHost gives a new cluster its first vhost. "/" stays when somebody has used it,
// which can be only in a cluster that is older than this command.
func (m *Machine) seedVHost(c *command.Seed) {
	if m.seeded {
		return
	}
	m.seeded = true
	if c.VHost == "" || m.vhosts[c.VHost] != nil {
		return
	}
	first := newVHost(c.VHost)
	first.description = defaultDescription
	m.vhosts[c.VHost] = first
	if v := m.vhosts[defaultVHost]; v != nil && v.untouched() {
		m.dropVHost(v)
	}
}

// untouched reports whether a vhost is as it was made.
func (v *vhost) untouched() bool {
	exchanges, bindings := v.topology.Count()
	fresh, none := newVHost(v.name).topology.Count()
	return len(v.queues) == 0 && v.delayed == nil && exchanges == fresh && bindings == none && len(v.limits) == 0 && len(v.parameters) == 0
}

// addDefaultType adds the vhost's queue type to the arguments of a new queue that
// names none and that can be of that type (as RabbitMQ: a quorum queue is durable
// and neither exclusive nor auto-delete).
func (v *vhost) addDefaultType(c *command.QueueDeclare) {
	const arg = "x-queue-type"
	if v.defaultType == "" || v.defaultType == "quorum" && (!c.Durable || c.Exclusive || c.AutoDelete) {
		return
	}
	if _, ok := c.Args.Get(arg); !ok {
		c.Args = append(slices.Clip(c.Args), wire.Field{Name: arg, Value: v.defaultType})
	}
}
