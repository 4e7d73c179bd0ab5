package cluster

import (
	"slices"
	"sync"

	"github.com/hashicorp/raft"
)

// notices tells followers of a commit at once. hashicorp/raft does it with the
// next entries or after the commit timeout; this sends the same request empty.
//
// It harms nothing: the request names the committed entry and its term, a
// follower that has not got that entry refuses, one that has may commit all up to
// it. A few are in flight per follower; what is committed meanwhile goes in the next.
//
// Where at most three vote, a voter is told as soon as the entry is on the leader's disk: with
// its own copy, without which it refuses, that makes a majority. See DESIGN.md.
type notices struct {
	c  *Cluster
	wg sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	committed mark            // as this node's state machine was handed it
	onDisk    mark            // of this node, which wrote it as the leader
	voters    []raft.ServerID // when it was written: who may be told of it early
	busy      map[raft.ServerID]bool
}

// mark is an entry of the log.
type mark struct{ index, term uint64 }

// earlyEntries is how far a follower may be behind an entry and be told of it early. Under load
// it is further behind, and the next entries bring the news anyway.
const earlyEntries = 2

func newNotices(c *Cluster) *notices { return &notices{c: c, busy: make(map[raft.ServerID]bool)} }

// handed is called by the state machine's goroutine, on every node, with the entry up to
// which all are committed. It only starts work, and only on the leader.
func (n *notices) handed(index, term uint64) {
	if r := n.c.raftNow(); r == nil || r.State() != raft.Leader {
		return
	}
	servers := n.c.servers()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.committed = mark{index, term}
	for _, s := range servers {
		n.start(s.ID)
	}
}

// written is called when entries that this node appended as the leader are on its disk.
func (n *notices) written(index, term uint64) {
	voters := n.c.voters()
	if len(voters) > 3 || !slices.Contains(voters, raft.ServerID(n.c.cfg.ID)) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.onDisk, n.voters = mark{index, term}, voters
	for _, id := range voters {
		n.start(id)
	}
}

// took is called when a follower has got entries: one that is slower than the
// quorum hears of the commit now.
func (n *notices) took(id raft.ServerID, _ uint64) {
	n.mu.Lock()
	n.start(id)
	n.mu.Unlock()
}

// start tells a follower what there is to tell: on the pipeline to it, or when that is not
// there or has much to carry on a goroutine of its own. Called with the lock held.
func (n *notices) start(id raft.ServerID) {
	if n.closed || n.busy[id] || string(id) == n.c.cfg.ID {
		return
	}
	m, ok := n.next(id, mark{})
	if !ok || n.c.transport.notify(id, n.request(m, m.index > n.committed.index)) {
		return
	}
	n.busy[id] = true
	n.wg.Add(1)
	go n.send(id)
}

// next is what a follower is to be told. tried is what it was told early and may have
// refused. The copy of one that has no vote, or had none then, counts for nothing: it hears when all
// do. Called with the lock held.
func (n *notices) next(id raft.ServerID, tried mark) (mark, bool) {
	leading, _ := n.c.leadingTerm()
	if n.onDisk.index > n.committed.index && n.onDisk != tried && n.onDisk.term == leading && slices.Contains(n.voters, id) && n.c.transport.awaits(id, n.onDisk.index) {
		return n.onDisk, true
	}
	return n.committed, n.c.transport.wants(id, n.committed.index)
}

func (n *notices) send(id raft.ServerID) {
	defer n.wg.Done()
	var early, sent mark
	for {
		n.mu.Lock()
		m, ok := n.next(id, early)
		if n.closed || !ok || m == sent {
			n.busy[id] = false
			n.mu.Unlock()
			return
		}
		isEarly := m.index > n.committed.index
		n.mu.Unlock()
		if isEarly {
			early = m
		} else {
			sent = m
		}
		n.tell(id, n.request(m, isEarly))
	}
}

// request is what Raft would send when the entry is committed, nil when this node may not send
// it. Early it is sent for entries of the leader's own term only: copies make no other ones committed.
func (n *notices) request(m mark, early bool) *raft.AppendEntriesRequest {
	leading, ok := n.c.leadingTerm()
	if !ok || m.term > leading || early && m.term != leading {
		return nil
	}
	self := []byte(n.c.cfg.ID)
	return &raft.AppendEntriesRequest{
		RPCHeader:    raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: self, Addr: self},
		Term:         leading,
		PrevLogEntry: m.index, PrevLogTerm: m.term, LeaderCommitIndex: m.index,
	}
}

// tell sends it to a follower and waits for the answer.
func (n *notices) tell(id raft.ServerID, req *raft.AppendEntriesRequest) {
	if req == nil {
		return
	}
	if err := n.c.transport.AppendEntries(id, raft.ServerAddress(id), req, &raft.AppendEntriesResponse{}); err != nil {
		n.c.log.Debug("commit notice", "follower", id, "error", err)
	}
}

func (n *notices) close() {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.wg.Wait()
}

// leadingTerm returns the term in which this node leads. Raft leaves the leader's
// state before it moves the term, so a state of leader between two equal readings
// of the term belongs to that term.
func (c *Cluster) leadingTerm() (uint64, bool) {
	r := c.raftNow()
	if r == nil {
		return 0, false
	}
	before := r.CurrentTerm()
	if r.State() != raft.Leader || r.CurrentTerm() != before {
		return 0, false
	}
	return before, true
}
