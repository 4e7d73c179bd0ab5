package session

import (
	"warren/fsm/command"
	"warren/protocol"
)

// gathered is a range of deliveries that the client has settled alike and that
// the machine does not know of yet.
type gathered struct {
	from, to uint64 // ordinals
	outcome  command.Outcome
	any      bool
}

// settleFrame is basic.ack, basic.nack or basic.reject.
func (ch *channel) settleFrame(payload []byte) error {
	v := &ch.c.acking
	if err := v.Parse(payload); err != nil {
		return err
	}
	outcome := command.Ack
	switch {
	case v.ID == protocol.IDBasicAck:
	case v.Requeue && v.ID == protocol.IDBasicNack && ch.c.cfg.KnowsReturns():
		outcome = command.Return
	case v.Requeue:
		outcome = command.Requeue
	default:
		outcome = command.Reject
	}
	if v.Multiple {
		return ch.settleTo(v.ID, v.DeliveryTag, outcome)
	}
	u, ok := ch.unacked.take(v.DeliveryTag)
	if !ok {
		return unknownTag(v.ID, v.DeliveryTag)
	}
	if outcome == command.Ack {
		ch.count(CountAcked, 1)
	}
	if ch.tx != nil {
		ch.tx.settled = append(ch.tx.settled, u)
	}
	ch.gather(u.ordinal, u.ordinal, outcome)
	return nil
}

// settleTo settles all deliveries up to a tag; 0 means all.
func (ch *channel) settleTo(id protocol.ID, tag uint64, outcome command.Outcome) error {
	live := ch.unacked.len()
	taken, ok := ch.unacked.takeTo(tag)
	if !ok {
		return unknownTag(id, tag)
	}
	if len(taken) == 0 {
		return nil
	}
	if outcome == command.Ack {
		ch.count(CountAcked, uint64(live-ch.unacked.len()))
	}
	if ch.tx != nil {
		for _, u := range taken {
			if !u.settled {
				ch.tx.settled = append(ch.tx.settled, u)
			}
		}
	}
	// The range covers the holes too: they were settled before, so it passes them over.
	ch.gather(taken[0].ordinal, taken[len(taken)-1].ordinal, outcome)
	return nil
}

// gather adds a range to the gathered one, if they are neighbours, or makes it the
// gathered one.
func (ch *channel) gather(from, to uint64, outcome command.Outcome) {
	g := &ch.gathered
	switch {
	case !g.any || g.outcome != outcome:
	case from <= g.to+1 && to+1 >= g.from:
		g.from, g.to = min(g.from, from), max(g.to, to)
		return
	}
	ch.flushSettles()
	if !ch.open {
		return
	}
	*g = gathered{from: from, to: to, outcome: outcome, any: true}
	ch.touch()
}

// flushSettles proposes what was gathered, or adds it to the open transaction. It
// comes before any other command of the channel, but for publishes when it is an
// ack: nobody can tell which of the two came first. An ack has time when no message waited
// behind the newest delivery: for a next one to go out at once there is no need of it.
func (ch *channel) flushSettles() {
	g := ch.gathered
	if !g.any || !ch.open {
		return
	}
	ch.gathered = gathered{}
	cmd := &ch.c.settle
	*cmd = command.Settle{Channel: ch.name(), From: g.from, To: g.to, Outcome: g.outcome}
	if ch.tx != nil {
		ch.buffer(cmd)
		return
	}
	if len(ch.consumers) > 0 || ch.unacked.len() > 0 {
		if g.outcome == command.Ack && !ch.more {
			ch.c.cfg.Proposer.Patiently(cmd)
		} else {
			ch.c.cfg.Proposer.Propose(cmd, nil, 0)
		}
		return
	}
	// Nothing else is left by which epochLost could tell that something was lost.
	ch.settling++
	ch.c.cfg.Proposer.Propose(cmd, ch.c.s, uint64(newToken(ch.number, ch.incarnation, forMethod, settleOnly)))
}

// settled takes the result of a settle after which nothing was left. One that is lost is
// for epochLost, which follows it.
func (ch *channel) settled(r *command.Result) {
	if !r.Lost || r.Applied {
		ch.settling--
	}
}
