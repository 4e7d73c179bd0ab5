package integration

import (
	"strings"
	"testing"
)

// TestCheckArrivals makes sure that the judge of the fault tests sees what it is
// there to see.
func TestCheckArrivals(t *testing.T) {
	arrivals := func(seqs ...int) []arrival {
		var all []arrival
		for _, s := range seqs {
			if s < 0 { // redelivered
				all = append(all, arrival{uint64(-s), true})
			} else {
				all = append(all, arrival{uint64(s), false})
			}
		}
		return all
	}
	cases := []struct {
		name         string
		arrivals     []arrival
		repeated     map[uint64]bool
		redeliveries bool
		want         string // part of the complaint; empty: none
	}{
		{"in order", arrivals(1, 2, 3), nil, false, ""},
		{"a gap is for complete to judge", arrivals(1, 3), nil, false, ""},
		{"twice", arrivals(1, 2, 2, 3), nil, false, "message 2 came 2 times"},
		{"out of order", arrivals(1, 3, 2), nil, false, "message 2 came after 3"},
		{"never published", arrivals(1, 9), nil, false, "message 9 was never published"},
		{"redelivered to nobody's loss", arrivals(1, -1, 2), nil, false, "message 1 is marked redelivered"},
		{"redelivered after a loss", arrivals(1, 2, -1, -2, 3), nil, true, ""},
		{"redelivered late", arrivals(1, 2, 4, -3, 5), nil, true, ""},
		{"twice unmarked in spite of a loss", arrivals(1, 2, 1, 2, 3), nil, true, "message 1 came 2 times"},
		{"published again", arrivals(1, 2, 3, 2, 3, 4), map[uint64]bool{2: true, 3: true}, false, ""},
		{"another one published again", arrivals(1, 2, 3, 1, 4), map[uint64]bool{2: true}, false, "message 1 came 2 times"},
	}
	for _, c := range cases {
		errs := checkArrivals(c.arrivals, 5, c.repeated, c.redeliveries)
		switch {
		case c.want == "" && len(errs) > 0:
			t.Errorf("%s: %v", c.name, errs)
		case c.want != "" && (len(errs) == 0 || !strings.Contains(errs[0].Error(), c.want)):
			t.Errorf("%s: got %v, want the complaint: %s", c.name, errs, c.want)
		}
	}
}

// TestCheckLoss: a confirmed message that never arrived is found.
func TestCheckLoss(t *testing.T) {
	f := &flow{pub: &loadPublisher{history: newHistory()}, con: &loadConsumer{}}
	f.pub.published = 3
	f.pub.confirm(1)
	f.pub.confirm(2)
	f.con.arrivals = []arrival{{1, false}, {3, false}}
	errs := f.check(loss{})
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), "1 of 2 confirmed messages are missing, the first is 2") {
		t.Errorf("got %v", errs)
	}
}
