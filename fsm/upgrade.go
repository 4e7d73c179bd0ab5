package fsm

import (
	"errors"
	"fmt"

	"warren/fsm/command"
	"warren/fsm/queue"
)

// Version is the newest version of the machine that this code knows. What commands of
// an older log do must stay as it was, on every node of a cluster in which some have newer
// code than others; so where it changes, it depends on the version that the log itself has
// raised (command.Upgrade). Kinds of command that are new need no such gate, as older
// code stops at them, but must not be proposed before Machine.Version says that all know them.
//
//	1  as it was first
//	2  queue arguments have their effect; exchanges that choose a destination
//	3  acknowledgements may come too late; what comes back may have to wait; parameters; exchanges of type x-recent-history; moving messages
//	4  how far removed epochs had come is remembered, and which publishes were not plainly done; events: the exchange amq.rabbitmq.event, Emit
const Version = 4

// firstVersion is the version of a machine whose log says nothing of it.
const firstVersion = 1

// Since returns the version of the machine from which on all nodes of a cluster know a kind of command.
// Before the log has raised it (see Machine.Version) no such command may be proposed.
func Since(kind command.Kind) uint64 {
	switch kind {
	case command.KindParameterPut, command.KindParameterClear, command.KindGlobalParameterPut, command.KindGlobalParameterClear:
		return parametersSince
	case command.KindMove:
		return moveSince
	case command.KindEmit:
		return eventsSince
	}
	if kind <= command.KindUpgrade {
		return firstVersion
	}
	return effectsSince
}

// ErrVersion means that the log was written for a newer version of the machine.
var ErrVersion = errors.New("the cluster has gone on to a newer version")

// Version returns the version that the log has raised the machine to.
func (m *Machine) Version() uint64 { return m.version }

func (m *Machine) upgrade(e *epoch, c *command.Upgrade, r *command.Result) error {
	switch {
	case c.Version > Version:
		return fmt.Errorf("%w: %d, and this node knows %d", ErrVersion, c.Version, Version)
	case e != nil:
		r.Err = refuse(commandInvalid, "upgrade within an epoch")
	case c.Version > m.version:
		before := m.version
		m.version = c.Version
		m.store.SetCounting(m.version >= effectsSince)
		m.useArguments()
		m.configureAll()
		if before < timeoutsSince && m.version >= timeoutsSince {
			m.beginTiming()
		}
	}
	return nil
}

// useArguments gives the arguments of all queues their effect, if the version has one for them.
func (s *state) useArguments() {
	if s.version < 2 {
		return
	}
	s.eachQueue(func(_ *vhost, q *queue.Queue) {
		q.UseArguments()
		s.dedupQueue(q)
	})
	for _, name := range sortedKeys(s.vhosts) {
		v := s.vhosts[name]
		for _, x := range v.topology.Exchanges() {
			if v.cache(x.Name) == nil {
				s.dedupExchange(v, x.Name)
			}
		}
	}
}
