package node

import (
	"cmp"
	"context"
	"errors"
	"net"
	"time"

	"warren/node/guard"
	"warren/node/session"
)

// serveWhenOpened waits for the first epoch and then accepts AMQP clients.
func (n *Node) serveWhenOpened(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-n.proposer.Opened():
	}
	n.awaitVersion(ctx)
	n.seed(ctx)
	if n.machineVersion() >= usersVersion {
		n.makeFirstUser(ctx)
	} else {
		n.spawn(func() { n.makeFirstUser(ctx) })
	}
	n.spawn(func() { n.nameCluster(ctx) })
	close(n.ready)
	n.log.Info("serving AMQP", "addr", n.AMQPAddr())
	if n.amqps != nil {
		n.spawn(func() { n.accept(ctx, n.amqps) })
	}
	n.accept(ctx, n.amqp)
}

// accept serves one listener until it is closed.
func (n *Node) accept(ctx context.Context, l net.Listener) {
	pause := 5 * time.Millisecond
	for {
		conn, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			// Out of file descriptors, most likely: it passes.
			n.log.Error("accept", "err", err, "retry_in", pause)
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			pause = min(2*pause, time.Second)
			continue
		}
		pause = 5 * time.Millisecond
		n.serve(ctx, conn, n.nextID.Add(1))
	}
}

// serve runs one connection. A connection that is accepted while the node
// closes ends at once.
func (n *Node) serve(ctx context.Context, conn net.Conn, id uint64) {
	n.serveAs(ctx, n.sessionConfig(ctx, conn, id))
}

// sessionConfig is that of a connection from outside.
func (n *Node) sessionConfig(ctx context.Context, conn net.Conn, id uint64) session.Config {
	tuned := n.tuned.Load()
	return session.Config{
		Conn:         conn,
		ID:           id,
		Proposer:     n.proposer,
		Replies:      n.replies,
		Shortcuts:    n.shortcuts,
		Authenticate: n.login(ctx),
		Access:       sessionAccess{n.guard},
		External:     n.external(),
		VHost:        n.hasVHost,
		Admit: func(ctx context.Context, vhost, user string) (bool, error) {
			return n.admit(ctx, id, vhost, user)
		},
		KnowsReturns:     n.knowsReturns,
		FrameMax:         tuned.FrameMax,
		ChannelMax:       tuned.ChannelMax,
		ConsumerMax:      tuned.ConsumerMax,
		Limits:           &n.limits,
		Tally:            &n.tally,
		OnConfirm:        n.metrics.observe(n.metrics.confirm),
		OnEvent:          n.emitter.event,
		Taps:             &n.emitter.taps,
		AnonymousUser:    n.cfg.AnonymousUser,
		AnonymousPass:    n.cfg.AnonymousPass,
		Heartbeat:        tuned.Heartbeat,
		HandshakeTimeout: tuned.HandshakeTimeout,
		MaxMessageSize:   n.cfg.MaxMessageSize,
		Product:          "Warren",
		Version:          n.cfg.Version,
		ClusterName:      n.clusterName,
		Node:             n.cfg.NodeName,
		Logger:           n.log,
	}
}

func (n *Node) serveAs(ctx context.Context, cfg session.Config) {
	s, id := session.New(cfg), cfg.ID
	n.sessions.Add(id, s)
	n.mu.Lock()
	if n.closing || n.service == drained { // Close may be waiting for the clients that there are
		n.mu.Unlock()
		n.sessions.Remove(id)
		cfg.Conn.Close()
		return
	}
	if reason := blockedReason(n.stalled, n.low); reason != "" {
		s.Blocked(reason)
	}
	n.clients.Add(1)
	n.mu.Unlock()
	go func() {
		defer n.clients.Done()
		defer n.left(id, s)
		if err := s.Serve(ctx); err != nil {
			n.log.Debug("connection ended", "connection", id, "err", err)
		}
	}()
}

// left takes a connection that has ended off the list.
func (n *Node) left(id uint64, s *session.Session) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, sum := range s.Traffic() {
		n.traffic[i] += sum
	}
	n.sessions.Remove(id)
}

// login checks the passwords of AMQP clients. Who waits longer than a handshake may take is refused.
func (n *Node) login(ctx context.Context) func(user, password string, remote net.Addr) error {
	return func(user, password string, remote net.Addr) error {
		ctx, cancel := context.WithTimeout(ctx, cmp.Or(n.tuned.Load().HandshakeTimeout, session.DefaultHandshakeTimeout))
		defer cancel()
		err := n.guard.Login(ctx, user, password, remote)
		n.noteLogin(amqpLogin, user, remote, err)
		return err
	}
}

// Protocols of logins, by RabbitMQ's names.
const (
	amqpLogin = "amqp091"
	httpLogin = "http"
)

// noteLogin counts a login. One that nobody could check is none.
func (n *Node) noteLogin(protocol, user string, remote net.Addr, err error) {
	if errors.Is(err, guard.ErrBusy) {
		return
	}
	n.loginEvent(protocol, user, remote, err)
	address := ""
	if remote != nil {
		address, _, _ = net.SplitHostPort(remote.String())
	}
	n.attempts.Note(guard.Source{Protocol: protocol, Address: address, User: user}, err == nil)
}

// sessionAccess is the guard as sessions see it.
type sessionAccess struct{ *guard.Guard }

// Rules returns what a user may do in a vhost.
func (a sessionAccess) Rules(user, vhost string) session.Rules { return a.Guard.Rules(user, vhost) }
