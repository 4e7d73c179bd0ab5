package guard

import (
	"slices"
	"strings"

	"warren/fsm"
	"warren/fsm/access"
)

// Rules are what a user may do in a vhost. They do not change: after a change there are others.
type Rules struct {
	g           *Guard
	user, vhost string
	id          uint64
	enter       bool
	impersonate bool
	all         bool        // everything is allowed
	patterns    [3]*pattern // by access.Right
	topics      map[string]*[3]*pattern
}

// Rules returns what a user may do in a vhost now.
func (g *Guard) Rules(user, vhost string) *Rules {
	version := g.Version() // before we look: what comes later is not older
	key := who{user, vhost}
	g.mu.Lock()
	if g.rulesOf != version || len(g.rules) >= maxRules {
		clear(g.rules)
		g.rulesOf = version
	}
	r := g.rules[key]
	g.mu.Unlock()
	if r != nil {
		return r
	}
	r = g.read(user, vhost)
	g.mu.Lock()
	if g.rulesOf == version {
		g.rules[key] = r
	}
	g.mu.Unlock()
	return r
}

func (g *Guard) read(user, vhost string) *Rules {
	r := &Rules{g: g, user: user, vhost: vhost}
	var p access.Permission
	var topics []access.TopicPermission
	g.cfg.View(func(m *fsm.Machine) {
		a := m.Access()
		u, _ := a.User(user)
		r.id = u.ID
		r.impersonate = slices.Contains(u.Tags, "impersonator")
		p, r.enter = a.Permission(user, vhost)
		topics = a.UserTopicPermissions(user)
		r.all = !a.Begun() && user == g.cfg.FirstUser
	})
	r.enter = r.enter || r.all
	if r.enter && !r.all {
		r.patterns = compileAll(p.Configure, p.Write, p.Read)
	}
	expand := strings.NewReplacer("{username}", user, "{vhost}", vhost)
	for _, t := range topics {
		if t.VHost != vhost {
			continue
		}
		if r.topics == nil {
			r.topics = make(map[string]*[3]*pattern)
		}
		all := compileAll("", expand.Replace(t.Write), expand.Replace(t.Read))
		r.topics[t.Exchange] = &all
	}
	return r
}

// compileAll leaves out patterns that are none: nothing fits them. They were checked
// when they were set, but what a variable stands for may spoil them.
func compileAll(texts ...string) (all [3]*pattern) {
	for i, text := range texts {
		all[i], _ = compile(text)
	}
	return all
}

// User returns the id of the user, 0 when there is none: another id is another user of
// the same name.
func (r *Rules) User() uint64 { return r.id }

// Enter reports whether the user may open connections to the vhost.
func (r *Rules) Enter() bool { return r.enter }

// Impersonates reports whether the user may publish in the name of others.
func (r *Rules) Impersonates() bool { return r.impersonate }

// Restricted reports whether there are topic permissions for an exchange.
func (r *Rules) Restricted(exchange string) bool { return r.topics[exchange] != nil }

// Allows reports whether the user has what is needed.
func (r *Rules) Allows(n *access.Need) bool {
	if r.all {
		return true
	}
	if n.Topic {
		return r.allowsTopic(n)
	}
	name := n.PatternName()
	if n.Right == access.Any {
		return r.has(access.Configure, name) || r.has(access.Write, name) || r.has(access.Read, name)
	}
	return r.has(n.Right, name)
}

func (r *Rules) has(right access.Right, name string) bool {
	p := r.patterns[right]
	return p != nil && p.fits(name)
}

// allowsTopic looks at the routing key. Only topic exchanges are asked about it.
func (r *Rules) allowsTopic(n *access.Need) bool {
	t := r.topics[n.Name]
	if t == nil {
		return true
	}
	if p := t[n.Right]; p != nil && p.fits(n.Key) {
		return true
	}
	topic := false
	r.g.cfg.View(func(m *fsm.Machine) {
		x, ok := m.Exchange(r.vhost, n.Name)
		topic = ok && x.Type == "topic"
	})
	return !topic
}
