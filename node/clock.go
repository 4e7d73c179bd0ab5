package node

import (
	"log/slog"
	"sync"
	"time"
)

// The clock of a leader that is off: by how much, and for how long it is not believed.
const (
	clockJump  = 10 * time.Second
	clockDoubt = time.Minute
)

// A stampClock gives the stamps of log entries. The machine's time never goes back, so one entry
// with a time far ahead would end all that is to expire before it, and nothing would expire
// until the clocks have come there. So a clock that jumps ahead while the process runs is believed only when it
// has stayed there for a while; until then time goes on without the jump. What the clock says
// as the process starts is believed.
type stampClock struct {
	log  *slog.Logger
	wall func() int64         // milliseconds since the Unix epoch
	run  func() time.Duration // that the process runs: no clock sets it

	mu     sync.Mutex
	last   int64         // what the last stamp was,
	at     time.Duration // and when
	odd    bool          // the clock is ahead since
	since  time.Duration
	behind time.Duration // when it was last said that the clock is behind; 0: never
	passed int64         // the machine's time,
	heard  time.Duration // and since when it is that
}

func newStampClock(log *slog.Logger) *stampClock {
	start := time.Now()
	c := &stampClock{
		log:  log,
		wall: wallClock(),
		run:  func() time.Duration { return time.Since(start) },
	}
	c.last = c.wall()
	return c
}

// stamp returns the time for an entry.
func (c *stampClock) stamp() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, at := c.wall(), c.run()
	// What the cluster's time would be by now is believed as well: a clock that was behind and is set right is no jump.
	steady := max(c.last+(at-c.at).Milliseconds(), c.passed+(at-c.heard).Milliseconds())
	ahead := time.Duration(now-steady) * time.Millisecond
	switch {
	case ahead <= clockJump:
		if c.odd {
			c.log.Warn("the clock of this node is back where it was")
		}
		c.odd = false
	case !c.odd:
		c.odd, c.since = true, at
		c.log.Error("the clock of this node has jumped ahead; it is not believed for now", "by", ahead, "for", clockDoubt)
		now = steady
	case at-c.since < clockDoubt:
		now = steady
	default:
		c.odd = false
		c.log.Error("the clock of this node stays ahead and is believed: what was to expire until now does", "by", ahead)
	}
	c.last, c.at = now, at
	return now
}

// restored takes the time of a machine that was restored.
func (c *stampClock) restored(ms int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.passed, c.heard = ms, c.run()
}

// saw takes the stamp of an entry that was applied, and says when time stands still because the leader's
// clock is behind.
func (c *stampClock) saw(ms int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	behind := time.Duration(c.passed-ms) * time.Millisecond
	if ms > c.passed {
		c.passed, c.heard = ms, c.run()
	}
	if behind <= clockJump {
		return
	}
	if at := c.run(); c.behind == 0 || at-c.behind >= clockDoubt {
		c.behind = max(at, 1)
		c.log.Error("the leader's clock is behind the time of the cluster: nothing expires until it has come there", "behind", behind)
	}
}
