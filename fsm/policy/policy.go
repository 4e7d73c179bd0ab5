// Package policy holds the policies of one vhost: which one applies to a queue or an
// exchange, and what its definition makes of the arguments
// (https://www.rabbitmq.com/docs/policies).
//
// It is part of the state machine, so it is pure. It knows queues and exchanges by name and
// type only, and does not keep what applies to them: who changes a policy asks anew.
package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"warren/protocol/wire"
)

// What a policy applies to, Policy.ApplyTo.
const (
	All           = "all"
	Queues        = "queues"
	ClassicQueues = "classic_queues"
	QuorumQueues  = "quorum_queues"
	Streams       = "streams"
	Exchanges     = "exchanges"
)

// A Policy sets optional arguments of the queues and exchanges whose names it fits.
type Policy struct {
	Name       string
	Pattern    string // a regular expression, found anywhere in a name
	ApplyTo    string
	Priority   int64      // the highest counts
	Definition wire.Table // sorted by key; not to be changed

	pattern pattern
}

// A Target is what a policy may apply to.
type Target struct {
	Name      string
	Exchange  bool
	QueueType string // classic or quorum
}

// New returns a policy, or RabbitMQ's reason why it cannot be. An operator policy
// may have fewer keys.
func New(p Policy, operator bool) (*Policy, string) {
	if p.ApplyTo == "" {
		p.ApplyTo = All
	}
	p.Definition = slices.Clone(p.Definition)
	slices.SortStableFunc(p.Definition, func(a, b wire.Field) int { return cmp.Compare(a.Name, b.Name) })
	var faults []string
	if fault := checkDefinition(p.Definition, operator); fault != "" {
		faults = append(faults, fault)
	}
	if fault := checkApplyTo(p.ApplyTo); fault != "" {
		faults = append(faults, fault)
	}
	if fault := p.compile(); fault != "" {
		faults = append(faults, fault)
	}
	if len(faults) > 0 {
		return nil, "Validation failed\n\n" + strings.Join(faults, "\n") + "\n"
	}
	return &p, ""
}

// maxPattern bounds the length of patterns, as all names are matched with all of them.
const maxPattern = 1024

// compile makes the pattern. Why it cannot be is said in words of our own, as it becomes a part
// of what all nodes must agree on: those of the standard library may change with its version.
func (p *Policy) compile() (fault string) {
	if len(p.Pattern) > maxPattern {
		return fmt.Sprintf("pattern must not be longer than %d bytes, and has %d", maxPattern, len(p.Pattern))
	}
	var ok bool
	if p.pattern, ok = compile(p.Pattern); !ok {
		return "pattern should be regular expression but is invalid: " + term("not of the syntax of RE2")
	}
	return ""
}

func checkApplyTo(name string) string {
	switch name {
	case All, Queues, ClassicQueues, QuorumQueues, Streams, Exchanges:
		return ""
	}
	return "apply-to '" + name + "' unrecognised; should be one of: 'queues', 'classic_queues',  " +
		"'quorum_queues', 'streams', 'exchanges', or 'all'"
}

// fits tells whether the policy may apply.
func (p *Policy) fits(t Target) bool {
	switch p.ApplyTo {
	case All:
	case Exchanges:
		if !t.Exchange {
			return false
		}
	case Queues:
		if t.Exchange {
			return false
		}
	case ClassicQueues:
		if t.Exchange || t.QueueType != "classic" {
			return false
		}
	case QuorumQueues:
		if t.Exchange || t.QueueType != "quorum" {
			return false
		}
	default:
		return false
	}
	return p.pattern.fits(t.Name)
}

// A Set is the policies of a vhost of one kind, or its operator policies. The zero Set is
// empty and ready.
type Set struct{ ranked []*Policy }

// Put adds a policy, in the place of one of the same name, and tells whether there was one.
func (s *Set) Put(p *Policy) (existed bool) {
	existed = s.Delete(p.Name)
	at, _ := slices.BinarySearchFunc(s.ranked, p, rank)
	s.ranked = slices.Insert(s.ranked, at, p)
	return existed
}

// rank puts the policy that counts first: of those of one priority the one whose name
// comes first. RabbitMQ leaves that open.
func rank(a, b *Policy) int {
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), strings.Compare(a.Name, b.Name))
}

// Delete removes a policy, and tells whether it was there.
func (s *Set) Delete(name string) bool {
	at := slices.IndexFunc(s.ranked, func(p *Policy) bool { return p.Name == name })
	if at < 0 {
		return false
	}
	s.ranked = slices.Delete(s.ranked, at, at+1)
	return true
}

// Len returns how many policies there are.
func (s *Set) Len() int { return len(s.ranked) }

// All returns the policies, sorted by name. They must not be changed.
func (s *Set) All() []*Policy {
	all := slices.Clone(s.ranked)
	slices.SortFunc(all, func(a, b *Policy) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// For returns the policy that applies, nil when none does.
func (s *Set) For(t Target) *Policy {
	for _, p := range s.ranked {
		if p.fits(t) {
			return p
		}
	}
	return nil
}

// Uses tells whether any policy sets a key.
func (s *Set) Uses(key string) bool {
	return slices.ContainsFunc(s.ranked, func(p *Policy) bool {
		_, ok := p.Definition.Get(key)
		return ok
	})
}
