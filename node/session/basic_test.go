package session

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"warren/fsm"
	"warren/fsm/command"
	"warren/protocol"
	"warren/protocol/wire"
)

func TestPublishAndConsume(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1)
		p.declare(1, "q")
		m := call[*protocol.BasicConsumeOk](p, 1, &protocol.BasicConsume{})
		if !strings.HasPrefix(m.ConsumerTag, "amq.ctag-") || len(m.ConsumerTag) != len("amq.ctag-")+22 {
			t.Errorf("generated tag %q", m.ConsumerTag)
		}
		properties := wire.AppendProperties(nil, &wire.Properties{
			Present: wire.FlagContentType | wire.FlagHeaders, ContentType: "text/plain",
			Headers: wire.Table{{Name: "a", Value: int32(1)}},
		})
		bodies := []string{"", "hello", strings.Repeat("frame", 100_000), strings.Repeat("z", 131064), strings.Repeat("z", 131065)}
		for i, body := range bodies {
			p.w.Method(1, &protocol.BasicPublish{RoutingKey: "q"})
			p.w.Content(1, properties, []byte(body))
			p.flush()
			d := receive[*protocol.BasicDeliver](p, 1)
			if d.DeliveryTag != uint64(i+1) || d.ConsumerTag != m.ConsumerTag || d.RoutingKey != "q" || d.Exchange != "" || d.Redelivered {
				t.Errorf("%+v", d)
			}
			if props, got := p.content(1); got != body || string(props) != string(properties) {
				t.Errorf("body of %d bytes came as %d", len(body), len(got))
			}
		}
		p.send(1, &protocol.BasicAck{DeliveryTag: 0, Multiple: true})
		call[*protocol.BasicCancelOk](p, 1, &protocol.BasicCancel{ConsumerTag: m.ConsumerTag})
		call[*protocol.BasicCancelOk](p, 1, &protocol.BasicCancel{ConsumerTag: "nobody"})
		if q := k.queue("q"); q.Ready+q.Unacked+q.Consumers != 0 {
			t.Errorf("%+v", q)
		}
		p.bye()
	})
}

// Messages that span reads, on several channels at once.
func TestInterleavedContents(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1, 2)
		p.declare(1, "q")
		for _, part := range []func(uint16){
			func(ch uint16) {
				p.w.Method(ch, &protocol.BasicPublish{Exchange: "amq.topic", RoutingKey: fmt.Sprint("key", ch)})
			},
			func(ch uint16) {
				p.w.Append(func(b []byte) []byte { return protocol.AppendHeader(b, ch, 60, 10, []byte{0x10, 0, 2}) })
			},
			func(ch uint16) {
				p.w.Append(func(b []byte) []byte { return protocol.AppendBody(b, ch, fmt.Appendf(nil, "chan%d", ch), 0) })
			},
			func(ch uint16) {
				p.w.Append(func(b []byte) []byte { return protocol.AppendBody(b, ch, fmt.Appendf(nil, "chan%d", ch), 0) })
			},
		} {
			for ch := uint16(1); ch <= 2; ch++ {
				part(ch)
				p.flush()
				synctest.Wait()
			}
			if part != nil && k.count(command.KindPublish) == 0 {
				call[*protocol.QueueBindOk](p, 3, bindOn(p, 3))
			}
		}
		synctest.Wait()
		if n := k.count(command.KindPublish); n != 2 {
			t.Errorf("%d publishes", n)
		}
		for ch := uint16(1); ch <= 2; ch++ {
			m := call[*protocol.BasicGetOk](p, 3, &protocol.BasicGet{Queue: "q", NoAck: true})
			if _, body := p.content(3); body != strings.Repeat(fmt.Sprint("chan", ch), 2) || m.RoutingKey != fmt.Sprint("key", ch) {
				t.Errorf("got %q by %q", body, m.RoutingKey)
			}
		}
		p.bye()
	})
}

// bindOn opens the channel, if it is not, and returns a binding for it.
func bindOn(p *peer, channel uint16) protocol.Method {
	for _, ch := range p.session.Info().ChannelInfos {
		if ch.Number == channel {
			return &protocol.QueueBind{Queue: "q", Exchange: "amq.topic", RoutingKey: "#"}
		}
	}
	p.open(channel)
	return &protocol.QueueBind{Queue: "q", Exchange: "amq.topic", RoutingKey: "#"}
}

// Large bursts that end in the middle of frames must come through unharmed, as
// frames are not copied out of the reader's buffer.
func TestBurstsAreIntact(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1)
		p.declare(1, "q")
		const n = 5000
		for i := range n {
			p.publish(1, "", "q", fmt.Sprintf("%d:%s", i, strings.Repeat(string(rune('a'+i%26)), i%700)))
			if i%1000 == 999 {
				p.flush()
			}
		}
		call[*protocol.BasicConsumeOk](p, 1, &protocol.BasicConsume{Queue: "q", NoAck: true})
		for i := range n {
			if d := receive[*protocol.BasicDeliver](p, 1); d.DeliveryTag != uint64(i+1) {
				t.Fatalf("%+v", d)
			}
			if _, body := p.content(1); body != fmt.Sprintf("%d:%s", i, strings.Repeat(string(rune('a'+i%26)), i%700)) {
				t.Fatalf("message %d came as %q", i, body)
			}
		}
		p.bye()
	})
}

func TestGet(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1)
		p.declare(1, "q")
		call[*protocol.BasicGetEmpty](p, 1, &protocol.BasicGet{})
		for _, body := range []string{"a", "b", "c"} {
			p.publish(1, "", "q", body)
		}
		p.flush()
		m := call[*protocol.BasicGetOk](p, 1, &protocol.BasicGet{Queue: "q", NoAck: true})
		if _, body := p.content(1); body != "a" || m.DeliveryTag != 1 || m.MessageCount != 2 {
			t.Errorf("%q %+v", body, m)
		}
		m = call[*protocol.BasicGetOk](p, 1, &protocol.BasicGet{Queue: "q"})
		if _, body := p.content(1); body != "b" || m.DeliveryTag != 2 || m.MessageCount != 1 {
			t.Errorf("%q %+v", body, m)
		}
		p.send(1, &protocol.BasicReject{DeliveryTag: 2, Requeue: true})
		m = call[*protocol.BasicGetOk](p, 1, &protocol.BasicGet{Queue: "q"})
		if _, body := p.content(1); body != "b" || m.DeliveryTag != 3 || !m.Redelivered {
			t.Errorf("%q %+v", body, m)
		}
		p.send(1, &protocol.BasicAck{DeliveryTag: 1}) // needed no ack
		p.fails(1, 406, "PRECONDITION_FAILED - unknown delivery tag 1", protocol.IDBasicAck)
		p.bye()
	})
}

func TestSettle(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1)
		p.declare(1, "q")
		for i := range 10 {
			p.publish(1, "", "q", fmt.Sprint(i))
		}
		p.flush()
		call[*protocol.BasicConsumeOk](p, 1, &protocol.BasicConsume{Queue: "q"})
		for range 10 {
			receive[*protocol.BasicDeliver](p, 1)
			p.content(1)
		}
		synctest.Wait()
		before := k.count(command.KindSettle)
		for _, tag := range []uint64{1, 2, 3} { // in one burst: one command
			p.w.Method(1, &protocol.BasicAck{DeliveryTag: tag})
		}
		p.flush()
		synctest.Wait()
		if n := k.count(command.KindSettle) - before; n != 1 {
			t.Errorf("three acks in a burst made %d commands", n)
		}
		p.w.Method(1, &protocol.BasicAck{DeliveryTag: 6})
		p.w.Method(1, &protocol.BasicNack{DeliveryTag: 5})
		p.w.Method(1, &protocol.BasicAck{DeliveryTag: 7, Multiple: true})
		p.w.Method(1, &protocol.BasicNack{DeliveryTag: 9, Multiple: true, Requeue: true})
		p.flush()
		for i := range 2 { // 8 and 9 come again
			if d := receive[*protocol.BasicDeliver](p, 1); !d.Redelivered || d.DeliveryTag != uint64(11+i) {
				t.Errorf("%+v", d)
			}
			if _, body := p.content(1); body != fmt.Sprint(7+i) {
				t.Errorf("got %q", body)
			}
		}
		if n := p.session.Info().ChannelInfos[0].Unacked; n != 3 {
			t.Errorf("%d unacknowledged", n)
		}
		p.send(1, &protocol.BasicAck{Multiple: true}, &protocol.BasicAck{Multiple: true}) // all, and none
		p.silent()
		if q := k.queue("q"); q.Ready+q.Unacked != 0 {
			t.Errorf("%+v", q)
		}
		p.send(1, &protocol.BasicAck{DeliveryTag: 10})
		p.fails(1, 406, "PRECONDITION_FAILED - unknown delivery tag 10", protocol.IDBasicAck)
		p.bye()
	})
}

// Acks need not go before a publish of the same burst. A requeue must: whoever gets
// the messages sees the difference.
func TestRequeueBeforePublish(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1)
		p.declare(1, "q")
		for _, settle := range []protocol.Method{
			&protocol.BasicNack{DeliveryTag: 1, Requeue: true}, &protocol.BasicReject{DeliveryTag: 2},
		} {
			p.publish(1, "", "q", "m")
			p.flush()
			call[*protocol.BasicGetOk](p, 1, &protocol.BasicGet{Queue: "q"})
			p.content(1)
			p.w.Method(1, settle)
			p.publish(1, "", "q", "m")
			p.flush()
			synctest.Wait()
			if n := len(k.applied); k.applied[n-2] != command.KindSettle || k.applied[n-1] != command.KindPublish {
				t.Errorf("%s: the order is %v", settle.ID(), k.applied)
			}
		}
		p.bye()
	})
}

// row: 1.3 basic.qos
func TestPrefetch(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1, 2)
		p.declare(1, "q")
		for range 10 {
			p.publish(1, "", "q", "m")
		}
		p.flush()
		call[*protocol.BasicQosOk](p, 2, &protocol.BasicQos{PrefetchCount: 2, Global: true})
		call[*protocol.BasicQosOk](p, 1, &protocol.BasicQos{PrefetchCount: 3})
		call[*protocol.BasicConsumeOk](p, 1, &protocol.BasicConsume{Queue: "q", ConsumerTag: "a"})
		for range 3 {
			receive[*protocol.BasicDeliver](p, 1)
			p.content(1)
		}
		p.silent()
		for _, tag := range []string{"b", "c"} {
			p.send(2, &protocol.BasicConsume{Queue: "q", ConsumerTag: tag, NoWait: true})
		}
		for range 2 {
			receive[*protocol.BasicDeliver](p, 2)
			p.content(2)
		}
		p.silent()
		p.send(2, &protocol.BasicAck{DeliveryTag: 1})
		receive[*protocol.BasicDeliver](p, 2)
		p.content(2)
		p.silent()
		i := p.session.Info()
		if c := i.ChannelInfos; c[0].Prefetch != 3 || c[0].Unacked != 3 || c[0].Consumers != 1 || c[1].GlobalQos != 2 || c[1].Consumers != 2 || c[1].Unacked != 2 {
			t.Errorf("%+v", c)
		}
		p.bye()
	})
}

// TestPrefetchOfConsumersLifts: a limit of consumers takes away that of the channel, and the other way round nothing
// is taken away.
//
// row: 1.3 basic.qos
func TestPrefetchOfConsumersLifts(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1)
		p.declare(1, "q")
		for range 10 {
			p.publish(1, "", "q", "m")
		}
		p.flush()
		delivered := func(n int) {
			t.Helper()
			for range n {
				receive[*protocol.BasicDeliver](p, 1)
				p.content(1)
			}
			p.silent()
		}
		call[*protocol.BasicQosOk](p, 1, &protocol.BasicQos{PrefetchCount: 3})
		call[*protocol.BasicQosOk](p, 1, &protocol.BasicQos{PrefetchCount: 4, Global: true})
		for _, tag := range []string{"a", "b"} {
			p.send(1, &protocol.BasicConsume{Queue: "q", ConsumerTag: tag, NoWait: true})
		}
		delivered(4) // three and one
		call[*protocol.BasicQosOk](p, 1, &protocol.BasicQos{PrefetchCount: 1})
		delivered(2) // the consumers that are there keep their three
		if c := p.session.Info().ChannelInfos[0]; c.Prefetch != 1 || c.GlobalQos != 0 || c.Unacked != 6 {
			t.Errorf("%+v", c)
		}
		p.bye()
	})
}

// TestPrefetchOfTheChannel: a client of py-amqp means the channel, with the consumers
// that it has.
func TestPrefetchOfTheChannel(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect()
		p.loginAs(append(wire.Table{{Name: "product", Value: "py-amqp"}}, allCapabilities...), &protocol.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131072, Heartbeat: 60})
		p.open(1)
		p.declare(1, "q")
		for range 10 {
			p.publish(1, "", "q", "m")
		}
		p.flush()
		call[*protocol.BasicQosOk](p, 1, &protocol.BasicQos{PrefetchCount: 2})
		p.send(1, &protocol.BasicConsume{Queue: "q", ConsumerTag: "a", NoWait: true})
		p.send(1, &protocol.BasicConsume{Queue: "q", ConsumerTag: "b", NoWait: true})
		for range 2 {
			receive[*protocol.BasicDeliver](p, 1)
			p.content(1)
		}
		p.silent()
		p.send(1, &protocol.BasicQos{PrefetchCount: 3})
		// The answer and the delivery for which there is room now come in this order.
		receive[*protocol.BasicQosOk](p, 1)
		receive[*protocol.BasicDeliver](p, 1)
		p.content(1)
		p.silent()
		p.bye()
	})
}

// row: 1.3 basic.recover
func TestRecover(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1)
		p.declare(1, "q")
		call[*protocol.BasicRecoverOk](p, 1, &protocol.BasicRecover{Requeue: true})
		for _, body := range []string{"a", "b"} {
			p.publish(1, "", "q", body)
		}
		p.flush()
		call[*protocol.BasicConsumeOk](p, 1, &protocol.BasicConsume{Queue: "q"})
		for range 2 {
			receive[*protocol.BasicDeliver](p, 1)
			p.content(1)
		}
		for round, m := range []protocol.Method{&protocol.BasicRecover{Requeue: true}, &protocol.BasicRecoverAsync{Requeue: true}} {
			p.send(1, m)
			if round == 0 {
				receive[*protocol.BasicRecoverOk](p, 1)
			}
			for i := range 2 {
				d := receive[*protocol.BasicDeliver](p, 1)
				if _, body := p.content(1); !d.Redelivered || d.DeliveryTag != uint64(2*round+3+i) || body != string(rune('a'+i)) {
					t.Errorf("%+v %q", d, body)
				}
			}
		}
		p.send(1, &protocol.BasicAck{DeliveryTag: 1})
		p.fails(1, 406, "PRECONDITION_FAILED - unknown delivery tag 1", protocol.IDBasicAck)
		p.bye()
	})
}

// row: 1.3 consumer cancel notify
func TestConsumerCancelNotify(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p, plain, third := k.connect().login().open(1), k.connect(), k.connect().login().open(1)
		plain.loginAs(nil, &protocol.ConnectionTuneOk{ChannelMax: 1, FrameMax: 4096})
		plain.open(1)
		third.declare(1, "q")
		call[*protocol.BasicConsumeOk](p, 1, &protocol.BasicConsume{Queue: "q", ConsumerTag: "t"})
		call[*protocol.BasicConsumeOk](plain, 1, &protocol.BasicConsume{Queue: "q", ConsumerTag: "t"})
		call[*protocol.QueueDeleteOk](third, 1, &protocol.QueueDelete{Queue: "q"})
		if m := receive[*protocol.BasicCancel](p, 1); m.ConsumerTag != "t" || !m.NoWait {
			t.Errorf("%+v", m)
		}
		plain.silent()
		if n := plain.session.Info().ChannelInfos[0].Consumers; n != 0 {
			t.Errorf("%d consumers", n)
		}
		third.declare(1, "q")
		call[*protocol.BasicConsumeOk](p, 1, &protocol.BasicConsume{Queue: "q", ConsumerTag: "t"})
		p.bye()
		plain.bye()
		third.bye()
	})
}

// A consumer whose client does not read, and whose prefetch does not bound it, is given
// a window of messages and no more; when it reads it gets all.
func TestSlowSocketHoldsNoQueue(t *testing.T) {
	for _, c := range []struct {
		name     string
		prefetch uint16
		noAck    bool
	}{{"no acks", 0, true}, {"no prefetch", 0, false}, {"large prefetch", 65535, false}} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, k *cluster) { testSlowSocket(t, k, c.prefetch, c.noAck) })
		})
	}
}

func testSlowSocket(t *testing.T, k *cluster, prefetch uint16, noAck bool) {
	const n = 4000
	p, maker := k.connect(), k.connect().login().open(1)
	p.loginAs(nil, &protocol.ConnectionTuneOk{ChannelMax: 1, FrameMax: 131072})
	p.open(1)
	call[*protocol.BasicQosOk](p, 1, &protocol.BasicQos{PrefetchCount: prefetch})
	maker.declare(1, "q")
	call[*protocol.ConfirmSelectOk](maker, 1, &protocol.ConfirmSelect{})
	slow := make(chan struct{})
	p.slow.Store(&slow)
	p.send(1, &protocol.BasicConsume{Queue: "q", NoAck: noAck})
	for range n {
		maker.publish(1, "", "q", strings.Repeat("x", 2000))
	}
	maker.flush()
	for confirmed := uint64(0); confirmed < n; {
		confirmed = receive[*protocol.BasicAck](maker, 1).DeliveryTag
	}
	synctest.Wait()
	if most := n - k.queue("q").Ready; most > maxWindow+maxUnwritten/2000+10 {
		t.Errorf("%d messages were handed to a client that does not read", most)
	}
	close(slow)
	receive[*protocol.BasicConsumeOk](p, 1)
	for i := range n {
		if d := receive[*protocol.BasicDeliver](p, 1); d.DeliveryTag != uint64(i+1) {
			t.Fatalf("%+v, want %d", d, i+1)
		}
		p.content(1)
	}
	p.bye()
	maker.bye()
}

func TestConfirms(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1)
		p.publish(1, "", "none", "before") // not numbered
		p.flush()
		call[*protocol.ConfirmSelectOk](p, 1, &protocol.ConfirmSelect{})
		call[*protocol.ConfirmSelectOk](p, 1, &protocol.ConfirmSelect{})
		k.setHold(true)
		for range 100 {
			p.publish(1, "", "none", "m")
		}
		p.flush()
		p.silent()
		if c := p.session.Info().ChannelInfos[0]; c.Unconfirmed != 100 || !c.Confirm {
			t.Errorf("%+v", c)
		}
		k.setHold(false)
		acks := 0
		for last := uint64(0); last < 100; acks++ {
			m := receive[*protocol.BasicAck](p, 1)
			if m.DeliveryTag <= last || !m.Multiple && m.DeliveryTag != last+1 {
				t.Fatalf("%+v after %d", m, last)
			}
			last = m.DeliveryTag
		}
		if acks > 50 {
			t.Errorf("100 confirms came in %d methods", acks)
		}
		p.silent()
		p.bye()
	})
}

func TestMandatory(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1)
		call[*protocol.ConfirmSelectOk](p, 1, &protocol.ConfirmSelect{})
		p.publishMethod(1, &protocol.BasicPublish{Exchange: "amq.direct", RoutingKey: "nowhere", Mandatory: true}, "body")
		p.flush()
		m := receive[*protocol.BasicReturn](p, 1)
		if m.ReplyCode != 312 || m.ReplyText != "NO_ROUTE" || m.Exchange != "amq.direct" || m.RoutingKey != "nowhere" {
			t.Errorf("%+v", m)
		}
		if props, body := p.content(1); body != "body" || string(props) != "\x10\x00\x02" {
			t.Errorf("%q %x", body, props)
		}
		if m := receive[*protocol.BasicAck](p, 1); m.DeliveryTag != 1 || m.Multiple {
			t.Errorf("%+v", m)
		}
		p.bye()
	})
}

func TestPublishToUnknownExchange(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1)
		call[*protocol.ConfirmSelectOk](p, 1, &protocol.ConfirmSelect{})
		p.publish(1, "", "none", "fine")
		p.publish(1, "nope", "", "m")
		p.publish(1, "", "none", "too late")
		p.flush()
		if m := receive[*protocol.BasicAck](p, 1); m.DeliveryTag != 1 {
			t.Errorf("%+v", m)
		}
		p.fails(1, 404, "NOT_FOUND - no exchange 'nope' in vhost '/'", protocol.IDBasicPublish)
		p.open(1)
		p.silent()
		p.bye()
	})
}

func TestTransactions(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1, 2)
		p.declare(1, "in")
		p.declare(1, "out")
		for _, body := range []string{"a", "b", "c"} {
			p.publish(1, "", "in", body)
		}
		p.flush()
		call[*protocol.TxSelectOk](p, 1, &protocol.TxSelect{})
		call[*protocol.TxCommitOk](p, 1, &protocol.TxCommit{})
		call[*protocol.BasicConsumeOk](p, 1, &protocol.BasicConsume{Queue: "in"})
		for range 3 {
			receive[*protocol.BasicDeliver](p, 1)
			p.content(1)
		}
		work := func() {
			p.publish(1, "", "out", "x")
			p.publishMethod(1, &protocol.BasicPublish{RoutingKey: "nowhere", Mandatory: true}, "back")
			p.w.Method(1, &protocol.BasicAck{DeliveryTag: 2})
			p.w.Method(1, &protocol.BasicAck{DeliveryTag: 3, Multiple: true})
			p.flush()
		}
		work()
		p.silent()
		if c := p.session.Info().ChannelInfos[0]; c.Uncommitted != 2 || c.AcksPending != 3 || c.Unacked != 0 || !c.Transactional {
			t.Errorf("%+v", c)
		}
		if in, out := k.queue("in"), k.queue("out"); in.Unacked != 3 || out.Ready != 0 {
			t.Errorf("before the commit: %+v %+v", in, out)
		}
		call[*protocol.TxRollbackOk](p, 1, &protocol.TxRollback{})
		if c := p.session.Info().ChannelInfos[0]; c.Unacked != 3 {
			t.Errorf("after the rollback: %+v", c)
		}
		work() // the same tags again
		p.send(1, &protocol.TxCommit{})
		if m := receive[*protocol.BasicReturn](p, 1); m.RoutingKey != "nowhere" {
			t.Errorf("%+v", m)
		}
		p.content(1)
		receive[*protocol.TxCommitOk](p, 1)
		if in, out := k.queue("in"), k.queue("out"); in.Unacked+in.Ready != 0 || out.Ready != 1 {
			t.Errorf("after the commit: %+v %+v", in, out)
		}
		p.publish(1, "", "out", "y")
		p.publish(1, "nope", "", "y")
		p.flush()
		p.send(1, &protocol.TxCommit{})
		p.fails(1, 404, "NOT_FOUND - no exchange 'nope' in vhost '/'", protocol.IDTxCommit)
		synctest.Wait()
		if out := k.queue("out"); out.Ready != 1 {
			t.Errorf("a refused transaction was carried out in part: %+v", out)
		}
		call[*protocol.ConfirmSelectOk](p, 2, &protocol.ConfirmSelect{})
		p.send(2, &protocol.TxSelect{})
		p.fails(2, 406, "PRECONDITION_FAILED - cannot switch from confirm to tx mode", protocol.IDTxSelect)
		p.open(2)
		call[*protocol.TxSelectOk](p, 2, &protocol.TxSelect{})
		p.send(2, &protocol.ConfirmSelect{})
		p.fails(2, 406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode", protocol.IDConfirmSelect)
		p.bye()
	})
}

func TestTransactionSize(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect(func(c *Config) { c.MaxTransaction = 10000 }).login().open(1)
		call[*protocol.TxSelectOk](p, 1, &protocol.TxSelect{})
		for range 11 {
			p.publish(1, "", "q", strings.Repeat("x", 1000))
		}
		p.flush()
		if m := receive[*protocol.ChannelClose](p, 1); m.ReplyCode != 406 || !strings.Contains(m.ReplyText, "larger than the maximum of 10000 bytes") {
			t.Errorf("%+v", m)
		}
		p.bye()
	})
}

// recover in a transaction leaves alone what the transaction has settled.
func TestRecoverInTransaction(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1)
		p.declare(1, "q")
		for _, body := range []string{"a", "b", "c"} {
			p.publish(1, "", "q", body)
		}
		p.flush()
		call[*protocol.TxSelectOk](p, 1, &protocol.TxSelect{})
		for range 3 {
			call[*protocol.BasicGetOk](p, 1, &protocol.BasicGet{Queue: "q"})
			p.content(1)
		}
		p.send(1, &protocol.BasicAck{DeliveryTag: 2})
		call[*protocol.BasicRecoverOk](p, 1, &protocol.BasicRecover{Requeue: true})
		if q := k.queue("q"); q.Ready != 2 || q.Unacked != 1 {
			t.Errorf("%+v", q)
		}
		call[*protocol.TxCommitOk](p, 1, &protocol.TxCommit{})
		if q := k.queue("q"); q.Ready != 2 || q.Unacked != 0 {
			t.Errorf("%+v", q)
		}
		p.bye()
	})
}

func TestEpochLost(t *testing.T) {
	const text = "CONNECTION_FORCED - the cluster had given up this node: consumers, unacknowledged deliveries and exclusive queues of the connection are gone; connect again"
	inBubble(t, func(t *testing.T, k *cluster) {
		publisher, consumer, owner := k.connect().login().open(1), k.connect().login().open(1), k.connect().login().open(1)
		publisher.declare(1, "q")
		call[*protocol.BasicQosOk](publisher, 1, &protocol.BasicQos{PrefetchCount: 1, Global: true})
		call[*protocol.ConfirmSelectOk](publisher, 1, &protocol.ConfirmSelect{})
		call[*protocol.BasicConsumeOk](consumer, 1, &protocol.BasicConsume{Queue: "q"})
		call[*protocol.QueueDeclareOk](owner, 1, &protocol.QueueDeclare{Exclusive: true})
		publisher.declare(1, "other")
		for range 3 { // nothing is left of these
			publisher.publish(1, "", "other", "m")
			publisher.flush()
			receive[*protocol.BasicAck](publisher, 1)
		}
		for range 3 {
			publisher.send(1, &protocol.BasicGet{Queue: "other"}, &protocol.BasicAck{Multiple: true})
			receive[*protocol.BasicGetOk](publisher, 1)
			publisher.content(1)
		}
		publisher.silent()
		k.loseEpoch()
		consumer.dies(320, text, 0)
		owner.dies(320, text, 0)
		call[*protocol.BasicConsumeOk](publisher, 1, &protocol.BasicConsume{Queue: "q"})
		// The machine counts its deliveries anew, and so do we; and its prefetch holds
		// in the new epoch too.
		k.setHold(true)
		publisher.publish(1, "", "q", "m")
		publisher.publish(1, "", "q", "m")
		publisher.flush()
		synctest.Wait()
		k.skip()
		// One delivery, as the prefetch is 1, and both confirms, in no certain order.
		for delivered, confirmed := false, uint64(3); !delivered || confirmed < 5; {
			switch m := receive[protocol.Method](publisher, 1).(type) {
			case *protocol.BasicDeliver:
				if m.DeliveryTag != 4 || delivered {
					t.Errorf("%+v", m)
				}
				delivered = true
				publisher.content(1)
			case *protocol.BasicAck:
				confirmed = m.DeliveryTag
			default:
				t.Fatalf("%T %+v", m, m)
			}
		}
		publisher.silent()
		k.setHold(false)
		publisher.bye()
	})
}

// TestPatientAcks checks that acks have time exactly when no message waited behind the newest delivery, and other outcomes never.
func TestPatientAcks(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1)
		p.declare(1, "q")
		call[*protocol.BasicQosOk](p, 1, &protocol.BasicQos{PrefetchCount: 1})
		for i := range 3 {
			p.publish(1, "", "q", fmt.Sprint(i))
		}
		p.flush()
		call[*protocol.BasicConsumeOk](p, 1, &protocol.BasicConsume{Queue: "q"})
		for i, want := range []struct {
			settle  protocol.Method
			patient int
		}{
			{&protocol.BasicAck{DeliveryTag: 1}, 0},                 // two more wait
			{&protocol.BasicAck{DeliveryTag: 2}, 0},                 // one more
			{&protocol.BasicNack{DeliveryTag: 3, Requeue: true}, 0}, // comes again
			{&protocol.BasicAck{DeliveryTag: 4}, 1},
		} {
			receive[*protocol.BasicDeliver](p, 1)
			p.content(1)
			before := k.patient
			p.send(1, want.settle)
			synctest.Wait()
			if got := k.patient - before; got != want.patient {
				t.Errorf("settle %d: %d commands may wait, want %d", i+1, got, want.patient)
			}
		}
		if q := k.queue("q"); q.Ready+q.Unacked != 0 {
			t.Errorf("%+v", q)
		}
		p.bye()
	})
}

// TestEpochLostWithSettles: a client that has settled all that it took is told, when it may not have counted: what is
// answered behind it would say that it did.
func TestEpochLostWithSettles(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1)
		p.declare(1, "q")
		p.publish(1, "", "q", "m")
		p.flush()
		p.send(1, &protocol.BasicGet{Queue: "q"})
		receive[*protocol.BasicGetOk](p, 1)
		p.content(1)
		k.setHold(true)
		p.send(1, &protocol.BasicAck{DeliveryTag: 1}, &protocol.QueueDeclare{Queue: "q", Passive: true})
		synctest.Wait()
		k.loseEpoch()
		p.dies(320, "CONNECTION_FORCED - "+errEpochLost().Text, 0)
		k.setHold(false)
	})
}

func TestLostMethod(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1)
		k.setHold(true)
		p.send(1, &protocol.QueueDeclare{Queue: "q"})
		synctest.Wait()
		k.skip()
		p.dies(320, "CONNECTION_FORCED - this node caught up by a snapshot and cannot tell the outcome of queue.declare; connect again", protocol.IDQueueDeclare)
		k.setHold(false)
	})
}

// A snapshot that took the place of entries: publishes are confirmed, deliveries
// that were missed come, consumers that are gone are cancelled.
func TestRestored(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p, other := k.connect().login().open(1), k.connect().login().open(1)
		p.declare(1, "q")
		p.declare(1, "doomed")
		call[*protocol.ConfirmSelectOk](other, 1, &protocol.ConfirmSelect{})
		call[*protocol.BasicQosOk](p, 1, &protocol.BasicQos{PrefetchCount: 3})
		call[*protocol.BasicConsumeOk](p, 1, &protocol.BasicConsume{Queue: "q", ConsumerTag: "stays"})
		call[*protocol.BasicConsumeOk](p, 1, &protocol.BasicConsume{Queue: "doomed", ConsumerTag: "goes"})
		other.publish(1, "", "q", "0")
		other.flush()
		receive[*protocol.BasicAck](other, 1)
		receive[*protocol.BasicDeliver](p, 1)
		p.content(1)
		k.setHold(true)
		other.publish(1, "", "q", "1")
		other.publish(1, "", "q", "2")
		other.flush()
		synctest.Wait()
		k.mu.Lock() // another node's command, with no one here to wait for it
		k.pending = append(k.pending, proposal{
			batch: command.AppendToBatch(command.NewBatch(nil, 0, 0), &command.QueueDelete{VHost: "/", Name: "doomed"}),
			kind:  command.KindQueueDelete,
		})
		k.mu.Unlock()
		k.skip()
		for confirmed := uint64(1); confirmed < 3; { // with one ack or two
			confirmed = receive[*protocol.BasicAck](other, 1).DeliveryTag
		}
		for i := range 2 {
			d := receive[*protocol.BasicDeliver](p, 1)
			if _, body := p.content(1); body != fmt.Sprint(i+1) || d.DeliveryTag != uint64(i+2) {
				t.Errorf("%q %+v", body, d)
			}
		}
		if m := receive[*protocol.BasicCancel](p, 1); m.ConsumerTag != "goes" {
			t.Errorf("%+v", m)
		}
		k.setHold(false)
		p.send(1, &protocol.BasicAck{DeliveryTag: 3, Multiple: true})
		p.silent()
		if q := k.queue("q"); q.Ready+q.Unacked != 0 || q.Consumers != 1 {
			t.Errorf("%+v", q)
		}
		p.bye()
		other.bye()
	})
}

// A snapshot that took the place of answers: a message that a full queue refused, or had to be returned, is not confirmed,
// and what the log had behind it is.
func TestRestoredRefused(t *testing.T) {
	for name, publish := range map[string]*protocol.BasicPublish{
		"full":        {RoutingKey: "full"},
		"returned":    {RoutingKey: "nowhere", Mandatory: true},
		"no exchange": {Exchange: "nowhere", RoutingKey: "q"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, k *cluster) {
				k.mu.Lock()
				k.apply(command.AppendToBatch(command.NewBatch(nil, 0, 0), &command.Upgrade{Version: fsm.Version}))
				k.mu.Unlock()
				p, other := k.connect().login().open(1), k.connect().login().open(1)
				p.declare(1, "q")
				call[*protocol.QueueDeclareOk](p, 1, &protocol.QueueDeclare{Queue: "full", Arguments: wire.Table{
					{Name: "x-max-length", Value: int32(0)}, {Name: "x-overflow", Value: "reject-publish"},
				}})
				call[*protocol.ConfirmSelectOk](p, 1, &protocol.ConfirmSelect{})
				call[*protocol.ConfirmSelectOk](other, 1, &protocol.ConfirmSelect{})
				k.setHold(true)
				p.w.Method(1, publish)
				p.w.Append(func(b []byte) []byte {
					b = protocol.AppendHeader(b, 1, 60, 1, []byte{0, 0})
					return protocol.AppendBody(b, 1, []byte("1"), 4096)
				})
				p.flush()
				synctest.Wait()
				other.publish(1, "", "q", "2")
				other.flush()
				synctest.Wait()
				k.skip()
				p.dies(320, "CONNECTION_FORCED - this node caught up by a snapshot and cannot tell the outcome of basic.publish; connect again", protocol.IDBasicPublish)
				receive[*protocol.BasicAck](other, 1)
				k.setHold(false)
				other.bye()
			})
		})
	}
}

// A snapshot that took the place of deliveries to a consumer without acknowledgements: they cannot be had again, and
// its client hears of it. One that missed nothing goes on.
func TestRestoredNoAck(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p, misses, other := k.connect().login().open(1), k.connect().login().open(1), k.connect().login().open(1)
		for to, queue := range map[*peer]string{p: "q", misses: "skipped"} {
			to.declare(1, queue)
			call[*protocol.BasicConsumeOk](to, 1, &protocol.BasicConsume{Queue: queue, ConsumerTag: "c", NoAck: true})
			other.publish(1, "", queue, "0")
			other.flush()
			receive[*protocol.BasicDeliver](to, 1)
			to.content(1)
		}
		k.setHold(true)
		other.publish(1, "", "skipped", "1")
		other.flush()
		synctest.Wait()
		k.skip()
		misses.dies(320, "CONNECTION_FORCED - this node caught up by a snapshot and cannot deliver what consumer 'c' was given meanwhile; connect again", protocol.IDBasicDeliver)
		k.setHold(false)
		other.publish(1, "", "q", "2")
		other.flush()
		receive[*protocol.BasicDeliver](p, 1)
		if _, body := p.content(1); body != "2" {
			t.Errorf("%q", body)
		}
		p.bye()
		other.bye()
	})
}

// A connection that floods is bounded by what is in flight.
func TestInFlightIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect(func(c *Config) { c.MaxInFlight = 50_000 }).login().open(1)
		p.declare(1, "q")
		k.setHold(true)
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for range 200 {
				p.publish(1, "", "q", strings.Repeat("x", 1000))
				p.flush()
			}
		}()
		synctest.Wait()
		k.mu.Lock()
		n := len(k.pending)
		k.mu.Unlock()
		if n > 50 {
			t.Errorf("%d publishes of 1,000 bytes are in flight", n)
		}
		k.setHold(false)
		<-sent
		synctest.Wait()
		if n := k.queue("q").Ready; n != 200 {
			t.Errorf("%d messages arrived", n)
		}
		p.bye()
	})
}

// The cluster may not answer for long; a client that wants to go is let go.
func TestCloseWithoutQuorum(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1)
		p.declare(1, "q")
		call[*protocol.BasicConsumeOk](p, 1, &protocol.BasicConsume{Queue: "q"})
		k.setHold(true)
		began := time.Now()
		p.send(0, &protocol.ConnectionClose{ReplyCode: 200})
		receive[*protocol.ConnectionCloseOk](p, 0)
		if d := time.Since(began); d != DefaultCloseTimeout {
			t.Errorf("close-ok after %s", d)
		}
		p.ends(nil)
		k.setHold(false)
		synctest.Wait()
		if q := k.queue("q"); q.Consumers != 0 {
			t.Errorf("%+v", q)
		}
	})
}
