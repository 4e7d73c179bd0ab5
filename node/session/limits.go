package session

import (
	"sync/atomic"

	"warren/protocol"
)

// Limits are what the connections of a node have in common. The zero value is none.
type Limits struct {
	mostConnections, mostChannels, mostBytes atomic.Int64
	connections, channels, kept              atomic.Int64

	// Shed is called when all sessions keep more for their clients than SetBytes says: it is to close whoever has kept
	// something for longest.
	Shed func()
}

// SetBytes says how much all sessions may keep for their clients: unfinished messages, open transactions, unread direct
// replies, which are dropped above it; 0: no limit. Of as much again are the windows of deliveries under way made.
func (l *Limits) SetBytes(n int64) { l.mostBytes.Store(n) }

// Bytes returns what SetBytes set.
func (l *Limits) Bytes() int64 { return l.mostBytes.Load() }

// Set says how many connections, and channels on all of them, may be open at once; 0: as many as come. Those that
// are open stay.
func (l *Limits) Set(connections, channels int) {
	l.mostConnections.Store(int64(connections))
	l.mostChannels.Store(int64(channels))
}

// takeOne counts one more, unless that would be more than a limit.
func takeOne(count *atomic.Int64, limit int64) bool {
	if n := count.Add(1); limit > 0 && n > limit {
		count.Add(-1)
		return false
	}
	return true
}

// join counts the connection, or refuses it, at connection.open. See exit.
func (c *connection) join() error {
	l := c.cfg.Limits
	if most := l.mostConnections.Load(); !takeOne(&l.connections, most) {
		return protocol.Errorf(protocol.NotAllowed, protocol.IDConnectionOpen,
			"connection refused: node connection limit (%d) is reached", most)
	}
	c.joined = true
	c.cfg.Tally.connectionsOpened.Add(1)
	return nil
}

// exit ends what join began.
func (c *connection) exit() {
	if c.joined {
		c.joined = false
		c.cfg.Limits.connections.Add(-1)
		c.cfg.Tally.connectionsClosed.Add(1)
	}
}

// addChannel counts a channel that is being opened, or refuses it.
func (c *connection) addChannel() *protocol.Error {
	if n := len(c.channels); n >= c.channelMax {
		return protocol.Errorf(protocol.NotAllowed, protocol.IDChannelOpen,
			"number of channels opened (%d) has reached the negotiated channel_max (%d)", n, c.channelMax)
	}
	l := c.cfg.Limits
	if most := l.mostChannels.Load(); !takeOne(&l.channels, most) {
		return protocol.Errorf(protocol.NotAllowed, protocol.IDChannelOpen,
			"number of channels opened on node '%s' has reached the maximum allowed limit of %d", c.cfg.Node, most)
	}
	c.cfg.Tally.channelsOpened.Add(1)
	return nil
}

// Open returns how many connections and channels are open.
func (l *Limits) Open() (connections, channels int) {
	return int(l.connections.Load()), int(l.channels.Load())
}

// dropChannel takes a channel off the list; nothing of it is left.
func (c *connection) dropChannel(number uint16) {
	if c.channels[number].counts[CountPublished] > 0 {
		c.cfg.Tally.publishers.Add(-1)
	}
	delete(c.channels, number)
	c.s.open.remove(number)
	c.tellChannel("channel.closed", number)
	c.cfg.Limits.channels.Add(-1)
	c.cfg.Tally.channelsClosed.Add(1)
}

// mayConsume refuses a consumer more than ConsumerMax.
func (ch *channel) mayConsume(id protocol.ID) error {
	if most := ch.c.cfg.ConsumerMax; most > 0 && len(ch.consumers) >= most {
		return protocol.Errorf(protocol.NotAllowed, id, "reached maximum (%d) of consumers per channel", most)
	}
	return nil
}

// updateSecret is connection.update-secret: the user has to be who logged in, with the new
// secret too. Whether it may still be in the vhost, and consume what it does, is looked up anew.
func (c *connection) updateSecret(m *protocol.ConnectionUpdateSecret) {
	if c.secret { // else there is none to renew
		if err := c.cfg.Authenticate(c.user, m.NewSecret, c.cfg.Conn.RemoteAddr()); err != nil {
			c.log.Warn("a new secret was refused", "error", err)
			c.fail(protocol.Errorf(protocol.NotAllowed, m.ID(), "New secret was refused by one of the backends"))
			return
		}
	}
	if err := c.recheck(m.ID()); err != nil {
		c.fail(err)
		return
	}
	c.log.Info("the secret was renewed", "reason", m.Reason)
	c.out.Method(0, &protocol.ConnectionUpdateSecretOk{})
}
