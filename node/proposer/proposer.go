// Package proposer turns the commands of all sessions of a node into batches, one
// log entry each, and sees to it that every batch is applied exactly once.
//
// There is no timer in the way of a command: an idle node proposes at once; while
// Window batches are on their way the open batch grows, and goes when one returns.
// That is the group commit.
//
// A batch carries the node's epoch and a sequence in it. The state machine
// applies the sequences of an epoch in order and passes repeats over, so the
// proposer need not know what became of a batch that was under way when a
// leader went: it proposes again, in order, all that it has not seen applied.
package proposer

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"warren/fsm/command"
)

// Defaults of Config. What is pending stands before whoever comes next, however
// little it has to say: with batches of 1 MiB and 16 MiB pending, a client that waits for
// each confirm waited 250 ms beside four that flood, with these 17 ms (three nodes
// on two cores), and the flood was as fast. Two windows are enough to keep one full.
const (
	DefaultWindow     = 4
	DefaultMaxBatch   = 256 << 10
	DefaultMaxPending = 2 * DefaultWindow * DefaultMaxBatch
	DefaultStallAfter = time.Second
)

const (
	// resendMin and resendMax bound the wait before batches that were refused
	// are proposed again to the same leader.
	resendMin = 10 * time.Millisecond
	resendMax = 500 * time.Millisecond
	// turn is the room, in bytes, for which one of those who wait for room is let
	// on: about what a session proposes before it asks again.
	turn = 32 << 10
	// minBatch is the least room that an open batch begins with, in bytes.
	minBatch = 512
	// silence is how long a leader may leave the oldest batch unapplied before it
	// is proposed again without any sign of failure: a net under the signs.
	silence = 5 * time.Second
)

// preconditionFailed is AMQP's reply code.
const preconditionFailed = 406

// Config is what a Proposer needs. Zero numbers mean the defaults.
type Config struct {
	NodeID, NodeName string

	// Submit puts a batch on its way to the log and returns at once. The bytes are
	// handed over: the stamp of their header may be written, and a state machine
	// keeps them for ever. Batches of
	// consecutive calls reach the leader in that order. done is called later, from
	// any goroutine: with false when the batch may not have got into the log.
	Submit func(batch []byte, done func(ok bool))

	// OnStall is called with true when there has been no leader for StallAfter, or
	// one under which nothing was applied for three times as long (there is no
	// quorum), and with false when it goes on.
	OnStall func(stalled bool)

	// OnCommit, if there is one, takes how long it took from the proposal of a batch to its
	// being applied on this node, but for one that may wait (Patiently). It must not block.
	OnCommit func(time.Duration)

	Window     int // batches under way at once
	MaxBatch   int // bytes at which the open batch is closed
	MaxCommand int // bytes of the largest command that is taken; default: no limit
	// Refuse says why commands of a kind must not be proposed now, nil that they may. It is called with
	// a lock held and must not block. Default: all may.
	Refuse     func(command.Kind) *command.Error
	MaxPending int // bytes not yet applied above which Room says wait
	StallAfter time.Duration
	Logger     *slog.Logger
}

// A Proposer is one per node. Its methods may be called from any goroutine, and
// those named Applied, EpochOpened, EpochRemoved and Restored only from the one
// that applies the log.
type Proposer struct {
	cfg  Config
	wake chan struct{} // capacity 1: there is something for the loop
	stop chan struct{}
	done chan struct{}

	sending sync.Mutex  // held around Submit; taken before mu
	unsent  atomic.Bool // there may be something for Send
	closing atomic.Bool

	mu      sync.Mutex
	epoch   uint64 // 0: none yet
	nonce   uint64 // of the epoch being opened
	opened  chan struct{}
	began   bool            // there was an epoch of this process
	next    uint64          // sequence of the next batch to go
	open    *batch          // takes commands
	closed  []*batch        // full, waiting for the window
	flight  []*batch        // proposed, not seen applied; by sequence
	pending int             // bytes of open, closed and flight
	waiting []chan struct{} // for room, in the order in which they came

	leader     bool      // one is known
	leaderLost time.Time // when it ceased to be
	opening    bool      // an EpochOpen is under way
	resend     bool      // the flight has to be proposed again
	round      uint64
	delay      time.Duration
	notUntil   time.Time // no resend before
	progress   time.Time // of the last apply or of the first batch of a new flight
	stalled    bool      // what OnStall was last told
}

type batch struct {
	buf      []byte
	sequence uint64
	sent     bool // in the present round
	urgent   bool // has a command that somebody may wait for
	proposed time.Time
	waiters  []command.Waiter
}

// commands are what stands behind the header, which a leader may be writing.
func (b *batch) commands() []byte { return b.buf[command.BatchHeader:] }

// New returns a running proposer that opens an epoch as soon as there is a leader.
func New(cfg Config) *Proposer {
	if cfg.Window == 0 {
		cfg.Window = DefaultWindow
	}
	if cfg.MaxBatch == 0 {
		cfg.MaxBatch = DefaultMaxBatch
	}
	if cfg.MaxPending == 0 {
		cfg.MaxPending = DefaultMaxPending
	}
	if cfg.StallAfter == 0 {
		cfg.StallAfter = DefaultStallAfter
	}
	if cfg.OnStall == nil {
		cfg.OnStall = func(bool) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	p := &Proposer{
		cfg:    cfg,
		wake:   make(chan struct{}, 1),
		stop:   make(chan struct{}),
		done:   make(chan struct{}),
		opened: make(chan struct{}),
		nonce:  newNonce(),
		delay:  resendMin,

		leaderLost: time.Now(),
		progress:   time.Now(),
	}
	p.open = p.newBatch(0)
	go p.loop()
	return p
}

// Close stops the proposer. Commands that were not applied get no result.
func (p *Proposer) Close() {
	close(p.stop)
	<-p.done
	p.sending.Lock() // whoever sends has done it
	p.closing.Store(true)
	p.sending.Unlock()
}

// newBatch returns an empty batch with room for as much as the last one took,
// as far as that is usual: a buffer that grows by doubling is copied all over again.
func (p *Proposer) newBatch(last int) *batch {
	room := min(last+last/4, p.cfg.MaxBatch+p.cfg.MaxBatch/8)
	return &batch{buf: command.NewBatch(make([]byte, 0, max(room, minBatch)), 0, 0)}
}

func newNonce() uint64 { return rand.Uint64() | 1 }

// Propose appends cmd to the open batch and returns; cmd may be reused at once. It goes with the
// next Send, which whoever proposes calls soon (else it goes within 50 ms). Its
// result goes to to.Result with the token, in the order of the proposals of this
// node. to is nil when nobody waits. A command of more than MaxCommand bytes, which no
// log would ever take, and one that Refuse does not let pass are refused at once, before Propose returns.
func (p *Proposer) Propose(cmd command.Command, to command.Receiver, token uint64) {
	p.propose(cmd, to, token, true)
}

// Patiently is Propose for a command that nobody waits for. A batch with nothing else waits at the
// leader, for a millisecond at most, for another to take the way through the log with.
func (p *Proposer) Patiently(cmd command.Command) { p.propose(cmd, nil, 0, false) }

func (p *Proposer) propose(cmd command.Command, to command.Receiver, token uint64, urgent bool) {
	p.mu.Lock()
	before := len(p.open.buf)
	buf := command.AppendCommand(p.open.buf, cmd)
	if err := p.refusal(cmd.Kind(), len(buf)-before); err != nil {
		p.mu.Unlock()
		if to != nil {
			to.Result(token, &command.Result{Kind: cmd.Kind(), Err: err})
		}
		return
	}
	p.open.buf = command.Counted(buf)
	p.open.waiters = append(p.open.waiters, command.Waiter{To: to, Token: token})
	p.pending += len(p.open.buf) - before
	p.open.urgent = p.open.urgent || urgent
	p.unsent.Store(true)
	full := p.closeFull()
	p.mu.Unlock()
	if full {
		p.signal()
	}
}

// refusal says why a command is not taken, nil that it is.
func (p *Proposer) refusal(k command.Kind, size int) *command.Error {
	if p.cfg.MaxCommand > 0 && size > p.cfg.MaxCommand {
		return tooLarge(size, p.cfg.MaxCommand)
	}
	if p.cfg.Refuse != nil {
		return p.cfg.Refuse(k)
	}
	return nil
}

func tooLarge(size, most int) *command.Error {
	return &command.Error{
		Code: preconditionFailed,
		Text: fmt.Sprintf("a command of %d bytes is larger than the maximum of %d bytes", size, most),
	}
}

// closeFull closes the open batch when it is large enough.
func (p *Proposer) closeFull() bool {
	full := len(p.open.buf) >= p.cfg.MaxBatch
	if full {
		p.closed = append(p.closed, p.open)
		p.open = p.newBatch(len(p.open.buf))
	}
	return full
}

func (p *Proposer) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Room returns nil when there is room for more. Otherwise it returns a channel that is
// closed when it is the caller's turn: then it may propose some 32 KiB, or one message
// that is larger, and asks again. Those who wait are served in the order in which they
// came, and who comes anew stands behind them, so that nobody starves beside the greedy.
func (p *Proposer) Room() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pending < p.cfg.MaxPending && len(p.waiting) == 0 {
		return nil
	}
	ready := make(chan struct{})
	p.waiting = append(p.waiting, ready)
	return ready
}

// Leave gives up a place among those who wait for room: what Room returned is not waited for.
func (p *Proposer) Leave(room <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = slices.DeleteFunc(p.waiting, func(w chan struct{}) bool { return w == room })
}

// nextTurns lets as many on as there is room for. It is called again as batches are
// applied and with each tick, as one that is let on need not have anything to propose.
func (p *Proposer) nextTurns() {
	room := p.cfg.MaxPending - p.pending
	n := 0
	for ; n < len(p.waiting) && room > 0; n++ {
		close(p.waiting[n])
		room -= turn
	}
	clear(p.waiting[:n])
	if p.waiting = p.waiting[n:]; len(p.waiting) == 0 {
		p.waiting = nil
	}
}

// Epoch is the node's present epoch, 0 while it has none.
func (p *Proposer) Epoch() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.epoch
}

// Began reports whether this process has had an epoch, be it lost by now. Its opening went
// through the log, so what stood there when the process started has been applied.
func (p *Proposer) Began() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.began
}

// Opened returns a channel that is closed while the node has an epoch. After
// the epoch was lost a new call gives the channel of the next one.
func (p *Proposer) Opened() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opened
}

// LeaderChanged says that the cluster has another leader, or (known false) none.
// All that was under way is proposed again to a new one.
func (p *Proposer) LeaderChanged(known bool) {
	p.mu.Lock()
	if p.leader && !known {
		p.leaderLost = time.Now()
	}
	p.leader = known
	p.opening = false
	p.resend = true
	p.delay = resendMin
	p.notUntil = time.Time{}
	p.mu.Unlock()
	p.signal()
}

// Applied says that the batch (epoch, sequence) was applied, and returns who waits
// for the results of its commands. It returns nil for a batch that is not ours.
func (p *Proposer) Applied(epoch, sequence uint64) []command.Waiter {
	p.mu.Lock()
	if epoch == 0 || epoch != p.epoch || len(p.flight) == 0 || p.flight[0].sequence != sequence {
		p.mu.Unlock()
		return nil
	}
	b := p.flight[0]
	p.flight = p.flight[1:]
	p.took(len(b.buf))
	p.progress = time.Now()
	p.delay = resendMin
	took := p.progress.Sub(b.proposed)
	more := len(p.closed) > 0 || len(p.open.waiters) > 0
	p.mu.Unlock()
	if more {
		p.signal()
	}
	if p.cfg.OnCommit != nil && b.urgent {
		p.cfg.OnCommit(took)
	}
	return b.waiters
}

// took lowers the pending bytes. The header that NewBatch made is not pending.
func (p *Proposer) took(bytes int) {
	p.pending -= bytes - command.BatchHeader
	p.nextTurns()
}

// Refused says that the state machine refused a batch of ours, because an earlier
// one is missing: what is under way is proposed again.
func (p *Proposer) Refused(epoch uint64) {
	p.mu.Lock()
	if epoch == p.epoch {
		p.askResend()
	}
	p.mu.Unlock()
	p.signal()
}

// askResend asks for a new round after a growing delay.
func (p *Proposer) askResend() {
	if p.resend {
		return
	}
	p.resend = true
	p.opening = false
	p.notUntil = time.Now().Add(p.delay)
	p.delay = min(2*p.delay, resendMax)
}

// EpochOpened says that an epoch of this node began, and that it was asked for
// with the nonce.
func (p *Proposer) EpochOpened(epoch, nonce uint64) {
	p.mu.Lock()
	if nonce != p.nonce || p.epoch != 0 {
		p.mu.Unlock()
		return
	}
	p.epoch, p.next, p.opening, p.began = epoch, 1, false, true
	p.progress = time.Now()
	close(p.opened)
	p.mu.Unlock()
	p.cfg.Logger.Info("epoch opened", "epoch", epoch)
	p.signal()
}

// EpochRemoved says that the cluster ended an epoch of this node. When it is the
// present one it returns true: commands that only meant something in that epoch
// have been answered as lost, all others go again in the next epoch, which is
// asked for at once.
//
// applied is the sequence of its last batch that was applied, if that is known: what of it was not seen, as a
// snapshot took the place of the entries, is answered as Restored does, with refused. When every entry was seen, 0 will do for both. If nobody knows, none of the
// batches under way goes again, and all their commands are answered as lost and unsure.
func (p *Proposer) EpochRemoved(epoch, applied, refused uint64, known bool) bool {
	p.mu.Lock()
	if epoch == 0 || epoch != p.epoch {
		p.mu.Unlock()
		return false
	}
	var done []*batch
	unsure := 0
	if known {
		for len(p.flight) > 0 && p.flight[0].sequence <= applied {
			done, p.flight = append(done, p.flight[0]), p.flight[1:]
		}
	} else {
		unsure = len(p.flight)
	}
	old := append(append(p.flight, p.closed...), p.open)
	p.epoch, p.nonce, p.opening, p.resend = 0, newNonce(), false, false
	p.opened = make(chan struct{})
	p.flight, p.closed, p.open = nil, nil, p.newBatch(0)
	p.pending = 0
	var lost []lostCommand
	for i, b := range old {
		lost = append(lost, p.carryOver(b, i < unsure)...)
	}
	p.nextTurns()
	p.mu.Unlock()
	p.cfg.Logger.Warn("epoch was removed by the cluster, taking a new one", "epoch", epoch, "lost_commands", len(lost),
		"applied_unseen", len(done), "unsure_batches", unsure)
	for _, b := range done {
		answerApplied(b, refused)
	}
	for _, l := range lost {
		if l.waiter.To != nil {
			l.waiter.To.Result(l.waiter.Token, &command.Result{Kind: l.kind, Lost: true, Unsure: l.unsure})
		}
	}
	p.signal()
	return true
}

type lostCommand struct {
	kind   command.Kind
	waiter command.Waiter
	unsure bool
}

// carryOver puts the commands of b that stand on their own into the open batch,
// and returns the others. Of a batch that may have been applied it returns all.
func (p *Proposer) carryOver(b *batch, unsure bool) (lost []lostCommand) {
	rest, err := b.commands(), error(nil)
	for i := 0; len(rest) > 0; i++ {
		var kind command.Kind
		var payload []byte
		if kind, payload, rest, err = command.Next(rest); err != nil {
			break
		}
		if unsure || !standsAlone(kind, payload) {
			lost = append(lost, lostCommand{kind, b.waiters[i], unsure})
			continue
		}
		before := len(p.open.buf)
		p.open.buf = command.AppendEncoded(p.open.buf, kind, payload)
		p.open.waiters = append(p.open.waiters, b.waiters[i])
		p.open.urgent = true
		p.pending += len(p.open.buf) - before
		p.closeFull()
	}
	if err != nil {
		panic("proposer: own batch does not decode: " + err.Error())
	}
	return lost
}

// standsAlone tells the commands that mean the same in any epoch from those
// that name a channel's consumers, deliveries or exclusive queues. The end of a connection or
// channel goes with its opening, or it would be counted for ever; of one that the new
// epoch does not know it means nothing.
func standsAlone(kind command.Kind, payload []byte) bool {
	switch kind {
	case command.KindPublish, command.KindExchangeDeclare, command.KindExchangeDelete,
		command.KindBind, command.KindUnbind, command.KindQueueDelete, command.KindQueuePurge,
		command.KindVHostPut, command.KindVHostDelete, command.KindVHostLimits, command.KindUserLimits,
		command.KindConnectionOpen, command.KindChannelOpen, command.KindConnectionClose, command.KindChannelClose,
		command.KindSeed:
		return true
	case command.KindQueueDeclare:
		var d command.QueueDeclare
		return command.Decode(payload, &d) == nil && !d.Exclusive
	}
	return false
}

// Restored says that a snapshot took the place of log entries that were not seen:
// applied is the last sequence of our epoch in it. What was applied unseen is
// answered as such; up to the batch refused, the last with a publish that came to more than done, also as unsure. It is not to be called when the epoch is gone: EpochRemoved is.
func (p *Proposer) Restored(applied, refused uint64) {
	p.mu.Lock()
	var seen []*batch
	for len(p.flight) > 0 && p.flight[0].sequence <= applied {
		seen = append(seen, p.flight[0])
		p.took(len(p.flight[0].buf))
		p.flight = p.flight[1:]
	}
	p.progress = time.Now()
	p.mu.Unlock()
	p.signal()
	for _, b := range seen {
		answerApplied(b, refused)
	}
}

func answerApplied(b *batch, refused uint64) {
	rest, err := b.commands(), error(nil)
	for i := 0; len(rest) > 0; i++ {
		var kind command.Kind
		if kind, _, rest, err = command.Next(rest); err != nil {
			break
		}
		if w := b.waiters[i]; w.To != nil {
			w.To.Result(w.Token, &command.Result{Kind: kind, Lost: true, Applied: true, Unsure: b.sequence <= refused})
		}
	}
	if err != nil {
		panic("proposer: own batch does not decode: " + err.Error())
	}
}
