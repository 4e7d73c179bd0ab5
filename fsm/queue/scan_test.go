package queue

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"warren/fsm/command"
)

// scanned is a queue of three chunks whose messages are on disk, with every tenth unacknowledged and every hundredth
// of these parked.
func scanned(t *testing.T) (*Store, *pages, *Queue) {
	s, p, q := newPaged()
	s.SetCounting(true)
	settings := DefaultSettings()
	settings.DeliveryLimit = 0
	q.SetSettings(settings)
	for i := range 3 * chunkSize {
		q.Push(s.NewMessage("x", fmt.Appendf(nil, "%d", i), nil, make([]byte, 100)), None)
	}
	p.checkpoint(t, s, q)
	ch := s.NewChannel(command.Owner{})
	for range 20 {
		ch.Get(q)
	}
	ch.Settle(1, 10, command.Requeue) // once too often: parked
	s.Evict()
	return s, p, q
}

func keysOf(all []Browsed) (keys []string) {
	for _, b := range all {
		keys = append(keys, string(b.Message.Key))
	}
	return keys
}

// TestBrowse looks at a queue that is on disk: nothing comes to memory and nothing changes.
func TestBrowse(t *testing.T) {
	s, p, q := scanned(t)
	resident, census1 := s.Resident(), census(t, q)
	for states, want := range map[State][2]int{
		IsParked: {0, 10}, IsUnacked: {10, 20}, IsReady: {20, 3 * chunkSize}, IsParked | IsUnacked: {0, 20}, IsReady | IsUnacked | IsParked: {0, 3 * chunkSize},
	} {
		var all []Browsed
		var from uint64
		for {
			next, err := q.Browse(from, states, func(b Browsed) bool {
				if b.Sequence%100 == from%100 && b.Sequence != from { // in pages of odd lengths
					return false
				}
				all = append(all, b)
				return true
			})
			if err != nil {
				t.Fatal(err)
			}
			if next == 0 {
				break
			}
			from = next
		}
		keys := keysOf(all)
		if len(keys) != want[1]-want[0] || keys[0] != fmt.Sprint(want[0]) || keys[len(keys)-1] != fmt.Sprint(want[1]-1) {
			t.Errorf("states %d: %d messages, from %s to %s, want %v", states, len(keys), keys[0], keys[len(keys)-1], want)
		}
		if !slices.IsSortedFunc(all, func(a, b Browsed) int { return int(a.Sequence) - int(b.Sequence) }) {
			t.Errorf("states %d: they are not in order", states)
		}
	}
	if s.Resident() != resident || census(t, q).Records() != census1.Records() {
		t.Errorf("looking brought %d bytes to memory", s.Resident()-resident)
	}
	p.fail = errors.New("no disk")
	var unreadable *Unreadable
	if _, err := q.Browse(0, IsReady, func(Browsed) bool { return true }); !errors.As(err, &unreadable) {
		t.Errorf("without a disk: %v", err)
	}
}

// TestScan takes messages out of a queue that is on disk and one that is in memory, in steps that a budget bounds: they
// go on at the same places.
func TestScan(t *testing.T) {
	s, p, q := scanned(t)
	_, _, other := scanned(t)
	other.messages.each(func(n uint64, _ *command.Message) { // all in memory
		at, slot, _ := other.messages.lookup(n)
		other.message(at, slot)
	})
	for _, parked := range []bool{true, false} {
		from, entries := uint64(1), 0
		for from != 0 {
			entries++
			var taken [2][]string
			var next [2]uint64
			for i, one := range []*Queue{q, other} {
				one.store.SetNow(int64(entries))
				b := NewBudget(1000)
				next[i] = one.Scan(from, parked, &b, func(_ uint64, m *command.Message) Step {
					if len(m.Key) == 1 {
						return Leave
					}
					taken[i] = append(taken[i], string(m.Key))
					return Take
				})
				one.store.Trim()
			}
			if next[0] != next[1] || !slices.Equal(taken[0], taken[1]) {
				t.Fatalf("from %d: %d messages and then %d, in memory %d and %d", from, len(taken[0]), next[0], len(taken[1]), next[1])
			}
			from = next[0]
		}
		if !parked && entries < 3 {
			t.Errorf("a budget of 1000 let %d messages go in %d entries", 3*chunkSize, entries)
		}
	}
	census(t, q)
	census(t, other)
	if q.Parked() != 10 || q.Ready() != 0 || q.Unacked() != 10 || s.Resident() != 0 {
		t.Errorf("%d are parked, %d ready, %d unacknowledged, %d bytes in memory", q.Parked(), q.Ready(), q.Unacked(), s.Resident())
	}
	b := NewBudget(1)
	if next := q.Scan(1, true, &b, func(uint64, *command.Message) Step { return Stop }); next != 1 {
		t.Errorf("it stopped at %d", next)
	}
	b = NewBudget(0)
	if next := q.Scan(1, true, &b, func(uint64, *command.Message) Step { t.Error("a message without a budget"); return Take }); next != 1 {
		t.Errorf("without a budget it goes on at %d", next)
	}
	q.Delete()
	if len(p.live) != 0 {
		t.Errorf("%d records are left", len(p.live))
	}
}
