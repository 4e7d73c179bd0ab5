package replica

import (
	"context"
	"sync"
	"sync/atomic"
)

// progress is an index that grows, which some wait for. Who raises it pays nothing
// while nobody waits.
type progress struct {
	index   atomic.Uint64
	waiting atomic.Bool

	mu   sync.Mutex
	next chan struct{} // closed by tell; nil: nobody waits
}

// tell wakes those who wait, after the index was raised.
func (p *progress) tell() {
	if !p.waiting.Load() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting.Store(false)
	if p.next != nil {
		close(p.next)
		p.next = nil
	}
}

// reach waits until the index is reached. It returns false when ctx ends first.
func (p *progress) reach(ctx context.Context, index uint64) bool {
	for p.index.Load() < index {
		p.mu.Lock()
		if p.next == nil {
			p.next = make(chan struct{})
		}
		next := p.next
		p.waiting.Store(true)
		p.mu.Unlock()
		if p.index.Load() >= index { // raised before it was known that we wait
			return true
		}
		select {
		case <-next:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
