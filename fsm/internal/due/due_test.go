package due

import (
	"math/rand/v2"
	"testing"
)

type thing struct {
	Item
	id uint64
	at int64 // below 0: nothing is due
}

func (t *thing) Due() (int64, bool) { return t.at, t.at >= 0 }

// TestIndex moves things about at random, and compares what comes first with a search.
func TestIndex(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var x Index
	things := make([]*thing, 40)
	for i := range things {
		things[i] = &thing{id: uint64(i), at: -1}
	}
	for range 20000 {
		it := things[r.IntN(len(things))]
		switch r.IntN(4) {
		case 0:
			it.at = int64(r.IntN(50))
			x.Wake(&it.Item, it, it.id, it.at)
		case 1:
			it.at = int64(r.IntN(50))
			x.Wake(&it.Item, it, it.id, it.at-int64(r.IntN(3))) // too early
		case 2:
			if it.at >= 0 {
				it.at += int64(r.IntN(20)) // put off
			}
		case 3:
			it.at = -1
			if r.IntN(2) == 0 {
				it.Remove()
			}
		}
		var want *thing
		for _, other := range things {
			if other.at >= 0 && (want == nil || other.at < want.at) {
				want = other
			}
		}
		got, at := x.First()
		if want == nil {
			if got != nil || x.Len() > 0 && x.Next(1000) != nil {
				t.Fatalf("%v is due and nothing should be", got)
			}
			continue
		}
		if got != want || at != want.at {
			t.Fatalf("%+v is first and not %+v", got, want)
		}
		if x.Next(at-1) != nil || x.Next(at) != want {
			t.Fatal("Next knows another time than First")
		}
	}
}
