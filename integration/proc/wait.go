package proc

import (
	"errors"
	"fmt"
	"time"
)

// ErrTimeout is in what WaitFor and End return when the time is up.
var ErrTimeout = errors.New("time is up")

// Poll is the pause between two looks at a condition.
const Poll = 20 * time.Millisecond

// Slow is how many times as long as its limit a wait may take: for a machine that has much else to do.
var Slow time.Duration = 1

// WaitFor repeats check until it returns nil or the time is up; then its last error
// is in what is returned.
func WaitFor(limit time.Duration, check func() error) error {
	limit *= Slow
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w after %v: %w", ErrTimeout, limit, err)
		}
		time.Sleep(Poll)
	}
}
