package fsmtest

import (
	"fmt"
	"strings"

	"warren/fsm"
	"warren/fsm/command"
)

// accessMakers build the commands of a script that change users and permissions.
var accessMakers = map[string]func(l *line) command.Command{
	"put-user": func(l *line) command.Command {
		c := &command.UserPut{Name: l.word(), IfNew: l.flag("if-new"), IfKnown: l.flag("if-known")}
		_, c.SetPassword = l.options["hash"]
		c.Hash, c.Algorithm = l.text("hash", ""), l.text("algorithm", "")
		_, c.SetTags = l.options["tags"]
		c.Tags = l.list("tags")
		return c
	},
	"delete-user": func(l *line) command.Command { return &command.UserDelete{Name: l.word()} },
	"permit": func(l *line) command.Command {
		return &command.PermissionSet{
			User: l.word(), VHost: l.vhost(), Configure: l.text("configure", ""), Write: l.text("write", ""), Read: l.text("read", ""),
		}
	},
	"ban": func(l *line) command.Command { return &command.PermissionClear{User: l.word(), VHost: l.vhost()} },
	"permit-topic": func(l *line) command.Command {
		return &command.TopicPermissionSet{
			User: l.word(), VHost: l.vhost(), Exchange: l.word(), Write: l.text("write", ""), Read: l.text("read", ""),
		}
	},
	"free-topic": func(l *line) command.Command {
		return &command.TopicPermissionClear{User: l.word(), VHost: l.vhost(), Exchange: l.word(), All: l.flag("all")}
	},
	"init-access": func(l *line) command.Command {
		return &command.AccessInit{
			User: l.word(), VHost: l.vhost(), Hash: l.text("hash", ""), Algorithm: l.text("algorithm", ""), Tags: l.list("tags"),
		}
	},
}

// list returns an option that is a list with commas.
func (l *line) list(name string) []string {
	text := l.text(name, "")
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

func dumpAccess(b *strings.Builder, m *fsm.Machine) {
	if m.Access().Begun() {
		fmt.Fprintln(b, "access begun")
	}
	for _, u := range m.Access().Users() {
		fmt.Fprintf(b, "user %s #%d hash=%s algorithm=%s tags=%s\n", u.Name, u.ID, u.Hash, u.Algorithm, strings.Join(u.Tags, ","))
		for _, p := range m.Access().UserPermissions(u.Name) {
			fmt.Fprintf(b, "  in %s configure=%q write=%q read=%q\n", p.VHost, p.Configure, p.Write, p.Read)
		}
		for _, p := range m.Access().UserTopicPermissions(u.Name) {
			fmt.Fprintf(b, "  in %s topic %q write=%q read=%q\n", p.VHost, p.Exchange, p.Write, p.Read)
		}
	}
}

func (g *Generator) user() string { return g.pick("ann", "bob", "eve", "") }

// access makes a command that changes users and permissions.
func (g *Generator) access() command.Command {
	switch g.r.IntN(8) {
	case 0, 1:
		return &command.UserPut{
			Name: g.user(), IfNew: g.chance(20), IfKnown: g.chance(20), SetPassword: g.chance(50), SetTags: g.chance(50),
			Hash: g.pick("", "h1", "h2"), Algorithm: g.pick("a1", "a2"), Tags: []string{g.pick("t1", "t2"), g.pick("t2", "")},
		}
	case 2:
		return &command.UserDelete{Name: g.user()}
	case 3, 4:
		return &command.PermissionSet{User: g.user(), VHost: g.vhost(), Configure: g.key(), Write: g.key(), Read: g.key()}
	case 5:
		return &command.PermissionClear{User: g.user(), VHost: g.vhost()}
	case 6:
		return &command.TopicPermissionSet{User: g.user(), VHost: g.vhost(), Exchange: g.exchange(), Write: g.key(), Read: g.key()}
	default:
		if g.chance(30) {
			return &command.AccessInit{User: g.user(), Hash: "h0", Algorithm: "a1", Tags: []string{"t1"}, VHost: g.vhost()}
		}
		return &command.TopicPermissionClear{User: g.user(), VHost: g.vhost(), Exchange: g.exchange(), All: g.chance(30)}
	}
}
