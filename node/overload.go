package node

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"warren/cluster"
	"warren/node/alarm"
	"warren/node/management"
)

const (
	// alarmsTick is how often the nodes that are alive are looked at, and
	// alarmsRefresh how often each is asked though nothing seems to have changed.
	alarmsTick    = time.Second
	alarmsRefresh = 10 * time.Second
	alarmsTimeout = 2 * time.Second // of one call
)

// alarms knows the alarms of all nodes. A change goes to every node that is alive, at
// once; a node that was not there before is told and asked, for the answer to a report
// is the report of the other. So every node knows what each other has raised, and none
// of it needs the log, which a full disk may keep from growing.
type alarms struct {
	n       *Node
	monitor *alarm.Monitor
	board   alarm.Board
	changed chan struct{} // capacity 1

	mu    sync.Mutex
	own   alarm.Report
	peers map[string]*alarmPeer
}

// An alarmPeer is what another node is known to know of us.
type alarmPeer struct {
	busy    bool // a call is under way
	version uint64
	at      time.Time
}

func newAlarms(n *Node) *alarms {
	n.limits.SetBytes(n.cfg.kept(memoryLimit(n.cfg.MemoryWatermark)))
	a := &alarms{
		n: n, changed: make(chan struct{}, 1), peers: make(map[string]*alarmPeer),
		own: alarm.Report{Instance: uint64(time.Now().UnixNano()), Version: 1},
	}
	a.monitor = alarm.NewMonitor(alarm.Config{
		MemoryLimit: memoryLimit(n.cfg.MemoryWatermark),
		DiskLimit:   max(n.cfg.DiskFreeLimit, 0),
		MemoryUsed:  alarm.MemoryUsed,
		DiskFree:    func() (int64, error) { return alarm.DiskFree(n.cfg.DataDir) },
		Collect:     debug.FreeOSMemory,
		Changed:     a.raised,
		Logger:      n.log,
	})
	a.raised(a.monitor.State())
	return a
}

// raised takes the alarms of this node.
func (a *alarms) raised(s alarm.State) {
	a.mu.Lock()
	if s.Raised != a.own.Raised {
		a.n.alarmEvents(a.own.Raised, s.Raised)
		a.own.Raised = s.Raised
		a.own.Version++
	}
	own := a.own
	a.mu.Unlock()
	a.board.Put(a.n.id, own)
	a.n.setLow(a.board.All())
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// run keeps the nodes informed of one another until ctx ends.
func (a *alarms) run(ctx context.Context) {
	a.n.spawn(func() { a.monitor.Run(ctx) })
	tick := time.NewTicker(alarmsTick)
	defer tick.Stop()
	for {
		a.spread(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-a.changed:
		}
	}
}

// spread lets go of the alarms of nodes that are gone, and calls those that do not
// know of ours or were not asked for theirs.
func (a *alarms) spread(ctx context.Context) {
	alive := map[string]string{a.n.id: a.n.cfg.NodeName}
	for _, m := range a.n.cluster.Members() {
		if m.Alive {
			alive[m.ID] = m.Name
		}
	}
	isAlive := func(id string) bool { _, ok := alive[id]; return ok }
	for _, id := range a.board.Keep(isAlive) {
		a.n.log.Info("a node is gone, and its alarms with it", "gone_id", id)
	}
	a.n.setLow(a.board.All())

	a.mu.Lock()
	defer a.mu.Unlock()
	for id := range a.peers {
		if !isAlive(id) {
			delete(a.peers, id)
		}
	}
	for id, name := range alive {
		if id == a.n.id {
			continue
		}
		p := a.peers[id]
		if p == nil {
			p = new(alarmPeer)
			a.peers[id] = p
		}
		if p.busy || p.version == a.own.Version && time.Since(p.at) < alarmsRefresh {
			continue
		}
		p.busy = true
		own := a.own
		a.n.spawn(func() { a.exchange(ctx, id, name, p, own) })
	}
}

// exchange tells one node of our alarms and takes its own from the answer. When that
// fails the next tick tries again.
func (a *alarms) exchange(ctx context.Context, id, name string, p *alarmPeer, own alarm.Report) {
	err := a.call(ctx, id, own)
	a.mu.Lock()
	p.busy = false
	if err == nil {
		p.version, p.at = own.Version, time.Now()
	}
	again := err == nil && own.Version != a.own.Version
	a.mu.Unlock()
	if err != nil {
		a.n.log.Debug("alarms were not exchanged", "with", name, "err", err)
	}
	if again {
		select {
		case a.changed <- struct{}{}:
		default:
		}
	}
}

func (a *alarms) call(ctx context.Context, id string, own alarm.Report) error {
	payload, err := json.Marshal(own)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, alarmsTimeout)
	defer cancel()
	answer, err := a.n.cluster.Call(ctx, id, callAlarms, payload)
	if err != nil {
		return err
	}
	return a.take(id, answer)
}

// answer is the other side of call.
func (a *alarms) answer(_ context.Context, from string, payload []byte) ([]byte, error) {
	if err := a.take(from, payload); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return json.Marshal(a.own)
}

// take takes the report of another node.
func (a *alarms) take(id string, payload []byte) error {
	var r alarm.Report
	if err := json.Unmarshal(payload, &r); err != nil {
		return fmt.Errorf("report of alarms: %w", err)
	}
	if !a.board.Put(id, r) {
		return nil
	}
	a.n.log.Info("alarms of another node have changed", "id", id, "low_on", r.Raised.Resources())
	a.n.setLow(a.board.All())
	return nil
}

// raisedBy lists the alarms by the name of the node, in the order of the members.
func (a *alarms) raisedBy(members []cluster.Member) []management.Alarm {
	raised := a.board.Raised()
	list := []management.Alarm{}
	for _, m := range members {
		for _, resource := range raised[m.ID].Resources() {
			list = append(list, management.Alarm{Node: m.Name, Resource: resource})
		}
	}
	return list
}
