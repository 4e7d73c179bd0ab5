package node

import (
	"fmt"
	"time"

	"warren/node/session"
)

// shed closes the connection that has made this node keep something for the longest, because all together keep more than they may.
// It is called for each frame that makes it more, until one has gone: the choice stays the same meanwhile.
func (n *Node) shed() {
	if !n.shedding.TryLock() {
		return
	}
	defer n.shedding.Unlock()
	var victim *session.Session
	var longest time.Time
	for _, s := range n.sessions.All() {
		if _, since, ok := s.Kept(); ok && (victim == nil || since.Before(longest)) {
			victim, longest = s, since
		}
	}
	if victim == nil {
		return
	}
	victim.Close(resourceError, fmt.Sprintf("unfinished messages, open transactions and unread replies of all connections hold more than %d bytes on this node, "+
		"and those of this one for longest", n.limits.Bytes()))
}
