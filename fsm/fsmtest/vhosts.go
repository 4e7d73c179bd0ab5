package fsmtest

import (
	"fmt"
	"strconv"
	"strings"

	"warren/fsm"
	"warren/fsm/command"
)

// vhostMakers build the commands of a script on vhosts, limits and counted connections.
// An option that is empty clears what it names.
var vhostMakers = map[string]func(l *line) command.Command{
	"put-vhost": func(l *line) command.Command {
		c := &command.VHostPut{Name: l.word(), IfMissing: l.flag("if-missing"), IfThere: l.flag("if-there")}
		_, c.SetDescription = l.options["description"]
		_, c.SetTags = l.options["tags"]
		_, c.SetType = l.options["type"]
		_, c.SetProtected = l.options["protected"]
		c.Description, c.DefaultType = l.text("description", ""), l.text("type", "")
		c.Protected = l.text("protected", "") == "true"
		c.Tags = strings.FieldsFunc(l.text("tags", ""), func(r rune) bool { return r == ',' })
		return c
	},
	"delete-vhost": func(l *line) command.Command { return &command.VHostDelete{Name: l.word()} },
	"limit-vhost": func(l *line) command.Command {
		return &command.VHostLimits{VHost: l.word(), Limits: l.limits()}
	},
	"limit-user": func(l *line) command.Command {
		return &command.UserLimits{User: l.word(), Limits: l.limits()}
	},
	"open-connection": func(l *line) command.Command {
		c := &command.ConnectionOpen{Conn: l.conn(), VHost: l.vhost(), User: l.word(), Existing: l.flag("existing")}
		for number := range strings.FieldsFuncSeq(l.text("channels", ""), func(r rune) bool { return r == ',' }) {
			c.Channels = append(c.Channels, uint16(l.parse(number)))
		}
		return c
	},
	"open-channel": func(l *line) command.Command { return &command.ChannelOpen{Channel: l.channel()} },
	"seed":         func(l *line) command.Command { return &command.Seed{VHost: l.word()} },
}

// limits reads NAME=NUMBER, NAME= to clear one, and clear-all.
func (l *line) limits() command.Limits {
	c := command.Limits{ClearAll: l.flag("clear-all")}
	for _, name := range []string{command.MaxConnections, command.MaxQueues, command.MaxChannels, "max-odd"} {
		text, ok := l.options[name]
		delete(l.options, name)
		switch {
		case !ok:
		case text == "":
			c.Clear = append(c.Clear, name)
		default:
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				l.fail("%q is no number", text)
			}
			c.Set = append(c.Set, command.Limit{Name: name, Value: n})
		}
	}
	return c
}

// dumpMetadata writes what people say of a vhost, and its limits.
func dumpMetadata(b *strings.Builder, v *fsm.VHostInfo) {
	fmt.Fprintf(b, "vhost %s", v.Name)
	if v.Description != "" && v.Name != "/" {
		fmt.Fprintf(b, " %q", v.Description)
	}
	if len(v.Tags) > 0 {
		fmt.Fprintf(b, " tags=%s", strings.Join(v.Tags, ","))
	}
	if v.DefaultType != "" {
		fmt.Fprintf(b, " type=%s", v.DefaultType)
	}
	fmt.Fprint(b, flagText(v.Protected, "protected"))
	dumpLimits(b, v.Limits)
	fmt.Fprintln(b)
}

func dumpLimits(b *strings.Builder, all []command.Limit) {
	for _, l := range all {
		fmt.Fprintf(b, " %s=%d", l.Name, l.Value)
	}
}

// dumpCounts writes the limits of users, and what is counted.
func dumpCounts(b *strings.Builder, m *fsm.Machine) {
	for _, u := range m.LimitedUsers() {
		fmt.Fprintf(b, "user %s", u.User)
		dumpLimits(b, u.Limits)
		fmt.Fprintln(b)
	}
	for _, c := range m.CountedConnections() {
		fmt.Fprintf(b, "counted %d:%d of %s in %s, channels %v\n", c.Epoch, c.Conn, c.User, c.VHost, c.Channels)
	}
}

// aboutVHosts makes a command on vhosts, limits or counted connections.
func (g *Generator) aboutVHosts() command.Command {
	switch g.r.IntN(12) {
	case 0, 1, 2:
		return g.putVHost()
	case 3:
		switch n := g.r.IntN(100); {
		case n < 10:
			return &command.Seed{VHost: g.pick("/", "v", "")}
		case n < 13:
			return &command.VHostDelete{Name: "/"} // rarely: with it all goes
		default:
			return &command.VHostDelete{Name: g.pick("v", "v", "elsewhere")}
		}
	case 4:
		return &command.VHostLimits{VHost: g.vhost(), Limits: g.limits(command.MaxQueues)}
	case 5:
		return &command.UserLimits{User: g.user(), Limits: g.limits(command.MaxChannels)}
	case 6, 7, 8:
		c := &command.ConnectionOpen{Conn: g.conn(), VHost: g.vhost(), User: g.user(), Existing: g.chance(30)}
		for range g.r.IntN(3) {
			c.Channels = append(c.Channels, uint16(g.r.IntN(2)+1))
		}
		return c
	default:
		return &command.ChannelOpen{Channel: g.channel()}
	}
}

func (g *Generator) putVHost() *command.VHostPut {
	return &command.VHostPut{
		Name: g.pick("/", "v", "v", "v", "w", ""), IfMissing: g.chance(50), IfThere: g.chance(20),
		SetDescription: g.chance(50), SetTags: g.chance(50), SetType: g.chance(50), SetProtected: g.chance(50),
		Description: g.pick("", "text"), Tags: []string{g.pick("a", "b"), "c"}[:g.r.IntN(3)],
		DefaultType: g.pick("", "", "classic", "quorum", "odd"), Protected: g.chance(20),
	}
}

func (g *Generator) limits(other string) command.Limits {
	l := command.Limits{ClearAll: g.chance(20)}
	name := func() string { return g.pick(command.MaxConnections, other, other, "max-odd") }
	if g.chance(40) {
		l.Clear = append(l.Clear, name())
	}
	for range g.r.IntN(3) {
		l.Set = append(l.Set, command.Limit{Name: name(), Value: int64(g.r.IntN(6) - 1)})
	}
	return l
}
