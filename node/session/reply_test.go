package session

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"warren/fsm/command"
	"warren/protocol"
	"warren/protocol/wire"
)

// exchange carries replies between the sessions of a cluster, at once, or, while it
// is held, when it is told to: then it is another node's.
type exchange struct {
	k *cluster

	mu   sync.Mutex
	held []*Reply
	hold bool
}

var testNode = [16]byte{1, 2, 3}

func (x *exchange) Node() [16]byte { return testNode }

func (x *exchange) Send(r *Reply) Outcome {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.hold {
		x.held = append(x.held, r)
		return Pending
	}
	if x.take(r) {
		return Delivered
	}
	return Gone
}

func (x *exchange) take(r *Reply) bool {
	x.k.mu.Lock()
	s := x.k.sessions[r.To.Conn]
	x.k.mu.Unlock()
	return s != nil && r.To.Node == testNode && s.TakeReply(r)
}

// wait holds all replies from now on.
func (x *exchange) wait() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.hold = true
}

// release sends what is held, and holds no more.
func (x *exchange) release() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.hold = false
	for _, r := range x.held {
		r.Done(x.take(r))
	}
	x.held = nil
}

func (x *exchange) count() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.held)
}

func (x *exchange) plug(c *Config) { c.Replies = x }

// replyTo is the property list of a request.
func replyTo(queue string) []byte {
	return wire.AppendProperties(nil, &wire.Properties{
		Present:     wire.FlagContentType | wire.FlagCorrelationID | wire.FlagReplyTo | wire.FlagExpiration | wire.FlagMessageID,
		ContentType: "text/plain", CorrelationID: "c1", ReplyTo: queue, Expiration: "60000", MessageID: "m1",
	})
}

// request adds a request with a reply-to.
func (p *peer) request(channel uint16, m *protocol.BasicPublish, queue, body string) {
	p.w.Method(channel, m)
	p.w.Content(channel, replyTo(queue), []byte(body))
}

// await makes the channel await replies and returns its name, as a server learns it.
func (p *peer) await(channel uint16) string {
	p.t.Helper()
	call[*protocol.BasicConsumeOk](p, channel, &protocol.BasicConsume{Queue: replyQueue, ConsumerTag: "replies", NoAck: true})
	return p.replyName(channel)
}

// replyName learns the name of a channel from a request that comes back.
func (p *peer) replyName(channel uint16) string {
	p.t.Helper()
	p.request(channel, &protocol.BasicPublish{RoutingKey: "nowhere", Mandatory: true}, replyQueue, "")
	p.flush()
	receive[*protocol.BasicReturn](p, channel)
	properties, _ := p.content(channel)
	v, _ := wire.ShortProperty(properties, wire.FlagReplyTo)
	if want := replyTo(string(v)); string(properties) != string(want) {
		p.t.Fatalf("properties %x, want %x", properties, want)
	}
	return string(v)
}

// replied expects a direct reply.
func (p *peer) replied(channel uint16, tag uint64, name, body string) {
	p.t.Helper()
	d := receive[*protocol.BasicDeliver](p, channel)
	want := protocol.BasicDeliver{ConsumerTag: "replies", DeliveryTag: tag, RoutingKey: name}
	if *d != want {
		p.t.Errorf("got %+v, want %+v", *d, want)
	}
	if _, got := p.content(channel); got != body {
		p.t.Errorf("got a reply %q, want %q", got, body)
	}
}

func withExchange(t *testing.T, f func(t *testing.T, k *cluster, x *exchange)) {
	inBubble(t, func(t *testing.T, k *cluster) { f(t, k, &exchange{k: k}) })
}

func TestDirectReply(t *testing.T) {
	withExchange(t, func(t *testing.T, k *cluster, x *exchange) {
		client, server := k.connect(x.plug).login().open(1, 2), k.connect(x.plug).login().open(1)
		server.declare(1, "requests")
		call[*protocol.BasicConsumeOk](server, 1, &protocol.BasicConsume{Queue: "requests", NoAck: true})
		name := client.await(1)
		if again := client.replyName(1); again != name || !strings.HasPrefix(name, replyPrefix) {
			t.Errorf("names %q and %q", name, again)
		}
		logged := k.count(command.KindPublish)
		for i := range 3 {
			client.request(1, &protocol.BasicPublish{RoutingKey: "requests"}, replyQueue, fmt.Sprint("question ", i))
			client.flush()
			receive[*protocol.BasicDeliver](server, 1)
			properties, body := server.content(1)
			to, _ := wire.ShortProperty(properties, wire.FlagReplyTo)
			if string(to) != name || body != fmt.Sprint("question ", i) {
				t.Fatalf("a request with reply-to %q: %q", to, body)
			}
			server.publish(1, "", string(to), fmt.Sprint("answer ", i))
			server.flush()
			client.replied(1, uint64(i+1), name, fmt.Sprint("answer ", i))
		}
		if n := k.count(command.KindPublish) - logged; n != 3 {
			t.Errorf("%d publishes for three requests: replies are in the log", n)
		}
		// The other channel has a name of its own, and knows nothing of the first.
		other := client.await(2)
		server.publish(1, "", other, "to the other")
		server.flush()
		client.replied(2, 1, other, "to the other")
		if other == name {
			t.Error("two channels have one name")
		}
		// A delivery that is not acknowledged cannot be.
		client.send(2, &protocol.BasicAck{DeliveryTag: 1})
		client.fails(2, 406, "PRECONDITION_FAILED - unknown delivery tag 1", protocol.IDBasicAck)
		client.bye()
		server.bye()
	})
}

// row: 1.3 direct reply-to
func TestReplyConsumerErrors(t *testing.T) {
	consume := func(tag string, noAck bool) *protocol.BasicConsume {
		return &protocol.BasicConsume{Queue: replyQueue, ConsumerTag: tag, NoAck: noAck, Exclusive: true}
	}
	for _, c := range []struct {
		name   string
		before []*protocol.BasicConsume
		m      protocol.Method
		code   uint16
		text   string
	}{
		{"acks", nil, consume("", false), 406, "PRECONDITION_FAILED - reply consumer cannot acknowledge"},
		{"second", []*protocol.BasicConsume{consume("a", true)}, consume("b", true), 406, "PRECONDITION_FAILED - reply consumer already set"},
		{"second with acks", []*protocol.BasicConsume{consume("a", true)}, consume("a", false), 406, "PRECONDITION_FAILED - reply consumer cannot acknowledge"},
		{"tag in use", []*protocol.BasicConsume{{Queue: "q", ConsumerTag: "a"}}, consume("a", true), 530, "NOT_ALLOWED - attempt to reuse consumer tag 'a'"},
		{"get", nil, &protocol.BasicGet{Queue: replyQueue}, 404, "NOT_FOUND - no queue 'amq.rabbitmq.reply-to' in vhost '/'"},
		{"purge", nil, &protocol.QueuePurge{Queue: replyQueue}, 404, "NOT_FOUND - no queue 'amq.rabbitmq.reply-to' in vhost '/'"},
		{"bind", nil, &protocol.QueueBind{Queue: replyQueue, Exchange: "amq.direct"}, 403, "ACCESS_REFUSED - cannot bind or unbind to a volatile (direct reply-to) queue"},
		{"bind a name", nil, &protocol.QueueBind{Queue: replyPrefix + "x", Exchange: "amq.direct"}, 403, "ACCESS_REFUSED - cannot bind or unbind to a volatile (direct reply-to) queue"},
		{"unbind", nil, &protocol.QueueUnbind{Queue: replyQueue, Exchange: "amq.direct"}, 403, "ACCESS_REFUSED - cannot bind or unbind to a volatile (direct reply-to) queue"},
		{"consume a name", nil, &protocol.BasicConsume{Queue: replyPrefix + "x", NoAck: true}, 404, "NOT_FOUND - no queue 'amq.rabbitmq.reply-to.x' in vhost '/'"},
		{"declare a name", nil, &protocol.QueueDeclare{Queue: replyPrefix + "x"}, 404, "NOT_FOUND - no queue 'amq.rabbitmq.reply-to.x' in vhost '/'"},
		{"declare passively", nil, &protocol.QueueDeclare{Queue: "amq.rabbitmq.reply-tox", Passive: true}, 404, "NOT_FOUND - no queue 'amq.rabbitmq.reply-tox' in vhost '/'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			withExchange(t, func(t *testing.T, k *cluster, x *exchange) {
				p := k.connect(x.plug).login().open(1)
				p.declare(1, "q")
				for _, m := range c.before {
					call[*protocol.BasicConsumeOk](p, 1, m)
				}
				p.send(1, c.m)
				if c.code == 530 {
					p.dies(c.code, c.text, c.m.ID())
					return
				}
				p.fails(1, c.code, c.text, c.m.ID())
				p.bye()
			})
		})
	}
	withExchange(t, func(t *testing.T, k *cluster, x *exchange) {
		p := k.connect(x.plug).login().open(1)
		call[*protocol.QueueDeleteOk](p, 1, &protocol.QueueDelete{Queue: replyQueue})
		p.request(1, &protocol.BasicPublish{RoutingKey: "q"}, replyQueue, "")
		p.flush()
		p.fails(1, 406, "PRECONDITION_FAILED - fast reply consumer does not exist", protocol.IDBasicPublish)
		p.bye()
	})
}

// Each way in which a consumer of replies ends makes its name unknown.
func TestReplyConsumerEnds(t *testing.T) {
	ends := map[string]func(client *peer){
		"cancel": func(client *peer) {
			call[*protocol.BasicCancelOk](client, 1, &protocol.BasicCancel{ConsumerTag: "replies"})
		},
		"channel closed": func(client *peer) {
			call[*protocol.ChannelCloseOk](client, 1, &protocol.ChannelClose{ReplyCode: 200})
		},
		"channel opened again": func(client *peer) {
			call[*protocol.ChannelCloseOk](client, 1, &protocol.ChannelClose{ReplyCode: 200})
			client.open(1)
			client.await(1)
		},
		"channel error": func(client *peer) {
			client.send(1, &protocol.BasicAck{DeliveryTag: 9})
			client.fails(1, 406, "PRECONDITION_FAILED - unknown delivery tag 9", protocol.IDBasicAck)
		},
		"connection closed": func(client *peer) { client.bye() },
		"connection lost":   func(client *peer) { _ = client.hangUp() },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			withExchange(t, func(t *testing.T, k *cluster, x *exchange) {
				client, server := k.connect(x.plug).login().open(1), k.connect(x.plug).login().open(1)
				to := client.await(1)
				for _, passive := range []bool{false, true} {
					ok := call[*protocol.QueueDeclareOk](server, 1, &protocol.QueueDeclare{Queue: to, Passive: passive})
					if ok.Queue != to || ok.MessageCount != 0 || ok.ConsumerCount != 1 {
						t.Errorf("%+v", ok)
					}
				}
				if ok := call[*protocol.QueueDeclareOk](server, 1, &protocol.QueueDeclare{Queue: replyQueue}); ok.Queue != replyQueue || ok.ConsumerCount != 1 {
					t.Errorf("%+v", ok)
				}
				end(client)
				wantGone(t, server, to)
				server.send(1, &protocol.QueueDeclare{Queue: to, Passive: true})
				server.fails(1, 404, "NOT_FOUND - no queue '"+to+"' in vhost '/'", protocol.IDQueueDeclare)
				server.bye()
			})
		})
	}
}

// wantGone checks that nobody awaits replies to a name: they come back, or are
// dropped, and are confirmed.
func wantGone(t *testing.T, server *peer, name string) {
	t.Helper()
	call[*protocol.ConfirmSelectOk](server, 1, &protocol.ConfirmSelect{})
	server.publishMethod(1, &protocol.BasicPublish{RoutingKey: name, Mandatory: true}, "too late")
	server.flush()
	if m := receive[*protocol.BasicReturn](server, 1); m.ReplyCode != 312 || m.ReplyText != "NO_ROUTE" || m.Exchange != "" || m.RoutingKey != name {
		t.Errorf("%+v", m)
	}
	if properties, body := server.content(1); body != "too late" || string(properties) != "\x10\x00\x02" {
		t.Errorf("%q %x", body, properties)
	}
	if m := receive[*protocol.BasicAck](server, 1); m.DeliveryTag != 1 {
		t.Errorf("%+v", m)
	}
	server.publish(1, "", name, "too late")
	server.flush()
	if m := receive[*protocol.BasicAck](server, 1); m.DeliveryTag != 2 {
		t.Errorf("%+v", m)
	}
	server.silent()
}

func TestMadeUpReplyNames(t *testing.T) {
	real := Address{Node: testNode, Conn: 1, Channel: 1, Incarnation: 1, Key: 1}
	foreign, noConn := real, real
	foreign.Node[0]++
	noConn.Conn = 1 << 60
	for _, name := range []string{
		replyPrefix, replyPrefix + "x", replyPrefix + strings.Repeat("A", 48), replyPrefix + strings.Repeat("=", 48),
		replyPrefix + strings.Repeat("\n", 48), replyPrefix + strings.Repeat("A", 47) + "\n",
		replyPrefix + strings.Repeat("\xff", 233), real.Name(), foreign.Name(), noConn.Name(), real.Name() + "A",
	} {
		withExchange(t, func(t *testing.T, k *cluster, x *exchange) {
			p := k.connect(x.plug).login().open(1)
			p.await(1)
			wantGone(t, p, name)
			p.bye()
		})
	}
}

// Replies go past publishes that wait for the log; each is confirmed for itself.
func TestReplyConfirms(t *testing.T) {
	withExchange(t, func(t *testing.T, k *cluster, x *exchange) {
		client, server := k.connect(x.plug).login().open(1), k.connect(x.plug).login().open(1)
		name := client.await(1)
		call[*protocol.ConfirmSelectOk](server, 1, &protocol.ConfirmSelect{})
		k.setHold(true)
		for _, key := range []string{"none", name, "none", name} {
			server.publish(1, "", key, "m")
		}
		server.flush()
		for _, want := range []protocol.BasicAck{{DeliveryTag: 2}, {DeliveryTag: 4}} {
			if m := receive[*protocol.BasicAck](server, 1); *m != want {
				t.Errorf("got %+v, want %+v", *m, want)
			}
		}
		server.silent()
		if c := server.session.Info().ChannelInfos[0]; c.Unconfirmed != 2 {
			t.Errorf("%+v", c)
		}
		k.setHold(false)
		for last := uint64(0); last < 4; {
			last = receive[*protocol.BasicAck](server, 1).DeliveryTag
		}
		// Now the replies are the ones that wait.
		x.wait()
		for _, key := range []string{name, "none", name} {
			server.publish(1, "", key, "m")
		}
		server.flush()
		if m := receive[*protocol.BasicAck](server, 1); m.DeliveryTag != 6 || m.Multiple {
			t.Errorf("%+v", m)
		}
		server.silent()
		x.release()
		if m := receive[*protocol.BasicAck](server, 1); m.DeliveryTag != 7 || !m.Multiple {
			t.Errorf("%+v", m)
		}
		server.silent()
		for i := range 4 {
			client.replied(1, uint64(i+1), name, "m")
		}
		client.bye()
		server.bye()
	})
}

// What waits for another node is bounded, and outlives neither channel nor
// connection in a way that anybody notices.
func TestPendingReplies(t *testing.T) {
	withExchange(t, func(t *testing.T, k *cluster, x *exchange) {
		client := k.connect(x.plug).login().open(1)
		server := k.connect(x.plug, func(c *Config) { c.MaxInFlight = 20_000 }).login().open(1, 2)
		name := client.await(1)
		x.wait()
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for i := range 100 {
				server.publish(2, "", name, fmt.Sprintf("%01000d", i))
				server.flush()
			}
		}()
		synctest.Wait()
		if n := x.count(); n > 20 {
			t.Errorf("%d replies of 1,000 bytes are under way", n)
		}
		if s := server.session.Info().State; s != "flow" {
			t.Errorf("the connection's state is %s", s)
		}
		x.release()
		<-sent
		for i := range 100 {
			client.replied(1, uint64(i+1), name, fmt.Sprintf("%01000d", i))
		}
		x.wait()
		server.send(1, &protocol.QueueDeclare{Queue: name}, &protocol.QueueDeclare{Queue: replyQueue})
		server.silent() // held back behind the question
		x.release()
		if ok := receive[*protocol.QueueDeclareOk](server, 1); ok.Queue != name {
			t.Errorf("%+v", ok)
		}
		if ok := receive[*protocol.QueueDeclareOk](server, 1); ok.Queue != replyQueue {
			t.Errorf("%+v", ok)
		}
		x.wait()
		server.publishMethod(1, &protocol.BasicPublish{RoutingKey: name, Mandatory: true}, "m")
		server.publishMethod(2, &protocol.BasicPublish{RoutingKey: name, Mandatory: true}, "m")
		server.flush()
		client.bye()
		call[*protocol.ChannelCloseOk](server, 2, &protocol.ChannelClose{ReplyCode: 200})
		server.open(2)
		x.release()
		receive[*protocol.BasicReturn](server, 1)
		server.content(1)
		server.silent()
		x.wait()
		server.publish(1, "", name, "m")
		server.flush()
		server.bye()
		x.release()
	})
}

func TestRepliesInTransactions(t *testing.T) {
	withExchange(t, func(t *testing.T, k *cluster, x *exchange) {
		client, server := k.connect(x.plug).login().open(1), k.connect(x.plug).login().open(1)
		name := client.await(1)
		server.declare(1, "q")
		call[*protocol.TxSelectOk](server, 1, &protocol.TxSelect{})
		server.publish(1, "", name, "rolled back")
		server.flush()
		call[*protocol.TxRollbackOk](server, 1, &protocol.TxRollback{})

		server.publish(1, "", name, "one")
		server.publish(1, "", "q", "logged")
		server.publishMethod(1, &protocol.BasicPublish{RoutingKey: replyPrefix + "x", Mandatory: true}, "back")
		server.publish(1, "", name, "two")
		server.flush()
		client.silent()
		if c := server.session.Info().ChannelInfos[0]; c.Uncommitted != 4 {
			t.Errorf("%+v", c)
		}
		x.wait() // commit-ok comes when it is known what became of the replies
		server.send(1, &protocol.TxCommit{}, &protocol.BasicQos{PrefetchCount: 1})
		if m := receive[*protocol.BasicReturn](server, 1); m.RoutingKey != replyPrefix+"x" {
			t.Errorf("%+v", m)
		}
		server.content(1)
		server.silent()
		x.release()
		receive[*protocol.TxCommitOk](server, 1)
		receive[*protocol.BasicQosOk](server, 1)
		client.replied(1, 1, name, "one")
		client.replied(1, 2, name, "two")
		if q := k.queue("q"); q.Ready != 1 {
			t.Errorf("%+v", q)
		}
		// Nothing but a reply.
		server.publish(1, "", name, "three")
		server.flush()
		call[*protocol.TxCommitOk](server, 1, &protocol.TxCommit{})
		client.replied(1, 3, name, "three")
		// A transaction that is refused sends none.
		server.publish(1, "", name, "four")
		server.publish(1, "nope", "", "refused")
		server.flush()
		server.send(1, &protocol.TxCommit{})
		server.fails(1, 404, "NOT_FOUND - no exchange 'nope' in vhost '/'", protocol.IDTxCommit)
		client.silent()
		client.bye()
		server.bye()
	})
}

func TestRepliesCountForTheTransaction(t *testing.T) {
	withExchange(t, func(t *testing.T, k *cluster, x *exchange) {
		p := k.connect(x.plug, func(c *Config) { c.MaxTransaction = 20_000 }).login().open(1)
		name := p.await(1)
		call[*protocol.TxSelectOk](p, 1, &protocol.TxSelect{})
		for range 20 {
			p.publish(1, "", name, strings.Repeat("x", 1000))
		}
		p.flush()
		if m := receive[*protocol.ChannelClose](p, 1); m.ReplyCode != 406 || !strings.Contains(m.ReplyText, "larger than the maximum of 20000 bytes") {
			t.Errorf("%+v", m)
		}
		p.send(1, &protocol.ChannelCloseOk{})
		p.silent()
		if n := p.session.conn.buffered; n != 0 {
			t.Errorf("%d bytes are not given back", n)
		}
		p.bye()
	})
}

// A client that does not read its replies loses those above the bound, and nobody
// else is held up.
func TestUnreadReplies(t *testing.T) {
	withExchange(t, func(t *testing.T, k *cluster, x *exchange) {
		const limit = 500_000
		client := k.connect(x.plug, func(c *Config) { c.MaxReplies = limit }).login().open(1)
		server := k.connect(x.plug).login().open(1)
		name := client.await(1)
		call[*protocol.ConfirmSelectOk](server, 1, &protocol.ConfirmSelect{})
		slow := make(chan struct{})
		client.slow.Store(&slow)
		const n, size = 400, 10_000
		for i := range n {
			server.publishMethod(1, &protocol.BasicPublish{RoutingKey: name, Mandatory: true}, fmt.Sprintf("%0*d", size, i))
			server.flush()
		}
		returned := map[string]bool{}
		for confirmed := uint64(0); confirmed < n; {
			f := server.frame()
			if f.Type != protocol.FrameMethod {
				continue
			}
			switch m, _ := protocol.ParseMethod(f.Payload); m := m.(type) {
			case *protocol.BasicReturn:
				_, body := server.content(1)
				returned[body] = true
			case *protocol.BasicAck:
				confirmed = m.DeliveryTag
			default:
				t.Fatalf("%+v", m)
			}
		}
		if kept := (n - len(returned)) * size; kept > limit+3*maxUnwritten || kept < limit {
			t.Errorf("%d bytes were kept for a client that does not read", kept)
		}
		close(slow)
		for i, tag := 0, uint64(0); i < n; i++ {
			if body := fmt.Sprintf("%0*d", size, i); !returned[body] {
				tag++
				client.replied(1, tag, name, body)
			}
		}
		server.publish(1, "", name, "again")
		server.flush()
		receive[*protocol.BasicAck](server, 1)
		receive[*protocol.BasicDeliver](client, 1)
		client.content(1)
		client.session.inbox.mu.Lock()
		if b := client.session.inbox.replies; b.bytes != 0 || b.full {
			t.Errorf("%+v", b)
		}
		client.session.inbox.mu.Unlock()
		client.bye()
		server.bye()
	})
}

// A reply that is larger than the bound passes when nothing else waits.
func TestLargeReply(t *testing.T) {
	withExchange(t, func(t *testing.T, k *cluster, x *exchange) {
		p := k.connect(x.plug, func(c *Config) { c.MaxReplies = 1000 }).login().open(1)
		name := p.await(1)
		body := strings.Repeat("x", 300_000) // several frames
		for i := range 2 {
			p.publish(1, "", name, body)
			p.flush()
			p.replied(1, uint64(i+1), name, body)
		}
		p.bye()
	})
}

// Nothing of direct replies is in the machine, so its losses do not touch them.
func TestRepliesOutliveTheEpoch(t *testing.T) {
	withExchange(t, func(t *testing.T, k *cluster, x *exchange) {
		p := k.connect(x.plug).login().open(1)
		name := p.await(1)
		k.loseEpoch()
		k.skip()
		p.publish(1, "", name, "still here")
		p.flush()
		p.replied(1, 1, name, "still here")
		p.bye()
	})
}

// Without Replies in the Config nothing reaches anybody, and nothing breaks.
func TestNoReplies(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1)
		wantGone(t, p, p.await(1))
		p.bye()
	})
}

func FuzzParseReplyName(f *testing.F) {
	f.Add([]byte(Address{Node: testNode, Conn: 7, Channel: 1, Incarnation: 2, Key: 1 << 63}.Name()))
	f.Add([]byte(replyPrefix))
	f.Fuzz(func(t *testing.T, name []byte) {
		if a, ok := ParseReplyName(name); ok && a.Name() != string(name) {
			t.Errorf("%q is read as %q", name, a.Name())
		}
	})
}

// A reply is for one incarnation of one channel, of one vhost, and who does not know
// the key has no way in.
func TestTakeReply(t *testing.T) {
	withExchange(t, func(t *testing.T, k *cluster, x *exchange) {
		p := k.connect(x.plug).login().open(1)
		to, ok := ParseReplyName([]byte(p.await(1)))
		if !ok {
			t.Fatal("a name that nobody can read")
		}
		take := func(vhost string, change func(*Address)) bool {
			a := to
			change(&a)
			return p.session.TakeReply(&Reply{To: a, VHost: vhost, Probe: true})
		}
		if !take("/", func(*Address) {}) {
			t.Error("the right address was refused")
		}
		for i, wrong := range []bool{
			take("other", func(*Address) {}),
			take("/", func(a *Address) { a.Key++ }),
			take("/", func(a *Address) { a.Incarnation++ }),
			take("/", func(a *Address) { a.Channel++ }),
			take("/", func(a *Address) { a.Node[15]++ }),
		} {
			if wrong {
				t.Errorf("wrong address %d was taken", i)
			}
		}
		// What was taken for a consumer that has been replaced since is dropped.
		stale := to
		stale.Key++
		synctest.Wait() // the loop waits, so its state is ours
		p.session.conn.deliverReply(&Reply{To: stale, Name: []byte(stale.Name())})
		call[*protocol.BasicQosOk](p, 1, &protocol.BasicQos{})
		p.bye()
	})
}
