package node

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"warren/cluster"
	"warren/fsm"
	"warren/fsm/command"
)

// versionTag is the tag under which a node's gossip says up to which version it knows
// the state machine.
const versionTag = "machine"

// returnsSince is the version of the state machine that knows command.Return.
const returnsSince = 3

const (
	// upgradeCheck is how often a leader looks whether all members know a newer version.
	upgradeCheck = 50 * time.Millisecond
	// upgradeWait bounds how long a node that starts waits for a version that all members know.
	upgradeWait = 10 * time.Second
)

// machineVersion is the version of the state machine that the log has agreed on.
func (n *Node) machineVersion() (v uint64) {
	n.replica.View(func(m *fsm.Machine) { v = m.Version() })
	return v
}

// resourceError is AMQP's reply code for what a server cannot do for the time being.
const resourceError = 506

// tooNew refuses a kind of command that not all members know yet: nodes of the older version would stop at it.
func (n *Node) tooNew(k command.Kind) *command.Error {
	now := n.version.Load()
	if now >= fsm.Since(k) {
		return nil
	}
	return &command.Error{
		Code: resourceError,
		Text: fmt.Sprintf("the cluster is being upgraded: it agrees on version %d of the state machine, and this needs %d; "+
			"upgrade the nodes that are left, then try again", now, fsm.Since(k)),
	}
}

// knowsReturns reports whether all members understand command.Return.
func (n *Node) knowsReturns() bool { return n.version.Load() >= returnsSince }

// commonVersion is the newest version of the state machine that all members know, as far
// as this node has heard of them.
func commonVersion(members []cluster.Member) uint64 {
	version := uint64(fsm.Version)
	for _, m := range members {
		if !m.Member {
			continue
		}
		known, err := strconv.ParseUint(m.Tags[versionTag], 10, 64)
		if err != nil {
			known = 1 // it knows nothing of versions, or was not heard of
		}
		version = min(version, known)
	}
	return version
}

// upgrades raises the version of the state machine, while this node leads, once all
// members know a newer one.
func (n *Node) upgrades(ctx context.Context) {
	tick := time.NewTicker(upgradeCheck)
	defer tick.Stop()
	for {
		if v := n.machineVersion(); v >= fsm.Version {
			return
		} else if common := commonVersion(n.cluster.Members()); n.cluster.IsLeader() && common > v {
			n.log.Info("all members know a newer version of the state machine", "from", v, "to", common)
			answer := make(chan cluster.Answer, 1)
			batch := command.AppendToBatch(command.NewBatch(nil, 0, 0), &command.Upgrade{Version: common})
			n.cluster.Propose(batch, func(a cluster.Answer) { answer <- a })
			select {
			case <-ctx.Done():
				return
			case <-answer:
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// awaitVersion waits, for a while, until the log has agreed on the newest version that
// all members know, so that clients of a new cluster find all that it can do.
func (n *Node) awaitVersion(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, upgradeWait)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n.machineVersion() < commonVersion(n.cluster.Members()) {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
