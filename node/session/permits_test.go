package session

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"warren/fsm/access"
	"warren/protocol"
	"warren/protocol/wire"
)

// grants is an Access in which the test says what is allowed.
type grants struct {
	mu      sync.Mutex
	version uint64
	id      uint64
	enter   bool

	impersonates bool
	denied       map[access.Need]bool
	topics       map[string]bool
	asked        int
}

func newGrants() *grants {
	return &grants{version: 1, id: 1, enter: true, denied: make(map[access.Need]bool), topics: make(map[string]bool)}
}

func (g *grants) change(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
	g.version++
}

func (g *grants) deny(n ...access.Need) {
	g.change(func() {
		for _, n := range n {
			g.denied[n] = true
		}
	})
}

func (g *grants) Version() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.version
}

func (g *grants) Rules(string, string) Rules { return g }
func (g *grants) User() uint64               { return g.id }
func (g *grants) Enter() bool                { return g.enter }

func (g *grants) Impersonates() bool { return g.impersonates }

func (g *grants) Restricted(exchange string) bool { return g.topics[exchange] }

func (g *grants) Allows(n *access.Need) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked++
	return !g.denied[*n]
}

func (g *grants) use(c *Config) { c.Access = g }

func queueNeed(r access.Right, name string) access.Need { return access.Need{Right: r, Name: name} }

func exchangeNeed(r access.Right, name string) access.Need {
	return access.Need{Right: r, Exchange: true, Name: name}
}

// TestPermissions denies one permission after the other, and wants the one method that
// needs it to be refused.
//
// row: 1.7 permissions
func TestPermissions(t *testing.T) {
	const refused = " refused for user 'guest'"
	for _, c := range []struct {
		name   string
		denied access.Need
		method protocol.Method
		text   string
	}{
		{"declare a queue", queueNeed(access.Configure, "q"), &protocol.QueueDeclare{Queue: "q"},
			"configure access to queue 'q' in vhost '/'"},
		{"declare passively", queueNeed(access.Any, "q"), &protocol.QueueDeclare{Queue: "q", Passive: true},
			"configure access to queue 'q' in vhost '/'"},
		{"declare with a dead letter exchange", exchangeNeed(access.Write, "x"),
			&protocol.QueueDeclare{Queue: "new", Arguments: wire.Table{{Name: "x-dead-letter-exchange", Value: "x"}}},
			"write access to exchange 'x' in vhost '/'"},
		{"declare with a dead letter exchange, queue", queueNeed(access.Read, "new"),
			&protocol.QueueDeclare{Queue: "new", Arguments: wire.Table{{Name: "x-dead-letter-exchange", Value: "x"}}},
			"read access to queue 'new' in vhost '/'"},
		{"delete a queue", queueNeed(access.Configure, "q"), &protocol.QueueDelete{Queue: "q"},
			"configure access to queue 'q' in vhost '/'"},
		{"purge", queueNeed(access.Read, "q"), &protocol.QueuePurge{Queue: "q"}, "read access to queue 'q' in vhost '/'"},
		{"consume", queueNeed(access.Read, "q"), &protocol.BasicConsume{Queue: "q"}, "read access to queue 'q' in vhost '/'"},
		{"get", queueNeed(access.Read, "q"), &protocol.BasicGet{Queue: "q"}, "read access to queue 'q' in vhost '/'"},
		{"bind, queue", queueNeed(access.Write, "q"), &protocol.QueueBind{Queue: "q", Exchange: "amq.topic"},
			"write access to queue 'q' in vhost '/'"},
		{"bind, exchange", exchangeNeed(access.Read, "amq.topic"), &protocol.QueueBind{Queue: "q", Exchange: "amq.topic"},
			"read access to exchange 'amq.topic' in vhost '/'"},
		{"bind, topic", access.Need{Right: access.Read, Exchange: true, Name: "amq.topic", Topic: true, Key: "k"},
			&protocol.QueueBind{Queue: "q", Exchange: "amq.topic", RoutingKey: "k"},
			"read access to topic 'k' in exchange topic 'amq.topic' in vhost '/'"},
		{"unbind", exchangeNeed(access.Read, "amq.topic"), &protocol.QueueUnbind{Queue: "q", Exchange: "amq.topic"},
			"read access to exchange 'amq.topic' in vhost '/'"},
		{"bind exchanges", exchangeNeed(access.Write, "amq.fanout"),
			&protocol.ExchangeBind{Destination: "amq.fanout", Source: "amq.topic"}, "write access to exchange 'amq.fanout' in vhost '/'"},
		{"declare an exchange", exchangeNeed(access.Configure, "x"), &protocol.ExchangeDeclare{Exchange: "x", Type: "direct"},
			"configure access to exchange 'x' in vhost '/'"},
		{"declare with an alternate exchange", exchangeNeed(access.Write, "amq.fanout"),
			&protocol.ExchangeDeclare{Exchange: "x", Type: "direct", Arguments: wire.Table{{Name: "alternate-exchange", Value: "amq.fanout"}}},
			"write access to exchange 'amq.fanout' in vhost '/'"},
		{"delete an exchange", exchangeNeed(access.Configure, "x"), &protocol.ExchangeDelete{Exchange: "x"},
			"configure access to exchange 'x' in vhost '/'"},
		{"publish", exchangeNeed(access.Write, ""), &protocol.BasicPublish{RoutingKey: "q"},
			"write access to exchange 'amq.default' in vhost '/'"},
		{"publish to a topic", access.Need{Right: access.Write, Exchange: true, Name: "amq.topic", Topic: true, Key: "k"},
			&protocol.BasicPublish{Exchange: "amq.topic", RoutingKey: "k"},
			"write access to topic 'k' in exchange topic 'amq.topic' in vhost '/'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, k *cluster) {
				g := newGrants()
				p := k.connect(g.use).login().open(1, 2)
				p.declare(1, "q")
				g.deny(c.denied)
				p.send(2, c.method)
				p.fails(2, 403, "ACCESS_REFUSED - "+c.text+refused, c.method.ID())
				call[*protocol.BasicQosOk](p, 1, &protocol.BasicQos{}) // the other channel goes on
				p.bye()
			})
		})
	}
}

// TestPublishPermission checks that a permission is asked for once, and again when
// something has changed.
//
// row: 1.3 permission cache
func TestPublishPermission(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		g := newGrants()
		p := k.connect(g.use).login().open(1)
		p.declare(1, "q")
		call[*protocol.ConfirmSelectOk](p, 1, &protocol.ConfirmSelect{})
		sent := func(n int) {
			t.Helper()
			for range n {
				p.publish(1, "", "q", "x")
				p.flush()
				receive[*protocol.BasicAck](p, 1)
			}
		}
		sent(1)
		before := g.asked
		sent(20)
		if g.asked != before {
			t.Errorf("asked %d times for what was known", g.asked-before)
		}
		g.change(func() { g.topics[""] = true })
		sent(2)
		if g.asked < before+3 {
			t.Errorf("asked %d times, although routing keys count", g.asked-before)
		}
		g.deny(exchangeNeed(access.Write, ""))
		p.publish(1, "", "q", "x")
		p.flush()
		p.fails(1, 403, "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'guest'", protocol.IDBasicPublish)
		p.bye()
	})
}

// TestFurtherKeysPermission checks that the keys of CC and BCC need topic permissions as
// the routing key does, also in a transaction, and when the exchange is known to be writable.
//
// row: 1.7 topic permissions
func TestFurtherKeysPermission(t *testing.T) {
	for _, header := range []string{"CC", "BCC"} {
		for _, inTx := range []bool{false, true} {
			t.Run(fmt.Sprint(header, " in transaction ", inTx), func(t *testing.T) {
				inBubble(t, func(t *testing.T, k *cluster) {
					g := newGrants()
					g.deny(access.Need{Right: access.Write, Exchange: true, Name: "amq.topic", Topic: true, Key: "secret"})
					p := k.connect(g.use).login().open(1)
					p.declare(1, "q")
					call[*protocol.QueueBindOk](p, 1, &protocol.QueueBind{Queue: "q", Exchange: "amq.topic", RoutingKey: "#"})
					if inTx {
						call[*protocol.TxSelectOk](p, 1, &protocol.TxSelect{})
					} else {
						call[*protocol.ConfirmSelectOk](p, 1, &protocol.ConfirmSelect{})
					}
					publish := func(keys ...any) {
						p.w.Method(1, &protocol.BasicPublish{Exchange: "amq.topic", RoutingKey: "k"})
						p.w.Content(1, wire.AppendProperties(nil, &wire.Properties{
							Present: wire.FlagHeaders, Headers: wire.Table{{Name: header, Value: wire.Array(keys)}},
						}), []byte("x"))
						p.flush()
					}
					publish("open")
					if inTx {
						call[*protocol.TxCommitOk](p, 1, &protocol.TxCommit{})
					} else {
						receive[*protocol.BasicAck](p, 1)
					}
					publish("open", "secret")
					p.fails(1, 403, "ACCESS_REFUSED - write access to topic 'secret' in exchange topic 'amq.topic' in vhost '/'"+
						" refused for user 'guest'", protocol.IDBasicPublish)
					if n := k.queue("q").Ready; n != 1 {
						t.Errorf("%d messages are in the queue", n)
					}
					p.bye()
				})
			})
		}
	}
}

// TestImpersonator publishes in the name of somebody else.
//
// row: 1.3 basic.publish
func TestImpersonator(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		g := newGrants()
		p := k.connect(g.use).login().open(1)
		p.declare(1, "q")
		call[*protocol.ConfirmSelectOk](p, 1, &protocol.ConfirmSelect{})
		publish := func() {
			p.w.Method(1, &protocol.BasicPublish{RoutingKey: "q"})
			p.w.Content(1, wire.AppendProperties(nil, &wire.Properties{Present: wire.FlagUserID, UserID: "ann"}), []byte("x"))
			p.flush()
		}
		g.change(func() { g.impersonates = true })
		publish()
		receive[*protocol.BasicAck](p, 1)
		g.change(func() { g.impersonates = false })
		publish()
		p.fails(1, 406, "PRECONDITION_FAILED - user_id property set to 'ann' but authenticated user was 'guest'", protocol.IDBasicPublish)
		p.bye()
	})
}

func TestVHostRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		g := newGrants()
		g.enter = false
		p := k.connect(g.use)
		p.header()
		receive[*protocol.ConnectionStart](p, 0)
		p.send(0, &protocol.ConnectionStartOk{Mechanism: "PLAIN", Response: "\x00guest\x00guest", Locale: "en_US"})
		tune := receive[*protocol.ConnectionTune](p, 0)
		p.send(0, &protocol.ConnectionTuneOk{ChannelMax: tune.ChannelMax, FrameMax: tune.FrameMax, Heartbeat: tune.Heartbeat})
		p.send(0, &protocol.ConnectionOpen{VirtualHost: "/"})
		p.dies(530, "NOT_ALLOWED - access to vhost '/' refused for user 'guest'", protocol.IDConnectionOpen)
	})
}

// TestUserGone checks that a connection ends with its user, and not by other changes.
func TestUserGone(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		g := newGrants()
		p := k.connect(g.use).login().open(1)
		g.change(func() {})
		p.session.AccessChanged()
		synctest.Wait()
		call[*protocol.BasicQosOk](p, 1, &protocol.BasicQos{})
		g.change(func() { g.id = 7 }) // another user of the name
		p.session.AccessChanged()
		p.dies(320, "CONNECTION_FORCED - user 'guest' was deleted", 0)
	})
}
