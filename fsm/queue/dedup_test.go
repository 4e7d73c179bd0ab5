package queue

import (
	"encoding/binary"
	"testing"
)

// TestDedupPrunes checks that one value lets only some old ones go, and that those that count no
// more are not known whether they are there or not.
func TestDedupPrunes(t *testing.T) {
	s := NewStore(nil)
	d := s.NewDedup(1000, 10)
	digest := func(n uint64) (v Digest) {
		binary.BigEndian.PutUint64(v[:], n)
		return v
	}
	for n := range uint64(1500) {
		d.Remember(digest(n), 0, 0)
	}
	if d.Len() != 1000 || d.Knows(digest(499), 9) || !d.Knows(digest(500), 9) {
		t.Errorf("%d values, the oldest is known: %v", d.Len(), d.Knows(digest(500), 9))
	}
	for n := uint64(1500); d.Len() > 100; n++ {
		before := d.Len()
		d.Remember(digest(n), 0, 10)
		if d.Len() < before+1-pruned || d.Len() > before {
			t.Fatalf("%d values, and %d before", d.Len(), before)
		}
		if d.Knows(digest(1499), 10) || !d.Knows(digest(n), 10) {
			t.Fatal("a value counts no more, or does not yet")
		}
		if err := d.Check(); err != nil {
			t.Fatal(err)
		}
	}
}
