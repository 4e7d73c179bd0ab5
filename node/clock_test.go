package node

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestStampClock checks that a jump ahead counts only when it lasts, and that it is told.
func TestStampClock(t *testing.T) {
	var out bytes.Buffer
	var wall int64 = 1_000_000
	var run time.Duration
	c := newStampClock(slog.New(slog.NewTextHandler(&out, nil)))
	c.wall, c.run = func() int64 { return wall }, func() time.Duration { return run }
	c.last = wall
	pass := func(s int64) {
		wall += 1000 * s
		run += time.Duration(s) * time.Second
	}
	expect := func(what string, want int64, lines int) {
		t.Helper()
		if got := c.stamp(); got != want || strings.Count(out.String(), "\n") != lines {
			t.Errorf("%s: %d and not %d, log:\n%s", what, got, want, &out)
		}
	}
	pass(3600)
	expect("an hour without an entry", 4_600_000, 0)
	wall += 9000
	expect("set by 9 s", 4_609_000, 0)
	wall += 86_400_000
	expect("a day ahead", 4_609_000, 1)
	pass(50)
	expect("still", 4_659_000, 1)
	wall -= 86_400_000
	expect("and back", 4_659_000, 2)
	wall += 86_400_000
	expect("again", 4_659_000, 3)
	pass(60)
	expect("it lasts", 91_119_000, 4)
	wall -= 86_400_000
	expect("back in the past: the machine sees to that", 4_719_000, 4)
	for range 3 {
		c.saw(91_119_000)
		c.saw(4_719_000)
	}
	if got := strings.Count(out.String(), "nothing expires"); got != 1 {
		t.Errorf("it is said %d times that the clock is behind", got)
	}
	pass(61)
	c.saw(4_780_000)
	if got := strings.Count(out.String(), "nothing expires"); got != 2 {
		t.Errorf("it is said %d times that the clock is behind", got)
	}
}

// TestStampClockSetRight: a clock that was behind the time of the cluster counts as soon as it is right
// again, be it after a while; one that jumps further ahead than that does not.
func TestStampClockSetRight(t *testing.T) {
	var out bytes.Buffer
	var wall int64 = 100_000_000
	var run time.Duration
	c := newStampClock(slog.New(slog.NewTextHandler(&out, nil)))
	c.wall, c.run = func() int64 { return wall }, func() time.Duration { return run }
	c.last = wall
	stamp := func() int64 {
		s := c.stamp()
		c.saw(s)
		return s
	}
	for _, behind := range []time.Duration{3 * time.Second, 5 * time.Minute} {
		stamp()
		wall -= 86_400_000
		stamp()
		wall += behind.Milliseconds()
		run += behind
		stamp()
		wall += 86_400_000
		if got := stamp(); got != wall {
			t.Errorf("a clock that was a day behind for %v is set right, and stamps %d ms behind it", behind, wall-got)
		}
	}
	wall -= 86_400_000
	stamp()
	wall += 2 * 86_400_000
	if got := stamp(); got != wall-86_400_000 {
		t.Errorf("a clock that was behind and goes a day ahead stamps %d ms behind it", wall-got)
	}
	if got := strings.Count(out.String(), "has jumped ahead"); got != 1 {
		t.Errorf("it is said %d times that the clock has jumped", got)
	}
}

// TestTickerLooks checks that the clock is looked at again soon, however late the next thing is due: it may have been set back, and be set right.
func TestTickerLooks(t *testing.T) {
	k := newTicker()
	now := time.UnixMilli(1000)
	for due, want := range map[int64]time.Duration{0: time.Minute, 500: -500 * time.Millisecond, 1e9: lookAgain, 1010: 10 * time.Millisecond} {
		k.set(due, due != 0)
		if got := k.wait(now); got != want {
			t.Errorf("due at %d: %v and not %v", due, got, want)
		}
	}
}
