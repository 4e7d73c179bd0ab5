package fsm_test

import (
	"slices"
	"testing"

	"warren/fsm/command"
)

// TestMore checks that a delivery says whether other messages were ready behind it.
func TestMore(t *testing.T) {
	f := newFeed(t)
	f.declare("q")
	ch := command.Channel{Conn: 1, Number: 1}
	more := func() (all []bool) {
		for i := range f.out.Effects {
			if e := &f.out.Effects[i]; e.Kind == command.EffectDeliver {
				all = append(all, e.More)
			}
		}
		return all
	}
	f.do(publishing("q", 10), publishing("q", 10), publishing("q", 10))
	f.do(&command.Consume{VHost: "/", Channel: ch, Queue: "q", Tag: "t", Prefetch: 2, Limit: 1 << 62})
	if got := more(); !slices.Equal(got, []bool{true, true}) {
		t.Errorf("two of three given out: %v", got)
	}
	f.do(&command.Settle{Channel: ch, From: 1, To: 2, Outcome: command.Ack})
	if got := more(); !slices.Equal(got, []bool{false}) {
		t.Errorf("the last given out: %v", got)
	}
	f.do(publishing("q", 10))
	if got := more(); !slices.Equal(got, []bool{false}) {
		t.Errorf("a message for a consumer that waits: %v", got)
	}
}
