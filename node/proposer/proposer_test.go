package proposer

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"warren/fsm/command"
)

// fakeLog applies batches as the state machine does with their sequences, after
// a while, and loses some of them as a cluster that changes its leader would.
type fakeLog struct {
	t *testing.T
	p *Proposer

	mu       sync.Mutex
	rng      *rand.Rand
	queue    chan func()
	epoch    uint64
	sequence uint64
	index    uint64
	lose     float64         // chance that a batch is refused
	forget   float64         // chance that a batch is lost though it was taken
	applied  []uint64        // first payload number of each applied publish
	inFlight int             // submitted, not answered
	most     int             // of inFlight
	patient  int             // batches that may wait
	seen     map[string]bool // guards against a publish applied twice
}

func newFakeLog(t *testing.T, seed uint64) *fakeLog {
	l := &fakeLog{t: t, rng: rand.New(rand.NewPCG(seed, 1)), queue: make(chan func(), 1024), seen: map[string]bool{}}
	return l
}

func (l *fakeLog) run(stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case f := <-l.queue:
			time.Sleep(time.Millisecond) // bubble time
			f()
		}
	}
}

func (l *fakeLog) submit(batch []byte, done func(bool)) {
	copied := append([]byte(nil), batch...)
	l.mu.Lock()
	l.inFlight++
	if command.IsPatient(copied) {
		l.patient++
	}
	l.most = max(l.most, l.inFlight)
	lost, forgotten := l.rng.Float64() < l.lose, l.rng.Float64() < l.forget
	l.mu.Unlock()
	l.queue <- func() {
		l.mu.Lock()
		l.inFlight--
		l.mu.Unlock()
		switch {
		case lost:
			done(false)
		case forgotten:
			l.apply(copied)
			done(false)
		default:
			l.apply(copied)
			done(true)
		}
	}
}

// apply is called from one goroutine, like the real log's.
func (l *fakeLog) apply(batch []byte) {
	h, rest, err := command.ReadHeader(batch)
	if err != nil {
		l.t.Error(err)
		return
	}
	l.index++
	kind, payload, _, err := command.Next(rest)
	if err != nil {
		l.t.Error(err)
		return
	}
	if kind == command.KindEpochOpen {
		var open command.EpochOpen
		if err := command.Decode(payload, &open); err != nil {
			l.t.Error(err)
		}
		l.mu.Lock()
		l.epoch, l.sequence = l.index, 0
		l.mu.Unlock()
		l.p.EpochOpened(l.index, open.Nonce)
		return
	}
	l.mu.Lock()
	verdict := "applied"
	switch {
	case h.Epoch != l.epoch:
		verdict = "fenced"
	case h.Sequence <= l.sequence:
		verdict = "repeat"
	case h.Sequence > l.sequence+1:
		verdict = "gap"
	default:
		l.sequence++
	}
	l.mu.Unlock()
	if verdict == "gap" {
		l.p.Refused(h.Epoch)
	}
	if verdict != "applied" {
		return
	}
	waiters := l.p.Applied(h.Epoch, h.Sequence)
	if len(waiters) != h.Count {
		l.t.Errorf("batch %d has %d commands and %d waiters", h.Sequence, h.Count, len(waiters))
		return
	}
	for i := 0; len(rest) > 0; i++ {
		kind, payload, rest, err = command.Next(rest)
		if err != nil {
			l.t.Error(err)
			return
		}
		if kind == command.KindPublish {
			var m command.Publish
			if err := command.Decode(payload, &m); err != nil {
				l.t.Error(err)
			}
			l.mu.Lock()
			if l.seen[string(m.Body)] {
				l.t.Errorf("publish %x applied twice", m.Body)
			}
			l.seen[string(m.Body)] = true
			l.applied = append(l.applied, binary.BigEndian.Uint64(m.Body))
			l.mu.Unlock()
		}
		if waiters[i].To != nil {
			waiters[i].To.Result(waiters[i].Token, &command.Result{Kind: kind})
		}
	}
}

// receiver notes the tokens that were answered.
type receiver struct {
	mu     sync.Mutex
	tokens []uint64
	lost   int
	unsure int // of both
	unseen int // applied, answer skipped

	refused *command.Error // the last
}

func (r *receiver) Result(token uint64, res *command.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case res.Applied:
		r.unseen++
		if res.Unsure {
			r.unsure++
		}
	case res.Lost:
		r.lost++
		if res.Unsure {
			r.unsure++
		}
	}
	if res.Err != nil {
		r.refused = res.Err
	}
	r.tokens = append(r.tokens, token)
}
func (r *receiver) Effect(*command.Effect)      {}
func (r *receiver) EpochLost()                  {}
func (r *receiver) Restored(*command.ConnState) {}

func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.tokens)
}

func publish(p *Proposer, r *receiver, n uint64) {
	body := binary.BigEndian.AppendUint64(nil, n)
	p.Propose(&command.Publish{VHost: []byte("/"), Exchange: nil, Key: []byte("q"), Body: body}, r, n)
	p.Send()
}

func bubble(t *testing.T, seed uint64, cfg Config, f func(l *fakeLog, p *Proposer, r *receiver)) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog(t, seed)
		cfg.NodeID, cfg.NodeName, cfg.Submit = "n1", "n1", l.submit
		l.p = New(cfg)
		stop := make(chan struct{})
		go l.run(stop)
		f(l, l.p, &receiver{})
		l.p.Close()
		close(stop)
	})
}

// Every command is applied once, in order, whatever is refused or forgotten.
func TestAppliedOnceInOrder(t *testing.T) {
	for seed := uint64(1); seed <= 30; seed++ {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			bubble(t, seed, Config{MaxBatch: 400}, func(l *fakeLog, p *Proposer, r *receiver) {
				const total = 500
				l.lose, l.forget = 0.1, 0.1
				p.LeaderChanged(true)
				for n := uint64(0); n < total; n++ {
					publish(p, r, n)
					if n%7 == 0 {
						time.Sleep(time.Millisecond)
					}
					if n%100 == 50 { // an election
						p.LeaderChanged(false)
						time.Sleep(20 * time.Millisecond)
						p.LeaderChanged(true)
					}
				}
				for r.count() < total {
					time.Sleep(10 * time.Millisecond)
				}
				l.mu.Lock()
				defer l.mu.Unlock()
				for i, n := range l.applied {
					if n != uint64(i) || r.tokens[i] != uint64(i) {
						t.Fatalf("position %d: applied %d, answered %d", i, n, r.tokens[i])
					}
				}
				if len(l.applied) != total {
					t.Fatalf("applied %d of %d", len(l.applied), total)
				}
			})
		})
	}
}

// Few batches are under way however much is proposed, and they are large.
func TestWindowAndBatching(t *testing.T) {
	bubble(t, 1, Config{Window: 3}, func(l *fakeLog, p *Proposer, r *receiver) {
		p.LeaderChanged(true)
		const total = 5000
		for n := uint64(0); n < total; n++ {
			publish(p, r, n)
		}
		for r.count() < total {
			time.Sleep(time.Millisecond)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.most > 3 {
			t.Errorf("%d batches under way, the window is 3", l.most)
		}
		if l.sequence > total/10 {
			t.Errorf("%d commands went in %d batches", total, l.sequence)
		}
	})
}

// When the epoch is removed, what stands alone goes again in the next one and
// what does not is answered as lost.
func TestEpochRemoved(t *testing.T) {
	bubble(t, 1, Config{}, func(l *fakeLog, p *Proposer, r *receiver) {
		p.LeaderChanged(true)
		<-p.Opened()
		first := p.Epoch()
		p.LeaderChanged(false)
		for n := uint64(0); n < 10; n++ {
			publish(p, r, n)
			p.Propose(&command.Settle{Channel: command.Channel{Conn: 1, Number: 1}, From: n, To: n}, r, 100+n)
		}
		p.Propose(&command.QueueDeclare{VHost: "/", Name: "x", Exclusive: true}, r, 200)
		p.Propose(&command.QueueDeclare{VHost: "/", Name: "y"}, r, 201)
		// Connections that a limit counts come and go in pairs.
		p.Propose(&command.ConnectionOpen{Conn: 2, VHost: "/", User: "u"}, r, 202)
		p.Propose(&command.ChannelOpen{Channel: command.Channel{Conn: 2, Number: 1}}, r, 203)
		p.Propose(&command.ChannelClose{Channel: command.Channel{Conn: 2, Number: 1}}, r, 204)
		p.Propose(&command.ConnectionClose{Conn: 2}, r, 205)
		p.Send()
		l.mu.Lock()
		l.epoch = 0 // the machine has removed it
		l.mu.Unlock()
		if !p.EpochRemoved(first, 0, 0, true) {
			t.Fatal("the present epoch was not recognised")
		}
		if p.EpochRemoved(first, 0, 0, true) {
			t.Fatal("an old epoch was taken for the present one")
		}
		if r.lost != 11 {
			t.Fatalf("%d commands lost, want the 10 settles and the exclusive queue", r.lost)
		}
		p.LeaderChanged(true)
		for r.count() < 10+10+6 {
			time.Sleep(time.Millisecond)
		}
		if p.Epoch() == first {
			t.Error("still the old epoch")
		}
		if len(l.applied) != 10 {
			t.Errorf("%d publishes applied, want 10", len(l.applied))
		}
	})
}

// When a snapshot skipped the end of the epoch and tells how far it had come, what was applied before is answered so, and
// the rest goes again, whether it was under way or not.
func TestEpochRemovedUnseenButKnown(t *testing.T) {
	bubble(t, 1, Config{MaxBatch: 1, Window: 3}, func(l *fakeLog, p *Proposer, r *receiver) {
		p.LeaderChanged(true)
		<-p.Opened()
		first := p.Epoch()
		l.mu.Lock()
		l.lose = 1
		l.mu.Unlock()
		for n := uint64(0); n < 5; n++ {
			publish(p, r, n)
		}
		time.Sleep(5 * time.Millisecond)
		l.mu.Lock()
		l.lose, l.epoch = 0, 0
		l.mu.Unlock()
		if !p.EpochRemoved(first, 2, 1, true) {
			t.Fatal("the present epoch was not recognised")
		}
		if r.lost != 0 || r.unseen != 2 || r.unsure != 1 {
			t.Errorf("%d commands lost, %d unsure, %d applied unseen, want the first two of the three under way applied, and of them the first unsure", r.lost, r.unsure, r.unseen)
		}
		for r.count() < 5 {
			time.Sleep(time.Millisecond)
		}
		if want := []uint64{2, 3, 4}; !slices.Equal(l.applied, want) {
			t.Errorf("applied %v, want %v", l.applied, want)
		}
		if p.pending != 0 {
			t.Errorf("%d bytes pending at rest", p.pending)
		}
	})
}

// When nobody knows how far the epoch had come, what was under way may have been applied before: it does not go again.
// What was not proposed yet does.
func TestEpochRemovedUnseen(t *testing.T) {
	bubble(t, 1, Config{MaxBatch: 1, Window: 2}, func(l *fakeLog, p *Proposer, r *receiver) {
		p.LeaderChanged(true)
		<-p.Opened()
		first := p.Epoch()
		l.mu.Lock()
		l.lose = 1 // applied, as far as anybody knows
		l.mu.Unlock()
		for n := uint64(0); n < 5; n++ {
			publish(p, r, n)
		}
		time.Sleep(5 * time.Millisecond)
		l.mu.Lock()
		l.lose, l.epoch = 0, 0
		l.mu.Unlock()
		if !p.EpochRemoved(first, 0, 0, false) {
			t.Fatal("the present epoch was not recognised")
		}
		if r.lost != 2 || r.unsure != 2 {
			t.Errorf("%d commands lost, %d of them unsure, want the two that were under way", r.lost, r.unsure)
		}
		for r.count() < 5 {
			time.Sleep(time.Millisecond)
		}
		if want := []uint64{2, 3, 4}; !slices.Equal(l.applied, want) {
			t.Errorf("applied %v, want %v", l.applied, want)
		}
	})
}

// A snapshot that covers batches under way answers them as applied unseen.
func TestRestored(t *testing.T) {
	bubble(t, 1, Config{MaxBatch: 1}, func(l *fakeLog, p *Proposer, r *receiver) {
		p.LeaderChanged(true)
		<-p.Opened()
		l.mu.Lock()
		l.lose = 1
		l.mu.Unlock()
		for n := uint64(0); n < 3; n++ {
			publish(p, r, n)
		}
		time.Sleep(5 * time.Millisecond)
		p.Restored(2, 1)
		if r.unseen != 2 || r.unsure != 1 {
			t.Fatalf("%d answered as applied unseen, %d of them as unsure, want 2 and 1", r.unseen, r.unsure)
		}
		l.mu.Lock()
		l.lose, l.sequence = 0, 2
		l.mu.Unlock()
		for r.count() < 3 {
			time.Sleep(time.Millisecond)
		}
		if len(l.applied) != 1 || l.applied[0] != 2 {
			t.Errorf("applied %v, want the third publish only", l.applied)
		}
	})
}

// A command that no entry can take is refused at once, and those around it go on.
func TestTooLargeIsRefused(t *testing.T) {
	bubble(t, 1, Config{MaxCommand: 1000}, func(l *fakeLog, p *Proposer, r *receiver) {
		large := func(token uint64) {
			p.Propose(&command.Publish{VHost: []byte("/"), Key: []byte("q"), Body: make([]byte, 1000)}, r, token)
			p.Send()
		}
		publish(p, r, 0)
		pending := p.pending
		large(7)
		if len(r.tokens) != 1 || r.tokens[0] != 7 || r.refused == nil || r.refused.Code != 406 {
			t.Fatalf("answered %v with %v, want an immediate 406 for 7", r.tokens, r.refused)
		}
		if p.pending != pending {
			t.Errorf("%d bytes pending, were %d", p.pending, pending)
		}
		p.LeaderChanged(true)
		publish(p, r, 1)
		for r.count() < 3 {
			time.Sleep(time.Millisecond)
		}
		if fmt.Sprint(l.applied) != "[0 1]" {
			t.Errorf("applied %v, want 0 and 1", l.applied)
		}
		p.Propose(&command.Publish{Body: make([]byte, 1000)}, nil, 0) // nobody waits
		p.Send()
	})
}

// Room closes above MaxPending and opens again.
func TestRoom(t *testing.T) {
	bubble(t, 1, Config{MaxPending: 1000}, func(l *fakeLog, p *Proposer, r *receiver) {
		n := uint64(0)
		for ; p.Room() == nil; n++ {
			if n > 1000 {
				t.Fatal("there is always room")
			}
			publish(p, r, n)
		}
		gone := p.Room()
		room := p.Room()
		p.Leave(gone)
		if len(p.waiting) != 2 { // the loop's and this
			t.Errorf("%d wait for room, want the two that have not left", len(p.waiting))
		}
		p.LeaderChanged(true)
		<-room
		for r.count() < int(n) {
			time.Sleep(time.Millisecond)
		}
		if p.pending != 0 {
			t.Errorf("%d bytes pending at rest", p.pending)
		}
	})
}

// No leader for a while is a stall; a leader ends it.
func TestStall(t *testing.T) {
	var mu sync.Mutex
	var told []bool
	cfg := Config{OnStall: func(s bool) { mu.Lock(); told = append(told, s); mu.Unlock() }}
	bubble(t, 1, cfg, func(l *fakeLog, p *Proposer, r *receiver) {
		p.LeaderChanged(true)
		<-p.Opened()
		p.LeaderChanged(false)
		time.Sleep(DefaultStallAfter / 2)
		p.LeaderChanged(true)
		time.Sleep(2 * DefaultStallAfter)
		mu.Lock()
		if len(told) != 0 {
			t.Errorf("a short election was told as %v", told)
		}
		mu.Unlock()
		p.LeaderChanged(false)
		time.Sleep(2 * DefaultStallAfter)
		p.LeaderChanged(true)
		time.Sleep(DefaultStallAfter)
		mu.Lock()
		defer mu.Unlock()
		if fmt.Sprint(told) != "[true false]" {
			t.Errorf("told %v", told)
		}
	})
}

// TestPatiently checks which batches may wait: those with nothing that somebody waits for.
func TestPatiently(t *testing.T) {
	bubble(t, 1, Config{Window: 1}, func(l *fakeLog, p *Proposer, r *receiver) {
		ack := &command.Settle{Channel: command.Channel{Conn: 1, Number: 1}, From: 1, To: 1, Outcome: command.Ack}
		send := func(propose ...func()) (patient int) {
			before := l.patient
			for _, f := range propose {
				f()
			}
			p.Send()
			time.Sleep(time.Second)
			return l.patient - before
		}
		patiently := func() { p.Patiently(ack) }
		urgently := func() { p.Propose(&command.QueueDelete{VHost: "/", Name: "q"}, r, 1) }
		p.LeaderChanged(true)
		time.Sleep(time.Second)
		for i, c := range []struct {
			propose []func()
			want    int
		}{
			{[]func(){urgently}, 0},
			{[]func(){patiently}, 1},
			{[]func(){patiently, patiently}, 1},
			{[]func(){patiently, urgently}, 0},
			{[]func(){urgently, patiently}, 0},
		} {
			if got := send(c.propose...); got != c.want {
				t.Errorf("case %d: %d batches may wait, want %d", i, got, c.want)
			}
		}
	})
}
