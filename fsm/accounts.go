package fsm

import (
	"warren/fsm/access"
	"warren/fsm/command"
	"warren/fsm/internal/stream"
)

// Access returns the users and what they may do. It is to be read only, and like the
// machine itself not while Apply runs.
func (m *Machine) Access() *access.State { return m.access }

// applyToAccess carries out the commands that change users and permissions, and tells
// whether cmd is one. Every node learns of a change.
func (m *Machine) applyToAccess(cmd command.Command, r *command.Result) bool {
	changed, known := true, false
	if c, ok := cmd.(*command.UserPut); ok {
		_, known = m.access.User(c.Name)
	}
	switch c := cmd.(type) {
	case *command.UserPut:
		r.Err = m.access.Put(c)
	case *command.UserDelete:
		if r.Err = m.access.Delete(c.Name); r.Err == nil {
			delete(m.limits, c.Name)
		}
	case *command.PermissionSet:
		if r.Err = m.needVHost(c.VHost); r.Err == nil {
			r.Err = m.access.SetPermission(c)
		}
	case *command.PermissionClear:
		r.Err = m.access.ClearPermission(c)
	case *command.TopicPermissionSet:
		if r.Err = m.needVHost(c.VHost); r.Err == nil {
			r.Err = m.access.SetTopicPermission(c)
		}
	case *command.TopicPermissionClear:
		r.Err = m.access.ClearTopicPermission(c)
	case *command.AccessInit:
		if r.Err = m.needVHost(c.VHost); r.Err == nil {
			changed, r.Err = m.access.Init(c)
		}
	default:
		return false
	}
	if changed && r.Err == nil {
		m.effect(command.Effect{Kind: command.EffectAccess})
		m.accessEvent(cmd, known)
	}
	return true
}

func (m *Machine) needVHost(name string) *command.Error {
	if m.vhosts[name] == nil {
		return refuse(notFound, "virtual host '%s' does not exist", name)
	}
	return nil
}

// writeAccess writes nothing as long as there is nothing to tell.
func writeAccess(m *Machine, w *stream.Writer) {
	if !m.access.Empty() {
		m.access.Write(w)
	}
}

func readAccess(l *loader, r *stream.Reader) {
	l.access = access.Restore(r)
	if r.Err() == nil && l.access.Empty() {
		r.Fail("users and permissions that say nothing")
	}
	if r.Err() == nil {
		if err := l.access.Check(func(v string) bool { return l.vhosts[v] != nil }); err != nil {
			r.Fail("%v", err)
		}
	}
}
