package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"warren/cluster"
	"warren/fsm"
	"warren/fsm/command"
	"warren/node/guard"
	"warren/node/management"
	"warren/node/session"
)

// broker is what the management API sees of the node.
type broker struct{ *Node }

func (n *Node) managementConfig() management.Config {
	return management.Config{
		Broker:    broker{n},
		Access:    managementAccess{n.guard, n},
		Version:   n.cfg.Version,
		Node:      n.cfg.NodeName,
		Started:   n.started,
		Listeners: n.listeners(),
		Logger:    n.log,

		MaxMessageSize: n.cfg.MaxMessageSize,
		ConnectionMax:  n.cfg.ConnectionMax,
		TargetSize:     n.cfg.Expect,
		Settings:       n.cfg.Settings,
		Stop:           n.cfg.Stop,
		Certificates:   n.certificates,
		Metrics:        n.metrics.collectors(),
		CommitLatency:  n.metrics.lastCommit,
	}
}

func (n *Node) listeners() []management.Listener {
	var all []management.Listener
	type listener struct{ protocol, addr string }
	list := []listener{{"amqp", n.AMQPAddr()}, {"http", n.HTTPAddr()}, {"clustering", n.cluster.Addr()}}
	if n.amqps != nil {
		list = append(list, listener{"amqp/ssl", n.amqps.Addr().String()})
	}
	if n.webs != nil {
		list = append(list, listener{"https", n.webs.Addr().String()})
	}
	if n.scrape != nil {
		list = append(list, listener{"http/prometheus", n.scrape.Addr().String()})
	}
	for _, l := range list {
		host, port, err := net.SplitHostPort(l.addr)
		if err != nil {
			continue
		}
		number, err := strconv.Atoi(port)
		if err != nil {
			continue
		}
		all = append(all, management.Listener{Protocol: l.protocol, Address: host, Port: number})
	}
	return all
}

// View reads the node's replica.
func (b broker) View(f func(*fsm.Machine)) { b.replica.View(f) }

// CaughtUp reports whether this node has applied the log to where it was when it started.
func (b broker) CaughtUp() bool { return b.proposer.Began() }

// Cluster describes the cluster as this node sees it.
func (b broker) Cluster(context.Context) management.ClusterInfo {
	stats := b.cluster.Stats()
	info := management.ClusterInfo{
		Name:          b.clusterName(),
		ID:            b.cluster.ID(),
		Node:          b.cfg.NodeName,
		NodeID:        b.id,
		State:         stats.State,
		Term:          stats.Term,
		CommitIndex:   stats.CommitIndex,
		AppliedIndex:  stats.AppliedIndex,
		LastIndex:     stats.LastLogIndex,
		SnapshotIndex: stats.SnapshotIndex,
		Waiting:       stats.Waiting,
		Members:       []management.Member{},
	}
	members := b.cluster.Members()
	info.Alarms = b.alarms.raisedBy(members)
	for _, m := range members {
		if m.Leader {
			info.Leader = m.Name
		}
		info.Members = append(info.Members, management.Member{
			ID: m.ID, Name: m.Name,
			ClusterAddr: m.Addr, AMQPAddr: m.Tags["amqp"], HTTPAddr: m.Tags["http"], Version: m.Tags["version"],
			Voter: m.Voter, Leader: m.Leader, Running: m.Alive, BeingDrained: m.Reluctant && m.Alive,
		})
	}
	b.mu.Lock()
	stopping, stalled := b.closing, b.stalled
	info.BeingDrained = b.service == drained
	b.mu.Unlock()
	switch {
	case stopping:
		info.Waiting = "the node is stopping"
	case info.Leader == "" || stalled:
		if info.Waiting == "" {
			info.Waiting = "the cluster has no leader: too few nodes reach each other"
		}
	case b.proposer.Epoch() == 0:
		info.Waiting = "the node is catching up"
	default:
		info.Serving = !info.BeingDrained
	}
	return info
}

// LocalConnections describes the connections of this node.
func (b broker) LocalConnections() []management.Connection {
	var all []management.Connection
	answer, err := answerSessions(b.Node, nil, func(s *session.Session) nodeInfo { return nodeInfo{b.id, s.Info()} })
	if err == nil {
		err = gather(&all)(answer)
	}
	if err != nil {
		b.log.Error("describe connections", "err", err)
	}
	slices.SortFunc(all, func(x, y management.Connection) int { return strings.Compare(x.Name, y.Name) })
	return all
}

// LocalAttempts returns the logins that were tried on this node.
func (b broker) LocalAttempts(bySource bool) []management.Attempts {
	var all []management.Attempts
	for _, a := range b.attempts.Counts(bySource) {
		all = append(all, management.Attempts{
			Protocol: a.Protocol, Address: a.Address, User: a.User, Succeeded: a.Succeeded, Failed: a.Failed,
		})
	}
	return all
}

// OpenConnections is how many AMQP connections this node has.
func (b broker) OpenConnections() int {
	connections, _ := b.limits.Open()
	return connections
}

// Forget removes a node from the cluster, and with it what its clients held.
func (b broker) Forget(ctx context.Context, node string) error {
	err := b.cluster.Remove(ctx, node)
	switch {
	case errors.Is(err, cluster.ErrNoSuchNode):
		return fmt.Errorf("%w: %s", management.ErrUnknownNode, node)
	case errors.Is(err, cluster.ErrNodeRunning), errors.Is(err, cluster.ErrRemoveSelf):
		return fmt.Errorf("%w: %s", management.ErrNodeRunning, node)
	}
	return err
}

// Transfer makes another node lead.
func (b broker) Transfer(ctx context.Context, to string) error {
	err := b.cluster.TransferLeadership(ctx, to)
	switch {
	case errors.Is(err, cluster.ErrNoSuchNode):
		return fmt.Errorf("%w: %s", management.ErrUnknownNode, to)
	case errors.Is(err, cluster.ErrReluctant):
		return fmt.Errorf("%w: %s is drained: revive or restart it first, or choose another one", management.ErrDrained, to)
	}
	return err
}

// State hashes what the replica holds, for one caller at a time.
func (b broker) State() (management.StateInfo, error) {
	if !b.hashing.TryLock() {
		return management.StateInfo{}, management.ErrHashing
	}
	defer b.hashing.Unlock()
	h, err := b.replica.Hashes()
	if err != nil {
		return management.StateInfo{}, err
	}
	return management.StateInfo{
		Node: b.cfg.NodeName, Index: h.Index,
		History: fmt.Sprintf("%016x", h.History), State: fmt.Sprintf("%016x", h.State),
	}, nil
}

// managementAccess is the guard as the management API sees it.
type managementAccess struct {
	*guard.Guard
	node *Node
}

// Login checks a password, and where the login comes from.
func (a managementAccess) Login(ctx context.Context, user, password string, remote net.Addr) error {
	err := a.Guard.Login(ctx, user, password, remote)
	a.node.noteLogin(httpLogin, user, remote, err)
	return asBusy(err)
}

// Authenticate checks a password.
func (a managementAccess) Authenticate(ctx context.Context, user, password string) error {
	return asBusy(a.Guard.Authenticate(ctx, user, password))
}

func asBusy(err error) error {
	if errors.Is(err, guard.ErrBusy) {
		return fmt.Errorf("%w (%w)", management.ErrBusy, err)
	}
	return err
}

// Rules returns what a user may do in a vhost.
func (a managementAccess) Rules(user, vhost string) management.Rules {
	return a.Guard.Rules(user, vhost)
}

// Propose puts a command in the log and waits for its result. It waits for room first, as
// sessions do: without a quorum nothing leaves the proposer again.
func (b broker) Propose(ctx context.Context, cmd command.Command) (command.Result, error) {
	if err := b.awaitRoom(ctx, cmd); err != nil {
		return command.Result{}, err
	}
	w := make(waiter, 1)
	b.proposer.Propose(cmd, w, 0)
	b.proposer.Send()
	select {
	case r := <-w:
		switch {
		case r.Lost && r.Unsure && !r.Applied:
			return r, errUnsure
		case r.Lost && !r.Applied:
			return r, errLost
		}
		b.count(cmd, &r)
		return r, nil
	case <-ctx.Done():
		return command.Result{}, fmt.Errorf("the cluster did not answer, it may do it yet: %w", ctx.Err())
	case <-b.stopped:
		return command.Result{}, errors.New("the node is stopping")
	}
}

// count counts a message that comes or goes over HTTP, as on a channel.
func (b broker) count(cmd command.Command, r *command.Result) {
	if r.Err != nil {
		return
	}
	t := &b.tally
	switch cmd := cmd.(type) {
	case *command.Publish:
		t.Add(session.CountPublished, 1)
		if r.Unroutable {
			t.Add(session.CountDropped, 1)
		}
	case *command.Get:
		switch {
		case r.Message == nil:
			t.Add(session.CountGotEmpty, 1)
		case cmd.NoAck:
			t.Add(session.CountGotAuto, 1)
		default:
			t.Add(session.CountGot, 1)
		}
		if r.Redelivered {
			t.Add(session.CountRedelivered, 1)
		}
	case *command.Settle:
		if cmd.Outcome == command.Ack {
			t.Add(session.CountAcked, cmd.To-cmd.From+1)
		}
	}
}

// awaitRoom waits until the proposer has room for a command. The close of a channel waits for
// none: it gives back what was taken, and stands behind a command that did wait.
func (b broker) awaitRoom(ctx context.Context, cmd command.Command) error {
	if cmd.Kind() == command.KindChannelClose {
		return nil
	}
	ready := b.proposer.Room()
	if ready == nil {
		return nil
	}
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		b.proposer.Leave(ready)
		return fmt.Errorf("the cluster takes no more at present, it was not done: %w", ctx.Err())
	case <-b.stopped:
		return errors.New("the node is stopping")
	}
}

// errLost is the error of a command that was not carried out.
var errLost = errors.New("the command was lost in a change of the cluster: try again")

// errUnsure is the error of a command of which nobody can tell whether it was carried out.
var errUnsure = errors.New("the node had been given up by the cluster, and caught up by a snapshot: it cannot tell whether " +
	"the command was carried out; look, and try again")

// A waiter takes the one result of a command that is no session's.
type waiter chan command.Result

func (w waiter) Result(_ uint64, r *command.Result) { w <- *r }
func (w waiter) Effect(*command.Effect)             {}
func (w waiter) EpochLost()                         {}
func (w waiter) Restored(*command.ConnState)        {}
