package session

import (
	"errors"
	"net"
	"testing"

	"warren/fsm/access"
	"warren/protocol"
)

func TestNodeLimits(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		limits := new(Limits)
		limits.Set(2, 3)
		plug := func(c *Config) { c.Limits = limits }
		first, second := k.connect(plug).login().open(1, 2), k.connect(plug).login().open(1)
		refused := func() {
			p := k.connect(plug)
			p.header()
			receive[*protocol.ConnectionStart](p, 0)
			call[*protocol.ConnectionTune](p, 0, &protocol.ConnectionStartOk{
				ClientProperties: allCapabilities, Mechanism: "PLAIN", Response: protocol.PlainResponse("guest", "guest"), Locale: "en_US",
			})
			p.send(0, &protocol.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131072, Heartbeat: 60})
			p.send(0, &protocol.ConnectionOpen{VirtualHost: "/"})
			p.dies(protocol.NotAllowed, "NOT_ALLOWED - connection refused: node connection limit (2) is reached", protocol.IDConnectionOpen)
		}
		refused()
		refused() // one that was refused does not count

		// One more channel ends its connection, and with it go its channels.
		second.send(2, &protocol.ChannelOpen{})
		second.dies(protocol.NotAllowed,
			"NOT_ALLOWED - number of channels opened on node 'rabbit@n1' has reached the maximum allowed limit of 3", protocol.IDChannelOpen)
		third := k.connect(plug).login().open(1)
		call[*protocol.ChannelCloseOk](first, 2, &protocol.ChannelClose{ReplyCode: 200})
		third.open(2)
		// A channel that fails counts until the client has agreed.
		third.send(1, &protocol.BasicAck{DeliveryTag: 1})
		third.fails(1, protocol.PreconditionFailed, "PRECONDITION_FAILED - unknown delivery tag 1", protocol.IDBasicAck)
		third.open(3) // on this connection the close-ok has come before
		first.bye()
		_ = third.hangUp()
		if n, m := limits.connections.Load(), limits.channels.Load(); n != 0 || m != 0 {
			t.Errorf("%d connections and %d channels are left", n, m)
		}
	})
}

// row: 1.3 basic.consume
func TestConsumerMax(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect(func(c *Config) { c.ConsumerMax = 2 }).login().open(1, 2)
		p.declare(1, "q")
		consume := func(channel uint16, tag string) {
			call[*protocol.BasicConsumeOk](p, channel, &protocol.BasicConsume{Queue: "q", ConsumerTag: tag})
		}
		consume(1, "a")
		consume(1, "b")
		consume(2, "a")
		call[*protocol.BasicCancelOk](p, 1, &protocol.BasicCancel{ConsumerTag: "a"})
		consume(1, "c")
		p.send(1, &protocol.BasicConsume{Queue: "q", ConsumerTag: "d"})
		p.dies(protocol.NotAllowed, "NOT_ALLOWED - reached maximum (2) of consumers per channel", protocol.IDBasicConsume)
	})
}

// row: 1.1 update-secret
func TestUpdateSecret(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		secret := "guest"
		p := k.connect(func(c *Config) {
			c.Authenticate = func(user, password string, _ net.Addr) error {
				if user != "guest" || password != secret {
					return errors.New("wrong")
				}
				return nil
			}
		}).login().open(1)
		secret = "renewed"
		call[*protocol.ConnectionUpdateSecretOk](p, 0, &protocol.ConnectionUpdateSecret{NewSecret: "renewed", Reason: "it was time"})
		p.declare(1, "q")
		p.send(0, &protocol.ConnectionUpdateSecret{NewSecret: "guest"})
		p.dies(protocol.NotAllowed, "NOT_ALLOWED - New secret was refused by one of the backends", protocol.IDConnectionUpdateSecret)
	})
}

// TestUpdateSecretLooksAnew: with a new secret the vhost and what is consumed have to be allowed still.
//
// row: 1.1 update-secret; 1.3 consumer cancel notify
func TestUpdateSecretLooksAnew(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		g := newGrants()
		p, plain := k.connect(g.use).login().open(1, 2), k.connect(g.use)
		plain.loginAs(nil, &protocol.ConnectionTuneOk{ChannelMax: 1, FrameMax: 4096})
		plain.open(1)
		p.declare(1, "kept")
		p.declare(1, "taken")
		consume := func(p *peer, channel uint16, queue string) {
			call[*protocol.BasicConsumeOk](p, channel, &protocol.BasicConsume{Queue: queue, ConsumerTag: queue})
		}
		for channel := range uint16(2) {
			consume(p, channel+1, "kept")
			consume(p, channel+1, "taken")
		}
		consume(plain, 1, "taken")
		for range 3 { // one for each
			p.publish(1, "", "taken", "m")
		}
		p.flush()
		for channel := range uint16(2) {
			receive[*protocol.BasicDeliver](p, channel+1)
			p.content(channel + 1)
		}
		receive[*protocol.BasicDeliver](plain, 1)
		plain.content(1)

		g.deny(queueNeed(access.Read, "taken"))
		p.silent() // a permission alone takes no consumer away
		p.send(0, &protocol.ConnectionUpdateSecret{NewSecret: "guest"})
		for channel := range uint16(2) {
			if m := receive[*protocol.BasicCancel](p, channel+1); m.ConsumerTag != "taken" || !m.NoWait {
				t.Errorf("channel %d: %+v", channel+1, m)
			}
		}
		receive[*protocol.ConnectionUpdateSecretOk](p, 0)
		call[*protocol.ConnectionUpdateSecretOk](plain, 0, &protocol.ConnectionUpdateSecret{NewSecret: "guest"})
		plain.silent() // it does not understand cancels
		if q := k.queue("taken"); q.Consumers != 0 || q.Unacked != 3 {
			t.Errorf("%+v", q)
		}
		if q := k.queue("kept"); q.Consumers != 2 {
			t.Errorf("%+v", q)
		}
		p.send(1, &protocol.BasicAck{DeliveryTag: 1}) // what was in flight stays
		p.silent()
		if q := k.queue("taken"); q.Unacked != 2 {
			t.Errorf("%+v", q)
		}

		g.change(func() { g.enter = false })
		p.send(0, &protocol.ConnectionUpdateSecret{NewSecret: "guest"})
		p.dies(530, "NOT_ALLOWED - access to vhost '/' refused for user 'guest'", protocol.IDConnectionUpdateSecret)
		plain.bye()
	})
}

func TestAnonymous(t *testing.T) {
	for _, user := range []string{"", "guest", "nobody"} {
		inBubble(t, func(t *testing.T, k *cluster) {
			p := k.connect(func(c *Config) { c.AnonymousUser, c.AnonymousPass = user, "guest" })
			p.header()
			start := receive[*protocol.ConnectionStart](p, 0)
			if want := map[bool]string{true: "PLAIN AMQPLAIN ANONYMOUS", false: "PLAIN AMQPLAIN"}[user != ""]; start.Mechanisms != want {
				t.Errorf("mechanisms %q, want %q", start.Mechanisms, want)
			}
			p.send(0, &protocol.ConnectionStartOk{ClientProperties: allCapabilities, Mechanism: "ANONYMOUS", Locale: "en_US"})
			switch user {
			case "":
				p.dies(protocol.CommandInvalid, "COMMAND_INVALID - unknown authentication mechanism 'ANONYMOUS'", protocol.IDConnectionStartOk)
			case "nobody":
				p.dies(protocol.AccessRefused, "ACCESS_REFUSED - Login was refused using authentication mechanism ANONYMOUS. "+
					"For details see the broker logfile.", 0)
			default:
				receive[*protocol.ConnectionTune](p, 0)
				p.send(0, &protocol.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131072, Heartbeat: 60})
				call[*protocol.ConnectionOpenOk](p, 0, &protocol.ConnectionOpen{VirtualHost: "/"})
				if i := p.session.Info(); i.User != "guest" || i.AuthMechanism != "ANONYMOUS" {
					t.Errorf("user %q by %q", i.User, i.AuthMechanism)
				}
				p.bye()
			}
		})
	}
}
