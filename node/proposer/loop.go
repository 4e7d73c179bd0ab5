package proposer

import (
	"slices"
	"time"

	"warren/fsm/command"
)

// loop sends what nobody else did.
func (p *Proposer) loop() {
	defer close(p.done)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-p.wake:
		case <-tick.C:
			p.watch()
		}
		p.unsent.Store(true)
		p.Send()
	}
}

// Send puts on its way what was proposed, as far as it may go now. It does not wait: while another
// goroutine sends, that one looks again before it ends.
func (p *Proposer) Send() {
	for p.unsent.Load() && p.sending.TryLock() {
		p.unsent.Store(false)
		p.send()
		p.sending.Unlock()
	}
}

// send puts on its way all that may go now. Called with sending held, so that batches go in order.
func (p *Proposer) send() {
	if p.closing.Load() {
		return
	}
	for {
		buf, round := p.take()
		if buf == nil {
			return
		}
		p.cfg.Submit(buf, func(ok bool) { p.answered(ok, round) })
	}
}

// take returns the next bytes to submit and the round that they belong to.
func (p *Proposer) take() ([]byte, uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.leader {
		return nil, 0
	}
	if p.resend {
		if time.Now().Before(p.notUntil) {
			return nil, 0
		}
		p.resend = false
		p.round++
		for _, b := range p.flight {
			b.sent = false
		}
		p.progress = time.Now()
	}
	if p.epoch == 0 {
		if p.opening {
			return nil, 0
		}
		p.opening = true
		p.progress = time.Now()
		open := command.EpochOpen{Node: p.cfg.NodeID, Name: p.cfg.NodeName, Nonce: p.nonce}
		return command.AppendToBatch(command.NewBatch(nil, 0, 0), &open), p.round
	}
	for _, b := range p.flight {
		if !b.sent {
			// What was handed over once may be in the log of this very node.
			b.buf = slices.Clone(b.buf)
			b.sent = true
			return b.buf, p.round
		}
	}
	b := p.nextBatch()
	if b == nil {
		return nil, 0
	}
	b.sequence = p.next
	p.next++
	command.SetSequence(b.buf, p.epoch, b.sequence)
	if !b.urgent {
		command.Patient(b.buf)
	}
	b.sent = true
	b.proposed = time.Now()
	if len(p.flight) == 0 {
		p.progress = b.proposed
	}
	p.flight = append(p.flight, b)
	return b.buf, p.round
}

// nextBatch takes the next batch to go when the window has room.
func (p *Proposer) nextBatch() *batch {
	if len(p.flight) >= p.cfg.Window {
		return nil
	}
	if len(p.closed) > 0 {
		b := p.closed[0]
		p.closed = p.closed[1:]
		return b
	}
	if len(p.open.waiters) == 0 {
		return nil
	}
	b := p.open
	p.open = p.newBatch(len(b.buf))
	return b
}

// answered takes the word of Submit on one batch. An answer to an earlier round
// says nothing about the present one.
func (p *Proposer) answered(ok bool, round uint64) {
	if ok {
		return
	}
	p.mu.Lock()
	if round == p.round {
		p.askResend()
	}
	p.mu.Unlock()
	p.signal()
}

// watch looks for silence: it proposes again what a leader left lying, and says when
// the cluster stands still and when it goes on. It also lets on who waits for room.
func (p *Proposer) watch() {
	p.mu.Lock()
	p.nextTurns()
	silent := time.Duration(0)
	if len(p.flight) > 0 || p.epoch == 0 {
		silent = time.Since(p.progress)
	}
	if p.leader && silent > silence {
		p.progress = time.Now()
		p.askResend()
	}
	leaderless := time.Duration(0)
	if !p.leader {
		leaderless = time.Since(p.leaderLost)
	}
	stalled := leaderless > p.cfg.StallAfter || p.stalled && !p.leader || silent > 3*p.cfg.StallAfter
	changed := stalled != p.stalled
	p.stalled = stalled
	p.mu.Unlock()
	if changed {
		p.cfg.OnStall(stalled)
	}
}
