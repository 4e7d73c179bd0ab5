package session

import "time"

// rateSpan is the time over which a rate is taken, at least. That of RabbitMQ is as long.
const rateSpan = 5 * time.Second

// traffic is what went over a socket: received bytes and reads, sent bytes and writes.
type traffic [4]uint64

func (s *stats) traffic() traffic {
	return traffic{s.received.Load(), s.receivedReads.Load(), s.sent.Load(), s.sentWrites.Load()}
}

// A span remembers when the counts of a connection were noted. The counts stand with what they
// are of: those of the last time but one, so that the time between is rateSpan at least.
type span struct {
	before, noted time.Time // the last time but one, and the last time
	now           time.Time // when the turn of the loop began
}

// noted are counts of the two times of a span.
type noted[T any] struct{ before, last T }

func (n *noted[T]) note(now T, anew bool) {
	n.before = n.last
	if anew {
		n.before = now
	}
	n.last = now
}

// note notes the counts when it is time to. It comes before a turn of the loop, which may count.
func (c *connection) note(now time.Time) {
	s := &c.span
	s.now = now
	since := now.Sub(s.noted)
	if since < rateSpan {
		return
	}
	anew := since >= 2*rateSpan // it stood still, or did next to nothing: the old counts say little
	s.before = s.noted
	if anew {
		s.before = now
	}
	s.noted = now
	c.traffic.note(c.s.stats.traffic(), anew)
	for _, ch := range c.channels {
		ch.noted.note(ch.counts, anew)
	}
}

// perSecond returns by how much a count has grown in a second since the last note but one.
func (s *span) perSecond(before, count uint64) float64 {
	return float64(count-before) / max(s.now.Sub(s.before), rateSpan).Seconds()
}

// rates returns the rates of the channel's counts that are not 0, by name.
func (ch *channel) rates() map[string]float64 {
	named := make(map[string]float64)
	for i, n := range ch.counts {
		if r := ch.c.span.perSecond(ch.noted.before[i], n); r > 0 {
			named[countNames[i]] = r
		}
	}
	return named
}
