package session

import (
	"time"

	"warren/protocol"
)

// confirms counts the publishes of a channel in confirm mode. They are numbered
// from 1 behind confirm.select (https://www.rabbitmq.com/docs/confirms).
type confirms struct {
	on     bool
	before uint64              // publishes sent before confirm.select
	done   uint64              // all up to this number are applied
	told   uint64              // all up to this number are confirmed to the client
	early  map[uint64]struct{} // applied, but not one before: confirmed one by one

	timed uint64    // the publish that is being timed; none is when it is done
	since time.Time // when it came
}

// time begins to time the publish that has come last, unless another one is being timed. Times are those of
// turns of the loop, so that nobody has to ask for them.
func (ch *channel) time() {
	f := &ch.confirms
	last := ch.sent - f.before
	if f.on && last > f.done && f.timed <= f.done {
		f.timed, f.since = last, ch.c.span.now
	}
}

// timedUntil ends it when the publish is confirmed.
func (ch *channel) timedUntil(last uint64) {
	f := &ch.confirms
	if f.timed <= f.done || last < f.timed || ch.c.cfg.OnConfirm == nil {
		return
	}
	ch.c.cfg.OnConfirm(ch.c.span.now.Sub(f.since))
	f.timed = 0
}

func (ch *channel) confirmMethod(m protocol.Method) error {
	s, ok := m.(*protocol.ConfirmSelect)
	if !ok {
		return unimplemented(m)
	}
	if ch.tx != nil {
		return preconditionFailed(m.ID(), "cannot switch from tx to confirm mode")
	}
	if !ch.confirms.on {
		ch.confirms = confirms{on: true, before: ch.sent}
	}
	ch.reply(s.NoWait, &protocol.ConfirmSelectOk{})
	return nil
}

// published takes the results of count publishes that succeeded.
func (ch *channel) published(t token, count uint64) {
	f := &ch.confirms
	if !f.on || !ch.open {
		return
	}
	first := t.publish(ch.sent)
	last := first + count - 1
	if last <= f.before {
		return // sent before confirm.select
	}
	first, last = max(first, f.before+1)-f.before, last-f.before
	ch.count(CountConfirmed, last-first+1)
	ch.timedUntil(last)
	ch.touch()
	if first <= f.done+1 {
		f.done = max(f.done, last)
		f.skipEarly()
		return
	}
	// Results come in the order of the publishes, so this does not happen unless the
	// cluster gave up the node in between. A confirm may name a single publish too.
	if f.early == nil {
		f.early = make(map[uint64]struct{})
	}
	for n := first; n <= last; n++ {
		f.early[n] = struct{}{}
		ch.c.out.Ack(ch.number, n, false)
	}
}

// rejected takes the result of a publish that a full queue refused: the client gets a
// basic.nack, if it wants to know (https://www.rabbitmq.com/docs/maxlength).
func (ch *channel) rejected(t token) {
	f := &ch.confirms
	n := t.publish(ch.sent)
	if !f.on || !ch.open || n <= f.before {
		return
	}
	n -= f.before
	ch.flushConfirms() // what came before is confirmed before
	ch.c.out.Nack(ch.number, n, false)
	if n != f.done+1 {
		if f.early == nil {
			f.early = make(map[uint64]struct{})
		}
		f.early[n] = struct{}{}
		return
	}
	f.done, f.told = n, n
	f.skipEarly()
}

// skipEarly moves done over those that were applied early.
func (f *confirms) skipEarly() {
	for len(f.early) > 0 {
		if _, ok := f.early[f.done+1]; !ok {
			return
		}
		f.done++
		delete(f.early, f.done)
	}
}

// flushConfirms confirms what was gathered, with one method.
func (ch *channel) flushConfirms() {
	f := &ch.confirms
	if f.done == f.told || !ch.open {
		return
	}
	ch.c.out.Ack(ch.number, f.done, f.done-f.told > 1)
	f.told = f.done
}

// unconfirmed is the number of publishes that await their confirm.
func (ch *channel) unconfirmed() int {
	f := &ch.confirms
	if !f.on {
		return 0
	}
	return int(ch.sent-f.before-f.done) - len(f.early)
}
