package session

import (
	"bytes"
	"fmt"
	"sync/atomic"

	"warren/protocol/wire"
)

// Taps say who wants a copy of the messages of which vhosts, the firehose. Where there are none the pointer is nil: a
// message costs one look at it then.
type Taps struct {
	VHosts map[string]bool
	// Take takes a copy. It must not block; what it is given is its own.
	Take func(*Tapped)
}

// A Tapped is a message that came from a client, or goes to one.
type Tapped struct {
	Delivered            bool   // it goes to a client
	VHost, Exchange, Key string // as published
	Queue                string // that it is delivered from
	Redelivered          bool
	Properties, Body     []byte
	Connection, User     string
	Channel              uint16
}

// tapping returns who wants the messages of the connection's vhost; nil: nobody.
func (c *connection) tapping() *Taps {
	if t := c.cfg.Taps.Load(); t != nil && t.VHosts[c.vhost] {
		return t
	}
	return nil
}

// tapPublish hands on a copy of the message whose content is complete.
func (ch *channel) tapPublish(t *Taps, body []byte) {
	m := &ch.content
	t.Take(&Tapped{
		VHost: ch.c.vhost, Exchange: string(m.exchange), Key: string(m.key), Properties: bytes.Clone(m.properties), Body: bytes.Clone(body),
		Connection: ch.c.s.base.Name, User: ch.c.user, Channel: ch.number,
	})
}

// tapDeliver hands on a message that goes to the client. Nobody changes its bytes.
func (ch *channel) tapDeliver(t *Taps, queue, exchange string, key, properties, body []byte, redelivered bool) {
	t.Take(&Tapped{
		Delivered: true, VHost: ch.c.vhost, Exchange: exchange, Key: string(key), Queue: queue, Redelivered: redelivered,
		Properties: properties, Body: body, Connection: ch.c.s.base.Name, User: ch.c.user, Channel: ch.number,
	})
}

// noTaps is that nobody wants anything.
var noTaps atomic.Pointer[Taps]

// An Event is something that happened to a connection or one of its channels, by the names of RabbitMQ's events.
type Event struct {
	Key     string // connection.created and the like
	VHost   string
	Headers wire.Table
}

// tell hands on an event, if somebody listens. It does not block.
func (c *connection) tell(key string, more ...wire.Field) {
	if c.cfg.OnEvent == nil {
		return
	}
	b := &c.s.base
	c.cfg.OnEvent(Event{Key: key, VHost: c.vhost, Headers: append(wire.Table{
		{Name: "user", Value: c.user}, {Name: "vhost", Value: c.vhost}, {Name: "node", Value: b.Node},
	}, more...)})
}

func (c *connection) tellOpened() {
	b := &c.s.base
	c.tell("connection.created", wire.Field{Name: "name", Value: b.Name}, wire.Field{Name: "protocol", Value: b.Protocol},
		wire.Field{Name: "auth_mechanism", Value: c.mechanism}, wire.Field{Name: "ssl", Value: b.SSL},
		wire.Field{Name: "peer_host", Value: b.PeerHost}, wire.Field{Name: "peer_port", Value: int64(b.PeerPort)},
		wire.Field{Name: "host", Value: b.Host}, wire.Field{Name: "port", Value: int64(b.Port)},
		wire.Field{Name: "channel_max", Value: int64(c.channelMax)}, wire.Field{Name: "frame_max", Value: int64(c.frameMax)},
		wire.Field{Name: "timeout", Value: int64(c.heartbeat.Seconds())}, wire.Field{Name: "connected_at", Value: b.ConnectedAt},
		wire.Field{Name: "user_provided_name", Value: c.providedName()})
}

func (c *connection) tellClosed() {
	c.tell("connection.closed", wire.Field{Name: "name", Value: c.s.base.Name})
}

func (c *connection) tellChannel(key string, number uint16) {
	c.tell(key, wire.Field{Name: "name", Value: fmt.Sprintf("%s (%d)", c.s.base.Name, number)},
		wire.Field{Name: "number", Value: int64(number)}, wire.Field{Name: "connection", Value: c.s.base.Name})
}
