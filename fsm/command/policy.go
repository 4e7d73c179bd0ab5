package command

import "warren/protocol/wire"

// The kinds of command of policies.
const (
	KindPolicyPut   Kind = 40
	KindPolicyClear Kind = 41
)

// PolicyPut makes a policy of a vhost, or replaces the one of that name, and applies it to
// the queues and exchanges that there are (https://www.rabbitmq.com/docs/policies).
type PolicyPut struct {
	VHost, Name string
	Operator    bool // an operator policy
	Pattern     string
	ApplyTo     string // see package policy; empty: all
	Priority    int64
	Definition  wire.Table
}

// PolicyClear removes a policy. One that is not there is refused.
type PolicyClear struct {
	VHost, Name string
	Operator    bool
}

func (*PolicyPut) Kind() Kind   { return KindPolicyPut }
func (*PolicyClear) Kind() Kind { return KindPolicyClear }

func (m *PolicyPut) Append(dst []byte) []byte {
	dst = appendString(dst, m.VHost)
	dst = appendString(dst, m.Name)
	dst = appendFlags(dst, m.Operator)
	dst = appendString(dst, m.Pattern)
	dst = appendString(dst, m.ApplyTo)
	dst = appendUint(dst, uint64(m.Priority))
	return appendTable(dst, m.Definition)
}
func (m *PolicyPut) decode(c *cursor) {
	m.VHost, m.Name = c.string(), c.string()
	c.flags(&m.Operator)
	m.Pattern, m.ApplyTo = c.string(), c.string()
	m.Priority = int64(c.uint())
	m.Definition = c.table()
}

func (m *PolicyClear) Append(dst []byte) []byte {
	dst = appendString(dst, m.VHost)
	dst = appendString(dst, m.Name)
	return appendFlags(dst, m.Operator)
}
func (m *PolicyClear) decode(c *cursor) {
	m.VHost, m.Name = c.string(), c.string()
	c.flags(&m.Operator)
}
