package load

import (
	"sync"
	"time"

	"warren/cmd/warrenperf/internal/hist"
)

// Counts are events, since the last take or of the measurement.
type Counts struct {
	Sent        uint64 `json:"sent"`
	Confirmed   uint64 `json:"confirmed"`
	Nacked      uint64 `json:"nacked"`
	Returned    uint64 `json:"returned"`
	Received    uint64 `json:"received"`
	Acked       uint64 `json:"acked"` // deliveries that were acknowledged
	Redelivered uint64 `json:"redelivered"`
	Blocked     uint64 `json:"blocked"` // connection.blocked
}

func (c *Counts) add(o Counts) {
	c.Sent += o.Sent
	c.Confirmed += o.Confirmed
	c.Nacked += o.Nacked
	c.Returned += o.Returned
	c.Received += o.Received
	c.Acked += o.Acked
	c.Redelivered += o.Redelivered
	c.Blocked += o.Blocked
}

// A sample is what happened in some span of time.
type sample struct {
	Counts
	confirm  hist.Histogram // from publish to confirm
	endToEnd hist.Histogram // from publish to delivery
}

func (s *sample) merge(o *sample) {
	s.add(o.Counts)
	s.confirm.Merge(&o.confirm)
	s.endToEnd.Merge(&o.endToEnd)
}

func (s *sample) reset() {
	s.Counts = Counts{}
	s.confirm.Reset()
	s.endToEnd.Reset()
}

// stats is a client's share of the figures. Its owner locks it once for a burst of
// frames; the reporter once a second.
type stats struct {
	mu   sync.Mutex
	cur  sample // since the last take
	last int64  // when something happened last
}

// take moves what was counted to another sample.
func (s *stats) take(into *sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	into.merge(&s.cur)
	s.cur.reset()
}

// recent returns when something happened last, 0 for never.
func (s *stats) recent() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

func since(stamp, at int64) time.Duration { return time.Duration(at - stamp) }
