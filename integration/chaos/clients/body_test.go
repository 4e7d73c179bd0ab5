package clients

import "testing"

// TestBody: whoever gets a body sees whether it is whole, and whose it is.
func TestBody(t *testing.T) {
	s := Scale{Body: 1024, Large: 64}
	for id := range uint64(2000) {
		b := s.body(id)
		if got, err := s.numberOf(b); got != id || err != nil {
			t.Fatalf("body of %d: %d, %v", id, got, err)
		}
		b[len(b)-1]++
		if _, err := s.numberOf(b); err == nil {
			t.Fatalf("a changed body of %d passes", id)
		}
		if _, err := s.numberOf(b[:len(b)-1]); err == nil {
			t.Fatalf("a body of %d that was cut short passes", id)
		}
	}
}
