package fsm

import (
	"warren/fsm/internal/stream"
)

// The sections of vhosts and limits: what is as it was at first is left out.
//
//	60  vhosts that are more than a name: count; name, description, count, tags, default queue type,
//	    flags, limits
//	61  users with limits: count; name, limits
//	62  counted connections: count; epoch, number, vhost, user, count, channels
//	63  a Seed was applied: 1
//
// Limits are a count, and each a name and a value.

// plain reports whether a vhost is as its name alone says.
func (v *vhost) plain() bool {
	fresh := newVHost(v.name)
	return v.description == fresh.description && len(v.tags) == 0 && v.defaultType == "" && !v.protected && len(v.limits) == 0
}

func writeVHostMetadata(m *Machine, w *stream.Writer) {
	var told []*vhost
	for _, name := range sortedKeys(m.vhosts) {
		if v := m.vhosts[name]; !v.plain() {
			told = append(told, v)
		}
	}
	if len(told) == 0 {
		return
	}
	w.Uint(uint64(len(told)))
	for _, v := range told {
		w.String(v.name)
		w.String(v.description)
		w.Uint(uint64(len(v.tags)))
		for _, tag := range v.tags {
			w.String(tag)
		}
		w.String(v.defaultType)
		w.Byte(flag(v.protected))
		v.limits.write(w)
	}
}

func readVHostMetadata(l *loader, r *stream.Reader) {
	before := ""
	for n := r.Uint(); n > 0 && r.Err() == nil; n-- {
		name := r.String()
		v := l.vhosts[name]
		if v == nil || name <= before {
			r.Fail("vhost %q is not there, or in the wrong place", name)
			return
		}
		before = name
		v.description = r.String()
		v.tags = nil
		for n := r.Uint(); n > 0 && r.Err() == nil; n-- {
			v.tags = append(v.tags, r.String())
		}
		v.defaultType = r.String()
		v.protected = r.Flags(1) == 1
		v.limits = readLimits(r, vhostLimits)
		if v.plain() || !knownDefaultType(v.defaultType) {
			r.Fail("vhost %q has nothing to say, or the default queue type %q", name, v.defaultType)
		}
	}
}

func (l limits) write(w *stream.Writer) {
	w.Uint(uint64(len(l)))
	for _, name := range sortedKeys(l) {
		w.String(name)
		w.Uint(uint64(l[name]))
	}
}

func readLimits(r *stream.Reader, known []string) limits {
	var l limits
	before := ""
	for n := r.Uint(); n > 0 && r.Err() == nil; n-- {
		name, value := r.String(), int64(r.Uint())
		if name <= before || checkLimitNames(limits{name: value}, known) != nil {
			r.Fail("limit %q is unknown, or in the wrong place", name)
			return nil
		}
		before = name
		if l == nil {
			l = make(limits)
		}
		l[name] = value
	}
	return l
}

func writeUserLimits(m *Machine, w *stream.Writer) {
	if len(m.limits) == 0 {
		return
	}
	w.Uint(uint64(len(m.limits)))
	for _, name := range sortedKeys(m.limits) {
		w.String(name)
		m.limits[name].write(w)
	}
}

func readUserLimits(l *loader, r *stream.Reader) {
	before, first := "", true
	for n := r.Uint(); n > 0 && r.Err() == nil; n-- {
		name := r.String()
		if _, ok := l.state.access.User(name); !ok || !first && name <= before {
			r.Fail("user %q is not there, or in the wrong place", name)
			return
		}
		before, first = name, false
		if l.state.limits[name] = readLimits(r, userLimits); l.state.limits[name] == nil {
			r.Fail("user %q has no limits", name)
		}
	}
}

func writeCounted(m *Machine, w *stream.Writer) {
	all := m.CountedConnections()
	if len(all) == 0 {
		return
	}
	w.Uint(uint64(len(all)))
	for _, c := range all {
		w.Uint(c.Epoch)
		w.Uint(c.Conn)
		w.String(c.VHost)
		w.String(c.User)
		w.Uint(uint64(len(c.Channels)))
		for _, number := range c.Channels {
			w.Uint(uint64(number))
		}
	}
}

func readCounted(l *loader, r *stream.Reader) {
	var epochBefore, connBefore uint64
	for n := r.Uint(); n > 0 && r.Err() == nil; n-- {
		number, conn := r.Uint(), r.Uint()
		e := l.epochs[number]
		if e == nil || e.connections[conn] == nil || e.connections[conn].counted != nil ||
			number < epochBefore || number == epochBefore && conn < connBefore {
			r.Fail("connection %d of epoch %d is not there, or in the wrong place", conn, number)
			return
		}
		epochBefore, connBefore = number, conn
		c := &counted{vhost: r.String(), user: r.String(), channels: make(map[uint16]struct{})}
		before := -1
		for n := r.Uint(); n > 0 && r.Err() == nil; n-- {
			channel := uint16(r.Bounded(1<<16 - 1))
			if int(channel) <= before {
				r.Fail("channel %d is in the wrong place", channel)
				return
			}
			before = int(channel)
			c.channels[channel] = struct{}{}
		}
		e.connections[conn].counted = c
		l.counts.add(c)
	}
}

func writeSeeded(m *Machine, w *stream.Writer) {
	if m.seeded {
		w.Byte(1)
	}
}

func readSeeded(l *loader, r *stream.Reader) {
	if l.seeded = r.Byte() == 1; !l.seeded {
		r.Fail("it says that nothing was seeded")
	}
}
