package cluster

import (
	"errors"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"warren/cluster/mux"
)

// A member's address in the Raft configuration is its node id: where it can be
// reached is looked up when it is dialled. So a node may return with another
// address without a change of the configuration, and without a doubt who voted
// for whom.

// idAddr is a node id as a net.Addr.
type idAddr string

func (idAddr) Network() string  { return "warren" }
func (a idAddr) String() string { return string(a) }

// streams is raft.StreamLayer over the mux.
type streams struct {
	c    *Cluster
	in   chan net.Conn
	stop chan struct{}
	once sync.Once
}

func newStreams(c *Cluster) *streams {
	return &streams{c: c, in: make(chan net.Conn), stop: make(chan struct{})}
}

func (s *streams) accept(conn net.Conn, _ mux.Hello) {
	select {
	case s.in <- conn:
	case <-s.stop:
		_ = conn.Close() // raft is over
	}
}

// Accept implements net.Listener.
func (s *streams) Accept() (net.Conn, error) {
	select {
	case conn := <-s.in:
		return conn, nil
	case <-s.stop:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. The port belongs to the mux and stays open.
func (s *streams) Close() error {
	s.once.Do(func() { close(s.stop) })
	return nil
}

// Addr implements net.Listener.
func (s *streams) Addr() net.Addr { return idAddr(s.c.cfg.ID) }

// Dial implements raft.StreamLayer. To this node itself there is a way too, which needs no network.
func (s *streams) Dial(id raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	if string(id) == s.c.cfg.ID {
		return s.dialSelf()
	}
	addr, err := s.c.book.addr(string(id))
	if err != nil {
		return nil, err
	}
	conn, _, err := s.c.dial(mux.Raft, string(id), addr, min(timeout, s.c.cfg.Timing.Dial))
	return conn, err
}

func (s *streams) dialSelf() (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case s.in <- far:
		return near, nil
	case <-s.stop:
		return nil, net.ErrClosed
	}
}

// transport is hashicorp/raft's network transport with six additions: a node may hold back (reluctant.go), it sends no snapshot
// that a follower could not go on with (outgrow.go), it tells no
// follower of a commit that is not on this node's disk (see logStore), it knows what
// each follower was told to be committed, its pipelines are our own, which wake fewer
// goroutines and carry commit notices too, and it ends with its owner.
type transport struct {
	*raft.NetworkTransport
	streams *streams
	timeout time.Duration
	wg      sync.WaitGroup

	took   func(id raft.ServerID, index uint64) // a follower has entries up to index
	onDisk func(index uint64) uint64            // lowers an index to what is on this node's disk

	holdsBack func() bool       // see reluctant.go
	outgrow   func(last uint64) // see outgrow.go

	mu        sync.Mutex
	progress  map[raft.ServerID]progress
	pipelines map[raft.ServerID]*pipeline
	closed    bool
}

// progress is what the leader's requests to a follower tell of it.
type progress struct {
	sent uint64 // highest entry sent
	told uint64 // highest commit index sent
	has  uint64 // highest entry that it took
	last uint64 // where its log ended when it last refused some
}

func newTransport(s *streams, timeout time.Duration, logger hclog.Logger, took func(raft.ServerID, uint64), onDisk func(uint64) uint64) *transport {
	t := &transport{
		NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream: s, MaxPool: 4, Timeout: timeout, Logger: logger, MsgpackUseNewTimeFormat: true,
		}),
		streams: s, timeout: timeout, took: took, onDisk: onDisk,
		progress: make(map[raft.ServerID]progress), pipelines: make(map[raft.ServerID]*pipeline),
	}
	return t
}

// Close implements raft.WithClose.
func (t *transport) Close() error {
	err := t.NetworkTransport.Close()
	t.NetworkTransport.CloseStreams()
	t.mu.Lock()
	t.closed = true
	open := slices.Collect(maps.Values(t.pipelines))
	t.mu.Unlock()
	for _, p := range open {
		p.shut()
	}
	t.wg.Wait()
	return err
}

// errNotTaken means that Raft did not take the request in time. It may still do so.
var errNotTaken = errors.New("raft is busy")

// stand makes the local Raft a candidate at once, as a leader's TimeoutNow does.
func (t *transport) stand(id string, wait time.Duration) error {
	self := []byte(id)
	req := &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: self, Addr: self}}
	answer := make(chan error, 1)
	t.wg.Go(func() {
		answer <- t.TimeoutNow(raft.ServerID(id), raft.ServerAddress(id), req, &raft.TimeoutNowResponse{})
	})
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case err := <-answer:
		return err
	case <-timer.C:
		return errNotTaken
	}
}

// note takes in that a request was sent to a follower, or with ok that the
// follower took it.
func (t *transport) note(id raft.ServerID, req *raft.AppendEntriesRequest, ok bool) {
	var has uint64
	t.mu.Lock()
	p := t.progress[id]
	p.told = max(p.told, req.LeaderCommitIndex)
	p.sent = max(p.sent, req.PrevLogEntry+uint64(len(req.Entries)))
	if ok {
		p.has = max(p.has, req.PrevLogEntry+uint64(len(req.Entries)))
	}
	has = p.has
	t.progress[id] = p
	t.mu.Unlock()
	if ok && len(req.Entries) > 0 {
		t.took(id, has)
	}
}

// wants reports whether a follower has an entry and was not told yet that it is
// committed.
func (t *transport) wants(id raft.ServerID, index uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.progress[id]
	return p.has >= index && p.told < index
}

// awaits reports whether a follower was sent an entry, will have it soon and was not
// told yet that it is committed.
func (t *transport) awaits(id raft.ServerID, index uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.progress[id]
	return p.sent >= index && p.told < index && p.has+earlyEntries >= index
}

// forget is for a new term: followers may have lost what they had.
func (t *transport) forget() {
	t.mu.Lock()
	clear(t.progress)
	t.mu.Unlock()
}

// AppendEntries implements raft.Transport.
func (t *transport) AppendEntries(id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	req.LeaderCommitIndex = t.onDisk(req.LeaderCommitIndex)
	err := t.NetworkTransport.AppendEntries(id, target, req, resp)
	if err == nil && resp.Success {
		t.note(id, req, true)
	}
	if err == nil && !resp.Success {
		t.refused(id, resp.LastLog)
	}
	return err
}
