package topology

import (
	"fmt"
	"math"
	"testing"

	"warren/protocol/wire"
)

func hashed(tb testing.TB, queues int, weight func(i int) int) *Topology {
	top := New("/")
	must(tb, top.Declare(declare("x", ConsistentHash)))
	for i := range queues {
		name := fmt.Sprint("q", i)
		top.DeclareQueue(name)
		must(tb, top.Bind(toQueue("x", name, fmt.Sprint(weight(i)))))
	}
	return top
}

func one(int) int { return 1 }

// spread routes n keys and returns where each goes.
func spread(tb testing.TB, top *Topology, n int) []string {
	tb.Helper()
	where := make([]string, n)
	for i := range where {
		got := route(tb, top, "x", fmt.Sprint("key-", i))
		if len(got) != 1 {
			tb.Fatalf("key %d goes to %q", i, got)
		}
		where[i] = got[0]
	}
	return where
}

// TestConsistentHashIsEven checks that queues get what their weights promise.
func TestConsistentHashIsEven(t *testing.T) {
	const n = 60_000
	for name, weight := range map[string]func(int) int{
		"equal": one, "one is heavy": func(i int) int { return 1 + 9*(i/7) }, "growing": func(i int) int { return 100 * (i + 1) },
	} {
		const queues = 8
		counts, total := map[string]int{}, 0
		for _, q := range spread(t, hashed(t, queues, weight), n) {
			counts[q]++
		}
		for i := range queues {
			total += weight(i)
		}
		for i := range queues {
			want := float64(n) * float64(weight(i)) / float64(total)
			// Five standard deviations of a fair draw.
			if got := float64(counts[fmt.Sprint("q", i)]); math.Abs(got-want) > 5*math.Sqrt(want) {
				t.Errorf("%s: queue %d got %v of %d, want about %.0f", name, i, got, n, want)
			}
		}
	}
}

// TestConsistentHashIsStable checks that a new queue takes its share and nothing else
// moves, that it all comes back when the queue goes, and that a change of weight moves
// messages to or from that queue only.
func TestConsistentHashIsStable(t *testing.T) {
	const n, queues = 20_000, 9
	top := hashed(t, queues, one)
	before := spread(t, top, n)
	top.DeclareQueue("new")
	must(t, top.Bind(toQueue("x", "new", "1")))
	moved := 0
	for i, q := range spread(t, top, n) {
		if q == before[i] {
			continue
		}
		if moved++; q != "new" {
			t.Fatalf("key %d moved from %s to %s", i, before[i], q)
		}
	}
	if want := n / (queues + 1); moved < want*9/10 || moved > want*11/10 {
		t.Errorf("%d keys of %d moved, want about %d", moved, n, want)
	}
	must(t, top.Bind(toQueue("x", "new", "5")))
	must(t, top.Unbind(toQueue("x", "new", "1")))
	for i, q := range spread(t, top, n) {
		if q != before[i] && q != "new" {
			t.Fatalf("key %d moved from %s to %s", i, before[i], q)
		}
	}
	top.RemoveQueue("new")
	for i, q := range spread(t, top, n) {
		if q != before[i] {
			t.Fatalf("key %d did not come back to %s", i, before[i])
		}
	}
}

// TestConsistentHashGolden pins where keys go: a change would move the messages of a running
// cluster, and not at the same log entry on all nodes.
func TestConsistentHashGolden(t *testing.T) {
	top := hashed(t, 5, func(i int) int { return i + 1 })
	var got string
	for _, q := range spread(t, top, 24) {
		got += q[1:]
	}
	if want := "233431341242313321330433"; got != want {
		t.Errorf("keys go to %s, want %s", got, want)
	}
}

func TestConsistentHashLooksAt(t *testing.T) {
	queues := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	top := withQueues(queues...)
	bind := func(x string) {
		for _, q := range queues {
			must(t, top.Bind(toQueue(x, q, "1")))
		}
	}
	to := func(x, key string, p *wire.Properties) string {
		got, err := top.Route(nil, &Message{Exchange: []byte(x), Key: []byte(key), Properties: wire.AppendProperties(nil, p)})
		if err != nil || len(got) != 1 {
			t.Fatalf("%q %v", got, err)
		}
		return got[0]
	}
	header := func(v any) *wire.Properties {
		return &wire.Properties{Present: wire.FlagHeaders, Headers: wire.Table{{Name: "h", Value: v}}}
	}
	must(t, top.Declare(declare("header", ConsistentHash, args("hash-header", "h"))))
	bind("header")
	if a, b := to("header", "k", header("user-1")), to("header", "other", header("user-1")); a != b {
		t.Errorf("the key counts beside the header: %s, %s", a, b)
	}
	if a, b := to("header", "", header(int16(7))), to("header", "", header(int64(7))); a != b {
		t.Errorf("the width of an integer counts: %s, %s", a, b)
	}
	to("header", "", header(nil))
	to("header", "", header(wire.Array{"x", int32(1)}))
	for _, property := range []string{"correlation_id", "message_id", "timestamp"} {
		must(t, top.Declare(declare(property, ConsistentHash, args("hash-property", property))))
		bind(property)
		seen := map[string]bool{}
		for i := range 100 {
			p := &wire.Properties{
				Present:       wire.FlagCorrelationID | wire.FlagMessageID | wire.FlagTimestamp,
				CorrelationID: "c", MessageID: "m", Timestamp: 1,
			}
			switch property {
			case "correlation_id":
				p.CorrelationID = fmt.Sprint(i)
			case "message_id":
				p.MessageID = fmt.Sprint(i)
			default:
				p.Timestamp = wire.Timestamp(i)
			}
			seen[to(property, fmt.Sprint(i%2), p)] = true
			if a, b := to(property, "x", p), to(property, "y", p); a != b {
				t.Errorf("%s: the key counts: %s, %s", property, a, b)
			}
		}
		if len(seen) < 6 {
			t.Errorf("%s: 100 values went to %d queues of 8", property, len(seen))
		}
		to(property, "", &wire.Properties{})
	}
}

func TestChoosingRefusals(t *testing.T) {
	top := withQueues("q")
	must(t, top.Declare(declare("hash", ConsistentHash)))
	must(t, top.Declare(declare("local", LocalRandom)))
	check(t, top.Declare(declare("y", ConsistentHash, args("hash-header", "h", "hash-property", "message_id"))),
		"406 hash-header and hash-property are mutually exclusive")
	check(t, top.Declare(declare("y", ConsistentHash, args("hash-property", "app_id"))), "406 Unsupported property: app_id")
	check(t, top.Declare(declare("y", ConsistentHash, args("hash-header", int32(1)))), "406 Unsupported header: 1")
	check(t, top.Bind(toQueue("hash", "q", "a lot")), `406 The binding key must be an integer: <<"a lot">>`)
	check(t, top.Bind(toQueue("hash", "q", "")), "406 The binding key must be an integer: <<>>")
	check(t, top.Bind(toQueue("hash", "q", "0")), "406 The binding key must be greater than 0")
	check(t, top.Bind(toQueue("hash", "q", "2147483648")), "406 The binding key must not be greater than 2147483647")
	check(t, top.Bind(toQueue("hash", "q", "+2147483647")), "")
	check(t, top.Bind(toQueue("local", "q", "k")), "406 Non empty binding 'k' key not permitted")
	check(t, top.Bind(toExchange("local", "hash", "")), "406 Destination not found")
}

// TestChoosing checks the exchanges that keep their destinations: one each time, each in
// the end, bindings counted.
func TestChoosing(t *testing.T) {
	for _, kind := range []string{Random, LocalRandom, ModulusHash} {
		top := withQueues("a", "b", "c")
		must(t, top.Declare(declare("x", kind)))
		checkRoute(t, route(t, top, "x", "k"))
		for _, q := range []string{"c", "a", "b"} {
			must(t, top.Bind(toQueue("x", q, "")))
		}
		must(t, top.Bind(toQueue("x", "a", "", "second", true)))
		must(t, top.Unbind(toQueue("x", "a", "")))
		count := func() map[string]int {
			counts := map[string]int{}
			for i := range 3000 {
				m := &Message{Exchange: []byte("x"), Key: fmt.Append(nil, "key", i), Seed: uint64(i)}
				first, _ := top.Route(nil, m)
				if again, _ := top.Route(nil, m); len(first) != 1 || len(again) != 1 || again[0] != first[0] {
					t.Fatalf("%s: %q, then %q", kind, first, again)
				}
				counts[first[0]]++
			}
			return counts
		}
		for _, q := range []string{"a", "b", "c"} {
			if n := count()[q]; n < 800 || n > 1200 {
				t.Errorf("%s: %s got %d of 3000", kind, q, n)
			}
		}
		must(t, top.Unbind(toQueue("x", "a", "", "second", true)))
		top.RemoveQueue("b")
		if counts := count(); counts["c"] != 3000 {
			t.Errorf("%s: %v", kind, counts)
		}
	}
}

func TestLocalRandom(t *testing.T) {
	top := withQueues("here", "there", "everywhere")
	top.SetEpoch("here", 1)
	top.SetEpoch("there", 2)
	must(t, top.Declare(declare("x", LocalRandom, args("alternate-exchange", "amq.fanout"))))
	must(t, top.Bind(toQueue("x", "here", "")))
	must(t, top.Bind(toQueue("x", "there", "")))
	from := func(epoch uint64, want ...string) {
		t.Helper()
		for seed := range uint64(50) {
			got, _ := top.Route(nil, &Message{Exchange: []byte("x"), Epoch: epoch, Seed: seed})
			checkRoute(t, got, want...)
		}
	}
	from(1, "here")
	from(2, "there")
	from(3)
	must(t, top.Bind(toQueue("amq.fanout", "everywhere", "")))
	from(3, "everywhere")
}

func TestFurtherKeys(t *testing.T) {
	top := withQueues("a", "b", "c")
	must(t, top.Bind(toQueue("amq.direct", "a", "1")))
	must(t, top.Bind(toQueue("amq.direct", "b", "2")))
	must(t, top.Bind(toQueue("amq.topic", "c", "#.2")))
	must(t, top.Bind(toExchange("amq.topic", "amq.direct", "1")))
	for _, c := range []struct {
		exchange, key string
		also          []string
		want          []string
	}{
		{"", "a", []string{"b", "a", "x"}, []string{"a", "b"}},
		{"", "x", []string{"c"}, []string{"c"}},
		{"amq.direct", "x", []string{"2", "1"}, []string{"b", "a"}},
		{"amq.topic", "x", []string{"y.2", "1"}, []string{"c", "a"}},
		{"amq.topic", "x", []string{"2"}, []string{"c"}},
		{"amq.topic", "2", []string{"1"}, []string{"c", "b", "a"}},
	} {
		m := &Message{Exchange: []byte(c.exchange), Key: []byte(c.key)}
		for _, key := range c.also {
			m.Also = append(m.Also, []byte(key))
		}
		got, err := top.Route(nil, m)
		must(t, err)
		checkRoute(t, got, c.want...)
	}
}

func BenchmarkConsistentHash(b *testing.B) {
	for _, n := range []int{10, 1000} {
		for name, weight := range map[string]func(int) int{"equal": one, "weighted": func(i int) int { return i + 1 }} {
			b.Run(fmt.Sprintf("%d_%s", n, name), func(b *testing.B) {
				top := hashed(b, n, weight)
				m := &Message{Exchange: []byte("x"), Key: []byte("some.key")}
				var dst []string
				b.ReportAllocs()
				for b.Loop() {
					dst, _ = top.Route(dst[:0], m)
				}
			})
		}
	}
}
