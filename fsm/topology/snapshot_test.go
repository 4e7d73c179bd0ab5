package topology

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"warren/fsm/command"
)

// randomStep changes a topology in one of the ways that the machine can.
func randomStep(top *Topology, random *rand.Rand) {
	pick := func(s ...string) string { return s[random.IntN(len(s))] }
	exchange := func() string { return pick("a", "b", "c", "amq.topic", "amq.direct", "amq.headers", "amq.fanout") }
	queue := func() string { return pick("q1", "q2", "q3", "q4") }
	b := &command.Binding{Source: exchange(), Destination: queue(), Key: pick("", "k", "#", "*.k", "k.#", "1", "20")}
	if random.IntN(4) == 0 {
		b.ToExchange, b.Destination = true, exchange()
	}
	if random.IntN(3) == 0 {
		b.Args = table("x-match", pick("any", "all"), "h", pick("1", "2"))
	}
	switch random.IntN(12) {
	case 0:
		top.DeclareQueue(queue())
	case 1:
		top.RemoveQueue(queue())
	case 2:
		top.Delete(pick("a", "b", "c"), random.IntN(2) == 0)
	case 3, 4:
		top.Declare(&command.ExchangeDeclare{
			Name: pick("a", "b", "c"), Type: pick(Types()...),
			Durable: random.IntN(2) == 0, AutoDelete: random.IntN(2) == 0, Args: table("alternate-exchange", exchange()),
		})
	case 5, 6:
		top.Unbind(b)
	case 7:
		if random.IntN(10) == 0 {
			top.RemoveTransient()
		}
	default:
		top.Bind(b)
	}
}

// TestRestoreAtAnyCut checks that a restored topology goes on exactly as the one
// that it was taken from: same answers in the same order, same bytes.
func TestRestoreAtAnyCut(t *testing.T) {
	for seed := range uint64(40) {
		original := New("/")
		random := rand.New(rand.NewPCG(seed, 0))
		for range 150 {
			randomStep(original, random)
		}
		snapshot := original.AppendSnapshot(nil)
		restored := New("/")
		rest, err := restored.RestoreSnapshot(append(slices.Clip(snapshot), "rest"...))
		if err != nil || string(rest) != "rest" {
			t.Fatalf("seed %d: rest %q, %v", seed, rest, err)
		}
		one, two := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 1))
		for i := range 100 {
			compare(t, original, restored)
			if t.Failed() {
				t.Fatalf("seed %d, step %d", seed, i)
			}
			randomStep(original, one)
			randomStep(restored, two)
		}
	}
}

func compare(t *testing.T, a, b *Topology) {
	t.Helper()
	if !bytes.Equal(a.AppendSnapshot(nil), b.AppendSnapshot(nil)) {
		t.Error("snapshots differ")
	}
	if !reflect.DeepEqual(a.Exchanges(), b.Exchanges()) || !reflect.DeepEqual(a.Bindings(), b.Bindings()) {
		t.Error("listings differ")
	}
	for _, x := range a.Exchanges() {
		if x.Internal {
			continue
		}
		for _, key := range []string{"", "k", "a.k", "k.b"} {
			if p, q := route(t, a, x.Name, key, "h", "1"), route(t, b, x.Name, key, "h", "1"); !slices.Equal(p, q) {
				t.Errorf("%s %q: %q and %q", x.Name, key, p, q)
			}
		}
	}
}

func TestRestoreKeepsStateOnError(t *testing.T) {
	top := withQueues("q")
	must(t, top.Bind(toQueue("amq.direct", "q", "k", "a", "1")))
	must(t, top.Declare(declare("x", "headers", durable, autoDelete)))
	snapshot := top.AppendSnapshot(nil)
	for n := range snapshot {
		other := withQueues("mine")
		if _, err := other.RestoreSnapshot(snapshot[:n]); !errors.Is(err, ErrSnapshot) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
		checkRoute(t, route(t, other, "", "mine"), "mine")
	}
}

func TestRestoreRefuses(t *testing.T) {
	exchange := func(name, kind string, flags byte) []byte {
		b := appendString([]byte{snapshotVersion, 1}, name)
		return append(appendString(b, kind), flags, 0, 0, 0, 0, 0, 0)
	}
	binding := func(source, queue string, flags byte, times byte) []byte {
		b := appendString([]byte{snapshotVersion, 0, 1}, "q")
		b = append(b, times)
		for range times {
			b = append(appendString(appendString(b, source), queue), flags)
			b = append(appendString(b, "key"), 0, 0, 0, 0)
		}
		return b
	}
	if _, err := New("/").RestoreSnapshot(exchange("x", "direct", 7)); err != nil {
		t.Fatal(err)
	}
	if _, err := New("/").RestoreSnapshot(binding("amq.direct", "q", 0, 1)); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"version":         {2, 0, 0, 0},
		"reserved name":   exchange("amq.x", "direct", 0),
		"empty name":      exchange("", "direct", 0),
		"unknown type":    exchange("x", "nonsense", 0),
		"unknown flags":   exchange("x", "direct", 8),
		"queue twice":     {snapshotVersion, 0, 2, 1, 'q', 1, 'q', 0},
		"binding twice":   binding("amq.direct", "q", 0, 2),
		"binding flags":   binding("amq.direct", "q", 2, 1),
		"unknown queue":   binding("amq.direct", "p", 0, 1),
		"unknown source":  binding("x", "q", 0, 1),
		"default binding": binding("", "q", 0, 1),
		"huge count":      {snapshotVersion, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
	} {
		if _, err := New("/").RestoreSnapshot(b); !errors.Is(err, ErrSnapshot) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzRestore checks that bytes are refused or are a state: writing it and
// reading it again gives the same.
func FuzzRestore(f *testing.F) {
	random := rand.New(rand.NewPCG(3, 4))
	top := New("/")
	for i := range 200 {
		randomStep(top, random)
		if i%20 == 0 {
			f.Add(top.AppendSnapshot(nil))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		one := New("/")
		if _, err := one.RestoreSnapshot(b); err != nil {
			return
		}
		snapshot := one.AppendSnapshot(nil)
		two := New("/")
		if rest, err := two.RestoreSnapshot(snapshot); err != nil || len(rest) != 0 {
			t.Fatalf("rest %q, %v", rest, err)
		}
		if again := two.AppendSnapshot(nil); !bytes.Equal(again, snapshot) {
			t.Fatal("a restored state is another")
		}
	})
}

// TestManyBindings removes a queue that has most of an exchange's bindings.
func TestManyBindings(t *testing.T) {
	top := withQueues("q", "r")
	const n = 100_000
	for i := range n {
		must(t, top.Bind(toQueue("amq.topic", "q", fmt.Sprintf("a.%d.#", i))))
	}
	must(t, top.Bind(toQueue("amq.topic", "r", "a.*.b")))
	checkRoute(t, route(t, top, "amq.topic", "a.5.b"), "q", "r")
	top.RemoveQueue("q")
	checkRoute(t, route(t, top, "amq.topic", "a.5.b"), "r")
}
