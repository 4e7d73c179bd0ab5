package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A scene is what an operation that is to be refused finds: a connection and a
// channel, a durable queue and a durable direct exchange of its own.
type scene struct {
	t        *testing.T
	c        *cluster
	conn     *amqp.Connection
	ch       *amqp.Channel
	closed   <-chan *amqp.Error // how ch ended
	queue    string
	exchange string
}

// A refused is an operation that the broker refuses. Queue and exchange stand
// for %[1]s and %[2]s in the text; a text that ends in … is a prefix.
type refused struct {
	name string
	do   func(s *scene) error // an asynchronous operation returns nil
	code int
	text string
	hard bool // the connection is closed, not only the channel
}

func passive(s *scene, queue string) error {
	_, err := s.ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	return err
}

func redeclare(s *scene, durable, autoDelete, exclusive bool, args amqp.Table) error {
	_, err := s.ch.QueueDeclare(s.queue, durable, autoDelete, exclusive, false, args)
	return err
}

func send(s *scene, exchange, key string, p amqp.Publishing) error {
	return s.ch.PublishWithContext(context.Background(), exchange, key, false, false, p)
}

// settle gets two messages and settles the first.
func settle(s *scene, do func(d amqp.Delivery) error) error {
	publish(s.t, s.ch, s.queue, "m")
	wantDepth(s.t, s.ch, s.queue, 1)
	return do(get(s.t, s.ch, s.queue, "m"))
}

// otherExclusive declares an exclusive queue on another connection, to another node.
func otherExclusive(s *scene) string {
	name := unique(s.t)
	if _, err := open(s.t, s.c.node(1)).QueueDeclare(name, false, false, true, false, nil); err != nil {
		s.t.Fatalf("declare exclusive queue: %v", err)
	}
	return name
}

const locked = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '…"

var refusals = []refused{
	// row: 1.3 basic.publish
	{"publish to no exchange", func(s *scene) error { return send(s, "nosuch", "k", amqp.Publishing{}) },
		404, "NOT_FOUND - no exchange 'nosuch' in vhost '/'", false},
	// row: 1.2 queue.declare
	{"passive queue", func(s *scene) error { return passive(s, "nosuch") },
		404, "NOT_FOUND - no queue 'nosuch' in vhost '/'", false},
	// row: 1.2 exchange.declare
	{"passive exchange", func(s *scene) error {
		return s.ch.ExchangeDeclarePassive("nosuch", "direct", true, false, false, false, nil)
	}, 404, "NOT_FOUND - no exchange 'nosuch' in vhost '/'", false},
	{"consume from no queue", func(s *scene) error {
		_, err := s.ch.Consume("nosuch", "", false, false, false, false, nil)
		return err
	}, 404, "NOT_FOUND - no queue 'nosuch' in vhost '/'", false},
	{"get from no queue", func(s *scene) error { _, _, err := s.ch.Get("nosuch", false); return err },
		404, "NOT_FOUND - no queue 'nosuch' in vhost '/'", false},
	{"purge no queue", func(s *scene) error { _, err := s.ch.QueuePurge("nosuch", false); return err },
		404, "NOT_FOUND - no queue 'nosuch' in vhost '/'", false},
	{"bind no queue", func(s *scene) error { return s.ch.QueueBind("nosuch", "k", "amq.direct", false, nil) },
		404, "NOT_FOUND - no queue 'nosuch' in vhost '/'", false},
	{"bind to no exchange", func(s *scene) error { return s.ch.QueueBind(s.queue, "k", "nosuch", false, nil) },
		404, "NOT_FOUND - no exchange 'nosuch' in vhost '/'", false},
	{"bind exchange to no exchange", func(s *scene) error { return s.ch.ExchangeBind(s.exchange, "k", "nosuch", false, nil) },
		404, "NOT_FOUND - no exchange 'nosuch' in vhost '/'", false},
	// row: 1.2 empty queue name
	{"no queue declared on the channel", func(s *scene) error {
		return channelOf(s).QueueBind("", "k", "amq.direct", false, nil)
	}, 404, "NOT_FOUND - no previously declared queue", false},

	// row: 1.2 queue.declare
	{"queue not as durable", func(s *scene) error { return redeclare(s, false, false, false, nil) },
		406, "PRECONDITION_FAILED - inequivalent arg 'durable' for queue '%[1]s' in vhost '/': received 'false' but current is 'true'", false},
	{"queue not as auto-delete", func(s *scene) error { return redeclare(s, true, true, false, nil) },
		406, "PRECONDITION_FAILED - inequivalent arg 'auto_delete' for queue '%[1]s' in vhost '/': received 'true' but current is 'false'", false},
	{"queue not as exclusive", func(s *scene) error { return redeclare(s, true, false, true, nil) },
		405, "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '%[1]s' in vhost '/'. It could be originally declared on another connection…", false},
	// row: 1.2 queue.declare
	{"queue with a new argument", func(s *scene) error { return redeclare(s, true, false, false, amqp.Table{"x-message-ttl": int32(1)}) },
		406, "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue '%[1]s' in vhost '/': received the value '1' of type 'signedint' but current is none", false},
	// row: 1.2 exchange.declare
	{"exchange of another type", func(s *scene) error {
		return s.ch.ExchangeDeclare(s.exchange, "fanout", true, false, false, false, nil)
	}, 406, "PRECONDITION_FAILED - inequivalent arg 'type' for exchange '%[2]s' in vhost '/': received 'fanout' but current is 'direct'", false},
	{"exchange not as durable", func(s *scene) error {
		return s.ch.ExchangeDeclare(s.exchange, "direct", false, false, false, false, nil)
	}, 406, "PRECONDITION_FAILED - inequivalent arg 'durable' for exchange '%[2]s' in vhost '/': received 'false' but current is 'true'", false},
	{"exchange not as internal", func(s *scene) error {
		return s.ch.ExchangeDeclare(s.exchange, "direct", true, false, true, false, nil)
	}, 406, "PRECONDITION_FAILED - inequivalent arg 'internal' for exchange '%[2]s' in vhost '/': received 'true' but current is 'false'", false},
	// row: 1.2 exchange.declare
	{"exchange of no type", func(s *scene) error {
		return s.ch.ExchangeDeclare("x", "nosuch", true, false, false, false, nil)
	}, 406, "PRECONDITION_FAILED - unknown exchange type 'nosuch'", false},
	{"queue named amq.", func(s *scene) error {
		_, err := s.ch.QueueDeclare("amq.mine", true, false, false, false, nil)
		return err
	}, 403, "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'", false},
	{"exchange named amq.", func(s *scene) error {
		return s.ch.ExchangeDeclare("amq.mine", "direct", true, false, false, false, nil)
	}, 403, "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'", false},
	// row: 1.2 exchange.delete
	{"delete a predeclared exchange", func(s *scene) error { return s.ch.ExchangeDelete("amq.direct", false, false) },
		403, "ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed", false},
	// row: 1.2 default exchange
	{"bind to the default exchange", func(s *scene) error { return s.ch.QueueBind(s.queue, "k", "", false, nil) },
		403, "ACCESS_REFUSED - operation not permitted on the default exchange", false},
	{"unbind from the default exchange", func(s *scene) error { return s.ch.QueueUnbind(s.queue, s.queue, "", nil) },
		403, "ACCESS_REFUSED - operation not permitted on the default exchange", false},
	// row: 1.2 default exchange
	{"declare the default exchange", func(s *scene) error {
		return s.ch.ExchangeDeclare("", "direct", true, false, false, false, nil)
	}, 403, "ACCESS_REFUSED - operation not permitted on the default exchange", false},
	{"delete the default exchange", func(s *scene) error { return s.ch.ExchangeDelete("", false, false) },
		403, "ACCESS_REFUSED - operation not permitted on the default exchange", false},
	// row: 1.2 internal exchange
	{"publish to an internal exchange", func(s *scene) error {
		name := unique(s.t)
		if err := s.ch.ExchangeDeclare(name, "direct", false, true, true, false, nil); err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { _ = open(s.t, s.c.node(0)).ExchangeDelete(name, false, false) })
		return send(s, name, "k", amqp.Publishing{})
	}, 403, "ACCESS_REFUSED - cannot publish to internal exchange '…", false},

	// row: 1.2 exclusive queue
	{"passive on a locked queue", func(s *scene) error { return passive(s, otherExclusive(s)) }, 405, locked, false},
	{"consume from a locked queue", func(s *scene) error {
		_, err := s.ch.Consume(otherExclusive(s), "", true, false, false, false, nil)
		return err
	}, 405, locked, false},
	{"get from a locked queue", func(s *scene) error { _, _, err := s.ch.Get(otherExclusive(s), true); return err }, 405, locked, false},
	{"purge a locked queue", func(s *scene) error { _, err := s.ch.QueuePurge(otherExclusive(s), false); return err }, 405, locked, false},
	{"delete a locked queue", func(s *scene) error {
		_, err := s.ch.QueueDelete(otherExclusive(s), false, false, false)
		return err
	}, 405, locked, false},
	{"bind a locked queue", func(s *scene) error {
		return s.ch.QueueBind(otherExclusive(s), "k", "amq.direct", false, nil)
	}, 405, locked, false},

	// row: 1.3 ack, nack, reject
	{"ack of no delivery", func(s *scene) error { return s.ch.Ack(99, false) },
		406, "PRECONDITION_FAILED - unknown delivery tag 99", false},
	{"nack of no delivery", func(s *scene) error { return s.ch.Nack(7, true, true) },
		406, "PRECONDITION_FAILED - unknown delivery tag 7", false},
	{"reject of no delivery", func(s *scene) error { return s.ch.Reject(8, true) },
		406, "PRECONDITION_FAILED - unknown delivery tag 8", false},
	// row: 1.3 ack, nack, reject
	{"second ack", func(s *scene) error {
		return settle(s, func(d amqp.Delivery) error { return errors.Join(d.Ack(false), d.Ack(false)) })
	}, 406, "PRECONDITION_FAILED - unknown delivery tag 1", false},
	{"ack on another channel", func(s *scene) error {
		return settle(s, func(d amqp.Delivery) error {
			return channelOf(s).Ack(d.DeliveryTag, false)
		})
	}, 406, "PRECONDITION_FAILED - unknown delivery tag 1", false},

	// row: 1.2 queue.delete
	{"delete a queue in use", func(s *scene) error {
		consume(s.t, s.ch, s.queue)
		_, err := channelOf(s).QueueDelete(s.queue, true, false, false)
		return err
	}, 406, "PRECONDITION_FAILED - queue '%[1]s' in vhost '/' in use", false},
	{"delete a queue that is not empty", func(s *scene) error {
		publish(s.t, s.ch, s.queue, "m")
		wantDepth(s.t, s.ch, s.queue, 1)
		_, err := s.ch.QueueDelete(s.queue, false, true, false)
		return err
	}, 406, "PRECONDITION_FAILED - queue '%[1]s' in vhost '/' not empty", false},
	// row: 1.2 exchange.delete
	{"delete an exchange in use", func(s *scene) error {
		if err := s.ch.QueueBind(s.queue, "k", s.exchange, false, nil); err != nil {
			s.t.Fatal(err)
		}
		return s.ch.ExchangeDelete(s.exchange, true, false)
	}, 406, "PRECONDITION_FAILED - exchange '%[2]s' in vhost '/' in use", false},
	// row: 1.3 basic.consume
	{"consume beside an exclusive consumer", func(s *scene) error {
		if _, err := s.ch.Consume(s.queue, "", false, true, false, false, nil); err != nil {
			s.t.Fatal(err)
		}
		_, err := channelOf(s).Consume(s.queue, "", false, false, false, false, nil)
		return err
	}, 403, "ACCESS_REFUSED - queue '%[1]s' in vhost '/' in exclusive use", false},
	{"consume exclusively beside a consumer", func(s *scene) error {
		consume(s.t, s.ch, s.queue)
		_, err := channelOf(s).Consume(s.queue, "", false, true, false, false, nil)
		return err
	}, 403, "ACCESS_REFUSED - queue '%[1]s' in vhost '/' in exclusive use", false},

	// row: 1.3 transactions; 1.3 publisher confirms
	{"tx on a confirm channel", func(s *scene) error { return errors.Join(s.ch.Confirm(false), s.ch.Tx()) },
		406, "PRECONDITION_FAILED - cannot switch from confirm to tx mode", false},
	{"confirm on a tx channel", func(s *scene) error { return errors.Join(s.ch.Tx(), s.ch.Confirm(false)) },
		406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode", false},
	// row: 1.3 transactions
	{"commit without tx", func(s *scene) error { return s.ch.TxCommit() },
		406, "PRECONDITION_FAILED - channel is not transactional", false},
	{"rollback without tx", func(s *scene) error { return s.ch.TxRollback() },
		406, "PRECONDITION_FAILED - channel is not transactional", false},

	// row: 1.4 exchange types
	{"bad x-match", func(s *scene) error {
		return s.ch.QueueBind(s.queue, "", "amq.headers", false, amqp.Table{"x-match": "most"})
	}, 406, "PRECONDITION_FAILED - Invalid x-match field value …", false},
	// row: 1.3 basic.publish
	{"bad expiration", func(s *scene) error { return send(s, "", s.queue, amqp.Publishing{Expiration: "soon"}) },
		406, "PRECONDITION_FAILED - invalid expiration 'soon': …", false},
	// row: 1.3 basic.publish
	{"another user's name", func(s *scene) error { return send(s, "", s.queue, amqp.Publishing{UserId: "root"}) },
		406, "PRECONDITION_FAILED - user_id property set to 'root' but authenticated user was 'guest'", false},
	// row: 1.3 basic.publish
	{"body over 16 MiB", func(s *scene) error {
		return send(s, "", s.queue, amqp.Publishing{Body: make([]byte, 16<<20+1)})
	}, 406, "PRECONDITION_FAILED - message size 16777217 is larger than configured max size 16777216", false},

	// row: 1.3 basic.consume
	{"duplicate consumer tag", func(s *scene) error {
		if _, err := s.ch.Consume(s.queue, "twice", false, false, false, false, nil); err != nil {
			s.t.Fatal(err)
		}
		_, err := s.ch.Consume(s.queue, "twice", false, false, false, false, nil)
		return err
	}, 530, "NOT_ALLOWED - attempt to reuse consumer tag 'twice'", true},
	// row: 1.3 basic.qos
	{"prefetch size", func(s *scene) error { return s.ch.Qos(1, 1000, false) },
		540, "NOT_IMPLEMENTED - prefetch_size!=0 (1000)", true},
	// row: 1.3 basic.publish
	{"immediate", func(s *scene) error {
		return s.ch.PublishWithContext(context.Background(), "", s.queue, false, true, amqp.Publishing{})
	}, 540, "NOT_IMPLEMENTED - immediate=true", true},
	// row: 1.2 channel.flow
	{"flow off", func(s *scene) error { return s.ch.Flow(false) }, 540, "NOT_IMPLEMENTED - active=false", true},
	// row: 1.3 basic.recover
	{"recover without requeue", func(s *scene) error {
		//lint:ignore SA1019 old clients send it, so the broker must answer it
		return s.ch.Recover(false)
	},
		540, "NOT_IMPLEMENTED - requeue=false", true},
}

// channelOf opens another channel and makes it the one whose end is watched.
func channelOf(s *scene) *amqp.Channel {
	s.ch = channel(s.t, s.conn)
	s.closed = s.ch.NotifyClose(make(chan *amqp.Error, 1))
	return s.ch
}

// TestRefusals checks reply code, text and what dies with it, on one node and on
// another node than the one that made queue and exchange.
//
// row: 1.1 channel errors; 1.1 error texts
func TestRefusals(t *testing.T) {
	for _, size := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d_nodes", size), func(t *testing.T) {
			c := sharedCluster(t, size)
			bystander := dial(t, c.node(2))
			for _, r := range refusals {
				t.Run(r.name, func(t *testing.T) {
					wantRefused(t, c, r)
					usable(t, bystander)
				})
			}
		})
	}
}

// wantRefused does what is refused and checks what the client is told.
func wantRefused(t *testing.T, c *cluster, r refused) {
	t.Helper()
	owner := open(t, c.node(1))
	s := &scene{t: t, c: c, conn: dial(t, c.node(0)), queue: declare(t, owner, c.node(1), nil), exchange: unique(t)}
	if err := owner.ExchangeDeclare(s.exchange, "direct", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := open(t, c.node(1)).ExchangeDelete(s.exchange, false, false); err != nil {
			t.Logf("delete exchange: %v", err)
		}
	})
	connClosed := s.conn.NotifyClose(make(chan *amqp.Error, 1))
	channelOf(s)
	err := r.do(s)
	text := strings.NewReplacer("%[1]s", s.queue, "%[2]s", s.exchange).Replace(r.text)
	if err == nil { // asynchronous: the refusal comes as a close
		err = receive(t, "end of the channel", s.closed)
	}
	refusal(t, err, r.code, text)
	if r.hard {
		refusal(t, receive(t, "end of the connection", connClosed), r.code, text)
		return
	}
	usable(t, s.conn)
}
