package session

import (
	"context"
	"errors"
	"maps"
	"slices"

	"warren/fsm/command"
	"warren/protocol"
)

// place is what a connection counts for.
type place struct{ vhost, user string }

// Place returns vhost and user of the connection, empty before connection.open. They are
// set before anybody is asked whether the vhost is there and whether it has limits: so who
// changes that, and looks here afterwards, finds every connection that did not see the change.
func (s *Session) Place() (vhost, user string) {
	if p := s.place.Load(); p != nil {
		return p.vhost, p.user
	}
	return "", ""
}

// Name is the name of the connection: "peer:port -> host:port".
func (s *Session) Name() string { return s.base.Name }

// Count asks the connection to make itself and its channels known to the machine,
// because a limit is in force that they count for (see command.ConnectionOpen).
func (s *Session) Count() { s.inbox.ask(func(r *requests) { r.count = true }) }

// enter takes the connection to a vhost that is there, if the limits allow it.
func (c *connection) enter(ctx context.Context, vhost string) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.HandshakeTimeout)
	defer cancel()
	c.s.place.Store(&place{vhost, c.user})
	if !c.cfg.VHost(ctx, vhost) {
		return protocol.Errorf(protocol.NotAllowed, protocol.IDConnectionOpen, "vhost %s not found", vhost)
	}
	if !c.permits.begin(c.cfg.Access, c.user, vhost) {
		return protocol.Errorf(protocol.NotAllowed, protocol.IDConnectionOpen,
			"access to vhost '%s' refused for user '%s'", vhost, c.user)
	}
	c.vhost, c.vhostBytes = vhost, []byte(vhost)
	if c.cfg.Admit == nil {
		return nil
	}
	counted, err := c.cfg.Admit(ctx, vhost, c.user)
	// What is counted, or may be yet, has to be taken back.
	c.counted, c.known = counted, counted
	var refusal *command.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refusal):
		return refused(protocol.IDConnectionOpen, refusal)
	}
	c.log.Warn("limits of connections cannot be checked", "vhost", vhost, "user", c.user, "error", err)
	return protocol.Errorf(protocol.NotAllowed, protocol.IDConnectionOpen,
		"access to vhost '%s' refused for user '%s': connection limit cannot be queried, timeout", vhost, c.user)
}

// count makes the connection and its channels known to the machine.
func (c *connection) count() {
	if c.state != stateRunning {
		return
	}
	c.counted, c.known = true, true
	cmd := &command.ConnectionOpen{Conn: c.cfg.ID, VHost: c.vhost, User: c.user, Existing: true}
	for _, number := range slices.Sorted(maps.Keys(c.channels)) {
		if ch := c.channels[number]; ch.open {
			ch.keeps()
			cmd.Channels = append(cmd.Channels, number)
		}
	}
	c.cfg.Proposer.Propose(cmd, nil, 0)
}

// countChannel answers channel.open when the machine has counted the channel.
func (ch *channel) countChannel() {
	ch.keeps()
	ch.call(protocol.IDChannelOpen, &command.ChannelOpen{Channel: ch.name()}, func(*command.Result) {
		ch.send(&protocol.ChannelOpenOk{})
	})
}
