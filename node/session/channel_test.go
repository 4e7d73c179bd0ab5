package session

import (
	"strings"
	"testing"
	"testing/synctest"

	"warren/fsm/command"
	"warren/protocol"
	"warren/protocol/wire"
)

// row: 1.2 access.request
func TestChannelLifecycle(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1, 65535)
		call[*protocol.ChannelCloseOk](p, 1, &protocol.ChannelClose{ReplyCode: 200})
		p.open(1)
		if m := call[*protocol.ChannelFlowOk](p, 1, &protocol.ChannelFlow{Active: true}); !m.Active {
			t.Error("flow-ok says not active")
		}
		if m := call[*protocol.AccessRequestOk](p, 1, &protocol.AccessRequest{Realm: "/"}); m.Ticket != 1 {
			t.Errorf("ticket %d", m.Ticket)
		}
		if i := p.session.Info(); i.Channels != 2 || i.ChannelInfos[1].Number != 65535 || !strings.HasSuffix(i.ChannelInfos[0].Name, " (1)") {
			t.Errorf("%+v", i)
		}
		p.bye()
	})
}

// row: 1.1 connection errors; 1.1 error texts; 1.2 channel.open, channel.close
func TestConnectionErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		method protocol.Method
		code   uint16
		text   string
	}{
		{"second open", &protocol.ChannelOpen{}, 504, "CHANNEL_ERROR - second 'channel.open' seen"},
		{"flow", &protocol.ChannelFlow{}, 540, "NOT_IMPLEMENTED - active=false"},
		{"immediate", &protocol.BasicPublish{Immediate: true}, 540, "NOT_IMPLEMENTED - immediate=true"},
		{"prefetch size", &protocol.BasicQos{PrefetchSize: 7}, 540, "NOT_IMPLEMENTED - prefetch_size!=0 (7)"},
		{"recover", &protocol.BasicRecover{}, 540, "NOT_IMPLEMENTED - requeue=false"},
		{"recover-async", &protocol.BasicRecoverAsync{}, 540, "NOT_IMPLEMENTED - requeue=false"},
		{"a server's method", &protocol.BasicGetEmpty{}, 503, "COMMAND_INVALID - unimplemented method"},
		{"an answer of a class", &protocol.QueueDeclareOk{}, 503, "COMMAND_INVALID - unimplemented method"},
		{"connection method", &protocol.ConnectionOpen{}, 503, "COMMAND_INVALID - connection.open on channel 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, k *cluster) {
				p := k.connect().login().open(1)
				p.send(1, c.method)
				p.dies(c.code, c.text, c.method.ID())
			})
		})
	}
	t.Run("closed channel", func(t *testing.T) {
		inBubble(t, func(t *testing.T, k *cluster) {
			p := k.connect().login()
			p.send(3, &protocol.QueueDeclare{Queue: "q"})
			p.dies(504, "CHANNEL_ERROR - expected 'channel.open'", protocol.IDQueueDeclare)
		})
	})
	t.Run("channel-max", func(t *testing.T) {
		inBubble(t, func(t *testing.T, k *cluster) {
			p := k.connect()
			p.loginAs(nil, &protocol.ConnectionTuneOk{ChannelMax: 2, FrameMax: 4096})
			p.open(1, 2)
			p.send(3, &protocol.ChannelOpen{})
			p.dies(530, "NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)", protocol.IDChannelOpen)
		})
	})
	t.Run("consumer tag", func(t *testing.T) {
		inBubble(t, func(t *testing.T, k *cluster) {
			p := k.connect().login().open(1)
			p.declare(1, "q")
			call[*protocol.BasicConsumeOk](p, 1, &protocol.BasicConsume{Queue: "q", ConsumerTag: "t"})
			p.send(1, &protocol.BasicConsume{Queue: "q", ConsumerTag: "t"})
			p.dies(530, "NOT_ALLOWED - attempt to reuse consumer tag 't'", protocol.IDBasicConsume)
		})
	})
}

// row: 1.1 channel errors; 1.1 error texts; 1.2 channel.open, channel.close
func TestChannelErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		method protocol.Method
		code   uint16
		text   string
	}{
		{"passive queue", &protocol.QueueDeclare{Queue: "none", Passive: true}, 404, "NOT_FOUND - no queue 'none' in vhost '/'"},
		{"passive exchange", &protocol.ExchangeDeclare{Exchange: "none", Passive: true}, 404, "NOT_FOUND - no exchange 'none' in vhost '/'"},
		{"no queue", &protocol.BasicConsume{}, 404, "NOT_FOUND - no previously declared queue"},
		{"no queue to get", &protocol.BasicGet{}, 404, "NOT_FOUND - no previously declared queue"},
		{"no queue to bind", &protocol.QueueBind{Exchange: "amq.direct"}, 404, "NOT_FOUND - no previously declared queue"},
		{"no queue to purge", &protocol.QueuePurge{}, 404, "NOT_FOUND - no previously declared queue"},
		{"no queue to delete", &protocol.QueueDelete{}, 404, "NOT_FOUND - no previously declared queue"},
		{"unknown queue", &protocol.BasicGet{Queue: "none"}, 404, "NOT_FOUND - no queue 'none' in vhost '/'"},
		{"ack", &protocol.BasicAck{DeliveryTag: 7}, 406, "PRECONDITION_FAILED - unknown delivery tag 7"},
		{"ack 0", &protocol.BasicAck{}, 406, "PRECONDITION_FAILED - unknown delivery tag 0"},
		{"ack many", &protocol.BasicAck{DeliveryTag: 7, Multiple: true}, 406, "PRECONDITION_FAILED - unknown delivery tag 7"},
		{"nack", &protocol.BasicNack{DeliveryTag: 8}, 406, "PRECONDITION_FAILED - unknown delivery tag 8"},
		{"reject", &protocol.BasicReject{DeliveryTag: 9}, 406, "PRECONDITION_FAILED - unknown delivery tag 9"},
		{"commit", &protocol.TxCommit{}, 406, "PRECONDITION_FAILED - channel is not transactional"},
		{"rollback", &protocol.TxRollback{}, 406, "PRECONDITION_FAILED - channel is not transactional"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, k *cluster) {
				p := k.connect().login().open(1, 2)
				// What follows on the failing channel must be passed over.
				p.send(1, c.method, &protocol.QueueDeclare{Queue: "after"}, &protocol.BasicAck{DeliveryTag: 1000})
				p.fails(1, c.code, c.text, c.method.ID())
				p.silent()
				if k.queue("after").Name != "" {
					t.Error("a method behind the error was carried out")
				}
				p.declare(2, "q") // others go on
				p.open(1)
				p.declare(1, "q")
				p.bye()
			})
		})
	}
}

// Both sides may close a channel at once.
func TestChannelCloseCrossing(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1)
		p.send(1, &protocol.BasicAck{DeliveryTag: 1}, &protocol.ChannelClose{ReplyCode: 200})
		receive[*protocol.ChannelClose](p, 1)
		receive[*protocol.ChannelCloseOk](p, 1)
		p.send(1, &protocol.ChannelCloseOk{})
		p.open(1)
		p.bye()
	})
}

func TestContentErrors(t *testing.T) {
	publish := func(p *peer) { p.w.Method(1, &protocol.BasicPublish{RoutingKey: "q"}) }
	header := func(p *peer, class uint16, size uint64, properties ...byte) {
		p.w.Append(func(b []byte) []byte { return protocol.AppendHeader(b, 1, class, size, properties) })
	}
	body := func(p *peer, s string) {
		p.w.Append(func(b []byte) []byte { return protocol.AppendBody(b, 1, []byte(s), 0) })
	}
	for _, c := range []struct {
		name string
		send func(*peer)
		code uint16
		text string
	}{
		{"method for header", func(p *peer) { publish(p); publish(p) }, 505, "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead"},
		{"body for header", func(p *peer) { publish(p); body(p, "x") }, 505, "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead"},
		{"method for body", func(p *peer) { publish(p); header(p, 60, 5, 0, 0); publish(p) }, 505, "UNEXPECTED_FRAME - expected content body, got non content body frame instead"},
		{"header for body", func(p *peer) { publish(p); header(p, 60, 5, 0, 0); header(p, 60, 5, 0, 0) }, 505, "UNEXPECTED_FRAME - expected content body, got non content body frame instead"},
		{"class", func(p *peer) { publish(p); header(p, 50, 5, 0, 0) }, 505, "UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead"},
		{"too much body", func(p *peer) { publish(p); header(p, 60, 5, 0, 0); body(p, "123456") }, 501, "FRAME_ERROR - content body frame exceeds remaining content size"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, k *cluster) {
				p := k.connect().login().open(1)
				c.send(p)
				p.flush()
				p.dies(c.code, c.text, protocol.IDBasicPublish)
			})
		})
	}
	t.Run("size", func(t *testing.T) {
		inBubble(t, func(t *testing.T, k *cluster) {
			p := k.connect(func(c *Config) { c.MaxMessageSize = 1000 }).login().open(1)
			publish(p)
			header(p, 60, 1001, 0, 0)
			body(p, strings.Repeat("x", 1001))
			p.flush()
			p.fails(1, 406, "PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000", protocol.IDBasicPublish)
			p.bye()
		})
	})
	t.Run("user-id", func(t *testing.T) {
		inBubble(t, func(t *testing.T, k *cluster) {
			p := k.connect().login().open(1)
			for _, user := range []string{"guest", "mallory"} {
				publish(p)
				header(p, 60, 0, wire.AppendProperties(nil, &wire.Properties{Present: wire.FlagUserID, UserID: user})...)
			}
			p.flush()
			p.fails(1, 406, "PRECONDITION_FAILED - user_id property set to 'mallory' but authenticated user was 'guest'", protocol.IDBasicPublish)
			p.bye()
		})
	})
	t.Run("expiration", func(t *testing.T) {
		inBubble(t, func(t *testing.T, k *cluster) {
			p := k.connect().login().open(1)
			publish(p)
			header(p, 60, 0, wire.AppendProperties(nil, &wire.Properties{Present: wire.FlagExpiration, Expiration: "10s"})...)
			p.flush()
			p.fails(1, 406, `PRECONDITION_FAILED - invalid expiration '10s': {leftover_string,"s"}`, protocol.IDBasicPublish)
			p.bye()
		})
	})
}

// A synchronous method holds back what follows on its channel, not what comes on
// others; and the answers come in order.
func TestHoldBack(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1, 2)
		k.setHold(true)
		p.send(1, &protocol.QueueDeclare{Queue: "a"}, &protocol.BasicQos{PrefetchCount: 1}, &protocol.QueueDeclare{Queue: "b"}, &protocol.BasicQos{PrefetchCount: 2})
		p.send(2, &protocol.BasicQos{PrefetchCount: 3})
		receive[*protocol.BasicQosOk](p, 2)
		p.silent()
		k.setHold(false)
		for _, name := range []string{"a", "b"} {
			if m := receive[*protocol.QueueDeclareOk](p, 1); m.Queue != name {
				t.Errorf("got %+v", m)
			}
			receive[*protocol.BasicQosOk](p, 1)
		}
		p.bye()
	})
}

// What is held back is bounded: then the socket is not read.
func TestHoldBackIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1)
		p.declare(1, "q")
		k.setHold(true)
		p.send(1, &protocol.QueueDeclare{Queue: "q", Durable: true})
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for range 3 * maxHeld / 10000 {
				p.publish(1, "", "q", strings.Repeat("x", 10000))
				p.flush()
			}
		}()
		synctest.Wait()
		select {
		case <-sent:
			t.Error("all was read")
		default:
		}
		k.setHold(false)
		<-sent
		receive[*protocol.QueueDeclareOk](p, 1)
		synctest.Wait()
		if n := k.queue("q").Ready; n != 3*maxHeld/10000 {
			t.Errorf("%d messages arrived", n)
		}
		p.bye()
	})
}

// Results of a channel that was closed must not reach the next of that number.
func TestChannelNumberIsReused(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1)
		call[*protocol.ConfirmSelectOk](p, 1, &protocol.ConfirmSelect{})
		k.setHold(true)
		p.publish(1, "", "none", "m")
		p.flush()
		call[*protocol.ChannelCloseOk](p, 1, &protocol.ChannelClose{ReplyCode: 200})
		p.open(1)
		call[*protocol.ConfirmSelectOk](p, 1, &protocol.ConfirmSelect{})
		p.publish(1, "", "none", "m")
		p.publish(1, "", "none", "m")
		p.flush()
		synctest.Wait()
		k.step() // the publish of the channel before
		p.silent()
		k.setHold(false)
		var last uint64
		for last != 2 {
			last = receive[*protocol.BasicAck](p, 1).DeliveryTag
		}
		p.silent()
		p.bye()
	})
}

// close-ok comes when the requeued messages can be seen, and the number cannot be
// used again before.
func TestChannelCloseRequeues(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1)
		p.declare(1, "q")
		p.publish(1, "", "q", "m")
		p.flush()
		call[*protocol.BasicConsumeOk](p, 1, &protocol.BasicConsume{Queue: "q", ConsumerTag: "t"})
		receive[*protocol.BasicDeliver](p, 1)
		p.content(1)
		k.setHold(true)
		p.send(1, &protocol.ChannelClose{ReplyCode: 200}, &protocol.ChannelOpen{}, &protocol.BasicGet{Queue: "q"})
		p.silent()
		k.setHold(false)
		receive[*protocol.ChannelCloseOk](p, 1)
		receive[*protocol.ChannelOpenOk](p, 1)
		if m := receive[*protocol.BasicGetOk](p, 1); !m.Redelivered || m.DeliveryTag != 1 {
			t.Errorf("%+v", m)
		}
		p.content(1)
		p.bye()
		synctest.Wait()
		if q := k.queue("q"); q.Ready != 1 || q.Unacked != 0 {
			t.Errorf("%+v", q)
		}
		if n := k.count(command.KindConnectionClose); n != 1 {
			t.Errorf("%d times ConnectionClose", n)
		}
	})
}

func TestTopology(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1)
		call[*protocol.ExchangeDeclareOk](p, 1, &protocol.ExchangeDeclare{Exchange: "x\r\n", Type: "topic", Durable: true})
		call[*protocol.ExchangeDeclareOk](p, 1, &protocol.ExchangeDeclare{Exchange: "y", Type: "fanout"})
		call[*protocol.ExchangeBindOk](p, 1, &protocol.ExchangeBind{Source: "x", Destination: "y", RoutingKey: "#"})
		name := call[*protocol.QueueDeclareOk](p, 1, &protocol.QueueDeclare{}).Queue
		call[*protocol.QueueBindOk](p, 1, &protocol.QueueBind{Exchange: "y"})
		call[*protocol.QueueBindOk](p, 1, &protocol.QueueBind{Exchange: "amq.direct"}) // key: the queue's name
		p.publish(1, "x", "a.b", "one")
		p.publish(1, "amq.direct", name, "two")
		p.flush()
		if m := call[*protocol.QueuePurgeOk](p, 1, &protocol.QueuePurge{}); m.MessageCount != 2 {
			t.Errorf("purged %d", m.MessageCount)
		}
		call[*protocol.QueueUnbindOk](p, 1, &protocol.QueueUnbind{Exchange: "amq.direct"})
		call[*protocol.ExchangeUnbindOk](p, 1, &protocol.ExchangeUnbind{Source: "x", Destination: "y", RoutingKey: "#"})
		p.publish(1, "x", "a.b", "three")
		p.publish(1, "amq.direct", name, "four")
		p.publish(1, "y", "", "five")
		p.flush()
		if m := call[*protocol.QueueDeleteOk](p, 1, &protocol.QueueDelete{}); m.MessageCount != 1 {
			t.Errorf("deleted with %d", m.MessageCount)
		}
		call[*protocol.ExchangeDeleteOk](p, 1, &protocol.ExchangeDelete{Exchange: "x"})
		// Without answers:
		p.send(1,
			&protocol.ExchangeDeclare{Exchange: "z", Type: "direct", NoWait: true},
			&protocol.QueueDeclare{Queue: "zq", NoWait: true},
			&protocol.QueueBind{Queue: "zq", Exchange: "z", NoWait: true},
			&protocol.QueuePurge{Queue: "zq", NoWait: true},
			&protocol.ExchangeBind{Source: "z", Destination: "y", NoWait: true},
			&protocol.ExchangeUnbind{Source: "z", Destination: "y", NoWait: true},
			&protocol.BasicConsume{Queue: "zq", ConsumerTag: "t", NoWait: true},
			&protocol.BasicCancel{ConsumerTag: "t", NoWait: true},
			&protocol.ConfirmSelect{NoWait: true},
			&protocol.QueueDelete{Queue: "zq", NoWait: true},
			&protocol.ExchangeDelete{Exchange: "z", NoWait: true},
			&protocol.BasicQos{})
		receive[*protocol.BasicQosOk](p, 1)
		p.bye()
	})
}
