package load

import (
	"context"
	"errors"
	"fmt"

	"warren/cmd/warrenperf/internal/client"
	"warren/protocol"
	"warren/protocol/wire"
)

// Prepare makes exchange, queues and bindings for several runs with Predeclared,
// and returns what removes them.
func Prepare(ctx context.Context, o Options) (remove func(context.Context) error, err error) {
	o.Predeclared, o.KeepQueues = false, false
	if err := o.Check(); err != nil {
		return nil, err
	}
	if err := declare(ctx, &o); err != nil {
		return nil, errors.Join(fmt.Errorf("declare: %w", err), cleanUp(ctx, &o))
	}
	return func(ctx context.Context) error { return cleanUp(ctx, &o) }, nil
}

// declare makes exchange, queues and bindings over a connection of its own.
func declare(ctx context.Context, o *Options) error {
	if o.Predeclared {
		return nil
	}
	c, err := client.Dial(ctx, o.URIs[0], "warrenperf-topology")
	if err != nil {
		return err
	}
	defer c.Drop()
	if o.Exchange != "" {
		m := &protocol.ExchangeDeclare{Exchange: o.Exchange, Type: o.Type, Durable: true}
		if _, err := client.Call[*protocol.ExchangeDeclareOk](c, m); err != nil {
			return err
		}
	}
	for _, name := range o.names() {
		if err := declareQueue(c, o, name); err != nil {
			return err
		}
	}
	return c.Close(o.Shutdown)
}

func declareQueue(c *client.Conn, o *Options, name string) error {
	m := &protocol.QueueDeclare{Queue: name, Durable: o.Persistent || o.Quorum, AutoDelete: o.AutoDelete}
	if o.Quorum {
		m.Arguments = wire.Table{{Name: "x-queue-type", Value: "quorum"}}
	}
	if _, err := client.Call[*protocol.QueueDeclareOk](c, m); err != nil {
		return err
	}
	if o.Exchange == "" {
		return nil
	}
	key := o.RoutingKey
	if key == "" {
		key = name
	}
	_, err := client.Call[*protocol.QueueBindOk](c, &protocol.QueueBind{Queue: name, Exchange: o.Exchange, RoutingKey: key})
	return err
}

// remove deletes what declare made. It goes on after an error that closed a
// channel only.
func remove(ctx context.Context, o *Options) error {
	if o.Predeclared || o.KeepQueues {
		return nil
	}
	c, err := client.Dial(ctx, o.URIs[0], "warrenperf-topology")
	if err != nil {
		return err
	}
	defer c.Drop()
	var errs []error
	try := func(err error) error {
		if err == nil {
			return nil
		}
		errs = append(errs, err)
		var closed *client.ClosedError
		if errors.As(err, &closed) && closed.Channel {
			return c.OpenChannel()
		}
		return err
	}
	for _, name := range o.names() {
		_, err := client.Call[*protocol.QueueDeleteOk](c, &protocol.QueueDelete{Queue: name})
		if try(err) != nil {
			return errors.Join(errs...)
		}
	}
	if o.Exchange != "" {
		_, err := client.Call[*protocol.ExchangeDeleteOk](c, &protocol.ExchangeDelete{Exchange: o.Exchange})
		if try(err) != nil {
			return errors.Join(errs...)
		}
	}
	return errors.Join(append(errs, c.Close(o.Shutdown))...)
}
