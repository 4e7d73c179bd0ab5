package cluster

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"warren/cluster/mux"
)

// refusalPause delays the refusal of a batch for which there is no leader, so
// that a caller who proposes again at once does not spin.
const refusalPause = 5 * time.Millisecond

// proposals are this node's own batches on their way to the leader.
//
// They travel in generations. A generation goes to one leader over one way (the
// local submitter, or one connection) in order, and no batch enters the log after
// one of the same generation that did not. When one fails, the generation has
// failed: batches proposed from then on wait until all its batches are answered
// and make up the next.
type proposals struct {
	c  *Cluster
	wg sync.WaitGroup

	mu     sync.Mutex
	closed bool
	now    *generation
	next   []proposal // wait for the end of a generation that has failed
}

type proposal struct {
	batch []byte
	done  func(Answer)
}

type generation struct {
	leader      Leader
	send        func(id uint64, batch []byte)
	abandon     func()
	nextID      uint64
	outstanding map[uint64]func(Answer)
	failed      bool
}

func newProposals(c *Cluster) *proposals { return &proposals{c: c} }

// Propose takes a batch to the log of the cluster: of this node when it leads, or
// else by the link to the leader. It returns at once. done is called exactly once,
// never within Propose, from any goroutine; it must not block.
//
// Batches proposed by one goroutine enter the log in their order or not at all:
// after one that was not Committed, those proposed before its answer came are not
// either, unless the answer was Unknown. Whoever wants them in the log proposes
// them again, in order, after a Refused or an Unknown; a batch may then stand in
// the log twice.
//
// The batch is handed over: a local leader lets Prepare write into it, and Raft
// and the state machine keep it for ever. The caller must not change it any more,
// and proposes a copy when it proposes it again.
func (c *Cluster) Propose(batch []byte, done func(Answer)) {
	c.proposals.propose(proposal{batch, done})
}

func (p *proposals) propose(pr proposal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(pr.batch) > MaxBatch {
		p.refuse([]proposal{pr}, 0)
		return
	}
	if p.now != nil && p.now.failed {
		p.next = append(p.next, pr)
		return
	}
	if p.now == nil && !p.begin() {
		p.refuse([]proposal{pr}, refusalPause)
		return
	}
	p.now.add(pr)
}

// refuse answers on a goroutine of its own. Called with the lock held.
func (p *proposals) refuse(prs []proposal, after time.Duration) {
	p.wg.Add(1)
	go func() {
		defer p.wg.Done()
		pause(p.c.ctx, after)
		for _, pr := range prs {
			pr.done(Refused)
		}
	}()
}

// begin starts a generation with the present leader. Called with the lock held.
func (p *proposals) begin() bool {
	leader := p.c.Leader()
	if !leader.Known {
		return false
	}
	g := &generation{leader: leader, outstanding: make(map[uint64]func(Answer))}
	if leader.Self {
		src := &source{answer: func(id uint64, a Answer) { p.answer(g, id, a) }}
		g.send = func(id uint64, batch []byte) {
			p.c.submitter.put(submission{from: src, id: id, batch: batch})
		}
		g.abandon = src.fail // Raft answers what it has when it steps down
	} else {
		l := newBatchLink(p.c, leader.ID)
		l.answer = func(id uint64, a Answer) { p.answer(g, id, a) }
		l.ended = func() { p.fail(g) }
		g.send, g.abandon = l.send, l.abandon
		p.wg.Add(1)
		go func() {
			defer p.wg.Done()
			l.run(p.c.ctx)
		}()
	}
	p.now = g
	return true
}

func (g *generation) add(pr proposal) {
	g.nextID++
	g.outstanding[g.nextID] = pr.done
	g.send(g.nextID, pr.batch)
}

// answer takes in what became of a batch.
func (p *proposals) answer(g *generation, id uint64, a Answer) {
	p.mu.Lock()
	done := g.outstanding[id]
	delete(g.outstanding, id)
	if a != Committed && !g.failed {
		g.failed = true
		g.abandon()
	}
	p.settle(g)
	p.mu.Unlock()
	if done != nil {
		done(a)
	}
}

// settle begins the next generation when a failed one has no batch left. Called
// with the lock held.
func (p *proposals) settle(g *generation) {
	if p.now != g || !g.failed || len(g.outstanding) > 0 {
		return
	}
	p.now = nil
	waiting := p.next
	p.next = nil
	if len(waiting) == 0 {
		return
	}
	if p.closed || !p.begin() {
		p.refuse(waiting, refusalPause)
		return
	}
	for _, pr := range waiting {
		p.now.add(pr)
	}
}

// fail ends a generation whose way to the leader is gone.
func (p *proposals) fail(g *generation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !g.failed {
		g.failed = true
		g.abandon()
	}
	p.settle(g)
}

// leaderChanged ends the generation that goes to another leader or term.
func (p *proposals) leaderChanged(l Leader) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.now
	if g == nil || g.failed || (l.Known && l.ID == g.leader.ID && l.Term == g.leader.Term) {
		return
	}
	g.failed = true
	g.abandon()
	p.settle(g)
}

// wait returns when no callback is out any more. Only after stop.
func (p *proposals) wait() { p.wg.Wait() }

// stop refuses what is proposed from now on.
func (p *proposals) stop() {
	p.mu.Lock()
	p.closed = true
	if p.now != nil && !p.now.failed {
		p.now.failed = true
		p.now.abandon()
		p.settle(p.now)
	}
	p.mu.Unlock()
}

// batchLink takes the batches of one generation to a leader over a connection.
type batchLink struct {
	c      *Cluster
	to     string
	answer func(id uint64, a Answer)
	ended  func() // after it, send is not called any more

	mu      sync.Mutex
	arrived *sync.Cond
	queue   []queued
	writing bool // somebody writes
	over    bool
	conn    net.Conn
	sent    []sentBatch // written, or being written, and not answered
	bytes   int         // of them
}

type sentBatch struct {
	id   uint64
	size int
}

type queued struct {
	id    uint64
	batch []byte
}

func newBatchLink(c *Cluster, to string) *batchLink {
	l := &batchLink{c: c, to: to}
	l.arrived = sync.NewCond(&l.mu)
	return l
}

// sentBeside is how many bytes without an answer there may be, all in all, for a batch to be written on the
// goroutine that proposes it: so few find room in a socket whose other side reads nothing.
const sentBeside = 16 << 10

// send takes a batch over. A small one is on its way when it returns, if nothing is before it.
func (l *batchLink) send(id uint64, batch []byte) {
	l.mu.Lock()
	if l.conn == nil || l.over || l.writing || len(l.queue) > 0 || l.bytes+len(batch) > sentBeside {
		l.queue = append(l.queue, queued{id, batch})
		l.mu.Unlock()
		l.arrived.Signal()
		return
	}
	l.writing = true
	l.note(id, batch)
	conn := l.conn
	l.mu.Unlock()
	if err := writeBatches(conn, []queued{{id, batch}}); err != nil {
		_ = conn.Close() // reader and writer see it
	}
	l.wrote()
}

// note counts a batch as sent. Called with the lock held.
func (l *batchLink) note(id uint64, batch []byte) {
	l.sent = append(l.sent, sentBatch{id, len(batch)})
	l.bytes += len(batch)
}

// wrote lets others write.
func (l *batchLink) wrote() {
	l.mu.Lock()
	l.writing = false
	more := len(l.queue) > 0
	l.mu.Unlock()
	if more {
		l.arrived.Signal()
	}
}

// abandon ends the link soon: nothing more is sent, and what was sent and is not
// answered becomes Unknown. It does not block and calls nobody.
func (l *batchLink) abandon() {
	l.mu.Lock()
	l.over = true
	if l.conn != nil {
		_ = l.conn.Close() // reader and writer see it
	}
	l.mu.Unlock()
	l.arrived.Broadcast()
}

// run connects, writes and reads until the link is over, then answers the rest.
func (l *batchLink) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, l.abandon)
	defer stop()
	conn, err := l.connect(ctx)
	if err == nil {
		var wg sync.WaitGroup
		wg.Add(1)
		go func() {
			defer wg.Done()
			err := l.read(conn)
			l.c.log.Debug("batch link ends", "leader", l.to, "error", err)
			l.abandon()
		}()
		l.write(conn)
		l.abandon()
		wg.Wait()
	} else {
		l.c.log.Debug("batch link", "leader", l.to, "error", err)
		pause(ctx, refusalPause) // else a caller who proposes again at once spins
	}
	l.finish()
}

func (l *batchLink) connect(ctx context.Context) (net.Conn, error) {
	addr, err := l.c.book.addr(l.to)
	if err != nil {
		return nil, err
	}
	conn, _, err := l.c.dialContext(ctx, mux.Propose, l.to, addr, l.c.cfg.Timing.Dial)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn = conn
	if l.over {
		_ = conn.Close() // nobody uses it
		return nil, fmt.Errorf("leader %s: %w", l.to, net.ErrClosed)
	}
	return conn, nil
}

// write sends what is queued until the link is over.
func (l *batchLink) write(conn net.Conn) {
	for {
		l.mu.Lock()
		for (len(l.queue) == 0 || l.writing) && !l.over {
			l.arrived.Wait()
		}
		if l.over {
			l.mu.Unlock()
			return
		}
		todo := l.queue
		l.queue, l.writing = nil, true
		for _, q := range todo {
			l.note(q.id, q.batch)
		}
		l.mu.Unlock()
		err := writeBatches(conn, todo)
		l.wrote()
		if err != nil {
			return
		}
	}
}

func writeBatches(conn net.Conn, todo []queued) error {
	heads := make([]byte, len(todo)*mux.FrameHeader)
	bufs := make(net.Buffers, 0, 2*len(todo))
	for i, q := range todo {
		h := (*[mux.FrameHeader]byte)(heads[i*mux.FrameHeader:])
		mux.PutFrameHeader(h, mux.FrameBatch, q.id, len(q.batch))
		bufs = append(bufs, h[:], q.batch)
	}
	_, err := bufs.WriteTo(conn)
	return err
}

func (l *batchLink) read(conn net.Conn) error {
	for {
		f, err := mux.ReadFrame(conn, 1)
		if err != nil {
			return err
		}
		if f.Type != mux.FrameAnswer || len(f.Payload) != 1 || f.Payload[0] > byte(Refused) {
			return fmt.Errorf("%w: %d in answer to a batch", mux.ErrFrameType, f.Type)
		}
		l.mu.Lock()
		at := slices.IndexFunc(l.sent, func(s sentBatch) bool { return s.id == f.ID })
		if at >= 0 {
			l.bytes -= l.sent[at].size
			l.sent = slices.Delete(l.sent, at, at+1)
		}
		l.mu.Unlock()
		if at < 0 {
			return fmt.Errorf("%w: answer to batch %d, which is not out", mux.ErrRequest, f.ID)
		}
		l.answer(f.ID, Answer(f.Payload[0]))
	}
}

// finish answers what is left.
func (l *batchLink) finish() {
	l.abandon()
	l.ended()
	l.mu.Lock()
	sent, queue := l.sent, l.queue
	l.sent, l.queue = nil, nil
	l.mu.Unlock()
	for _, s := range sent {
		l.answer(s.id, Unknown)
	}
	for _, q := range queue {
		l.answer(q.id, Refused)
	}
}

// pause waits for d or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// maxUnanswered bounds how many batches of one follower are on their way into the
// log; then its connection is not read.
const maxUnanswered = 1024

// takeBatches is the mux's handler for connections that bring batches.
func (c *Cluster) takeBatches(conn net.Conn, h mux.Hello) {
	room := make(chan struct{}, maxUnanswered)
	out := newAnswers(conn)
	src := &source{answer: func(id uint64, a Answer) {
		out.put(id, a)
		<-room
	}}
	stop := context.AfterFunc(c.ctx, func() { _ = conn.Close() })
	defer stop()
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		out.run()
	}()
	defer wg.Wait()
	defer out.stop()
	defer src.fail()
	for id := uint64(1); ; id++ {
		f, err := mux.ReadFrame(conn, MaxBatch)
		if err == nil && (f.Type != mux.FrameBatch || f.ID != id) {
			err = fmt.Errorf("%w: frame of type %d with id %d where batch %d should be", mux.ErrRequest, f.Type, f.ID, id)
		}
		if err != nil {
			c.log.Debug("batches of a node end", "node", h.Node, "error", err)
			return
		}
		select {
		case room <- struct{}{}:
		case <-c.ctx.Done():
			return
		}
		c.submitter.put(submission{from: src, id: f.ID, batch: f.Payload})
	}
}

// answers writes answers to a follower, many at a time when many are there.
type answers struct {
	conn net.Conn

	mu      sync.Mutex
	arrived *sync.Cond
	buf     []byte
	over    bool
}

func newAnswers(conn net.Conn) *answers {
	a := &answers{conn: conn}
	a.arrived = sync.NewCond(&a.mu)
	return a
}

func (a *answers) put(id uint64, answer Answer) {
	a.mu.Lock()
	if !a.over {
		a.buf = mux.AppendFrame(a.buf, mux.FrameAnswer, id, byte(answer))
	}
	a.mu.Unlock()
	a.arrived.Signal()
}

func (a *answers) stop() {
	a.mu.Lock()
	a.over = true
	a.mu.Unlock()
	a.arrived.Signal()
	_ = a.conn.Close() // the reader is done with it
}

func (a *answers) run() {
	var spare []byte
	for {
		a.mu.Lock()
		for len(a.buf) == 0 && !a.over {
			a.arrived.Wait()
		}
		if a.over {
			a.mu.Unlock()
			return
		}
		b := a.buf
		a.buf = spare[:0]
		a.mu.Unlock()
		if _, err := a.conn.Write(b); err != nil {
			_ = a.conn.Close() // the reader sees it
			return
		}
		spare = b
	}
}
