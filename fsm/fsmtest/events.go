package fsmtest

import (
	"warren/fsm/command"
	"warren/fsm/topology"
	"warren/protocol/wire"
)

// eventMakers build the command of a script that is the broker's own message: emit EXCHANGE KEY BODY.
var eventMakers = map[string]func(l *line) command.Command{
	"emit": func(l *line) command.Command {
		c := &command.Emit{VHost: l.vhost(), Exchange: l.word(), Key: []byte(l.word()), Body: []byte(l.word())}
		c.Properties = wire.AppendProperties(nil, &wire.Properties{})
		return c
	},
}

// event makes a command that events need: the exchange, a binding to it, or a message of the broker's own.
func (g *Generator) event() command.Command {
	switch g.r.IntN(4) {
	case 0:
		return &command.ExchangeDeclare{VHost: g.vhost(), Name: topology.EventExchange, Type: topology.Topic, Durable: true, Internal: g.chance(90)}
	case 1:
		return &command.ExchangeDelete{VHost: g.vhost(), Name: topology.EventExchange}
	case 2:
		return &command.Bind{Binding: command.Binding{
			VHost: g.vhost(), Conn: g.conn(), Source: g.pick(topology.EventExchange, topology.EventExchange, "amq.rabbitmq.trace"),
			Destination: g.queue(), Key: g.pick("#", "queue.*", "*.deleted"),
		}}
	default:
		return &command.Emit{
			VHost: g.vhost(), Exchange: g.pick(topology.EventExchange, "amq.rabbitmq.trace", g.exchange()), Key: []byte(g.pick("publish.a", "queue.created")),
			Properties: wire.AppendProperties(nil, &wire.Properties{}), Body: []byte("body"),
		}
	}
}
