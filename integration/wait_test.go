package integration

import (
	"testing"
	"time"

	"warren/integration/proc"
)

// patience bounds every wait of a test, poll is the pause between two looks at a condition.
const (
	patience = proc.Patience
	poll     = proc.Poll
)

// eventually waits until check returns nil and fails the test with check's last
// error when that does not happen within patience.
func eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	if err := waitFor(patience, check); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// waitFor repeats check until it returns nil or the time is up.
func waitFor(limit time.Duration, check func() error) error { return proc.WaitFor(limit, check) }

// receive takes one value from a channel, or fails the test.
func receive[T any](t testing.TB, what string, from <-chan T) T {
	t.Helper()
	select {
	case v, ok := <-from:
		if !ok {
			t.Fatalf("%s: channel closed", what)
		}
		return v
	case <-time.After(patience):
		t.Fatalf("%s: nothing after %v", what, patience)
	}
	panic("unreachable")
}
