package session

import (
	"strings"

	"warren/fsm/command"
	"warren/protocol"
)

func (ch *channel) queueMethod(m protocol.Method) error {
	switch m := m.(type) {
	case *protocol.QueueDeclare:
		ch.declareQueue(m)
	case *protocol.QueueBind:
		b, err := ch.queueBinding(m.ID(), m.Queue, m.Exchange, m.RoutingKey)
		if err != nil {
			return err
		}
		b.Args = m.Arguments
		ch.simpleCall(m.ID(), &command.Bind{Binding: b}, m.NoWait, &protocol.QueueBindOk{})
	case *protocol.QueueUnbind:
		b, err := ch.queueBinding(m.ID(), m.Queue, m.Exchange, m.RoutingKey)
		if err != nil {
			return err
		}
		b.Args = m.Arguments
		ch.simpleCall(m.ID(), &command.Unbind{Binding: b}, false, &protocol.QueueUnbindOk{})
	case *protocol.QueuePurge:
		return ch.purgeQueue(m)
	case *protocol.QueueDelete:
		return ch.deleteQueue(m)
	default:
		return unimplemented(m)
	}
	return nil
}

// queueName returns the queue that a method means: none named is the one that the
// channel declared last.
func (ch *channel) queueName(id protocol.ID, name string) (string, error) {
	if name != "" {
		return entityName(name), nil
	}
	if ch.lastQueue == "" {
		return "", protocol.Errorf(protocol.NotFound, id, "no previously declared queue")
	}
	return ch.lastQueue, nil
}

func (ch *channel) declareQueue(m *protocol.QueueDeclare) {
	c, name := ch.c, entityName(m.Queue)
	if strings.HasPrefix(name, replyQueue) {
		ch.declareReplyQueue(m, name)
		return
	}
	cmd := &command.QueueDeclare{
		VHost: c.vhost, Conn: c.cfg.ID, Name: name,
		Passive: m.Passive, Durable: m.Durable && !m.Exclusive, // which goes with its connection, as in RabbitMQ
		Exclusive: m.Exclusive, AutoDelete: m.AutoDelete,
		Args: m.Arguments,
	}
	if name == "" && !m.Passive {
		cmd.Name, cmd.Generated = generatedName("amq.gen-"), true
	}
	if m.Exclusive && !m.Passive {
		c.known = true
	}
	ch.call(m.ID(), cmd, func(r *command.Result) {
		if m.Exclusive && !m.Passive {
			c.exclusive[cmd.Name] = struct{}{}
		}
		ch.lastQueue = cmd.Name
		ch.reply(m.NoWait, &protocol.QueueDeclareOk{
			Queue: cmd.Name, MessageCount: r.Messages, ConsumerCount: r.Consumers,
		})
	})
}

// queueBinding names the binding of queue.bind and queue.unbind. Where neither queue
// nor key is given, the queue's name is the key too.
func (ch *channel) queueBinding(id protocol.ID, queue, exchange, key string) (command.Binding, error) {
	name, err := ch.queueName(id, queue)
	if err != nil {
		return command.Binding{}, err
	}
	if strings.HasPrefix(name, replyQueue) {
		return command.Binding{}, protocol.Errorf(protocol.AccessRefused, id, "cannot bind or unbind to a volatile (direct reply-to) queue")
	}
	if queue == "" && key == "" {
		key = name
	}
	return command.Binding{
		VHost: ch.c.vhost, Conn: ch.c.cfg.ID, Source: entityName(exchange), Destination: name, Key: key,
	}, nil
}

func (ch *channel) purgeQueue(m *protocol.QueuePurge) error {
	name, err := ch.queueName(m.ID(), m.Queue)
	if err != nil {
		return err
	}
	cmd := &command.QueuePurge{VHost: ch.c.vhost, Conn: ch.c.cfg.ID, Name: name}
	ch.call(m.ID(), cmd, func(r *command.Result) {
		ch.reply(m.NoWait, &protocol.QueuePurgeOk{MessageCount: r.Messages})
	})
	return nil
}

func (ch *channel) deleteQueue(m *protocol.QueueDelete) error {
	name, err := ch.queueName(m.ID(), m.Queue)
	if err != nil {
		return err
	}
	cmd := &command.QueueDelete{VHost: ch.c.vhost, Conn: ch.c.cfg.ID, Name: name, IfUnused: m.IfUnused, IfEmpty: m.IfEmpty}
	ch.call(m.ID(), cmd, func(r *command.Result) {
		delete(ch.c.exclusive, name)
		ch.reply(m.NoWait, &protocol.QueueDeleteOk{MessageCount: r.Messages})
	})
	return nil
}
