package node

import "warren/node/alarm"

// stalledReason is what connection.blocked says while nothing can be put in the log.
const stalledReason = "no quorum"

// blockedReason is why publishers are blocked, from all causes at once: nothing when
// there is none. Clients show it to people; RabbitMQ's part of it is RabbitMQ's text.
func blockedReason(stalled bool, low alarm.Set) string {
	switch {
	case !stalled:
		return low.Reason()
	case low == 0:
		return stalledReason
	}
	return low.Reason() + ", " + stalledReason
}

// onStall blocks publishers while nothing can be put in the log.
func (n *Node) onStall(stalled bool) {
	n.block(func() { n.stalled = stalled })
}

// setLow blocks publishers while any node of the cluster is low on something.
func (n *Node) setLow(low alarm.Set) {
	n.block(func() { n.low = low })
}

// block changes the causes and tells the sessions what has become of them.
func (n *Node) block(change func()) {
	n.mu.Lock()
	before := blockedReason(n.stalled, n.low)
	change()
	reason := blockedReason(n.stalled, n.low)
	if reason != before {
		for _, s := range n.sessions.All() {
			if reason == "" {
				s.Unblocked()
			} else {
				s.Blocked(reason)
			}
		}
	}
	n.mu.Unlock()
	switch {
	case reason == before:
	case reason == "":
		n.log.Info("publishers are served again", "were_blocked_by", before)
	default:
		n.log.Warn("publishers are blocked", "reason", reason)
	}
}
