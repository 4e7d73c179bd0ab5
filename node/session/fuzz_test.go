package session

import (
	"net"
	"testing"
	"time"

	"warren/fsm/command"
	"warren/protocol"
	"warren/protocol/wire"
)

// fuzzSeeds are conversations behind the handshake.
func fuzzSeeds() [][]byte {
	method := func(b []byte, channel uint16, methods ...protocol.Method) []byte {
		for _, m := range methods {
			b = protocol.AppendMethod(b, channel, m)
		}
		return b
	}
	publish := func(b []byte, channel uint16, exchange, key string, body string) []byte {
		b = method(b, channel, &protocol.BasicPublish{Exchange: exchange, RoutingKey: key, Mandatory: true})
		properties := wire.AppendProperties(nil, &wire.Properties{
			Present: wire.FlagHeaders | wire.FlagExpiration | wire.FlagUserID,
			Headers: wire.Table{{Name: "x", Value: int64(5)}}, Expiration: "1000", UserID: "guest",
		})
		b = protocol.AppendHeader(b, channel, 60, uint64(len(body)), properties)
		return protocol.AppendBody(b, channel, []byte(body), 32)
	}
	work := method(nil, 1, &protocol.ChannelOpen{}, &protocol.QueueDeclare{}, &protocol.QueueBind{Exchange: "amq.topic", RoutingKey: "#"},
		&protocol.ConfirmSelect{}, &protocol.BasicQos{PrefetchCount: 2}, &protocol.BasicConsume{})
	work = publish(work, 1, "amq.topic", "a.b", "some body that needs more than one frame, as small as they are")
	work = method(work, 1, &protocol.BasicAck{DeliveryTag: 1}, &protocol.BasicGet{}, &protocol.BasicNack{Multiple: true, Requeue: true},
		&protocol.BasicRecover{Requeue: true}, &protocol.QueuePurge{}, &protocol.BasicCancel{ConsumerTag: "t"}, &protocol.QueueDelete{}, &protocol.ChannelClose{})
	tx := method(nil, 2, &protocol.ChannelOpen{}, &protocol.TxSelect{})
	tx = publish(tx, 2, "", "q", "x")
	tx = method(tx, 2, &protocol.TxCommit{}, &protocol.TxRollback{}, &protocol.ExchangeDeclare{Exchange: "e", Type: "headers"}, &protocol.BasicReject{DeliveryTag: 9})
	tx = method(tx, 0, &protocol.ConnectionClose{ReplyCode: 200})
	name := Address{Node: testNode, Conn: 1, Channel: 1, Incarnation: 1}.Name()
	replies := method(nil, 1, &protocol.ChannelOpen{}, &protocol.ConfirmSelect{},
		&protocol.BasicConsume{Queue: replyQueue, ConsumerTag: "r", NoAck: true}, &protocol.QueueDeclare{Queue: name})
	replies = publish(replies, 1, "", name, "x")
	replies = method(replies, 1, &protocol.BasicPublish{RoutingKey: "q"})
	replies = protocol.AppendHeader(replies, 1, 60, 0, replyTo(replyQueue))
	replies = method(replies, 1, &protocol.BasicCancel{ConsumerTag: "r"}, &protocol.QueueDeclare{Queue: replyPrefix, Passive: true})
	return [][]byte{work, tx, replies, append(work[:len(work):len(work)], tx...), protocol.AppendHeartbeat(nil), {1, 0, 1, 0xff}}
}

// FuzzConversation sends bytes behind the handshake: whatever they are, the session
// ends when the client hangs up, and another connection is served as before.
func FuzzConversation(f *testing.F) {
	for _, b := range fuzzSeeds() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		k := newCluster(t)
		defer k.close()
		fast := func(c *Config) { c.CloseTimeout = time.Millisecond }
		p := k.connect(fast, (&exchange{k: k}).plug).login()
		_ = p.conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
		_, _ = p.conn.Write(b) // the session may hang up before it has read all
		other := k.connect().login().open(1)
		other.declare(1, "other")
		other.bye()
		select {
		case <-p.served:
			p.cancel()
		default:
			_ = p.hangUp()
		}
		if s := p.session.Info().State; s != "closed" {
			t.Errorf("state %q", s)
		}
		p.session.Effect(&command.Effect{Kind: command.EffectDeliver}) // comes too late, and does no harm
	})
}

// discardConn is the far end of nothing: it takes all that is written.
type discardConn struct{ net.Conn }

func (discardConn) Write(p []byte) (int, error)      { return len(p), nil }
func (discardConn) RemoteAddr() net.Addr             { return nil }
func (discardConn) LocalAddr() net.Addr              { return nil }
func (discardConn) SetDeadline(time.Time) error      { return nil }
func (discardConn) SetReadDeadline(time.Time) error  { return nil }
func (discardConn) SetWriteDeadline(time.Time) error { return nil }

// encoder is a proposer that only encodes.
type encoder struct{ batch []byte }

func (e *encoder) Propose(cmd command.Command, _ command.Receiver, _ uint64) {
	e.batch = command.AppendCommand(e.batch[:0], cmd)
}
func (e *encoder) Patiently(cmd command.Command) { e.Propose(cmd, nil, 0) }
func (*encoder) Send()                           {}
func (*encoder) Room() <-chan struct{}           { return nil }

// bench returns a connection with one open channel, without goroutines.
func bench(b *testing.B) (*connection, *channel) {
	s := New(Config{Conn: discardConn{}, ID: 1, Proposer: new(encoder), Logger: quiet()})
	c := &s.conn
	c.frameMax, c.channelMax, c.user, c.vhost, c.vhostBytes = DefaultFrameMax, 10, "guest", "/", []byte("/")
	c.out.SetFrameMax(c.frameMax)
	c.deadline = time.NewTimer(time.Hour)
	b.Cleanup(func() { c.deadline.Stop() })
	c.frame(protocol.Frame{Type: protocol.FrameMethod, Channel: 1, Payload: protocol.AppendMethod(nil, 1, &protocol.ChannelOpen{})[7:12]}, false)
	ch := c.channels[1]
	if ch == nil {
		b.Fatalf("the channel did not open: %v", c.err)
	}
	return c, ch
}

// BenchmarkPublish is a publish of 1 KiB with a confirm: frames in, command out,
// result in.
func BenchmarkPublish(b *testing.B) {
	c, ch := bench(b)
	ch.confirms.on = true
	var frames []protocol.Frame
	method := protocol.AppendMethod(nil, 1, &protocol.BasicPublish{Exchange: "amq.direct", RoutingKey: "some.key"})
	header := protocol.AppendHeader(nil, 1, 60, 1024, []byte{0x10, 0, 2})
	for i, raw := range [][]byte{method, header, protocol.AppendBody(nil, 1, make([]byte, 1024), 0)} {
		frames = append(frames, protocol.Frame{Type: uint8(i + 1), Channel: 1, Payload: raw[7 : len(raw)-1]})
	}
	done := &command.Result{Kind: command.KindPublish}
	b.ReportAllocs()
	b.SetBytes(1024)
	for b.Loop() {
		for _, f := range frames {
			c.frame(f, false)
		}
		c.s.Result(uint64(newToken(1, ch.incarnation, forPublish, ch.sent)), done)
		if ch.sent%64 == 0 {
			c.work()
			_ = c.out.Flush()
		}
	}
}

// BenchmarkDeliver is a delivery of 1 KiB and its acknowledgement: effect in, frames
// out, frame in, command out.
func BenchmarkDeliver(b *testing.B) {
	c, ch := bench(b)
	ch.consumers["tag"] = &consumer{tag: "tag"}
	e := &command.Effect{
		Kind: command.EffectDeliver, To: command.Owner{Channel: command.Channel{Conn: 1, Number: 1}}, Tag: "tag",
		Message: &command.Message{Exchange: "amq.direct", Key: []byte("some.key"), Properties: []byte{0x10, 0, 2},
			Body: make([]byte, 1024)},
	}
	ack := protocol.Frame{Type: protocol.FrameMethod, Channel: 1}
	var raw []byte
	b.ReportAllocs()
	b.SetBytes(1024)
	for b.Loop() {
		e.Ordinal++
		c.s.Effect(e)
		if e.Ordinal%64 != 0 {
			continue
		}
		c.work()
		_ = c.out.Flush()
		for tag := e.Ordinal - 63; tag <= e.Ordinal; tag++ {
			raw = protocol.AppendAck(raw[:0], 1, tag, false)
			ack.Payload = raw[7 : len(raw)-1]
			c.frame(ack, false)
		}
	}
	if c.err != nil {
		b.Fatal(c.err)
	}
}
