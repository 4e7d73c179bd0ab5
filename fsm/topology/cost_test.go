package topology

import (
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"warren/fsm/command"
)

// manyBindings are topic bindings as they are found: few first words, many second ones, a
// wildcard here and there, a hundred to a queue.
func manyBindings(n int) []*command.Binding {
	all := make([]*command.Binding, n)
	for i := range all {
		key := fmt.Sprintf("region%d.device-%d.status", i%10, i)
		switch i % 10 {
		case 1:
			key = fmt.Sprintf("region%d.device-%d.*", i%10, i)
		case 2:
			key = fmt.Sprintf("*.device-%d.#", i)
		}
		all[i] = toQueue("amq.topic", fmt.Sprint("q", i/100), key)
	}
	return all
}

func withBindings(tb testing.TB, all []*command.Binding) *Topology {
	top := New("/")
	for i := range (len(all) + 99) / 100 {
		top.DeclareQueue(fmt.Sprint("q", i))
	}
	for _, b := range all {
		must(tb, top.Bind(b))
	}
	return top
}

// BenchmarkTopic gives the costs of a topic exchange with many bindings: of a publish, of a
// binding made and removed, and of one kept.
func BenchmarkTopic(b *testing.B) {
	for _, n := range []int{100, 10_000, 100_000} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		all := manyBindings(n)
		top := withBindings(b, all)
		runtime.GC()
		runtime.ReadMemStats(&after)
		kept := float64(after.HeapAlloc-before.HeapAlloc) / float64(n)
		b.Run(fmt.Sprintf("publish/%d", n), func(b *testing.B) {
			m := &Message{Exchange: []byte("amq.topic")}
			var keys [][]byte
			for i := range 100 {
				keys = append(keys, fmt.Appendf(nil, "region%d.device-%d.status", i%10, i))
			}
			var dst []string
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				m.Key = keys[i%len(keys)]
				dst, _ = top.Route(dst[:0], m)
				i++
			}
			b.ReportMetric(kept, "B/binding")
			if len(dst) != 1 {
				b.Fatalf("%q", dst)
			}
		})
		b.Run(fmt.Sprintf("bind_and_unbind/%d", n), func(b *testing.B) {
			one := toQueue("amq.topic", "q0", "region1.device-new.status")
			b.ReportAllocs()
			for b.Loop() {
				must(b, top.Bind(one))
				must(b, top.Unbind(one))
			}
		})
		b.Run(fmt.Sprintf("snapshot/%d", n), func(b *testing.B) {
			var buf []byte
			for b.Loop() {
				buf = top.AppendSnapshot(buf[:0])
			}
		})
		b.Run(fmt.Sprintf("restore/%d", n), func(b *testing.B) {
			snapshot := top.AppendSnapshot(nil)
			for b.Loop() {
				if _, err := New("/").RestoreSnapshot(snapshot); err != nil {
					b.Fatal(err)
				}
			}
		})
		runtime.KeepAlive(all)
	}
}

// TestBindingsOf checks the bindings of one end against all of them.
func TestBindingsOf(t *testing.T) {
	top := withBindings(t, manyBindings(1000))
	must(t, top.Bind(toQueue("amq.direct", "q1", "k")))
	must(t, top.Bind(toExchange("amq.direct", "amq.topic", "k")))
	all := top.Bindings()
	same := func(what string, got []Binding, keep func(Binding) bool) {
		t.Helper()
		SortBindings(got)
		want := slices.DeleteFunc(slices.Clone(all), func(b Binding) bool { return !keep(b) })
		if len(want) == 0 || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %d bindings, want %d", what, len(got), len(want))
		}
	}
	for _, x := range []string{"", "amq.direct", "amq.topic"} {
		same("from "+x, top.AppendFrom(nil, x), func(b Binding) bool { return b.Source == x })
	}
	same("to q1", top.AppendTo(nil, "q1", false), func(b Binding) bool { return !b.ToExchange && b.Destination == "q1" })
	same("to amq.topic", top.AppendTo(nil, "amq.topic", true), func(b Binding) bool { return b.ToExchange && b.Destination == "amq.topic" })
	if got := slices.Concat(top.AppendTo(nil, "q", false), top.AppendTo(nil, "q1", true), top.AppendFrom(nil, "x")); len(got) != 0 {
		t.Errorf("what is not there has bindings: %v", got)
	}
}
