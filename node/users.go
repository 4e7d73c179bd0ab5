package node

import (
	"context"
	"time"

	"warren/fsm"
	"warren/fsm/command"
	"warren/node/guard"
)

// firstUserRetry is how long a node waits before it proposes the first user once more.
const firstUserRetry = 200 * time.Millisecond

// usersVersion is the version of the machine from which on all nodes know of users.
const usersVersion = 2

// makeFirstUser proposes the first user of the cluster, unless there is one, and returns
// when there is. The settings of the node whose proposal comes first in the log count,
// once and for all: as in RabbitMQ they have no meaning for a cluster that has users. In a
// cluster with nodes of an older version it waits until they are gone.
func (n *Node) makeFirstUser(ctx context.Context) {
	for !n.usersBegun() {
		if n.machineVersion() >= usersVersion {
			hash, algorithm, err := n.guard.Hash(ctx, n.cfg.DefaultPass)
			if err == nil {
				_, err = broker{n}.Propose(ctx, &command.AccessInit{
					User: n.cfg.DefaultUser, Hash: hash, Algorithm: algorithm, Tags: []string{"administrator"}, VHost: n.cfg.DefaultVHost,
				})
			}
			if err == nil && n.usersBegun() {
				n.log.Info("the cluster has its first user")
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(firstUserRetry):
		}
	}
}

func (n *Node) usersBegun() (begun bool) {
	n.replica.View(func(m *fsm.Machine) { begun = m.Access().Begun() })
	return begun
}

func (n *Node) guardConfig() guard.Config {
	return guard.Config{
		View:          n.replica.View,
		LoopbackUsers: n.cfg.LoopbackUsers,
		FirstUser:     n.cfg.DefaultUser,
		FirstPass:     n.cfg.DefaultPass,
	}
}

// noteAccess makes a change of users or permissions count for all sessions.
func (n *Node) noteAccess(out *fsm.Output) {
	changed := false
	for i := range out.Effects {
		changed = changed || out.Effects[i].Kind == command.EffectAccess
	}
	if !changed {
		return
	}
	n.guard.Changed()
	for i := range out.Results {
		if r := &out.Results[i]; r.Kind == command.KindUserDelete && r.Err == nil {
			n.endGoneUsers()
			return
		}
	}
}

// endGoneUsers ends the connections whose users are gone.
func (n *Node) endGoneUsers() {
	for _, s := range n.sessions.All() {
		s.AccessChanged()
	}
}
