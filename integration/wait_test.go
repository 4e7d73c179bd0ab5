package integration

import (
	"fmt"
	"testing"
	"time"
)

// patience bounds every wait of a test. It is generous: a healthy run needs a
// small part of it, and a noisy machine must not fail a right server.
const patience = 60 * time.Second

// poll is the pause between two looks at a condition.
const poll = 20 * time.Millisecond

// eventually waits until check returns nil and fails the test with check's last
// error when that does not happen within patience.
func eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	if err := waitFor(patience, check); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// waitFor repeats check until it returns nil or the time is up.
func waitFor(limit time.Duration, check func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w after %v: %w", errTimeout, limit, err)
		}
		time.Sleep(poll)
	}
}

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
