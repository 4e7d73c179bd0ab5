package cluster

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// downWatch tells the leader's owner which nodes are gone.
type downWatch struct {
	c      *Cluster
	untold chan string

	mu      sync.Mutex
	members map[string]bool // of the last configuration that was applied
	former  map[string]bool // members once, since this process began
}

const (
	downRepeat   = 5 * time.Second
	formerRepeat = time.Minute
	// stoodStill is how late a tick must be to mean that this process itself was
	// stopped, so that the silence of others is no evidence.
	stoodStill = time.Second
)

func newDownWatch(c *Cluster) *downWatch {
	return &downWatch{c: c, untold: make(chan string, 64), former: make(map[string]bool)}
}

// configured takes each configuration, from the state machine's goroutine.
func (d *downWatch) configured(conf raft.Configuration) {
	now := make(map[string]bool)
	for _, s := range conf.Servers {
		now[string(s.ID)] = true
	}
	d.mu.Lock()
	for id := range d.members {
		if !now[id] {
			d.former[id] = true
		}
	}
	for id := range now {
		delete(d.former, id)
	}
	d.members = now
	d.mu.Unlock()
	d.c.wake()
}

// restored takes the configuration that came with a snapshot instead of an entry.
func (d *downWatch) restored() {
	d.mu.Lock()
	missing := d.members == nil
	d.mu.Unlock()
	if missing {
		if conf := d.c.servers(); len(conf) > 0 {
			d.configured(raft.Configuration{Servers: conf})
		}
	}
}

func (d *downWatch) formerMembers() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.former))
}

func (d *downWatch) run() {
	t := d.c.cfg.Timing
	every := min(t.GoneGrace, t.NodeGrace, time.Second) / 4
	tick := time.NewTicker(max(every, time.Millisecond))
	defer tick.Stop()
	told := make(map[string]time.Time)
	last := time.Now()
	var term uint64
	for {
		select {
		case <-tick.C:
		case <-d.c.ctx.Done():
			return
		}
		now := time.Now()
		if now.Sub(last) > every+stoodStill {
			d.c.peers.forgive()
		}
		last = now
		d.restored()
		leading, leads := d.c.leadingTerm()
		if !leads || leading != term {
			term = leading
			clear(told) // a new leader tells all anew
		}
		if leads {
			d.check(now, told)
		}
	}
}

// check tells of the nodes that are down now and were not told of lately.
func (d *downWatch) check(now time.Time, told map[string]time.Time) {
	due := make(map[string]bool)
	for _, id := range d.formerMembers() {
		if now.Sub(told[id]) >= formerRepeat {
			due[id] = true
		}
	}
	for _, s := range d.c.servers() {
		id := string(s.ID)
		if id == d.c.cfg.ID {
			continue
		}
		switch p := d.c.peers.get(id); {
		case p == nil:
			return
		case !d.c.isDown(p.view(), now):
			delete(told, id)
		case now.Sub(told[id]) >= downRepeat:
			due[id] = true
		}
	}
	if len(due) == 0 {
		return
	}
	// A leader that was deposed and has not heard yet must not judge.
	if err := d.c.verifyLeader(); err != nil {
		return
	}
	for id := range due {
		select {
		case d.untold <- id:
			told[id] = now
		default: // the owner is slow: next time
		}
	}
}

// isDown judges a node by its link: its process is gone for GoneGrace, or it has
// not been heard for NodeGrace.
func (c *Cluster) isDown(v peerView, now time.Time) bool {
	t := c.cfg.Timing
	return (!v.refused.IsZero() && now.Sub(v.refused) >= t.GoneGrace) || now.Sub(v.heard) >= t.NodeGrace
}

// announce calls OnDown.
func (d *downWatch) announce() {
	for {
		select {
		case id := <-d.untold:
			d.c.log.Warn("node is down", "down", id)
			if d.c.cfg.OnDown != nil {
				d.c.cfg.OnDown(id)
			}
		case <-d.c.ctx.Done():
			return
		}
	}
}
