package session

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"warren/protocol"
)

// Unfinished messages on many channels are bounded together.
func TestUnfinishedMessagesAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect(func(c *Config) { c.MaxMessageSize, c.MaxTransaction = 10_000, 10_000 }).login()
		for ch := uint16(1); ch <= 5; ch++ {
			p.open(ch)
			p.w.Method(ch, &protocol.BasicPublish{RoutingKey: "q"})
			p.w.Append(func(b []byte) []byte {
				b = protocol.AppendHeader(b, ch, 60, 10_000, []byte{0, 0})
				return protocol.AppendBody(b, ch, []byte(strings.Repeat("x", 9_000)), 0)
			})
			p.flush()
			synctest.Wait()
		}
		m := receive[*protocol.ConnectionClose](p, 0)
		if m.ReplyCode != 506 || !strings.HasPrefix(m.ReplyText, "RESOURCE_ERROR - unfinished messages") {
			t.Errorf("%+v", m)
		}
		p.ends(protocol.Errorf(506, 0, ""))
	})
}

// What all connections of a node keep is bounded: above that the node is asked to close one, and who goes on is closed. What an
// ended connection kept counts no more.
func TestKeptBytesOfTheNodeAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		const most = 200_000
		asked := 0
		limits := &Limits{Shed: func() { asked++ }}
		limits.SetBytes(most)
		with := func(c *Config) { c.Limits = limits }
		begin := func(p *peer, ch uint16, bytes int) {
			p.w.Method(ch, &protocol.BasicPublish{RoutingKey: "q"})
			p.w.Append(func(b []byte) []byte {
				b = protocol.AppendHeader(b, ch, 60, uint64(bytes)+1, []byte{0, 0})
				return protocol.AppendBody(b, ch, []byte(strings.Repeat("x", bytes)), 4096)
			})
			p.flush()
			synctest.Wait()
		}
		first := k.connect(with).login().open(1, 2)
		begin(first, 1, most/2)
		time.Sleep(time.Second)
		second := k.connect(with).login().open(1, 2)
		begin(second, 1, most/2)
		if asked != 0 || limits.Kept() != most {
			t.Errorf("asked %d times to close one, %d bytes are kept", asked, limits.Kept())
		}
		begin(second, 2, most/4)
		if asked == 0 {
			t.Error("nobody was asked to close a connection")
		}
		_, since, ok := first.session.Kept()
		if _, later, _ := second.session.Kept(); !ok || !since.Before(later) {
			t.Errorf("kept since %v and %v", since, later)
		}
		begin(first, 2, most)
		m := receive[*protocol.ConnectionClose](first, 0)
		if m.ReplyCode != 506 || !strings.HasSuffix(m.ReplyText, "hold more than 400000 bytes on this node") {
			t.Errorf("%+v", m)
		}
		first.ends(protocol.Errorf(506, 0, ""))
		if n := limits.Kept(); n != most/2+most/4 {
			t.Errorf("%d bytes are kept", n)
		}
		_ = second.hangUp()
		if n := limits.Kept(); n != 0 {
			t.Errorf("%d bytes are kept when all have gone", n)
		}
	})
}

// What was counted is given back: the same connection may send as much again.
func TestBufferedBytesAreGivenBack(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect(func(c *Config) { c.MaxMessageSize, c.MaxTransaction = 10_000, 10_000 }).login().open(1, 2, 3)
		body := strings.Repeat("x", 9_000)
		call[*protocol.TxSelectOk](p, 2, &protocol.TxSelect{})
		p.w.SetFrameMax(4096)
		for range 20 {
			p.publish(1, "", "none", body)
			p.publish(2, "", "none", body)
			p.flush()
			call[*protocol.TxRollbackOk](p, 2, &protocol.TxRollback{})
			p.publish(2, "", "none", body)
			p.flush()
			call[*protocol.TxCommitOk](p, 2, &protocol.TxCommit{})
			p.publish(2, "nope", "", body)
			p.flush()
			p.send(2, &protocol.TxCommit{})
			p.fails(2, 404, "NOT_FOUND - no exchange 'nope' in vhost '/'", protocol.IDTxCommit)
			call[*protocol.ChannelOpenOk](p, 2, &protocol.ChannelOpen{})
			call[*protocol.TxSelectOk](p, 2, &protocol.TxSelect{})
			// Half a message on a channel that fails: by a publish whose refusal comes late.
			k.setHold(true)
			p.publish(3, "nope", "", "")
			p.w.Method(3, &protocol.BasicPublish{RoutingKey: "q"})
			p.w.Append(func(b []byte) []byte {
				b = protocol.AppendHeader(b, 3, 60, 10_000, []byte{0, 0})
				return protocol.AppendBody(b, 3, []byte(body), 0)
			})
			p.flush()
			synctest.Wait()
			k.setHold(false)
			p.fails(3, 404, "NOT_FOUND - no exchange 'nope' in vhost '/'", protocol.IDBasicPublish)
			p.open(3)
		}
		p.bye()
		if n := p.session.conn.buffered; n != 0 {
			t.Errorf("%d bytes are still counted", n)
		}
	})
}

// A client that asks and never reads is not read any more.
func TestAnswersAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1)
		stuck := make(chan struct{})
		p.slow.Store(&stuck)
		done := make(chan struct{})
		const n = 200_000
		go func() {
			defer close(done)
			for range n / 1000 {
				for range 1000 {
					p.w.Method(1, &protocol.ChannelFlow{Active: true})
				}
				if p.w.Flush() != nil {
					return
				}
			}
		}()
		synctest.Wait()
		select {
		case <-done:
			t.Error("all was read")
		default:
		}
		if pending := p.session.Info().SendPending; pending < maxUnwritten || pending > 2*maxUnwritten {
			t.Errorf("%d bytes of answers", pending)
		}
		close(stuck)
		for range n {
			receive[*protocol.ChannelFlowOk](p, 1)
		}
		<-done
		p.bye()
	})
}

// A client that does not read can be closed by the operator.
func TestStuckClientIsClosed(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1)
		p.declare(1, "q")
		stuck := make(chan struct{})
		p.slow.Store(&stuck)
		call := func() {
			for range 3000 {
				p.publish(1, "", "q", strings.Repeat("x", 1000))
			}
			_ = p.w.Flush()
		}
		p.send(1, &protocol.BasicConsume{Queue: "q", NoAck: true, NoWait: true})
		go call()
		synctest.Wait()
		p.session.Close(320, "stuck")
		if err := <-p.served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		close(stuck)
		synctest.Wait()
		if q := k.queue("q"); q.Consumers != 0 {
			t.Errorf("%+v", q)
		}
	})
}

// Deliveries that a Recover takes back before they were sent still count for the
// consumer's window: otherwise it would never be given more.
func TestRecoverKeepsTheWindowOpen(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1, 2)
		p.declare(1, "q")
		call[*protocol.BasicConsumeOk](p, 1, &protocol.BasicConsume{Queue: "q"})
		const n = firstWindow + 100
		k.setHold(true)
		for range n {
			p.publish(2, "", "q", "m")
		}
		p.flush()
		synctest.Wait() // the deliveries come behind the Recover's beginning, and before its end
		p.send(1, &protocol.BasicRecover{Requeue: true})
		synctest.Wait()
		k.setHold(false)
		receive[*protocol.BasicRecoverOk](p, 1)
		for i := range n {
			if d := receive[*protocol.BasicDeliver](p, 1); d.DeliveryTag != uint64(i+1) {
				t.Fatalf("%+v", d)
			}
			p.content(1)
		}
		p.bye()
	})
}

// Replies come from any goroutine: one that is counted when its session has ended is not counted for ever.
func TestKeptReplyBehindTheEnd(t *testing.T) {
	limits := new(Limits)
	s := &Session{cfg: Config{Limits: limits}}
	s.keep(leastKept)
	s.keepNothing()
	s.keep(leastKept)
	if n := limits.Kept(); n != 0 {
		t.Errorf("%d bytes are kept for one who has gone", n)
	}
}
