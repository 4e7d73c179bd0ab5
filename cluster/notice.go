package cluster

import (
	"sync"

	"github.com/hashicorp/raft"
)

// notices tells followers of a commit at once. hashicorp/raft does it with the
// next entries or after the commit timeout; this sends the same request empty.
//
// It harms nothing: the request names the committed entry and its term, a
// follower that has not got that entry refuses, one that has may commit all up to
// it. One is in flight per follower; what is committed meanwhile goes in the next.
type notices struct {
	c  *Cluster
	wg sync.WaitGroup

	mu     sync.Mutex
	closed bool
	index  uint64
	term   uint64 // of the entry
	busy   map[raft.ServerID]bool
}

func newNotices(c *Cluster) *notices { return &notices{c: c, busy: make(map[raft.ServerID]bool)} }

// committed is called by the state machine's goroutine, on every node. It only
// starts work, and only on the leader.
func (n *notices) committed(index, term uint64) {
	if r := n.c.raftNow(); r == nil || r.State() != raft.Leader {
		return
	}
	servers := n.c.servers()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.index, n.term = index, term
	for _, s := range servers {
		n.start(s.ID)
	}
}

// took is called when a follower has got entries: one that is slower than the
// quorum hears of the commit now.
func (n *notices) took(id raft.ServerID, _ uint64) {
	n.mu.Lock()
	n.start(id)
	n.mu.Unlock()
}

// start begins to send when there is something to tell. Called with the lock held.
func (n *notices) start(id raft.ServerID) {
	if n.closed || n.index == 0 || n.busy[id] || string(id) == n.c.cfg.ID || !n.c.transport.wants(id, n.index) {
		return
	}
	n.busy[id] = true
	n.wg.Add(1)
	go n.send(id)
}

func (n *notices) send(id raft.ServerID) {
	defer n.wg.Done()
	var sent uint64
	for {
		n.mu.Lock()
		index, term := n.index, n.term
		if n.closed || index == sent || !n.c.transport.wants(id, index) {
			n.busy[id] = false
			n.mu.Unlock()
			return
		}
		n.mu.Unlock()
		sent = index
		if leading, ok := n.c.leadingTerm(); ok {
			self := []byte(n.c.cfg.ID)
			req := &raft.AppendEntriesRequest{
				RPCHeader:    raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: self, Addr: self},
				Term:         leading,
				PrevLogEntry: index, PrevLogTerm: term, LeaderCommitIndex: index,
			}
			if err := n.c.transport.AppendEntries(id, raft.ServerAddress(id), req, &raft.AppendEntriesResponse{}); err != nil {
				n.c.log.Debug("commit notice", "follower", id, "error", err)
			}
		}
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
