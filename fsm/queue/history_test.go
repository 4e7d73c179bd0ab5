package queue

import (
	"fmt"
	"testing"
)

// TestHistoryLast asks for the newest messages of a history in memory and on disk: no more than wanted, in order, and of no more bytes,
// properties included, than allowed.
func TestHistoryLast(t *testing.T) {
	s, p, _ := newPaged()
	h := s.NewHistory(7, "/", "x")
	const kept = 2*chunkSize + 100
	for i := range kept + 50 {
		h.Add(s.NewMessage("x", fmt.Appendf(nil, "%06d", i), make([]byte, 1000), []byte("body")), kept, 1<<30)
	}
	const each = 6 + 1000 + 4 + messageCost
	for _, away := range []bool{false, true} {
		if away {
			p.checkpoint(t, s, h.Queue())
			s.Evict()
		}
		resident := s.Resident()
		for _, c := range []struct {
			most  int
			bytes int64
			want  int
		}{
			{1 << 16, 1 << 30, kept},
			{kept, 1 << 30, kept},
			{chunkSize + 1, 1 << 30, chunkSize + 1},
			{0, 1 << 30, 1},
			{1 << 16, 300 * each, 300},
			{1 << 16, 300*each - 1, 299},
			{1 << 16, 1, 1},
		} {
			got := h.Last(c.most, c.bytes)
			if len(got) != c.want {
				t.Errorf("away %v: %d messages of %d, with at most %d of %d bytes", away, len(got), c.want, c.most, c.bytes)
				continue
			}
			for i, m := range got {
				if want := fmt.Sprintf("%06d", kept+50-c.want+i); string(m.Key) != want {
					t.Fatalf("away %v: message %d of %d is %s and not %s", away, i, c.want, m.Key, want)
				}
			}
		}
		if s.Resident() != resident {
			t.Errorf("away %v: the messages came to memory", away)
		}
	}
	if got := s.NewHistory(8, "/", "y").Last(10, 10); len(got) != 0 {
		t.Errorf("an empty history has %d messages", len(got))
	}
}
