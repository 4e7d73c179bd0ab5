package policy

import (
	"slices"
	"strconv"
	"strings"

	"warren/protocol/wire"
)

// A key is one that a definition may have, with RabbitMQ's checks and texts
// (rabbit_policies.erl in rabbitmq-server).
type key struct {
	name     string
	check    func(any) bool
	fault    string // behind the value
	operator bool   // an operator policy may have it too

	merge    merge  // of a policy with an operator policy
	argument string // of queue.declare that it stands for; empty: none
	with     merge  // the policy with the argument
}

// A merge says which of two values counts.
type merge uint8

const (
	second merge = iota // that of the operator policy, or of the policy beside an argument
	first               // that of the argument
	least
	most
	leastLimit // the lower, unless one is negative, which means none: then the higher
)

func (m merge) of(a, b any) any {
	x, okX := wire.Int(a)
	y, okY := wire.Int(b)
	switch {
	case m == second || m != first && (!okX || !okY):
		return b
	case m == first,
		m == least && x <= y,
		m == most && x >= y,
		m == leastLimit && (x < 0 || y < 0) && x >= y,
		m == leastLimit && x >= 0 && y >= 0 && x <= y:
		return a
	}
	return b
}

var keys = []key{
	{name: "alternate-exchange", check: isText, fault: "is not a valid alternate exchange name"},
	{name: "consumer-disconnected-timeout", check: atLeast(0), fault: "is not a valid consumer disconnected timeout"},
	{name: "consumer-timeout", check: atLeast(0), fault: "is not a valid consumer timeout", argument: "x-consumer-timeout", with: first},
	{name: "dead-letter-exchange", check: isText, fault: "is not a valid dead letter exchange name", argument: "x-dead-letter-exchange", with: first},
	{name: "dead-letter-routing-key", check: isText, fault: "is not a valid dead letter routing key", argument: "x-dead-letter-routing-key", with: first},
	{name: "dead-letter-strategy", check: oneOf("at-most-once", "at-least-once"), fault: "is not a valid dead letter strategy", argument: "x-dead-letter-strategy"},
	{name: "delayed-retry-max", check: atLeast(0), fault: "is not a valid delayed retry max", operator: true, argument: "x-delayed-retry-max", with: least},
	{name: "delayed-retry-min", check: atLeast(0), fault: "is not a valid delayed retry min", operator: true, argument: "x-delayed-retry-min", with: least},
	{name: "delayed-retry-type", check: oneOf("disabled", "all", "failed", "returned"), fault: "is not a valid delayed retry type", operator: true, argument: "x-delayed-retry-type"},
	{name: "delivery-limit", check: isInteger, fault: "is not a valid delivery limit", operator: true, merge: least, argument: "x-delivery-limit", with: leastLimit},
	{name: "expires", check: atLeast(1), fault: "is not a valid queue expiry", operator: true, merge: least, argument: "x-expires", with: least},
	{name: "initial-cluster-size", check: atLeast(0), fault: "is not a valid cluster size"},
	{name: "max-age", check: isText, fault: "is not a valid max age"},
	{name: "max-in-memory-bytes", check: atLeast(0), fault: "is not a valid maximum memory in bytes", operator: true, merge: least},
	{name: "max-in-memory-length", check: atLeast(0), fault: "is not a valid maximum memory in bytes", operator: true, merge: least},
	{name: "max-length", check: atLeast(0), fault: "is not a valid maximum length", operator: true, merge: least, argument: "x-max-length", with: least},
	{name: "max-length-bytes", check: atLeast(0), fault: "is not a valid maximum length in bytes", operator: true, merge: least, argument: "x-max-length-bytes", with: least},
	{name: "member-placement-tag", check: isText, fault: "is not a valid member placement tag", operator: true},
	{name: "message-ttl", check: atLeast(0), fault: "is not a valid message TTL", operator: true, merge: least, argument: "x-message-ttl", with: least},
	{name: "overflow", check: oneOf("drop-head", "reject-publish", "reject-publish-dlx"), fault: "is not a valid overflow value", operator: true, argument: "x-overflow"},
	{name: "queue-leader-locator", check: oneOf("client-local", "balanced", "random", "least-leaders"), fault: "is not a valid queue leader locator value", argument: "x-queue-leader-locator"},
	{name: "queue-mode", check: oneOf("default", "lazy"), fault: "is not a valid queue-mode value"},
	{name: "queue-version", check: isVersion, fault: "is not a valid queue-version value", operator: true},
	{name: "stream-filter-size-bytes", check: atLeast(16), fault: "is not a valid filter size. Valid range is 16-255"},
	{name: "stream-max-segment-size-bytes", check: atLeast(0), fault: "is not a valid segment size"},
	{name: "target-group-size", check: atLeast(0), fault: "is not a valid target group size", operator: true, merge: most},
}

func find(name string) *key {
	for i := range keys {
		if keys[i].name == name {
			return &keys[i]
		}
	}
	return nil
}

func isText(v any) bool {
	_, ok := v.(string)
	return ok
}

func isInteger(v any) bool {
	_, ok := wire.Int(v)
	return ok
}

func isVersion(v any) bool {
	n, ok := wire.Int(v)
	return ok && (n == 1 || n == 2)
}

func atLeast(least int64) func(any) bool {
	return func(v any) bool {
		n, ok := wire.Int(v)
		return ok && n >= least
	}
}

func oneOf(known ...string) func(any) bool {
	return func(v any) bool {
		s, ok := v.(string)
		return ok && slices.Contains(known, s)
	}
}

// checkDefinition returns what is wrong with a definition, "" when nothing is. Keys
// are sorted.
func checkDefinition(t wire.Table, operator bool) string {
	if len(t) == 0 {
		return "no policy provided"
	}
	var unknown []string
	for i, f := range t {
		if i > 0 && t[i-1].Name == f.Name {
			return "[" + term(f.Name) + "] duplicate keys not allowed"
		}
		k := find(f.Name)
		if k == nil || operator && !k.operator {
			unknown = append(unknown, "{"+term(f.Name)+","+term(f.Value)+"}")
		}
	}
	for _, f := range t {
		if k := find(f.Name); k != nil && !k.check(f.Value) {
			return term(f.Value) + " " + k.fault
		}
	}
	if len(unknown) > 0 {
		return "[" + strings.Join(unknown, ",\n ") + "] are not recognised policy settings"
	}
	return ""
}

// Merge returns the definition that a policy and an operator policy give together;
// either may be nil.
func Merge(p, operator *Policy) wire.Table {
	switch {
	case p == nil && operator == nil:
		return nil
	case operator == nil:
		return p.Definition
	case p == nil:
		return operator.Definition
	}
	var all wire.Table
	for _, f := range p.Definition {
		if over, ok := operator.Definition.Get(f.Name); ok {
			f.Value = find(f.Name).merge.of(f.Value, over)
		}
		all = append(all, f)
	}
	for _, f := range operator.Definition {
		if _, ok := p.Definition.Get(f.Name); !ok {
			all = append(all, f)
		}
	}
	slices.SortFunc(all, func(a, b wire.Field) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Arguments returns the arguments of a queue as a definition changes them. Keys that
// stand for no argument are left out.
func Arguments(args, definition wire.Table) wire.Table {
	if len(definition) == 0 {
		return args
	}
	all := slices.Clone(args)
	for _, f := range definition {
		k := find(f.Name)
		if k.argument == "" {
			continue
		}
		at := slices.IndexFunc(all, func(have wire.Field) bool { return have.Name == k.argument })
		if at < 0 {
			all = append(all, wire.Field{Name: k.argument, Value: f.Value})
		} else {
			all[at].Value = k.with.of(all[at].Value, f.Value)
		}
	}
	return all
}

// term writes a value as Erlang does.
func term(v any) string {
	switch v := v.(type) {
	case string:
		if v == "" {
			return "<<>>"
		}
		return "<<" + strconv.Quote(v) + ">>"
	case bool:
		return strconv.FormatBool(v)
	case float64:
		s := strconv.FormatFloat(v, 'g', -1, 64)
		if !strings.ContainsAny(s, ".e") {
			s += ".0"
		}
		return s
	case wire.Array:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = term(e)
		}
		return "[" + strings.Join(parts, ",") + "]"
	case wire.Table:
		parts := make([]string, len(v))
		for i, f := range v {
			parts[i] = term(f.Name) + " => " + term(f.Value)
		}
		return "#{" + strings.Join(parts, ",") + "}"
	case nil:
		return "null"
	}
	if n, ok := wire.Int(v); ok {
		return strconv.FormatInt(n, 10)
	}
	return "undefined"
}
