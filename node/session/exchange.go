package session

import (
	"warren/fsm/command"
	"warren/protocol"
)

func (ch *channel) exchangeMethod(m protocol.Method) error {
	switch m := m.(type) {
	case *protocol.ExchangeDeclare:
		cmd := &command.ExchangeDeclare{
			VHost: ch.c.vhost, Name: entityName(m.Exchange), Type: m.Type,
			Passive: m.Passive, Durable: m.Durable, AutoDelete: m.AutoDelete, Internal: m.Internal,
			Args: m.Arguments,
		}
		ch.simpleCall(m.ID(), cmd, m.NoWait, &protocol.ExchangeDeclareOk{})
	case *protocol.ExchangeDelete:
		cmd := &command.ExchangeDelete{VHost: ch.c.vhost, Name: entityName(m.Exchange), IfUnused: m.IfUnused}
		ch.simpleCall(m.ID(), cmd, m.NoWait, &protocol.ExchangeDeleteOk{})
	case *protocol.ExchangeBind:
		cmd := &command.Bind{Binding: ch.exchangeBinding(m.Source, m.Destination, m.RoutingKey)}
		cmd.Args = m.Arguments
		ch.simpleCall(m.ID(), cmd, m.NoWait, &protocol.ExchangeBindOk{})
	case *protocol.ExchangeUnbind:
		cmd := &command.Unbind{Binding: ch.exchangeBinding(m.Source, m.Destination, m.RoutingKey)}
		cmd.Args = m.Arguments
		ch.simpleCall(m.ID(), cmd, m.NoWait, &protocol.ExchangeUnbindOk{})
	default:
		return unimplemented(m)
	}
	return nil
}

// simpleCall is call with an answer that holds nothing of the result.
func (ch *channel) simpleCall(id protocol.ID, cmd command.Command, noWait bool, ok protocol.Method) {
	ch.call(id, cmd, func(*command.Result) { ch.reply(noWait, ok) })
}

func (ch *channel) exchangeBinding(source, destination, key string) command.Binding {
	return command.Binding{
		VHost: ch.c.vhost, Conn: ch.c.cfg.ID, Source: entityName(source),
		Destination: entityName(destination), ToExchange: true, Key: key,
	}
}
