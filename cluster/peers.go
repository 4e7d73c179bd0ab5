package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"warren/cluster/mux"
)

// peers are this node's links to all others, one each, opened by this side and
// kept: requests go out and answers come back, and silence is evidence.
type peers struct {
	c      *Cluster
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	byID   map[string]*peer
}

// peer is the link to one node.
type peer struct {
	ps   *peers
	id   string
	stop context.CancelFunc
	kick chan struct{} // dial now

	mu       sync.Mutex
	conn     net.Conn // nil while there is none
	out      sync.Mutex
	instance uint64 // process that answered last
	nextID   uint64
	pending  map[uint64]chan reply
	failure  error         // of the last attempt to connect
	failed   chan struct{} // closed and renewed at each failed attempt
	up       chan struct{} // closed while there is a connection, renewed when it breaks
	heard    time.Time     // last frame from it; when unheard, since when it is expected
	refused  time.Time     // since when its address refuses; zero: it does not
	broke    time.Time     // when the last connection broke
	used     time.Time     // last call
}

func newPeers(c *Cluster) *peers {
	ctx, cancel := context.WithCancel(context.Background())
	return &peers{c: c, ctx: ctx, cancel: cancel, byID: make(map[string]*peer)}
}

// get returns the link to a node, which is made when there is none. After close
// it returns nil.
func (ps *peers) get(id string) *peer {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.closed {
		return nil
	}
	p := ps.byID[id]
	if p == nil {
		now := time.Now()
		ctx, cancel := context.WithCancel(ps.ctx)
		p = &peer{
			ps: ps, id: id, stop: cancel, kick: make(chan struct{}, 1),
			pending: make(map[uint64]chan reply), failed: make(chan struct{}), up: make(chan struct{}),
			heard: now, used: now,
		}
		ps.byID[id] = p
		ps.wg.Add(1)
		go p.run(ctx)
	}
	return p
}

// lookup is get without making one.
func (ps *peers) lookup(id string) *peer {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.byID[id]
}

func (ps *peers) isUp(id string) bool {
	p := ps.lookup(id)
	return p != nil && p.view().up
}

// prune ends the links that keep says no to.
func (ps *peers) prune(keep func(id string, used time.Time) bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for id, p := range ps.byID {
		p.mu.Lock()
		used := p.used
		p.mu.Unlock()
		if !keep(id, used) {
			p.stop()
			delete(ps.byID, id)
		}
	}
}

// regreet breaks all links, so that they are opened anew with what this node has
// become.
func (ps *peers) regreet() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, p := range ps.byID {
		p.mu.Lock()
		if p.conn != nil {
			_ = p.conn.Close() // its reader sees it
			p.drop()
		}
		p.mu.Unlock()
	}
}

// drop takes the connection out of use; whoever calls waits for the next one.
// Called with the lock held.
func (p *peer) drop() {
	p.conn = nil
	p.up = make(chan struct{})
}

// forgive lets all silences begin now, after this process itself stood still.
func (ps *peers) forgive() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, p := range ps.byID {
		p.mu.Lock()
		p.heard = time.Now()
		if !p.refused.IsZero() {
			p.refused = time.Now()
		}
		p.mu.Unlock()
	}
}

func (ps *peers) close() {
	ps.mu.Lock()
	ps.closed = true
	ps.mu.Unlock()
	ps.cancel()
	ps.wg.Wait()
}

// peerView is what a link tells of its node.
type peerView struct {
	up       bool
	heard    time.Time
	refused  time.Time // zero: not refusing
	instance uint64
}

func (p *peer) view() peerView {
	p.mu.Lock()
	defer p.mu.Unlock()
	return peerView{up: p.conn != nil, heard: p.heard, refused: p.refused, instance: p.instance}
}

// Pauses between attempts to connect. After a break the first are short: the
// listener of a process that dies may go a moment later than its connections.
const (
	firstPause = time.Millisecond
	lastPause  = time.Second
)

func (p *peer) run(ctx context.Context) {
	defer p.ps.wg.Done()
	defer p.shut()
	pause := firstPause
	last := "" // the address of the connection that broke, as the network knows it
	for ctx.Err() == nil {
		conn, w, err := p.dial(ctx, last)
		if err == nil {
			pause = firstPause
			p.serve(ctx, conn, w)
			last = conn.RemoteAddr().String()
			continue
		}
		p.note(err)
		if errors.Is(err, syscall.ECONNREFUSED) || pause > 50*time.Millisecond {
			last = ""
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-p.kick:
		case <-ctx.Done():
		}
		timer.Stop()
		pause = min(2*pause, lastPause)
	}
}

// dial connects to where the last connection led, or else to where the address
// book says.
func (p *peer) dial(ctx context.Context, last string) (net.Conn, mux.Welcome, error) {
	c := p.ps.c
	addr, err := last, error(nil)
	if addr == "" {
		if addr, err = c.book.addr(p.id); err != nil {
			return nil, mux.Welcome{}, err
		}
	}
	return c.dialContext(ctx, mux.Call, p.id, addr, c.cfg.Timing.Dial)
}

// note takes in that an attempt to connect failed. That another node answers at
// the address says as much of the one that was there as a refusal.
func (p *peer) note(err error) {
	var other *mux.RefusedError
	refused := errors.Is(err, syscall.ECONNREFUSED) || (errors.As(err, &other) && other.Node != p.id)
	p.mu.Lock()
	p.failure = err
	close(p.failed)
	p.failed = make(chan struct{})
	if !refused {
		p.refused = time.Time{}
	} else if p.refused.IsZero() {
		p.refused = time.Now()
	}
	p.mu.Unlock()
	if refused {
		p.ps.c.gone(p.id, time.Now())
	}
}

// serve uses a connection until it breaks.
func (p *peer) serve(ctx context.Context, conn net.Conn, w mux.Welcome) {
	c := p.ps.c
	p.mu.Lock()
	restarted, broke := p.instance != 0 && p.instance != w.Instance, p.broke
	p.instance, p.failure = w.Instance, nil
	p.heard, p.refused = time.Now(), time.Time{}
	p.conn = conn
	close(p.up)
	p.mu.Unlock()
	if restarted {
		c.gone(p.id, broke)
	}
	c.wake()

	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		p.keepAlive(ctx, conn, done)
	}()
	err := p.read(conn)
	close(done)
	_ = conn.Close() // it is broken already
	wg.Wait()
	if ctx.Err() == nil {
		c.log.Debug("link broke", "node", p.id, "error", err)
	}

	p.mu.Lock()
	if p.conn == conn {
		p.drop()
	}
	p.broke = time.Now()
	pending := p.pending
	p.pending = make(map[uint64]chan reply)
	p.mu.Unlock()
	for _, ch := range pending {
		ch <- reply{err: fmt.Errorf("%w: link to %s broke", ErrUnreachable, p.id)}
	}
	c.wake()
}

func (p *peer) keepAlive(ctx context.Context, conn net.Conn, done <-chan struct{}) {
	t := p.ps.c.cfg.Timing
	tick := time.NewTicker(t.Ping)
	defer tick.Stop()
	ping := mux.AppendFrame(nil, mux.FramePing, 0)
	for {
		select {
		case <-tick.C:
			if time.Since(p.view().heard) > t.LinkTimeout {
				_ = conn.Close() // the reader sees it
				return
			}
			if err := p.write(conn, ping); err != nil {
				_ = conn.Close() // the reader sees it
				return
			}
		case <-ctx.Done():
			_ = conn.Close() // the reader sees it
			return
		case <-done:
			return
		}
	}
}

func (p *peer) write(conn net.Conn, b ...[]byte) error {
	p.out.Lock()
	defer p.out.Unlock()
	if err := conn.SetWriteDeadline(time.Now().Add(p.ps.c.cfg.Timing.LinkTimeout)); err != nil {
		return err
	}
	bufs := net.Buffers(b)
	_, err := bufs.WriteTo(conn)
	return err
}

func (p *peer) read(conn net.Conn) error {
	for {
		f, err := mux.ReadFrame(conn, MaxCall+1)
		if err != nil {
			return err
		}
		p.mu.Lock()
		p.heard = time.Now()
		ch := p.pending[f.ID]
		if f.Type == mux.FrameReply {
			delete(p.pending, f.ID)
		}
		p.mu.Unlock()
		switch {
		case f.Type == mux.FramePong:
		case f.Type == mux.FrameReply && len(f.Payload) > 0:
			if ch != nil {
				ch <- reply{status: mux.ReplyStatus(f.Payload[0]), payload: f.Payload[1:]}
			}
		default:
			return fmt.Errorf("%w: %d in answer", mux.ErrFrameType, f.Type)
		}
	}
}

// shut answers what waits when the link ends for good.
func (p *peer) shut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failure = ErrClosed
	close(p.failed)
	p.failed = make(chan struct{})
}

// connected waits until there is a connection, or an attempt to get one failed.
func (p *peer) connected(ctx context.Context) (net.Conn, error) {
	p.mu.Lock()
	conn, up, failed := p.conn, p.up, p.failed
	p.mu.Unlock()
	if conn != nil {
		return conn, nil
	}
	select {
	case p.kick <- struct{}{}:
	default:
	}
	select {
	case <-up:
	case <-failed:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %s: %w", ErrUnreachable, p.id, ctx.Err())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		return p.conn, nil
	}
	return nil, fmt.Errorf("%w: %s: %w", ErrUnreachable, p.id, errors.Join(p.failure))
}
