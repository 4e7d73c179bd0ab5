package node

import (
	"context"
	"sync/atomic"
	"time"

	"warren/cluster"
	"warren/fsm"
	"warren/fsm/command"
)

// lookAgain is how often the clock is looked at while something is to happen later: one that was set back and is set
// right again leaves nothing overdue for longer.
const lookAgain = time.Second

// tickRetry is how long a node waits before it looks again at what is overdue: another one
// leads, or its tick is on the way.
const tickRetry = 20 * time.Millisecond

// A ticker remembers when something is to happen in the state machine by itself. The machine
// has no clock: time comes to it with the entries of the log.
type ticker struct {
	due     atomic.Int64  // milliseconds since the Unix epoch, 0: never
	earlier chan struct{} // capacity 1: due is earlier than it was
}

func newTicker() *ticker { return &ticker{earlier: make(chan struct{}, 1)} }

// set takes what the machine says after an entry. It does not block.
func (t *ticker) set(due int64, ok bool) {
	if !ok {
		due = 0
	} else if due == 0 {
		due = 1 // long ago
	}
	before := t.due.Swap(due)
	if due != 0 && (before == 0 || due < before) {
		select {
		case t.earlier <- struct{}{}:
		default:
		}
	}
}

// wait returns how long it is until something is due, or the clock is to be looked at again.
func (t *ticker) wait(now time.Time) time.Duration {
	due := t.due.Load()
	if due == 0 {
		return time.Minute
	}
	return min(time.UnixMilli(due).Sub(now), lookAgain)
}

// ticks proposes a tick when something is due and no other entry brings the time to the
// state machine, while this node leads.
func (n *Node) ticks(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.ticker.earlier:
		case <-timer.C:
		}
		wait := n.ticker.wait(time.UnixMilli(n.clock.stamp())) // the time that a tick would bring
		if wait <= 0 {
			wait = tickRetry
			if n.cluster.IsLeader() {
				wait = n.tick(ctx)
			}
		}
		timer.Reset(wait)
	}
}

// tick proposes one and waits until it is in the log. It returns how long to wait before the next look.
func (n *Node) tick(ctx context.Context) time.Duration {
	answer := make(chan cluster.Answer, 1)
	batch := command.AppendToBatch(command.NewBatch(nil, 0, 0), new(command.Tick))
	n.cluster.Propose(batch, func(a cluster.Answer) { answer <- a })
	select {
	case <-ctx.Done():
	case a := <-answer:
		if a == cluster.Committed {
			return time.Millisecond // it is about to be applied
		}
	}
	return tickRetry
}

// takeDue remembers when something is due in a machine that was just restored.
func (n *Node) takeDue(m *fsm.Machine) { n.ticker.set(m.NextDue()) }
