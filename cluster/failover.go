package cluster

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// failover shortens the change of a leader whose process is gone: its
// connections broke and its address refuses, or another process answers there.
// One survivor need not wait for the heartbeat timeout then. And that of a leader from
// which most of the voters have not heard for that time, see silence.
type failover struct {
	c    *Cluster
	gone chan evidence

	tried Leader // the broken leader that was last stood against; one try each
	stood atomic.Int64
}

// evidence is that a node's process was gone, or silent, at a time. It says nothing of a leader
// that was learnt of later: that may be the process which came after.
type evidence struct {
	id     string
	at     time.Time
	silent bool // its process need not be gone
}

const (
	// standStep is what each voter with a longer log makes this one wait: longer
	// than an election takes on a busy machine, because two that stand at once cost
	// a whole election timeout.
	standStep = 200 * time.Millisecond
	// stagger parts voters that each found the other's log longer, because both
	// grew while they asked.
	stagger = 30 * time.Millisecond
	// rankAgain is how often a voter that is not the best looks whether it is now.
	rankAgain = 10 * time.Millisecond
	// positionTime bounds the question how long the others' logs are.
	positionTime = 50 * time.Millisecond
)

func newFailover(c *Cluster) *failover {
	return &failover{c: c, gone: make(chan evidence, 16)}
}

// gone takes evidence that the process of a node is gone. It never blocks.
func (c *Cluster) gone(id string, at time.Time) {
	select {
	case c.failover.gone <- evidence{id: id, at: at}:
	default: // the link finds the same evidence again
	}
	c.wake()
}

// silent takes evidence that most voters have not heard of a leader. It never blocks.
func (c *Cluster) silent(id string, at time.Time) {
	select {
	case c.failover.gone <- evidence{id: id, at: at, silent: true}:
	default: // it is found again
	}
}

func (f *failover) run() {
	for {
		select {
		case e := <-f.gone:
			f.succeed(f.c.ctx, e)
		case <-f.c.ctx.Done():
			return
		}
	}
}

// broken returns the leader that is gone while this node, a voter, still follows it.
func (f *failover) broken(e evidence) (Leader, bool) {
	r := f.c.raftNow()
	l, since := f.c.leaders.current()
	return l, l.Known && l.ID == e.id && e.at.After(since) && l.Term == r.CurrentTerm() &&
		(!e.silent || !r.LastContact().After(e.at)) && r.State() == raft.Follower && f.c.isVoter(f.c.cfg.ID)
}

// succeed stands for election when the leader is gone and this node is the best
// to follow it, or the better ones have not.
func (f *failover) succeed(ctx context.Context, e evidence) {
	l, broken := f.broken(e)
	if !broken || l == f.tried {
		return
	}
	// The logs may still grow by what the leader had sent: look again until this
	// one is the best, or has waited its turn.
	began := time.Now()
	rank, place := f.rank(ctx, e)
	for rank > 0 && time.Since(began) < time.Duration(rank)*standStep+time.Duration(place)*stagger {
		pause(ctx, rankAgain)
		if now, broken := f.broken(e); !broken || now != l || ctx.Err() != nil {
			return
		}
		rank, place = f.rank(ctx, e)
	}
	if now, broken := f.broken(e); !broken || now != l || ctx.Err() != nil {
		return
	}
	if f.c.diskIsSlow(time.Now()) {
		return // it would be no better as a leader, and would stand when its disk lets it, late
	}
	f.tried = l
	f.stood.Add(1)
	what := "leader is gone"
	if e.silent {
		what = "leader is silent"
	}
	f.c.log.Warn(what+": standing for election", "leader", e.id, "term", l.Term, "rank", rank, "after", time.Since(e.at))
	if err := f.c.transport.stand(f.c.cfg.ID, f.c.cfg.Timing.Election); err != nil {
		f.c.log.Warn("could not stand for election", "error", err)
	}
}

// rank counts the voters that should stand before this one: those that stand
// already or follow a newer term, those with a longer log, or with an equal one and a lower id. Its own length is read before it asks,
// so that two which ask each other while their logs grow rather both give way than
// both stand. place is how many of them have a lower id. One that stands in Raft's vote before the
// vote, in the old term, does not count where the leader is silent: it gets no vote from who has not given the
// leader up.
func (f *failover) rank(ctx context.Context, e evidence) (rank, place int) {
	ctx, cancel := context.WithTimeout(ctx, positionTime)
	defer cancel()
	own := f.c.position()
	best := true // nobody else has as much of the log
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, s := range f.c.servers() {
		id := string(s.ID)
		if id == f.c.cfg.ID || id == e.id || s.Suffrage != raft.Voter {
			continue
		}
		if id < f.c.cfg.ID {
			place++
		}
		wg.Go(func() {
			p, err := f.c.askPosition(ctx, id)
			if err != nil && !f.c.peers.isUp(id) {
				return // it does not stand in the way
			}
			mu.Lock()
			defer mu.Unlock()
			best = best && err == nil && own.better(p)
			if err != nil || (p.standing && !e.silent) || p.term > own.term || p.better(own) || (!own.better(p) && id < f.c.cfg.ID) {
				rank++
			}
		})
	}
	wg.Wait()
	if f.c.reluctant.Load() && !best {
		rank += len(f.c.voters()) // all others come first, unless none of them can be elected
	}
	return rank, place
}

// position is how far a node's log goes, and whether it stands for election.
type position struct {
	lastTerm, lastIndex uint64
	term                uint64
	standing            bool
	quiet               time.Duration // how long the leader has said nothing to it
}

func (p position) better(q position) bool {
	return p.lastTerm > q.lastTerm || (p.lastTerm == q.lastTerm && p.lastIndex > q.lastIndex)
}

// methodPosition: nothing → last term, last index, term, 1 when standing, and (not of older nodes) for how many
// milliseconds the leader was silent.
const methodPosition = "cluster.position"

func (c *Cluster) position() position {
	r := c.raftNow()
	p := position{lastIndex: r.LastIndex(), term: r.CurrentTerm(), standing: r.State() == raft.Candidate, quiet: time.Duration(c.silence.quiet.Load())}
	var l raft.Log
	if err := c.stores.log.read(p.lastIndex, &l); err == nil {
		p.lastTerm = l.Term
	} else if snaps, err := c.stores.snaps.List(); err == nil && len(snaps) > 0 {
		p.lastTerm = snaps[0].Term
	}
	return p
}

func (c *Cluster) onPosition(context.Context, string, []byte) ([]byte, error) {
	p := c.position()
	standing := uint64(0)
	if p.standing {
		standing = 1
	}
	return putUint64s(p.lastTerm, p.lastIndex, p.term, standing, uint64(p.quiet.Milliseconds())), nil
}

func (c *Cluster) askPosition(ctx context.Context, id string) (position, error) {
	b, err := c.Call(ctx, id, methodPosition, nil)
	if err != nil {
		return position{}, err
	}
	v, err := uint64s(b, 4)
	if err != nil {
		return position{}, err
	}
	p := position{lastTerm: v[0], lastIndex: v[1], term: v[2], standing: v[3] != 0}
	if more, err := uint64s(b, 5); err == nil {
		p.quiet = time.Duration(more[4]) * time.Millisecond
	}
	return p, nil
}
