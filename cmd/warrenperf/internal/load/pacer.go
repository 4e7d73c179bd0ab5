package load

import "time"

// A pacer says when messages are due at a steady rate. What could not be sent in
// time is due at once later, but no more than a second's worth: a producer that
// was held up does not flood the broker afterwards.
type pacer struct {
	rate  float64 // a second; 0: no limit
	start int64   // when the first message is due
	sent  uint64
}

// minSleep keeps the number of wake-ups bounded at high rates: messages gather.
const minSleep = 500 * time.Microsecond

// due returns how many messages may go at a moment, and when there are none, how
// long to wait.
func (p *pacer) due(at int64) (n uint64, wait time.Duration) {
	if p.rate <= 0 {
		return 1 << 32, 0
	}
	if at < p.start {
		return 0, time.Duration(p.start - at)
	}
	const rounding = 1e-6 // of a message: at the moment that it is due it is
	expected := uint64(float64(at-p.start)/1e9*p.rate+rounding) + 1
	if expected > p.sent {
		if most := uint64(p.rate) + 1; expected-p.sent > most {
			p.sent = expected - most
		}
		return expected - p.sent, 0
	}
	next := p.start + int64(float64(p.sent)/p.rate*1e9)
	return 0, max(time.Duration(next-at), minSleep)
}
