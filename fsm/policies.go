package fsm

import (
	"fmt"

	"warren/fsm/command"
	"warren/fsm/internal/stream"
	"warren/fsm/policy"
	"warren/protocol/wire"
)

// keyAlternate is the one policy key that matters to exchanges.
const keyAlternate = "alternate-exchange"

// policies are those of a vhost.
type policies struct{ user, operator policy.Set }

func (p *policies) set(operator bool) *policy.Set {
	if operator {
		return &p.operator
	}
	return &p.user
}

// effective returns the definition that holds for a queue or exchange.
func (p *policies) effective(t policy.Target) wire.Table {
	if p.user.Len() == 0 && p.operator.Len() == 0 {
		return nil
	}
	return policy.Merge(p.user.For(t), p.operator.For(t))
}

func queueTarget(q *command.QueueDeclare) policy.Target {
	t := policy.Target{Name: q.Name, QueueType: "classic"}
	if v, ok := q.Args.Get("x-queue-type"); ok {
		t.QueueType, _ = v.(string)
	}
	return t
}

func exchangeTarget(name string) policy.Target { return policy.Target{Name: name, Exchange: true} }

// arguments returns the arguments of a queue as its policies change them.
func (v *vhost) arguments(q *command.QueueDeclare) wire.Table {
	return policy.Arguments(q.Args, v.policies.effective(queueTarget(q)))
}

func (m *Machine) putPolicy(c *command.PolicyPut) *command.Error {
	v, refused := m.vhost(c.VHost)
	if refused != nil {
		return refused
	}
	p, fault := policy.New(policy.Policy{
		Name: c.Name, Pattern: c.Pattern, ApplyTo: c.ApplyTo, Priority: c.Priority, Definition: c.Definition,
	}, c.Operator)
	if fault != "" {
		return refuse(preconditionFailed, "%s", fault)
	}
	alternates := v.usesAlternates()
	v.policies.set(c.Operator).Put(p)
	m.applyPolicies(v, alternates || v.usesAlternates())
	m.happened(v.name, "policy.set", "name", p.Name, "vhost", v.name, "pattern", p.Pattern, "apply-to", p.ApplyTo)
	return nil
}

func (m *Machine) clearPolicy(c *command.PolicyClear) *command.Error {
	v, refused := m.vhost(c.VHost)
	if refused != nil {
		return refused
	}
	alternates := v.usesAlternates()
	if !v.policies.set(c.Operator).Delete(c.Name) {
		return refuse(notFound, "Parameter does not exist")
	}
	m.applyPolicies(v, alternates)
	m.happened(v.name, "policy.cleared", "name", c.Name, "vhost", v.name)
	return nil
}

// usesAlternates tells whether a policy may give exchanges an alternate exchange.
func (v *vhost) usesAlternates() bool {
	return v.policies.user.Uses(keyAlternate) || v.policies.operator.Uses(keyAlternate)
}

// applyPolicies brings the queues of a vhost, and its exchanges, to what its
// policies say now.
func (m *Machine) applyPolicies(v *vhost, exchanges bool) {
	for _, name := range sortedKeys(v.queues) {
		m.configure(v.queues[name])
	}
	m.awaitGets()
	if exchanges {
		v.applyToExchanges()
	}
}

func (v *vhost) applyToExchanges() {
	for _, x := range v.topology.Exchanges() {
		v.applyToExchange(x.Name)
	}
}

// applyToExchange gives an exchange the alternate exchange that its policies say. The default
// exchange has none.
func (v *vhost) applyToExchange(name string) {
	alternate, ok := v.alternate(name)
	v.topology.SetAlternate(name, alternate, ok)
}

func (v *vhost) alternate(name string) (string, bool) {
	if name == "" {
		return "", false
	}
	value, _ := v.policies.effective(exchangeTarget(name)).Get(keyAlternate)
	s, ok := value.(string)
	return s, ok
}

// PolicyInfo says what applies to a queue or an exchange.
type PolicyInfo struct {
	Policy, OperatorPolicy string     // names; empty: none
	Effective              wire.Table // the definition of both; not to be changed
}

func (p *policies) info(t policy.Target) PolicyInfo {
	var info PolicyInfo
	if p.user.Len() == 0 && p.operator.Len() == 0 {
		return info
	}
	user, operator := p.user.For(t), p.operator.For(t)
	if user != nil {
		info.Policy = user.Name
	}
	if operator != nil {
		info.OperatorPolicy = operator.Name
	}
	info.Effective = policy.Merge(user, operator)
	return info
}

// Policies returns the policies of a vhost, or its operator policies, sorted by name; nil
// for an unknown vhost. They must not be changed.
func (m *Machine) Policies(vhost string, operator bool) []*policy.Policy {
	v := m.vhosts[vhost]
	if v == nil {
		return nil
	}
	return v.policies.set(operator).All()
}

// ExchangePolicy says which policies apply to an exchange, whether it is there or not.
func (m *Machine) ExchangePolicy(vhost, name string) PolicyInfo {
	v := m.vhosts[vhost]
	if v == nil {
		return PolicyInfo{}
	}
	return v.policies.info(exchangeTarget(name))
}

// tagPolicies is the section of policies in a snapshot: for each the vhost, 1 for an
// operator policy, name, pattern, what it applies to, priority, definition; behind the
// number of them.
const tagPolicies = 40

func writePolicies(m *Machine, w *stream.Writer) {
	count := 0
	for _, name := range sortedKeys(m.vhosts) {
		p := &m.vhosts[name].policies
		count += p.user.Len() + p.operator.Len()
	}
	if count == 0 {
		return
	}
	w.Uint(uint64(count))
	for _, name := range sortedKeys(m.vhosts) {
		for _, operator := range []bool{false, true} {
			for _, p := range m.vhosts[name].policies.set(operator).All() {
				w.String(name)
				w.Byte(flag(operator))
				w.String(p.Name)
				w.String(p.Pattern)
				w.String(p.ApplyTo)
				w.Uint(uint64(p.Priority))
				w.Bytes(wire.AppendTable(nil, p.Definition))
			}
		}
	}
}

func readPolicies(l *loader, r *stream.Reader) {
	for n := r.Uint(); n > 0 && r.Err() == nil; n-- {
		v := l.vhosts[r.String()]
		operator := r.Flags(1) == 1
		p := policy.Policy{Name: r.String(), Pattern: r.String(), ApplyTo: r.String(), Priority: int64(r.Uint())}
		definition, rest, err := wire.ParseTable(r.Bytes())
		if r.Err() != nil {
			return
		}
		p.Definition = definition
		made, fault := policy.New(p, operator)
		if v == nil || err != nil || len(rest) > 0 || fault != "" || v.policies.set(operator).Put(made) {
			r.Fail("policy %q: %v %s", p.Name, err, fault)
			return
		}
	}
	for _, name := range sortedKeys(l.vhosts) {
		l.vhosts[name].applyToExchanges()
	}
}

// checkPolicies checks that queues and exchanges are as their policies say.
func (m *Machine) checkPolicies(v *vhost) error {
	for _, name := range sortedKeys(v.queues) {
		if q := v.queues[name]; *q.Settings() != m.settings(q) {
			return fmt.Errorf("queue %q has settings %+v, and not %+v", name, *q.Settings(), m.settings(q))
		}
	}
	for _, x := range v.topology.Exchanges() {
		want, ok := v.alternate(x.Name)
		if v, has := x.Args.Get(keyAlternate); has {
			want, ok = v.(string)
		}
		if have, set := v.topology.Alternate(x.Name); have != want || set != ok {
			return fmt.Errorf("exchange %q has the alternate exchange %q, and not %q", x.Name, have, want)
		}
	}
	return nil
}
