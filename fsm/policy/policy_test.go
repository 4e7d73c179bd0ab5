package policy

import (
	"fmt"
	"reflect"
	"testing"

	"warren/protocol/wire"
)

func table(fields ...any) wire.Table {
	var t wire.Table
	for i := 0; i < len(fields); i += 2 {
		t = append(t, wire.Field{Name: fields[i].(string), Value: fields[i+1]})
	}
	return t
}

func made(t *testing.T, p Policy, operator bool) *Policy {
	t.Helper()
	if p.Definition == nil {
		p.Definition = table("max-length", int64(1))
	}
	got, fault := New(p, operator)
	if fault != "" {
		t.Fatal(fault)
	}
	return got
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern string
		fit     []string
		not     []string
	}{
		{"", []string{"", "a"}, nil},
		{"b", []string{"abc"}, []string{"ac"}}, // found anywhere
		{"^a.*z$", []string{"az", "abz"}, []string{"za", "azb"}},
		{`^(?!amq\.).*`, []string{"a", "amq"}, []string{"amq.gen-1"}},
		{`^(?!amq\.)(?!x)`, []string{"a"}, []string{"amq.x", "x"}},
		{`^(?!(a|b)c)[^)|]+$`, []string{"ab", "c"}, []string{"ac", "bcd", "x|y"}},
		{`^(?!a$)(?=a)a?.$`, []string{"ab"}, []string{"a", "b", "abc"}},
		{`^(?![[:digit:]\])(])q`, []string{"q1"}, []string{"1q"}},
		{"(?i)^orders", []string{"Orders.eu"}, []string{"my orders"}},
	} {
		p, ok := compile(c.pattern)
		if !ok {
			t.Errorf("%s does not compile", c.pattern)
			continue
		}
		for _, name := range c.fit {
			if !p.fits(name) {
				t.Errorf("%s does not fit %q", c.pattern, name)
			}
		}
		for _, name := range c.not {
			if p.fits(name) {
				t.Errorf("%s fits %q", c.pattern, name)
			}
		}
	}
	for _, bad := range []string{
		"(", "a(?!b)", "^(?!a)|b", "^(?!a)*b", "^(?!a", "^(?!)(?!", `^(?!\Qa)\E)`, "^(?<!a)b", `^(?!(a)\1)`, "^(?![a)", "^(?!a)[", "*",
	} {
		if _, ok := compile(bad); ok {
			t.Errorf("%s compiles", bad)
		}
	}
}

// FuzzPattern checks that no pattern and name can break the matcher, and that what
// RE2 takes is left to it.
func FuzzPattern(f *testing.F) {
	for _, s := range []string{`^(?!amq\.).*`, "^(?=a)[b", `^(?!\`, "^(?![[:a", "^(?!())"} {
		f.Add(s, "amq.x")
	}
	f.Fuzz(func(_ *testing.T, pattern, name string) {
		if p, ok := compile(pattern); ok {
			p.fits(name)
		}
	})
}

func TestWhichApplies(t *testing.T) {
	var s Set
	for _, p := range []Policy{
		{Name: "all", Pattern: ".*"},
		{Name: "b", Pattern: "^q", ApplyTo: Queues, Priority: 2},
		{Name: "a", Pattern: "q", ApplyTo: Queues, Priority: 2},
		{Name: "quorum", Pattern: ".*", ApplyTo: QuorumQueues, Priority: 3},
		{Name: "classic", Pattern: "special", ApplyTo: ClassicQueues, Priority: 9},
		{Name: "x", Pattern: ".*", ApplyTo: Exchanges, Priority: 1},
		{Name: "stream", Pattern: ".*", ApplyTo: Streams, Priority: 100},
		{Name: "low", Pattern: ".*", Priority: -1},
	} {
		if s.Put(made(t, p, false)) {
			t.Errorf("%s was there before", p.Name)
		}
	}
	name := func(target Target) string {
		if p := s.For(target); p != nil {
			return p.Name
		}
		return ""
	}
	check := func(want string, target Target) {
		t.Helper()
		if got := name(target); got != want {
			t.Errorf("%+v: %q, want %q", target, got, want)
		}
	}
	check("a", Target{Name: "q1", QueueType: "classic"}) // of one priority the first by name
	check("all", Target{Name: "p", QueueType: "classic"})
	check("quorum", Target{Name: "q1", QueueType: "quorum"})
	check("classic", Target{Name: "special q", QueueType: "classic"})
	check("quorum", Target{Name: "special q", QueueType: "quorum"})
	check("x", Target{Name: "q1", Exchange: true})
	if !s.Put(made(t, Policy{Name: "x", Pattern: "^only", ApplyTo: Exchanges, Priority: 1}, false)) {
		t.Error("x was not there before")
	}
	check("all", Target{Name: "q1", Exchange: true})
	s.Delete("all")
	check("low", Target{Name: "q1", Exchange: true})
	if s.Delete("all") || s.Len() != 7 {
		t.Errorf("%d policies left", s.Len())
	}
}

// row: 1.7 operator policies
func TestMerge(t *testing.T) {
	user := made(t, Policy{Definition: table("message-ttl", int64(10), "max-length", int64(5), "overflow", "drop-head", "dead-letter-exchange", "x", "target-group-size", int64(3))}, false)
	operator := made(t, Policy{Definition: table("message-ttl", int64(20), "max-length", int64(3), "overflow", "reject-publish", "expires", int64(7), "target-group-size", int64(5))}, true)
	want := table("dead-letter-exchange", "x", "expires", int64(7), "max-length", int64(3), "message-ttl", int64(10), "overflow", "reject-publish", "target-group-size", int64(5))
	if got := Merge(user, operator); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := Merge(user, nil); !reflect.DeepEqual(got, user.Definition) {
		t.Errorf("got %v", got)
	}
	if got := Merge(nil, operator); !reflect.DeepEqual(got, operator.Definition) {
		t.Errorf("got %v", got)
	}
	if Merge(nil, nil) != nil {
		t.Error("nothing and nothing is something")
	}
}

// TestArguments checks what a policy makes of each argument: of numbers the lower counts,
// of the dead letter exchange and its key the argument, of the others the policy.
//
// row: 1.7 arguments and policies
func TestArguments(t *testing.T) {
	for _, c := range []struct {
		key, argument          string
		policy, given, outcome any
	}{
		{"message-ttl", "x-message-ttl", int64(10), int32(20), int64(10)},
		{"message-ttl", "x-message-ttl", int64(30), int32(20), int32(20)},
		{"expires", "x-expires", int64(10), int32(20), int64(10)},
		{"max-length", "x-max-length", int64(10), int32(20), int64(10)},
		{"max-length-bytes", "x-max-length-bytes", int64(10), int8(20), int64(10)},
		{"overflow", "x-overflow", "reject-publish", "drop-head", "reject-publish"},
		{"dead-letter-exchange", "x-dead-letter-exchange", "p", "a", "a"},
		{"dead-letter-routing-key", "x-dead-letter-routing-key", "p", "a", "a"},
		{"dead-letter-strategy", "x-dead-letter-strategy", "at-least-once", "at-most-once", "at-least-once"},
		{"delivery-limit", "x-delivery-limit", int64(10), int32(5), int32(5)},
		{"delivery-limit", "x-delivery-limit", int64(10), int32(-1), int64(10)},
		{"delivery-limit", "x-delivery-limit", int64(-1), int32(5), int32(5)},
		{"consumer-timeout", "x-consumer-timeout", int64(10), int32(5000), int32(5000)},
		{"queue-leader-locator", "x-queue-leader-locator", "balanced", "client-local", "balanced"},
		{"delayed-retry-min", "x-delayed-retry-min", int64(10), int32(5), int32(5)},
	} {
		definition := made(t, Policy{Definition: table(c.key, c.policy)}, false).Definition
		alone := Arguments(table("other", true), definition)
		if want := table("other", true, c.argument, c.policy); !reflect.DeepEqual(alone, want) {
			t.Errorf("%s alone: %v", c.key, alone)
		}
		args := table(c.argument, c.given)
		if got := Arguments(args, definition); !reflect.DeepEqual(got, table(c.argument, c.outcome)) {
			t.Errorf("%s: policy %v, argument %v: %v", c.key, c.policy, c.given, got)
		}
		if !reflect.DeepEqual(args, table(c.argument, c.given)) {
			t.Errorf("%s: the arguments themselves were changed", c.key)
		}
	}
	if got := Arguments(nil, table("alternate-exchange", "x", "queue-mode", "lazy")); len(got) != 0 {
		t.Errorf("keys without an argument: %v", got)
	}
}

// TestKeys checks that all keys accept something and that operator policies accept those
// that RabbitMQ's do.
//
// row: 1.7 policy keys
func TestKeys(t *testing.T) {
	good := []any{"drop-head", "at-least-once", "all", "balanced", "lazy", int64(2), int64(20)}
	for _, k := range keys {
		accepted := 0
		for _, v := range append(good, 1.5, true, wire.Array{"x"}, nil) {
			if k.check(v) {
				accepted++
			}
		}
		if accepted == 0 || accepted > len(good) {
			t.Errorf("%s accepts %d values", k.name, accepted)
		}
		_, fault := New(Policy{Definition: table(k.name, wire.Table{{Name: "a", Value: 1.0}})}, true)
		want := fmt.Sprintf("Validation failed\n\n#{<<\"a\">> => 1.0} %s\n", k.fault)
		if fault != want {
			t.Errorf("%s: %q", k.name, fault)
		}
	}
}
