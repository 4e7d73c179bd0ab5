package cluster

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// leaderWatch follows who leads and tells it on, in order.
type leaderWatch struct {
	c       *Cluster
	changed chan raft.Observation // a signal: what it carries is old when it is read

	mu      sync.Mutex
	now     Leader
	since   time.Time // when now was seen first
	untold  []Leader
	arrived chan struct{}
}

func newLeaderWatch(c *Cluster) *leaderWatch {
	return &leaderWatch{c: c, changed: make(chan raft.Observation, 1), arrived: make(chan struct{}, 1)}
}

func (w *leaderWatch) get() Leader {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// current is get, and since when it is so.
func (w *leaderWatch) current() (Leader, time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now, w.since
}

func (w *leaderWatch) run() {
	r := w.c.raftNow()
	o := raft.NewObserver(w.changed, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.LeaderObservation, raft.RaftState:
			return true
		}
		return false
	})
	r.RegisterObserver(o)
	defer r.DeregisterObserver(o)
	for {
		w.look(r)
		select {
		case <-w.changed:
		case <-w.c.ctx.Done():
			return
		}
	}
}

// look reads who leads in which term. The term belongs to the leader when it is
// the same before and after.
func (w *leaderWatch) look(r *raft.Raft) {
	var l Leader
	for {
		l.Term = r.CurrentTerm()
		_, id := r.LeaderWithID()
		l.ID, l.Known, l.Self = string(id), id != "", string(id) == w.c.cfg.ID
		if r.CurrentTerm() == l.Term {
			break
		}
	}
	w.mu.Lock()
	if l == w.now || (!l.Known && !w.now.Known) {
		w.mu.Unlock()
		return
	}
	w.now, w.since = l, time.Now()
	w.untold = append(w.untold, l)
	w.mu.Unlock()
	if l.Known {
		w.c.log.Info("leader", "leader", l.ID, "term", l.Term, "self", l.Self)
	} else {
		w.c.log.Info("no leader", "term", l.Term)
	}
	w.c.transport.forget()
	w.c.proposals.leaderChanged(l)
	w.c.wake()
	select {
	case w.arrived <- struct{}{}:
	default:
	}
}

// announce calls OnLeader.
func (w *leaderWatch) announce() {
	for {
		select {
		case <-w.arrived:
		case <-w.c.ctx.Done():
			return
		}
		w.mu.Lock()
		todo := w.untold
		w.untold = nil
		w.mu.Unlock()
		if w.c.cfg.OnLeader == nil {
			continue
		}
		for _, l := range todo {
			w.c.cfg.OnLeader(l)
		}
	}
}
