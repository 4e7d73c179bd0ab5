package topology

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"warren/protocol/wire"
)

// TestExplain compares what is explained with what is routed, in random topologies: all that is routed is explained, and all
// that is explained and not left to chance is routed.
func TestExplain(t *testing.T) {
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 1))
		pick := func(s ...string) string { return s[random.IntN(len(s))] }
		top := New("/")
		for step := range 400 {
			randomStep(top, random)
			p := wire.Properties{Present: wire.FlagHeaders, Headers: table("h", pick("1", "2"))}
			m := Message{
				Exchange: []byte(pick("", "a", "b", "c", "amq.topic", "amq.direct", "amq.headers", "amq.fanout")), Key: []byte(pick("", "k", "x.k", "k.k.x", "q1")),
				Properties: wire.AppendProperties(nil, &p), Seed: random.Uint64(),
			}
			if random.IntN(4) == 0 {
				m.Also = [][]byte{[]byte(pick("k", "q2"))}
			}
			if top.exchanges[string(m.Exchange)] == nil {
				continue
			}
			routed := top.RouteDead(nil, &m)
			way := top.Explain(&m, 1000)
			var sure []string
			for _, q := range way.Queues {
				if !slices.Contains(way.Maybe, q) {
					sure = append(sure, q)
				}
			}
			for _, q := range routed {
				if !slices.Contains(way.Queues, q) {
					t.Fatalf("seed %d, step %d: %s gets %+v, and that is not explained by %+v", seed, step, q, m, way)
				}
			}
			for _, q := range sure {
				if !slices.Contains(routed, q) {
					t.Fatalf("seed %d, step %d: %s does not get %+v, as is said by %+v", seed, step, q, m, way)
				}
			}
			if way.More || len(way.Queues) > 0 && len(way.Hops) == 0 {
				t.Fatalf("seed %d, step %d: %+v", seed, step, way)
			}
		}
	}
}

// BenchmarkExplainMany explains what goes to very many queues, half of them by chance: views hold up the machine.
func BenchmarkExplainMany(b *testing.B) {
	const n = 32_000
	top := New("/")
	must(b, top.Declare(declare("sure", Fanout)))
	must(b, top.Declare(declare("chance", Random)))
	must(b, top.Bind(toExchange("sure", "chance", "")))
	for i := range n {
		name := fmt.Sprint("q", i)
		top.DeclareQueue(name)
		must(b, top.Bind(toQueue([]string{"sure", "chance"}[i%2], name, "")))
	}
	for b.Loop() {
		way := top.Explain(&Message{Exchange: []byte("sure"), Properties: []byte{0, 0}}, 10)
		if len(way.Queues) != n || len(way.Maybe) != n/2 || !way.More {
			b.Fatalf("%d queues, %d by chance", len(way.Queues), len(way.Maybe))
		}
	}
}

// TestExplainHops says why a message goes where it goes.
func TestExplainHops(t *testing.T) {
	top := withQueues("q", "r", "s")
	must(t, top.Declare(declare("first", Topic, args("alternate-exchange", "other"))))
	must(t, top.Declare(declare("second", Fanout)))
	must(t, top.Declare(declare("other", Random)))
	must(t, top.Bind(toExchange("first", "second", "a.#")))
	must(t, top.Bind(toQueue("second", "q", "any")))
	must(t, top.Bind(toExchange("second", "first", "back")))
	must(t, top.Bind(toQueue("other", "r", "")))
	must(t, top.Bind(toQueue("other", "s", "")))
	for key, want := range map[string]string{
		"a.b": "binding first>second a.#|binding second>q any|binding second>first back = q",
		"b":   "alternate first>other |chance other>r |chance other>s  = r s, by chance r s",
	} {
		way := top.Explain(&Message{Exchange: []byte("first"), Key: []byte(key)}, 10)
		var hops []string
		for _, h := range way.Hops {
			hops = append(hops, fmt.Sprintf("%s %s>%s %s", h.Why, h.Source, h.Destination, h.Key))
		}
		got := strings.Join(hops, "|") + " = " + strings.Join(way.Queues, " ")
		if len(way.Maybe) > 0 {
			got += ", by chance " + strings.Join(way.Maybe, " ")
		}
		if got != want {
			t.Errorf("%s: %s\nwant %s", key, got, want)
		}
	}
	if way := top.Explain(&Message{Exchange: []byte("first"), Key: []byte("a")}, 1); len(way.Hops) != 1 || !way.More || !slices.Equal(way.Queues, []string{"q"}) {
		t.Errorf("with one hop: %+v", way)
	}
}

// FuzzTopicMatches compares with the plain definition.
func FuzzTopicMatches(f *testing.F) {
	f.Add("a.#.b.*.#", "a.x.b.b.c")
	f.Add("#", "")
	f.Add("#.#.a", "a.a.b.a")
	f.Fuzz(func(t *testing.T, pattern, key string) {
		if len(pattern) > 14 || len(key) > 14 {
			t.Skip() // the plain definition takes its time
		}
		if got, want := KeyMatches(pattern, key), bruteMatch(split(pattern), split(key)); got != want {
			t.Errorf("%q and %q: %v, want %v", pattern, key, got, want)
		}
	})
}
