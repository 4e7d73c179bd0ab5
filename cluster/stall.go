package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// A disk may stand still without an error: a controller that resets, a network volume
// that is gone, a frozen file system. The leader of such a node still sends heartbeats, so
// nobody would stand against it, and nothing would be confirmed. So it asks the others
// to take over (Timing.DiskStall), and a node of any role stops when its disk does not
// come back (Timing.DiskFail): its clients are let go, and go elsewhere.

const methodStandIn = "cluster.standin" // term → nothing; an error is a refusal

const (
	// slowMemory is how long a voter whose disk was slow does not take over for that
	// reason: nodes that share a slow disk would hand leadership around.
	slowMemory = 30 * time.Second
	// standInAgain is the least time between two requests of a leader to be followed.
	standInAgain = 5 * time.Second
)

// watchDisk looks at the operations that are under way until the node stops.
func (c *Cluster) watchDisk() {
	t := c.cfg.Timing
	if t.DiskStall <= 0 {
		return
	}
	every := t.DiskStall / 8
	tick := time.NewTicker(max(every, time.Millisecond))
	defer tick.Stop()
	last := time.Now()
	var asked time.Time
	warned := false
	for {
		select {
		case <-tick.C:
		case <-c.ctx.Done():
			return
		}
		now := time.Now()
		if now.Sub(last) > every+stoodStill {
			c.stores.disk.forgive(now)
		}
		last = now
		what, age := c.stores.disk.oldest(now)
		if age >= t.DiskStall/2 {
			c.stores.disk.noteSlow(now)
		}
		stalled := age >= t.DiskStall
		if stalled && !warned {
			c.log.Warn("the disk stands still", "operation", what, "for", age)
		}
		warned = stalled
		if stalled && now.Sub(asked) >= standInAgain {
			if term, leads := c.leadingTerm(); leads {
				asked = now
				c.wg.Go(func() { c.askStandIn(term) }) // to wait here would look like standing still
			}
		}
		if t.DiskFail > 0 && age >= t.DiskFail {
			_ = c.stores.disk.fail(fmt.Errorf("%s: the disk has not answered for %v: is it broken, full or unreachable?", what, age.Round(time.Millisecond))) // it tells the owner
			return
		}
	}
}

// askStandIn asks all other voters to take over from this leader. Each judges for itself;
// the best of those that would do it.
func (c *Cluster) askStandIn(term uint64) {
	ctx, cancel := context.WithTimeout(c.ctx, c.cfg.Timing.Dial)
	defer cancel()
	var wg sync.WaitGroup
	for _, s := range c.servers() {
		id := string(s.ID)
		if s.Suffrage != raft.Voter || id == c.cfg.ID {
			continue
		}
		wg.Go(func() {
			if _, err := c.Call(ctx, id, methodStandIn, putUint64s(term)); err != nil {
				c.log.Info("a node does not take over from this one, whose disk stands still", "asked", id, "error", err)
			}
		})
	}
	wg.Wait()
}

// onStandIn takes the request of a leader whose disk stands still.
func (c *Cluster) onStandIn(_ context.Context, from string, payload []byte) ([]byte, error) {
	v, err := uint64s(payload, 1)
	if err != nil {
		return nil, err
	}
	if c.reluctant.Load() {
		return nil, ErrReluctant
	}
	now := time.Now()
	if l := c.Leader(); !l.Known || l.ID != from || l.Term != v[0] {
		return nil, fmt.Errorf("%s does not lead in term %d", from, v[0])
	}
	if what, age := c.stores.disk.oldest(now); what != "" && age >= c.cfg.Timing.DiskStall/4 {
		return nil, fmt.Errorf("the disk of this node is slow too: %s takes %v by now", what, age)
	}
	if c.stores.disk.slowSince(now.Add(-slowMemory)) {
		return nil, fmt.Errorf("the disk of this node was slow too within %v", slowMemory)
	}
	c.gone(from, now)
	return nil, nil
}
