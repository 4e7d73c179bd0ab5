//go:build linux

package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"warren/integration/chaos/history"
)

func (r Report) String() string {
	return fmt.Sprintf("%v, %d published, %d confirmed, %d delivered, %d requeued, %d connections lost, %d violations",
		r.Took.Round(100*time.Millisecond), r.Counts[history.Published], r.Counts[history.Confirmed], r.Counts[history.Delivered],
		r.Counts[history.Requeued], r.Reconnects, len(r.Violations))
}

// A total is what all rounds of a run came to.
type total struct {
	rounds     int
	counts     map[history.Kind]int
	faults     map[string]int
	silences   map[string][]time.Duration // by the step that they were in
	reconnects int
	undecided  int
	did        map[string]int
}

func (t *total) add(p plan, r Report) {
	if t.counts == nil {
		t.counts, t.faults, t.silences, t.did = map[history.Kind]int{}, map[string]int{}, map[string][]time.Duration{}, map[string]int{}
	}
	t.rounds++
	t.reconnects += r.Reconnects
	t.undecided += r.Undecided
	for k, n := range r.Counts {
		t.counts[k] += n
	}
	for name, n := range r.Did {
		t.did[name] += n
	}
	for i, step := range p {
		for _, f := range step {
			t.faults[f.fault.Name()]++
		}
		if i >= len(r.Silences) {
			continue
		}
		name := plan{step}.String()
		t.silences[name] = append(t.silences[name], r.Silences[i])
	}
}

func (t *total) String(took time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d rounds in %v: %d messages published, %d confirmed, %d delivered, %d connections lost, %d registers undecided\n",
		t.rounds, took.Round(time.Second), t.counts[history.Published], t.counts[history.Confirmed], t.counts[history.Delivered], t.reconnects, t.undecided)
	for _, name := range slices.Sorted(maps.Keys(t.did)) {
		fmt.Fprintf(&b, "  %7d × %s\n", t.did[name], name)
	}
	b.WriteString("faults:\n")
	for _, name := range slices.Sorted(maps.Keys(t.faults)) {
		fmt.Fprintf(&b, "  %4d × %s\n", t.faults[name], name)
	}
	b.WriteString("longest time between two confirms of a client of a node that was not hurt itself (median, worst):\n")
	for _, name := range slices.Sorted(maps.Keys(t.silences)) {
		all := slices.Sorted(slices.Values(t.silences[name]))
		fmt.Fprintf(&b, "  %v, %v  %s (%d)\n", all[len(all)/2].Round(time.Millisecond), all[len(all)-1].Round(time.Millisecond), name, len(all))
	}
	return b.String()
}
