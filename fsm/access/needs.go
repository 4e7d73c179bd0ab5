package access

import (
	"fmt"

	"warren/fsm/command"
	"warren/protocol/wire"
)

// A Right is a kind of permission.
type Right uint8

// The rights. Any is one of the three, whichever: a passive declare needs no more. RabbitMQ asks for
// configure last there, so that is what a refusal names.
const (
	Configure Right = iota
	Write
	Read
	Any
)

// String returns RabbitMQ's word for the right in a refusal.
func (r Right) String() string { return [...]string{"configure", "write", "read", "configure"}[r&3] }

// A Need is a permission that an operation needs.
type Need struct {
	Right    Right
	Exchange bool   // Name is an exchange's; else a queue's
	Name     string // as clients see it: the default exchange's is empty

	// Topic makes it a topic permission: the exchange, if it is a topic exchange, is
	// used with the routing key Key. The right is Write or Read.
	Topic bool
	Key   string
}

// PatternName is what the patterns of permissions are matched against: the default
// exchange has a name there.
func (n *Need) PatternName() string {
	if n.Exchange && n.Name == "" {
		return "amq.default"
	}
	return n.Name
}

// Refusal is AMQP's answer to somebody who lacks what is needed, in RabbitMQ's words
// (rabbit_access_control).
func (n *Need) Refusal(user, vhost string) *command.Error {
	name := n.PatternName()
	if n.Topic {
		return refuse(accessRefused, "%s access to topic '%s' in exchange topic '%s' in vhost '%s' refused for user '%s'",
			n.Right, n.Key, n.Name, vhost, user)
	}
	kind := "queue"
	if n.Exchange {
		kind = "exchange"
	}
	return refuse(accessRefused, "%s access to %s refused for user '%s'",
		n.Right, fmt.Sprintf("%s '%s' in vhost '%s'", kind, name, vhost), user)
}

// Needs appends to dst what a command needs, in the order in which RabbitMQ checks it
// (rabbit_channel). A transaction needs nothing: its parts were checked as they came.
// See https://www.rabbitmq.com/docs/access-control#authorisation.
func Needs(dst []Need, cmd command.Command) []Need {
	switch c := cmd.(type) {
	case *command.ExchangeDeclare:
		if c.Passive {
			return append(dst, exchange(Any, c.Name))
		}
		dst = append(dst, exchange(Configure, c.Name))
		if alternate, ok := text(c.Args, "alternate-exchange"); ok {
			dst = append(dst, exchange(Read, c.Name), exchange(Write, alternate))
		}
	case *command.ExchangeDelete:
		dst = append(dst, exchange(Configure, c.Name))
	case *command.Bind:
		dst = bindingNeeds(dst, &c.Binding)
	case *command.Unbind:
		dst = bindingNeeds(dst, &c.Binding)
	case *command.QueueDeclare:
		if c.Passive {
			return append(dst, queue(Any, c.Name))
		}
		dst = append(dst, queue(Configure, c.Name))
		if dead, ok := text(c.Args, "x-dead-letter-exchange"); ok {
			dst = append(dst, queue(Read, c.Name), exchange(Write, dead))
		}
	case *command.QueueDelete:
		dst = append(dst, queue(Configure, c.Name))
	case *command.QueuePurge:
		dst = append(dst, queue(Read, c.Name))
	case *command.Consume:
		dst = append(dst, queue(Read, c.Queue))
	case *command.Get:
		dst = append(dst, queue(Read, c.Queue))
	case *command.Move:
		dst = append(dst, queue(Read, c.Queue))
		switch {
		case c.To == command.ToExchange:
			dst = append(dst, exchange(Write, c.Target))
			if c.SetKey {
				dst = append(dst, onTopic(Write, c.Target, c.Key))
			}
		case c.Target != "": // without, dead letters go to queues that are not known before
			dst = append(dst, queue(Write, c.Target))
		}
	case *command.Publish:
		name := string(c.Exchange)
		dst = append(dst, exchange(Write, name), onTopic(Write, name, string(c.Key)))
		if c.Keyed {
			for _, key := range command.FurtherKeys(c.Properties) {
				dst = append(dst, onTopic(Write, name, string(key)))
			}
		}
	}
	return dst
}

func bindingNeeds(dst []Need, b *command.Binding) []Need {
	to := queue(Write, b.Destination)
	to.Exchange = b.ToExchange
	return append(dst, to, exchange(Read, b.Source), onTopic(Read, b.Source, b.Key))
}

func exchange(r Right, name string) Need { return Need{Right: r, Exchange: true, Name: name} }
func queue(r Right, name string) Need    { return Need{Right: r, Name: name} }

func onTopic(r Right, name, key string) Need {
	return Need{Right: r, Exchange: true, Name: name, Topic: true, Key: key}
}

func text(args wire.Table, name string) (string, bool) {
	v, _ := args.Get(name)
	s, ok := v.(string)
	return s, ok
}
