package node

import (
	"warren/cluster"
	"warren/fsm"
	"warren/fsm/command"
)

// stamp runs on the leader as a batch enters the log.
func (n *Node) stamp(batch []byte) {
	command.Stamp(batch, n.clock.stamp(), n.proposer.Epoch())
}

// submit puts a batch on its way.
func (n *Node) submit(batch []byte, done func(ok bool)) {
	n.cluster.Propose(batch, func(a cluster.Answer) { done(a == cluster.Committed) })
}

// applied takes the output of each log entry. It runs on the goroutine that
// applies the log.
func (n *Node) applied(out *fsm.Output) {
	n.ticker.set(out.Due, out.AnyDue)
	n.clock.saw(out.Header.Stamp)
	n.version.Store(out.Version)
	n.noteParameters(out.Parameters)
	var waiters []command.Waiter
	epoch := n.proposer.Epoch()
	n.noteAccess(out)           // before anybody hears that it is done
	n.vhostEffects(out.Effects) // before anybody hears that it is done
	switch out.Verdict {
	case fsm.Applied:
		waiters = n.proposer.Applied(out.Header.Epoch, out.Header.Sequence)
	case fsm.Gap:
		n.proposer.Refused(out.Header.Epoch)
	}
	if len(out.Traced) > 0 {
		n.traces.add(epoch, out, waiters)
	}
	n.timeDeliveries(epoch, out)
	n.sessions.Dispatch(epoch, waiters, out.Results, out.Effects)
	for i := range out.Effects {
		switch e := &out.Effects[i]; {
		case e.Node != n.id:
		case e.Kind == command.EffectEpochOpened:
			n.proposer.EpochOpened(e.To.Epoch, e.Nonce)
		case e.Kind == command.EffectEpochRemoved:
			n.epochRemoved(e.To.Epoch, 0, 0, true)
		}
	}
}

// epochRemoved takes the end of an epoch; applied, refused and known as with the proposer's EpochRemoved.
func (n *Node) epochRemoved(epoch, applied, refused uint64, known bool) {
	if !n.proposer.EpochRemoved(epoch, applied, refused, known) {
		return
	}
	for _, s := range n.sessions.All() {
		s.EpochLost()
	}
}

// restored runs when a snapshot took the place of the state, on the goroutine
// that applies the log: sessions learn what they missed.
func (n *Node) restored(m *fsm.Machine) {
	n.guard.Changed()
	n.endGoneUsers()
	n.takeDue(m)
	n.clock.restored(m.Now())
	n.version.Store(m.Version())
	n.shovels.look()
	n.tapVHosts(m)
	n.traces.restored(m)
	defer n.vhostsRestored(m)
	epoch := n.proposer.Epoch()
	if epoch == 0 {
		return // none at the moment, or none yet: a snapshot read at the start
	}
	for _, e := range m.Epochs() {
		if e.Epoch != epoch {
			continue
		}
		n.log.Warn("a snapshot took the place of log entries; sessions are compared with it")
		n.proposer.Restored(e.Sequence, e.Refused)
		for conn, s := range n.sessions.All() {
			s.Restored(m.ConnState(epoch, conn))
		}
		return
	}
	for _, e := range m.Ended() {
		if e.Epoch == epoch {
			n.epochRemoved(epoch, e.Sequence, e.Refused, true)
			return
		}
	}
	n.epochRemoved(epoch, 0, 0, false)
}

// onLeader takes each change of the leader.
func (n *Node) onLeader(l cluster.Leader) {
	if !n.waitWired() {
		return
	}
	n.log.Info("leader", "leader", l.ID, "term", l.Term, "self", l.Self, "known", l.Known)
	n.proposer.LeaderChanged(l.Known)
	n.shovels.look()
}

// onDown removes the epochs of a node that is gone: its consumers go, and what
// they held returns to the queues. The leader calls it, again while it is so.
func (n *Node) onDown(id string) {
	if !n.waitWired() {
		return
	}
	var epochs []fsm.EpochInfo
	n.replica.View(func(m *fsm.Machine) { epochs = m.Epochs() })
	for _, e := range epochs {
		if e.Node != id || id == n.id {
			continue
		}
		n.log.Warn("node is gone, removing its epoch", "gone", e.Name, "gone_id", e.Node, "epoch", e.Epoch)
		n.removeEpoch(e.Epoch)
	}
}

// waitWired holds a callback of the cluster back until open has come past it. It
// returns false when it never will.
func (n *Node) waitWired() bool {
	select {
	case <-n.wired:
		return true
	case <-n.stopped:
		return false
	}
}

// removeEpoch proposes the end of an epoch and does not wait.
func (n *Node) removeEpoch(epoch uint64) <-chan cluster.Answer {
	answer := make(chan cluster.Answer, 1)
	batch := command.AppendToBatch(command.NewBatch(nil, 0, 0), &command.EpochRemove{Epoch: epoch})
	n.cluster.Propose(batch, func(a cluster.Answer) { answer <- a })
	return answer
}
