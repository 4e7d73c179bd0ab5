package proc

import (
	"sync/atomic"
	"time"
)

// WatchMachine returns what says for how long a goroutine that wanted to run could not, at most, since the call:
// on a machine that lets processes wait for as long as a node waits for its leader, an election says nothing.
func WatchMachine() (longest func() time.Duration) {
	const every = 5 * time.Millisecond
	var most atomic.Int64
	stop := make(chan struct{})
	go func() {
		for last := time.Now(); ; {
			select {
			case <-stop:
				return
			case <-time.After(every):
			}
			now := time.Now()
			most.Store(max(most.Load(), int64(now.Sub(last)-every)))
			last = now
		}
	}()
	return func() time.Duration {
		close(stop)
		return time.Duration(most.Load())
	}
}
