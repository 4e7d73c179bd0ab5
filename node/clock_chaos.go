//go:build chaos

package node

import (
	"os"
	"strconv"
	"time"
)

// wallClock returns the clock of the system, off by as many milliseconds as the file says that
// WARREN_TEST_CLOCK names: integration/chaos lets the clocks of nodes jump. No server that is shipped is
// built with this tag.
func wallClock() func() int64 {
	path := os.Getenv("WARREN_TEST_CLOCK")
	return func() int64 {
		now := time.Now().UnixMilli()
		b, err := os.ReadFile(path)
		if err != nil {
			return now // none yet
		}
		off, err := strconv.ParseInt(string(b), 10, 64)
		if err != nil {
			panic("WARREN_TEST_CLOCK: " + err.Error())
		}
		return now + off
	}
}
