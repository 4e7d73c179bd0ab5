//go:build !chaos

package node

import "time"

// wallClock returns the clock of the system: milliseconds since the Unix epoch.
func wallClock() func() int64 {
	return func() int64 { return time.Now().UnixMilli() }
}
