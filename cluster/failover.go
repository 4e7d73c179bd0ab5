package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// failover shortens the change of a leader whose process is gone: its
// connections broke and its address refuses, or another process answers there.
// One survivor need not wait for the heartbeat timeout then.
type failover struct {
	c    *Cluster
	gone chan string

	tried Leader // the broken leader that was last stood against; one try each
}

const (
	// standStep is what each voter with a longer log makes this one wait.
	standStep = 100 * time.Millisecond
	// stagger parts voters that each found the other's log longer, because both
	// grew while they asked.
	stagger = 30 * time.Millisecond
	// positionTime bounds the question how long the others' logs are.
	positionTime = 50 * time.Millisecond
)

func newFailover(c *Cluster) *failover {
	return &failover{c: c, gone: make(chan string, 16)}
}

// gone takes evidence that the process of a node is gone. It never blocks.
func (c *Cluster) gone(id string) {
	select {
	case c.failover.gone <- id:
	default: // the link finds the same evidence again
	}
	c.wake()
}

func (f *failover) run() {
	for {
		select {
		case id := <-f.gone:
			f.succeed(f.c.ctx, id)
		case <-f.c.ctx.Done():
			return
		}
	}
}

// broken returns the leader that is gone while this node, a voter, still follows it.
func (f *failover) broken(id string) (Leader, bool) {
	r := f.c.raftNow()
	l := Leader{ID: id, Term: r.CurrentTerm(), Known: true}
	_, leader := r.LeaderWithID()
	return l, string(leader) == id && r.State() == raft.Follower && f.c.isVoter(f.c.cfg.ID) && l.Term == r.CurrentTerm()
}

// succeed stands for election when the leader is gone and this node is the best
// to follow it, or the better ones have not.
func (f *failover) succeed(ctx context.Context, id string) {
	l, broken := f.broken(id)
	if !broken || l == f.tried {
		return
	}
	f.tried = l
	rank, place := f.rank(ctx, id)
	if rank > 0 {
		pause(ctx, time.Duration(rank)*standStep+time.Duration(place)*stagger)
	}
	if now, broken := f.broken(id); !broken || now != l || ctx.Err() != nil {
		return
	}
	f.c.log.Warn("leader is gone: standing for election", "leader", id, "term", l.Term, "rank", rank)
	if err := f.c.transport.stand(f.c.cfg.ID, f.c.cfg.Timing.Election); err != nil {
		f.c.log.Warn("could not stand for election", "error", err)
	}
}

// rank counts the voters that should stand before this one: those with a longer
// log, or with an equal one and a lower id. Its own length is read before it asks,
// so that two which ask each other while their logs grow rather both give way than
// both stand. place is how many of them have a lower id.
func (f *failover) rank(ctx context.Context, gone string) (rank, place int) {
	ctx, cancel := context.WithTimeout(ctx, positionTime)
	defer cancel()
	own := f.c.position()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, s := range f.c.servers() {
		id := string(s.ID)
		if id == f.c.cfg.ID || id == gone || s.Suffrage != raft.Voter {
			continue
		}
		if id < f.c.cfg.ID {
			place++
		}
		wg.Go(func() {
			p, err := f.c.askPosition(ctx, id)
			if err != nil {
				return // it does not stand in the way
			}
			if p.better(own) || (!own.better(p) && id < f.c.cfg.ID) {
				mu.Lock()
				rank++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return rank, place
}

// position is how far a node's log goes.
type position struct{ lastTerm, lastIndex uint64 }

func (p position) better(q position) bool {
	return p.lastTerm > q.lastTerm || (p.lastTerm == q.lastTerm && p.lastIndex > q.lastIndex)
}

const methodPosition = "cluster.position" // nothing → last term, last index

func (c *Cluster) position() position {
	r := c.raftNow()
	p := position{lastIndex: r.LastIndex()}
	var l raft.Log
	if err := c.stores.log.GetLog(p.lastIndex, &l); err == nil {
		p.lastTerm = l.Term
	} else if snaps, err := c.stores.snaps.List(); err == nil && len(snaps) > 0 {
		p.lastTerm = snaps[0].Term
	}
	return p
}

func (c *Cluster) onPosition(context.Context, string, []byte) ([]byte, error) {
	p := c.position()
	return putUint64s(p.lastTerm, p.lastIndex), nil
}

func (c *Cluster) askPosition(ctx context.Context, id string) (position, error) {
	b, err := c.Call(ctx, id, methodPosition, nil)
	if err != nil {
		return position{}, err
	}
	v, err := uint64s(b, 2)
	if err != nil {
		return position{}, err
	}
	return position{v[0], v[1]}, nil
}
