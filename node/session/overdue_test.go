package session

import (
	"testing"
	"testing/synctest"

	"warren/fsm"
	"warren/fsm/command"
	"warren/protocol"
	"warren/protocol/wire"
)

// pass lets the time of the log pass, in milliseconds, and does what is due then.
func (k *cluster) pass(ms uint64) {
	k.mu.Lock()
	k.index += ms
	k.mu.Unlock()
	k.Propose(&command.Tick{}, nil, 0)
	synctest.Wait()
}

// impatient makes a queue whose deliveries are overdue after a second, with some messages in it.
func (k *cluster) impatient(p *peer, messages int) {
	k.mu.Lock()
	k.apply(command.AppendToBatch(command.NewBatch(nil, 0, 0), &command.Upgrade{Version: fsm.Version}))
	k.mu.Unlock()
	call[*protocol.QueueDeclareOk](p, 1, &protocol.QueueDeclare{Queue: "q", Arguments: wire.Table{{Name: "x-consumer-timeout", Value: int32(1000)}}})
	for range messages {
		p.publish(1, "", "q", "m")
	}
	p.flush()
}

func (k *cluster) wantQueue(when string, ready, unacked, consumers int) {
	k.t.Helper()
	synctest.Wait()
	if q := k.queue("q"); q.Ready != ready || q.Unacked != unacked || q.Consumers != consumers {
		k.t.Errorf("%s: %d ready, %d unacknowledged, %d consumers; want %d, %d, %d", when, q.Ready, q.Unacked, q.Consumers, ready, unacked, consumers)
	}
}

// delivered takes a delivery, whose tag and redelivered flag must be those.
func (p *peer) delivered(channel uint16, tag uint64, redelivered bool) {
	p.t.Helper()
	d := receive[*protocol.BasicDeliver](p, channel)
	p.content(channel)
	if d.DeliveryTag != tag || d.Redelivered != redelivered {
		p.t.Errorf("got delivery %d, redelivered %v; want %d, %v", d.DeliveryTag, d.Redelivered, tag, redelivered)
	}
}

// TestOverdue: what a client keeps for too long comes again under other tags, and settling the old ones settles nothing else. The
// tag of the consumer can be used again at once.
func TestOverdue(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1)
		k.impatient(p, 3)
		call[*protocol.BasicQosOk](p, 1, &protocol.BasicQos{PrefetchCount: 3})
		call[*protocol.BasicConsumeOk](p, 1, &protocol.BasicConsume{Queue: "q", ConsumerTag: "c"})
		for tag := range uint64(3) {
			p.delivered(1, tag+1, false)
		}
		k.wantQueue("taken", 0, 3, 1)
		k.pass(1200)
		if m := receive[*protocol.BasicCancel](p, 1); m.ConsumerTag != "c" || !m.NoWait {
			t.Errorf("got %+v", m)
		}
		k.wantQueue("overdue", 3, 0, 0)
		call[*protocol.BasicConsumeOk](p, 1, &protocol.BasicConsume{Queue: "q", ConsumerTag: "c"})
		for tag := range uint64(3) {
			p.delivered(1, tag+4, true)
		}
		p.send(1, &protocol.BasicAck{DeliveryTag: 3, Multiple: true})
		k.wantQueue("acknowledged too late", 0, 3, 1)
		p.send(1, &protocol.BasicNack{DeliveryTag: 5, Requeue: true}) // the prefetch has room for one
		p.delivered(1, 7, true)
		p.send(1, &protocol.BasicAck{DeliveryTag: 0, Multiple: true})
		k.wantQueue("acknowledged", 0, 0, 1)
		p.bye()
	})
}

// TestOverdueUnseen: the client subscribes anew under the tag before it has read that its consumer was ended.
func TestOverdueUnseen(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1)
		k.impatient(p, 1)
		call[*protocol.BasicConsumeOk](p, 1, &protocol.BasicConsume{Queue: "q", ConsumerTag: "c"})
		p.delivered(1, 1, false)
		k.setHold(true)
		k.pass(1200)
		p.send(1, &protocol.BasicCancel{ConsumerTag: "c"}, &protocol.BasicConsume{Queue: "q", ConsumerTag: "c"})
		synctest.Wait()
		k.setHold(false)
		receive[*protocol.BasicCancel](p, 1)
		receive[*protocol.BasicCancelOk](p, 1)
		receive[*protocol.BasicConsumeOk](p, 1)
		p.delivered(1, 2, true)
		p.send(1, &protocol.BasicAck{DeliveryTag: 1})
		k.wantQueue("acknowledged too late", 0, 1, 1)
		p.send(1, &protocol.BasicAck{DeliveryTag: 2})
		k.wantQueue("acknowledged", 0, 0, 1)
		p.bye()
	})
}

// TestOverdueClosesChannel: so it does where the client would not understand a cancel, and for what has no consumer.
func TestOverdueClosesChannel(t *testing.T) {
	const text = "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 1000 ms. " +
		"This timeout value can be configured, see consumers doc guide to learn more"
	for _, c := range []string{"no cancel", "get", "cancelled"} {
		inBubble(t, func(t *testing.T, k *cluster) {
			p := k.connect()
			var properties wire.Table
			if c != "no cancel" {
				properties = allCapabilities
			}
			p.loginAs(properties, &protocol.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131072})
			p.open(1)
			k.impatient(p, 1)
			if c == "get" {
				call[*protocol.BasicGetOk](p, 1, &protocol.BasicGet{Queue: "q"})
				p.content(1)
			} else {
				call[*protocol.BasicConsumeOk](p, 1, &protocol.BasicConsume{Queue: "q", ConsumerTag: "c"})
				p.delivered(1, 1, false)
			}
			if c == "cancelled" {
				call[*protocol.BasicCancelOk](p, 1, &protocol.BasicCancel{ConsumerTag: "c"})
			}
			k.pass(1200)
			p.fails(1, protocol.PreconditionFailed, text, 0)
			k.wantQueue(c, 1, 0, 0)
			p.open(1)
			call[*protocol.BasicGetOk](p, 1, &protocol.BasicGet{Queue: "q"})
			p.content(1)
			p.send(1, &protocol.BasicAck{DeliveryTag: 1})
			k.wantQueue(c+", on the next channel", 0, 0, 0)
			p.bye()
		})
	}
}

// TestOverdueInTransaction: a transaction that settles what another client may have by now is refused, and nothing of it is done.
func TestOverdueInTransaction(t *testing.T) {
	inBubble(t, func(t *testing.T, k *cluster) {
		p := k.connect().login().open(1)
		k.impatient(p, 1)
		call[*protocol.TxSelectOk](p, 1, &protocol.TxSelect{})
		call[*protocol.BasicConsumeOk](p, 1, &protocol.BasicConsume{Queue: "q", ConsumerTag: "c"})
		p.delivered(1, 1, false)
		p.send(1, &protocol.BasicAck{DeliveryTag: 1})
		p.publish(1, "", "q", "outcome")
		p.flush()
		synctest.Wait()
		k.pass(1200)
		receive[*protocol.BasicCancel](p, 1)
		p.send(1, &protocol.TxCommit{})
		p.fails(1, protocol.PreconditionFailed, "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out: "+
			"the transaction settles a delivery that was taken back", protocol.IDTxCommit)
		k.wantQueue("refused", 1, 0, 0)
		p.bye()
	})
}
