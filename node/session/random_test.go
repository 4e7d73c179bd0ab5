package session

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"warren/protocol"
)

// actor is a client that does things at random on one channel.
type actor struct {
	*peer
	r       *rand.Rand
	unacked map[uint64]string // body by delivery tag
	tx      bool
	inTx    []string // published in the open transaction
	ackedTx map[uint64]string
}

// ledger is what must be true of the queue in the end.
type ledger struct {
	published map[string]bool
	acked     map[string]bool
}

func (a *actor) open() {
	a.peer.open(1)
	a.unacked, a.ackedTx, a.inTx = map[uint64]string{}, map[uint64]string{}, nil
	if a.tx {
		call[*protocol.TxSelectOk](a.peer, 1, &protocol.TxSelect{})
	}
	if n := a.r.IntN(8); n > 0 {
		call[*protocol.BasicQosOk](a.peer, 1, &protocol.BasicQos{PrefetchCount: uint16(n)})
	}
	a.send(1, &protocol.BasicConsume{Queue: "q", NoWait: true})
}

// take notes the deliveries that have come.
func (a *actor) take(answers map[string]int) {
	synctest.Wait()
	for {
		select {
		case f := <-a.frames:
			if f.Type == protocol.FrameHeartbeat {
				continue
			}
			m, err := protocol.ParseMethod(f.Payload)
			if err != nil {
				a.t.Fatal(err)
			}
			switch m := m.(type) {
			case *protocol.BasicDeliver:
				_, body := a.content(1)
				a.unacked[m.DeliveryTag] = body
			case *protocol.ChannelClose, *protocol.ConnectionClose:
				a.t.Fatalf("%T %+v", m, m)
			default:
				answers[m.ID().String()]++
			}
		default:
			return
		}
	}
}

// act does one thing.
func (a *actor) act(l *ledger, n int) {
	answers := map[string]int{}
	a.take(answers)
	var tag uint64
	for t := range a.unacked {
		if tag == 0 || t < tag {
			tag = t
		}
	}
	if a.r.IntN(2) == 0 { // not always the first
		for t := range a.unacked {
			tag = t
			break
		}
	}
	switch what := a.r.IntN(20); {
	case what < 8:
		body := fmt.Sprint("message ", n)
		a.publish(1, "", "q", body)
		a.flush()
		if a.tx {
			a.inTx = append(a.inTx, body)
		} else {
			l.published[body] = true
		}
	case what < 12 && tag != 0:
		multiple := a.r.IntN(3) == 0
		a.send(1, &protocol.BasicAck{DeliveryTag: tag, Multiple: multiple})
		for t, body := range a.unacked {
			if t == tag || multiple && t < tag {
				delete(a.unacked, t)
				a.settled(l, t, body)
			}
		}
	case what < 14 && tag != 0 && !a.tx:
		multiple := a.r.IntN(3) == 0
		a.send(1, &protocol.BasicNack{DeliveryTag: tag, Multiple: multiple, Requeue: true})
		for t := range a.unacked {
			if t == tag || multiple && t < tag {
				delete(a.unacked, t)
			}
		}
	case what == 14:
		a.send(1, &protocol.BasicRecover{Requeue: true})
		// All that was delivered is forgotten. What comes before recover-ok was taken back
		// too, unless the transaction has settled something: see recoverOutsideTx.
		clear(a.unacked)
		for {
			f := a.frame()
			m, err := protocol.ParseMethod(f.Payload)
			if err != nil {
				a.t.Fatal(err)
			}
			if _, ok := m.(*protocol.BasicRecoverOk); ok {
				break
			}
			if d, ok := m.(*protocol.BasicDeliver); ok {
				_, body := a.content(1)
				if len(a.ackedTx) > 0 {
					a.unacked[d.DeliveryTag] = body
				}
			}
		}
	case what == 15:
		a.send(1, &protocol.ChannelClose{ReplyCode: 200})
		for answers["channel.close-ok"] == 0 {
			a.take(answers)
		}
		a.open()
	case what == 16 && a.tx:
		a.send(1, &protocol.TxRollback{})
		for t, body := range a.ackedTx {
			a.unacked[t] = body
		}
		clear(a.ackedTx)
		a.inTx = nil
	case what > 16 && a.tx:
		a.send(1, &protocol.TxCommit{})
		for answers["tx.commit-ok"] == 0 {
			a.take(answers)
		}
		for _, body := range a.inTx {
			l.published[body] = true
		}
		for _, body := range a.ackedTx {
			a.ack(l, body)
		}
		clear(a.ackedTx)
		a.inTx = nil
	}
}

func (a *actor) settled(l *ledger, tag uint64, body string) {
	if a.tx {
		a.ackedTx[tag] = body
		return
	}
	a.ack(l, body)
}

func (a *actor) ack(l *ledger, body string) {
	if l.acked[body] {
		a.t.Fatalf("%q was acknowledged twice", body)
	}
	l.acked[body] = true
}

// Clients that publish, settle, recover, roll back, and close at random lose no
// message and get none twice once it is acknowledged.
func TestRandomClients(t *testing.T) {
	for seed := range uint64(20) {
		inBubble(t, func(t *testing.T, k *cluster) {
			r := rand.New(rand.NewPCG(seed, 7))
			l := &ledger{published: map[string]bool{}, acked: map[string]bool{}}
			var actors []*actor
			for i := range 3 {
				a := &actor{peer: k.connect().login(), r: r, tx: i == 2}
				if i == 0 {
					a.peer.open(9)
					a.declare(9, "q")
				}
				a.open()
				actors = append(actors, a)
			}
			for n := range 400 {
				if n%50 == 49 { // one hangs up
					i := r.IntN(3)
					synctest.Wait() // what it published without confirms is taken
					_ = actors[i].hangUp()
					actors[i].peer = k.connect().login()
					actors[i].open()
				}
				actors[r.IntN(3)].act(l, n)
			}
			synctest.Wait()
			for _, a := range actors {
				_ = a.hangUp()
			}
			if err := l.check(k); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
		})
	}
}

// check compares the ledger with what is left in the queue.
func (l *ledger) check(k *cluster) error {
	synctest.Wait()
	if q := k.queue("q"); q.Unacked != 0 || q.Consumers != 0 {
		return fmt.Errorf("left behind: %+v", q)
	}
	p := k.connect().login().open(1)
	defer p.bye()
	left := map[string]bool{}
	p.send(1, &protocol.BasicConsume{Queue: "q", NoAck: true, NoWait: true})
	a := &actor{peer: p, unacked: map[uint64]string{}}
	a.take(map[string]int{})
	for _, body := range a.unacked {
		left[body] = true
	}
	if len(left) != len(a.unacked) {
		return errors.New("a message is twice in the queue")
	}
	for body := range left {
		if !l.published[body] || l.acked[body] {
			return fmt.Errorf("%q is in the queue: published %v, acknowledged %v", body, l.published[body], l.acked[body])
		}
	}
	if len(left)+len(l.acked) != len(l.published) {
		return fmt.Errorf("%d published, %d acknowledged, %d left", len(l.published), len(l.acked), len(left))
	}
	return nil
}
