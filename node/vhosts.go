package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"warren/fsm"
	"warren/fsm/command"
)

// seedRetry is how long a node waits before it proposes once more what a new cluster begins with.
const seedRetry = 100 * time.Millisecond

// seed makes sure that the cluster has its first vhost before clients come.
func (n *Node) seed(ctx context.Context) {
	for ctx.Err() == nil {
		due := false
		n.replica.View(func(m *fsm.Machine) { due = m.Version() >= 2 && !m.Seeded() })
		if !due {
			return
		}
		_, err := (broker{n}).Propose(ctx, &command.Seed{VHost: n.cfg.DefaultVHost})
		if err == nil {
			continue // to see it done
		}
		n.log.Warn("the first virtual host is not there yet", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(seedRetry):
		}
	}
}

// hasVHost reports whether there is a vhost. Before it says no of one that another node
// may just have made, this node catches up with the log.
func (n *Node) hasVHost(ctx context.Context, name string) bool {
	found := func() (ok bool) {
		n.replica.View(func(m *fsm.Machine) { ok = m.HasVHost(name) })
		return ok
	}
	if found() {
		return true
	}
	if _, err := (broker{n}).Propose(ctx, &command.Tick{}); err != nil {
		n.log.Warn("it cannot be known whether another node has made the virtual host", "vhost", name, "err", err)
	}
	return found()
}

// admit asks the machine whether a connection may enter a vhost. It costs a log entry,
// and only when a limit is in force: see DESIGN.md.
func (n *Node) admit(ctx context.Context, conn uint64, vhost, user string) (counted bool, err error) {
	n.replica.View(func(m *fsm.Machine) { counted = m.Counts(vhost, user) })
	for counted {
		r, err := (broker{n}).Propose(ctx, &command.ConnectionOpen{Conn: conn, VHost: vhost, User: user})
		switch {
		case ctx.Err() != nil:
			return true, ctx.Err()
		case errors.Is(err, errLost), errors.Is(err, errUnsure), err == nil && r.Lost:
			continue // opening it again gives it one place only
		case err != nil:
			return true, err
		case r.Err != nil:
			return false, r.Err
		}
		return true, nil
	}
	return false, nil
}

// vhostEffects does what the log asks of every node. It runs on the goroutine that
// applies the log.
func (n *Node) vhostEffects(effects []command.Effect) {
	for i := range effects {
		switch e := &effects[i]; e.Kind {
		case command.EffectVHostDeleted:
			n.closeVHost(e.Tag)
		case command.EffectLimited:
			n.replica.View(n.countSessions)
		}
	}
}

// closeVHost closes the connections of a vhost that is gone, with RabbitMQ's text.
func (n *Node) closeVHost(name string) {
	for _, s := range n.sessions.All() {
		if vhost, _ := s.Place(); vhost == name {
			s.Close(connectionForced, fmt.Sprintf("vhost '%s' is deleted", name))
		}
	}
}

// countSessions makes those connections known to the machine that a limit counts.
func (n *Node) countSessions(m *fsm.Machine) {
	for _, s := range n.sessions.All() {
		if vhost, user := s.Place(); vhost != "" && m.Counts(vhost, user) {
			s.Count()
		}
	}
}

// vhostsRestored does what the log entries would have asked for that a snapshot took the
// place of.
func (n *Node) vhostsRestored(m *fsm.Machine) {
	for _, s := range n.sessions.All() {
		if vhost, _ := s.Place(); vhost != "" && !m.HasVHost(vhost) {
			s.Close(connectionForced, fmt.Sprintf("vhost '%s' is deleted", vhost))
		}
	}
	n.countSessions(m)
}
