package alarm

import (
	"math"
	"runtime/debug"
)

// leastSoftLimit is the lowest limit that GuideCollector sets, in bytes: with less
// the collector would run all the time.
const leastSoftLimit = 128 << 20

// GuideCollector makes Go's garbage collector work harder from nine tenths of the
// limit on, so that garbage alone does not raise the alarm: what it lets grow otherwise
// is twice what is alive. A limit that GOMEMLIMIT set is left alone. The
// function that it returns undoes it.
func GuideCollector(limit int64) (undo func()) {
	if limit <= 0 || debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return func() {}
	}
	debug.SetMemoryLimit(max(limit/10*9, leastSoftLimit))
	return func() { debug.SetMemoryLimit(math.MaxInt64) }
}
