package topology

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"warren/fsm/command"
	"warren/protocol/wire"
)

func TestRouteRefusals(t *testing.T) {
	top := New("v")
	must(t, top.Declare(declare("inner", "fanout", internal)))
	for name, want := range map[string]string{
		"nothing":            "404 no exchange 'nothing' in vhost 'v'",
		"inner":              "403 cannot publish to internal exchange 'inner' in vhost 'v'",
		"amq.rabbitmq.trace": "403 cannot publish to internal exchange 'amq.rabbitmq.trace' in vhost 'v'",
		"amq.direct":         "",
		"":                   "",
	} {
		_, err := top.Route(nil, &Message{Exchange: []byte(name)})
		check(t, err, want)
		check(t, top.Check([]byte(name)), want)
	}
}

func TestRouteDefaultExchange(t *testing.T) {
	top := withQueues("q")
	checkRoute(t, route(t, top, "", "q"), "q")
	checkRoute(t, route(t, top, "", "p"))
	top.RemoveQueue("q")
	checkRoute(t, route(t, top, "", "q"))
}

func TestRouteDirectAndFanout(t *testing.T) {
	top := withQueues("a", "b", "c")
	must(t, top.Declare(declare("d", "direct")))
	must(t, top.Declare(declare("f", "fanout")))
	for _, b := range []*command.Binding{
		toQueue("d", "c", "k"), toQueue("d", "a", "k"), toQueue("d", "a", "k", "other", true), toQueue("d", "b", "l"), toQueue("d", "b", ""),
		toQueue("f", "b", "k"), toQueue("f", "a", "k"), toQueue("f", "b", "other"),
	} {
		must(t, top.Bind(b))
	}
	checkRoute(t, route(t, top, "d", "k"), "c", "a")
	checkRoute(t, route(t, top, "d", "l"), "b")
	checkRoute(t, route(t, top, "d", ""), "b")
	checkRoute(t, route(t, top, "d", "kk"))
	checkRoute(t, route(t, top, "f", "anything"), "b", "a")
	must(t, top.Unbind(toQueue("f", "b", "k")))
	checkRoute(t, route(t, top, "f", ""), "a", "b")
}

func TestRouteBetweenExchanges(t *testing.T) {
	top := withQueues("q", "r")
	for _, name := range []string{"a", "b", "c"} {
		must(t, top.Declare(declare(name, "fanout")))
	}
	must(t, top.Declare(declare("inner", "topic", internal)))
	for _, b := range []*command.Binding{
		toExchange("a", "b", ""), toExchange("b", "c", ""), toExchange("c", "a", ""), toExchange("a", "a", ""),
		toExchange("c", "inner", ""), toQueue("inner", "r", "#.end"), toQueue("a", "q", ""), toQueue("c", "q", ""),
	} {
		must(t, top.Bind(b))
	}
	for _, from := range []string{"a", "b", "c"} {
		checkRoute(t, route(t, top, from, "the.end"), "q", "r")
		checkRoute(t, route(t, top, from, "the.middle"), "q")
	}
}

func TestRouteAlternate(t *testing.T) {
	top := withQueues("q", "unrouted", "key")
	must(t, top.Declare(declare("a", "direct", args("alternate-exchange", "b"))))
	must(t, top.Declare(declare("b", "topic", args("alternate-exchange", "c"))))
	must(t, top.Declare(declare("c", "fanout", args("alternate-exchange", "a"))))
	must(t, top.Declare(declare("missing", "fanout", args("alternate-exchange", "nothing"))))
	must(t, top.Declare(declare("to-default", "fanout", args("alternate-exchange", ""))))
	checkRoute(t, route(t, top, "a", "k")) // the circle ends
	must(t, top.Bind(toQueue("a", "q", "k")))
	must(t, top.Bind(toQueue("c", "unrouted", "")))
	checkRoute(t, route(t, top, "a", "k"), "q")
	checkRoute(t, route(t, top, "a", "l"), "unrouted")
	checkRoute(t, route(t, top, "missing", "l"))
	checkRoute(t, route(t, top, "to-default", "key"), "key")
}

func TestRouteHeaders(t *testing.T) {
	for _, c := range []struct {
		binding []any
		headers []any
		want    bool
	}{
		{nil, nil, true}, // no arguments: all
		{[]any{"x-match", "any"}, []any{"a", "1"}, false},
		{[]any{"a", "1", "b", "2"}, []any{"b", "2", "c", "3", "a", "1"}, true},
		{[]any{"a", "1", "b", "2"}, []any{"a", "1"}, false},
		{[]any{"a", "1"}, nil, false},
		{[]any{"x-match", "all", "a", "1", "b", "2"}, []any{"a", "1", "b", "3"}, false},
		{[]any{"x-match", "any", "a", "1", "b", "2"}, []any{"a", "0", "b", "2"}, true},
		{[]any{"x-match", "any", "a", "1", "b", "2"}, []any{"a", "0", "b", "0"}, false},
		{[]any{"x-match", "any", "a", "1"}, nil, false},
		{[]any{"a", nil}, []any{"a", int32(9)}, true}, // presence
		{[]any{"a", nil}, []any{"b", int32(9)}, false},
		{[]any{"x-match", "any", "a", nil}, []any{"a", nil}, true},
		{[]any{"x-a", "1", "b", "2"}, []any{"b", "2"}, true}, // x- is skipped
		{[]any{"x-match", "all-with-x", "x-a", "1", "b", "2"}, []any{"b", "2"}, false},
		{[]any{"x-match", "all-with-x", "x-a", "1", "b", "2"}, []any{"b", "2", "x-a", "1"}, true},
		{[]any{"x-match", "any", "x-a", "1"}, []any{"x-a", "1"}, false},
		{[]any{"x-match", "any-with-x", "x-a", "1"}, []any{"x-a", "1"}, true},
		{[]any{"x-match", "any-with-x", "x-a", "1"}, []any{"x-match", "any-with-x"}, false},
		// values: the type tag does not count, the value does
		{[]any{"a", int32(1)}, []any{"a", int64(1)}, true},
		{[]any{"a", int8(-1)}, []any{"a", uint8(255)}, false},
		{[]any{"a", uint8(1)}, []any{"a", wire.Timestamp(1)}, false},
		{[]any{"a", wire.Timestamp(1)}, []any{"a", int64(1)}, false},
		{[]any{"a", wire.Timestamp(1)}, []any{"a", wire.Timestamp(1)}, true},
		{[]any{"a", int32(1)}, []any{"a", float64(1)}, false},
		{[]any{"a", float32(1.5)}, []any{"a", float64(1.5)}, true},
		{[]any{"a", int32(1)}, []any{"a", "1"}, false},
		{[]any{"a", "1"}, []any{"a", []byte("1")}, true},
		{[]any{"a", true}, []any{"a", true}, true},
		{[]any{"a", true}, []any{"a", "true"}, false},
		{[]any{"a", "1"}, []any{"a", nil}, false},
		{[]any{"a", wire.Decimal{Scale: 1, Value: 5}}, []any{"a", wire.Decimal{Scale: 1, Value: 5}}, true},
		{[]any{"a", table("b", int32(1))}, []any{"a", table("b", int32(1))}, true},
		{[]any{"a", table("b", int32(1))}, []any{"a", table("b", int64(1))}, false},
		{[]any{"a", wire.Array{"b", []byte{1}}}, []any{"a", wire.Array{"b", []byte{1}}}, true},
		{[]any{"a", wire.Array{"b"}}, []any{"a", wire.Array{"b", "c"}}, false},
		{[]any{"a", wire.Array{"b"}}, []any{"a", table("b", "c")}, false},
		{[]any{"a", true}, []any{"a", wire.Array{}}, false},
	} {
		top := withQueues("q")
		must(t, top.Bind(toQueue("amq.headers", "q", "ignored", c.binding...)))
		if got := len(route(t, top, "amq.headers", "", c.headers...)) == 1; got != c.want {
			t.Errorf("binding %v, headers %v: matched %v", c.binding, c.headers, got)
		}
	}
}

func TestRouteTopic(t *testing.T) {
	for _, c := range []struct {
		pattern, key string
		want         bool
	}{
		{"quick.orange.rabbit", "quick.orange.rabbit", true},
		{"*.orange.*", "quick.orange.rabbit", true},
		{"*.orange.*", "quick.orange.male.rabbit", false},
		{"*.*.rabbit", "lazy.pink.rabbit", true},
		{"lazy.#", "lazy.orange.male.rabbit", true},
		{"lazy.#", "lazy", true},
		{"lazy.#", "lazyness", false},
		{"lazy.#", "quick.lazy", false},
		{"#", "", true},
		{"#", "a", true},
		{"#", "a.b.c", true},
		{"*", "", false}, // the empty key has no words
		{"*", "a", true},
		{"*", "a.b", false},
		{"", "", true},
		{"", "a", false},
		{"*.*", ".", true},
		{"a.", "a.", true},
		{"a.*", "a.", true},
		{"a", "a.", false},
		{"#.#", "", true},
		{"#.#.#", "a", true},
		{"#.a.#", "b.a.c.d", true},
		{"#.a.#.b", "a.c.a.b", true},
		{"#.a.#.b", "a.b.c", false},
		{"#.*", "", false},
		{"#.*.#", "x", true},
		{"*.#", "x.y", true},
		{"a.#.*.b", "a.b", false},
		{"a.#.*.b", "a.x.b", true},
		{"a*", "ab", false},
		{"a#", "a.b", false},
		{"*", "#", true},
		{"b.*", "b.*", true},
	} {
		top := withQueues("q")
		must(t, top.Bind(toQueue("amq.topic", "q", c.pattern)))
		if got := len(route(t, top, "amq.topic", c.key)) == 1; got != c.want {
			t.Errorf("%q against %q: %v", c.pattern, c.key, got)
		}
		if got := bruteMatch(split(c.pattern), split(c.key)); got != c.want {
			t.Errorf("brute force: %q against %q: %v", c.pattern, c.key, got)
		}
	}
}

func split(key string) []string {
	if key == "" {
		return nil
	}
	return strings.Split(key, ".")
}

// bruteMatch is the plain definition, one way after the other.
func bruteMatch(pattern, key []string) bool {
	if len(pattern) == 0 {
		return len(key) == 0
	}
	if pattern[0] == "#" {
		return bruteMatch(pattern[1:], key) || len(key) > 0 && bruteMatch(pattern, key[1:])
	}
	return len(key) > 0 && (pattern[0] == "*" || pattern[0] == key[0]) && bruteMatch(pattern[1:], key[1:])
}

// TestTopicAgainstBruteForce binds and unbinds random patterns and compares
// every answer with the plain definition.
func TestTopicAgainstBruteForce(t *testing.T) {
	words := []string{"a", "b", "*", "#", ""}
	random := rand.New(rand.NewPCG(1, 2))
	key := func(most int) string {
		parts := make([]string, random.IntN(most+1))
		for i := range parts {
			parts[i] = words[random.IntN(len(words))]
		}
		return strings.Join(parts, ".")
	}
	for range 30 {
		queues := []string{"q0", "q1", "q2", "q3"}
		top := withQueues(queues...)
		bound := map[[2]string]bool{}
		for range 60 {
			q, p := queues[random.IntN(len(queues))], key(5)
			if random.IntN(3) > 0 {
				must(t, top.Bind(toQueue("amq.topic", q, p)))
				bound[[2]string{q, p}] = true
			} else {
				must(t, top.Unbind(toQueue("amq.topic", q, p)))
				delete(bound, [2]string{q, p})
			}
			k := key(6)
			var want []string
			for _, q := range queues {
				for b := range bound {
					if b[0] == q && bruteMatch(split(b[1]), split(k)) {
						want = append(want, q)
						break
					}
				}
			}
			got := route(t, top, "amq.topic", k)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Fatalf("key %q: got %q, want %q with %v", k, got, want, bound)
			}
		}
		for _, q := range queues {
			top.RemoveQueue(q)
		}
		if root := top.exchanges["amq.topic"].patterns; len(root.words) > 0 || root.star != nil || root.hash != nil {
			t.Fatal("nodes left in the trie")
		}
	}
}

// FuzzTopic compares one pattern and key with the plain definition.
func FuzzTopic(f *testing.F) {
	f.Add("#.a.#.*", "a.b.a")
	f.Add("", ".")
	f.Fuzz(func(t *testing.T, pattern, key string) {
		if strings.Count(pattern, "#") > 4 || len(key) > 60 {
			t.Skip("too slow for the plain definition")
		}
		top := withQueues("q")
		must(t, top.Bind(toQueue("amq.topic", "q", pattern)))
		got := len(route(t, top, "amq.topic", key)) == 1
		if want := bruteMatch(split(pattern), split(key)); got != want {
			t.Errorf("%q against %q: %v", pattern, key, got)
		}
	})
}

// TestTopicManyHashes would not end if each way through the pattern were followed.
func TestTopicManyHashes(t *testing.T) {
	top := withQueues("q")
	must(t, top.Bind(toQueue("amq.topic", "q", strings.Repeat("#.a.", 30)+"b")))
	checkRoute(t, route(t, top, "amq.topic", strings.Repeat("a.", 120)+"c"))
	checkRoute(t, route(t, top, "amq.topic", strings.Repeat("a.", 120)+"b"), "q")
}

func TestRouteAllocatesNothing(t *testing.T) {
	top := withQueues("q", "r")
	must(t, top.Bind(toQueue("amq.direct", "q", "k")))
	must(t, top.Bind(toExchange("amq.direct", "amq.fanout", "k")))
	must(t, top.Bind(toQueue("amq.fanout", "r", "")))
	must(t, top.Bind(toQueue("amq.topic", "q", "*.b.#")))
	dst := make([]string, 0, 8)
	for _, c := range []struct{ exchange, key string }{
		{"", "q"}, {"amq.direct", "k"}, {"amq.fanout", ""}, {"amq.topic", "a.b.c"},
	} {
		exchange, key := []byte(c.exchange), []byte(c.key)
		if n := testing.AllocsPerRun(100, func() {
			dst, _ = top.Route(dst[:0], &Message{Exchange: exchange, Key: key})
		}); n != 0 {
			t.Errorf("%q: %v allocations", c.exchange, n)
		}
	}
}

func BenchmarkRoute(b *testing.B) {
	const n = 100_000
	top := New("/")
	for i := range n {
		q := fmt.Sprint("q", i)
		top.DeclareQueue(q)
		must(b, top.Bind(toQueue("amq.direct", q, fmt.Sprint("key.", i))))
		must(b, top.Bind(toQueue("amq.topic", q, fmt.Sprintf("a%d.*.c%d.#", i%1000, i))))
	}
	must(b, top.Bind(toQueue("amq.topic", "q1", "#")))
	for _, c := range []struct{ name, exchange, key string }{
		{"default", "", "q500"}, {"direct", "amq.direct", "key.77777"}, {"topic", "amq.topic", "a777.b.c77777.d.e"},
	} {
		b.Run(c.name, func(b *testing.B) {
			exchange, key := []byte(c.exchange), []byte(c.key)
			var dst []string
			b.ReportAllocs()
			for b.Loop() {
				dst, _ = top.Route(dst[:0], &Message{Exchange: exchange, Key: key})
			}
			if len(dst) == 0 {
				b.Fatal("not routed")
			}
		})
	}
	b.Run("snapshot", func(b *testing.B) {
		var buf []byte
		for b.Loop() {
			buf = top.AppendSnapshot(buf[:0])
		}
		b.SetBytes(int64(len(buf)))
	})
}

func BenchmarkHeaders(b *testing.B) {
	top := New("/")
	for i := range 1000 {
		q := fmt.Sprint("q", i)
		top.DeclareQueue(q)
		must(b, top.Bind(toQueue("amq.headers", q, "", "shard", int32(i), "kind", "order")))
	}
	properties := wire.AppendProperties(nil, &wire.Properties{Present: 1 << 13, Headers: table("kind", "order", "shard", int64(7))})
	var dst []string
	for b.Loop() {
		dst, _ = top.Route(dst[:0], &Message{Exchange: []byte("amq.headers"), Properties: properties})
	}
	if len(dst) != 1 {
		b.Fatal(dst)
	}
}
