package cluster

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"warren/cluster/mux"
)

// Cluster is this node's part in the cluster. All methods may be called from any
// goroutine.
type Cluster struct {
	cfg       Config
	log       *slog.Logger
	ctx       context.Context // ends when the node stops
	cancel    context.CancelFunc
	wg        sync.WaitGroup // goroutines that end with ctx
	instance  uint64
	boot      uint64
	advertise string
	wakeup    chan struct{} // for the steward

	state   *stateFile
	book    *book
	stores  *stores
	cluster atomic.Pointer[string]

	mux       *mux.Mux
	streams   *streams
	transport *transport
	raft      atomic.Pointer[raft.Raft]
	gossip    *gossip
	peers     *peers
	submitter *submitter
	proposals *proposals
	notices   *notices
	leaders   *leaderWatch
	failover  *failover
	silence   *silence
	down      *downWatch

	reluctant  atomic.Bool // to lead
	outgrowing atomic.Bool // see outgrow.go

	// handlers answer every node, memberHandlers and cfg.Handlers members only.
	handlers, memberHandlers map[string]Handler

	closing  sync.Once
	closed   chan struct{}
	closeErr error

	mu         sync.Mutex
	waiting    string
	waitLogged time.Time

	secretLogged time.Time
}

// Open listens, gossips and starts Raft. It returns without waiting for a leader,
// or for a cluster: Stats().Waiting says what the node waits for.
func Open(cfg Config) (*Cluster, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	c := &Cluster{
		cfg: cfg, log: cfg.Logger.With("node", cfg.Name),
		wakeup: make(chan struct{}, 1), closed: make(chan struct{}),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if err := c.open(); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	return c, nil
}

// open starts everything, from the disk outwards. What was opened is closed again
// after an error.
func (c *Cluster) open() (err error) {
	var undo []func() error
	defer func() {
		if err == nil {
			return
		}
		c.cancel()
		for i := len(undo) - 1; i >= 0; i-- {
			err = errors.Join(err, undo[i]())
		}
	}()

	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails, see crypto/rand
	c.instance = binary.BigEndian.Uint64(random[:]) | 1
	files, err := openSmallFiles(c.cfg)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	// What is remembered: who we are, where the others were, the log.
	covered, _, err := newest(c.cfg.SnapshotStore)
	if err != nil {
		return err
	}
	if err := checkFounded(c.cfg.DataDir, files, covered); err != nil {
		return err
	}
	if c.state, err = openState(c.cfg.DataDir, files, c.cfg.ID, c.cfg.LogStore); err != nil {
		return err
	}
	s := c.state.get()
	c.boot = s.Boot
	c.cluster.Store(&s.Cluster)
	if c.book, err = openBook(c.cfg.DataDir, files); err != nil {
		return err
	}
	if c.stores, err = openStores(c.cfg, s.LogStore); err != nil {
		return err
	}
	undo = append(undo, c.stores.Close)
	if err := c.checkLog(s); err != nil {
		return err
	}

	// The port, for packets and streams. Nobody is answered before the mux runs.
	listener, udp, err := c.listen()
	if err != nil {
		return err
	}
	if c.advertise, err = advertised(c.cfg, listener.Addr()); err != nil {
		return errors.Join(err, listener.Close(), udp.Close())
	}
	c.book.learn(c.cfg.ID, c.selfEntry())

	// What handlers of connections use, then the mux, then what dials.
	c.streams = newStreams(c)
	c.notices = newNotices(c)
	c.transport = newTransport(c.streams, c.cfg.Timing.RPC, newRaftLog(c.log), c.notices.took, c.stores.log.onDisk)
	c.peers = newPeers(c)
	c.proposals = newProposals(c)
	c.leaders = newLeaderWatch(c)
	c.transport.holdsBack, c.transport.outgrow = c.holdsBack, c.outgrow
	c.failover = newFailover(c)
	c.silence = &silence{c: c}
	c.down = newDownWatch(c)
	c.registerHandlers()
	undo = append(undo, func() error { c.peers.close(); return c.transport.Close() })

	c.stores.log.leads = func() bool { r := c.raftNow(); return r != nil && r.State() == raft.Leader }
	c.stores.log.written = c.notices.written
	fsm := newMachine(c.cfg.FSM, c.stores.log.waitOnDisk, c.notices.handed, c.down.configured)
	r, err := raft.NewRaft(c.raftConfig(), fsm, c.stores.log, c.stores.stable, c.stores.snaps, c.transport)
	if err != nil {
		return errors.Join(fmt.Errorf("start raft: %w", err), listener.Close(), udp.Close())
	}
	undo = append(undo, func() error { return r.Shutdown().Error() })
	c.raft.Store(r)
	if err := c.bootstrap(s); err != nil {
		return errors.Join(fmt.Errorf("bootstrap: %w", err), listener.Close(), udp.Close())
	}
	c.submitter = newSubmitter(c)
	undo = append(undo, func() error { <-c.submitter.stop(); return nil })

	if c.gossip, err = startGossip(c, udp); err != nil {
		return errors.Join(err, listener.Close())
	}
	c.mux = mux.New(listener, mux.Config{
		Welcome: c.welcome, Secrets: c.secrets(), Timeout: c.cfg.Timing.Dial, Logger: c.log.With("part", "mux"),
		Handle: map[mux.Kind]func(net.Conn, mux.Hello){
			mux.Raft: c.streams.accept, mux.Gossip: c.gossip.accept,
			mux.Call: c.answerCalls, mux.Propose: c.takeBatches,
		},
	})
	if len(s.Voters) == 1 && s.Voters[0] == c.cfg.ID && len(c.servers()) == 1 {
		c.standFirst() // nobody else can lead: there is no leader to wait for
	}
	c.stores.disk.raftRuns.Store(true)
	for _, run := range []func(){c.leaders.run, c.leaders.announce, c.failover.run, c.silence.run, c.down.run, c.down.announce, c.steward, c.seek, c.watchDisk} {
		c.wg.Go(run)
	}
	c.log.Info("cluster node is up", "id", c.cfg.ID, "addr", c.advertise, "cluster", c.clusterID(), "boot", c.boot)
	return nil
}

// checkLog refuses a data directory of which a part is gone or damaged. If the whole log went
// while the rest stayed, the node would vote and answer as if it had forgotten nothing.
func (c *Cluster) checkLog(s savedState) error {
	covered, term, err := newest(c.stores.snaps)
	if err != nil {
		return err
	}
	last, err := c.stores.log.LastIndex()
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	if s.Bootstrapped && last == 0 && covered == 0 {
		return fmt.Errorf("%w: the log in %s is gone, and the node has taken part in cluster %s", ErrDamaged, c.cfg.DataDir, s.Cluster)
	}
	if err := c.stores.checkGap(covered); err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	if err := c.stores.log.outrun(covered, term); err != nil {
		return fmt.Errorf("remove the log before a snapshot: %w", err)
	}
	return nil
}

func (c *Cluster) raftConfig() *raft.Config {
	conf := raft.DefaultConfig()
	t := c.cfg.Timing
	conf.LocalID = raft.ServerID(c.cfg.ID)
	conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = t.Heartbeat, t.Election, t.LeaderLease
	conf.CommitTimeout = t.Commit
	conf.MaxAppendEntries = maxAppendEntries
	conf.BatchApplyCh = true // else a group commit finds one entry at a time
	conf.ShutdownOnRemove = false
	conf.TrailingLogs = trailingEntries
	conf.SnapshotInterval = 10_000 * time.Hour // Snapshot is called by bytes of log, see Cluster.Snapshot
	conf.SnapshotThreshold = 1 << 62
	conf.Logger = newRaftLog(c.log)
	conf.NoLegacyTelemetry = true
	return conf
}

// listen opens the port for streams and packets. With port 0 the number must be
// free for both.
func (c *Cluster) listen() (net.Listener, net.PacketConn, error) {
	const tries = 10
	for try := 1; ; try++ {
		l, err := c.cfg.Network.Listen(c.cfg.BindAddr)
		if err != nil {
			return nil, nil, fmt.Errorf("listen: %w", err)
		}
		addr := c.cfg.BindAddr
		_, want, _ := net.SplitHostPort(addr) // Listen has parsed it
		if want == "0" || want == "" {
			addr = l.Addr().String()
		}
		udp, err := c.cfg.Network.ListenPacket(addr)
		if err == nil {
			return l, udp, nil
		}
		err = errors.Join(fmt.Errorf("listen for packets: %w", err), l.Close())
		if try == tries || (want != "0" && want != "") {
			return nil, nil, err
		}
	}
}

// advertised is the address that others dial.
func advertised(cfg Config, bound net.Addr) (string, error) {
	if cfg.AdvertiseAddr != "" {
		return cfg.AdvertiseAddr, nil
	}
	host, port, err := net.SplitHostPort(bound.String())
	if err != nil {
		return "", fmt.Errorf("advertised address: %w", err)
	}
	if bindHost, _, err := net.SplitHostPort(cfg.BindAddr); err == nil && bindHost != "" {
		host = bindHost // a name stays a name
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = privateIP().String()
	}
	return net.JoinHostPort(host, port), nil
}

// Shutdown stops the node. A leader hands leadership over first, as long as
// Timing.Transfer and ctx allow. Batches without an answer get one. When ctx ends
// before all is done, the node stops without waiting for them any longer. Later
// calls wait for the first and return what it returned.
func (c *Cluster) Shutdown(ctx context.Context) error {
	c.closing.Do(func() {
		c.closeErr = c.shutdown(ctx, true)
		close(c.closed)
	})
	<-c.closed
	return c.closeErr
}

// Fail says that the owner cannot go on, as after OnFail: nothing is confirmed or applied any more,
// and Shutdown waits for no answers and not long for the disk.
func (c *Cluster) Fail(err error) { _ = c.stores.disk.fail(err) }

// Kill stops the node as a crash would look to the others, though it answers its
// callers and closes its files: no leadership is handed over, nobody is told. It
// is for tests.
func (c *Cluster) Kill() error {
	c.closing.Do(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		c.closeErr = c.shutdown(ctx, false)
		close(c.closed)
	})
	<-c.closed
	return c.closeErr
}

// drainTime bounds how long a killed node waits for Raft's answers: a leader
// that hears nobody steps down after its lease.
const drainTime = 2 * time.Second

// shutdown stops everything, from the outside inwards.
func (c *Cluster) shutdown(ctx context.Context, polite bool) error {
	// After a failure of the disk nothing in flight will be answered.
	polite = polite && c.stores.disk.failure() == nil
	if polite {
		c.handOver(ctx)
	}
	// No batch enters from here on. The callers of those in flight hear from Raft,
	// which still runs, when it commits them or steps down.
	c.proposals.stop()
	drained := c.submitter.stop()
	if polite {
		select {
		case <-drained:
		case <-ctx.Done():
		}
		c.gossip.leave()
	}
	c.cancel()
	c.gossip.close()
	err := c.mux.Close()
	c.peers.close()
	if !c.bounded(c.wg.Wait) {
		return errors.Join(err, errStuck)
	}
	c.notices.close()
	c.transport.CloseStreams()
	timer := time.NewTimer(drainTime)
	defer timer.Stop()
	select {
	case <-drained:
		c.proposals.wait()
	case <-timer.C:
		// The state machine stands still, most likely: its batches stay unanswered.
		c.log.Error("stopping although batches are on their way through the state machine")
	}
	var closing error
	if !c.bounded(func() { closing = errors.Join(c.raftNow().Shutdown().Error(), c.saveBook(), c.stores.Close()) }) {
		return errors.Join(err, errStuck)
	}
	c.log.Info("cluster node is down")
	return errors.Join(err, closing)
}

// errStuck is the error of a shutdown that could not wait for the disk. Nothing is lost by
// it: what was confirmed is on disk.
var errStuck = errors.New("files stay open, as the disk does not answer")

// bounded does what may wait for the disk, and reports whether it came to its end. It
// always does, unless the disk has failed: one that stands still holds up nobody for long.
func (c *Cluster) bounded(f func()) bool {
	done := make(chan struct{})
	go func() {
		f()
		close(done)
	}()
	if c.stores.disk.failure() == nil {
		<-done
		return true
	}
	timer := time.NewTimer(drainTime)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// handOver gives leadership to another voter that is alive.
func (c *Cluster) handOver(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timing.Transfer)
	defer cancel()
	if _, leads := c.leadingTerm(); !leads {
		return
	}
	if err := c.transfer(ctx, ""); err != nil {
		c.log.Warn("could not hand leadership over", "error", err)
	}
}

// ID is the id of the cluster that the node belongs to, which never changes, or "".
func (c *Cluster) ID() string { return c.clusterID() }

// clusterID is the id of the cluster that the node belongs to, or "".
func (c *Cluster) clusterID() string { return *c.cluster.Load() }

func (c *Cluster) raftNow() *raft.Raft { return c.raft.Load() }

func (c *Cluster) identity() mux.Identity {
	return mux.Identity{
		Cluster: c.clusterID(), Node: c.cfg.ID, Addr: c.advertise, Instance: c.instance, Boot: c.boot,
	}
}

func (c *Cluster) selfEntry() entry {
	return entry{
		Addr: c.advertise, Name: c.cfg.Name, Boot: c.boot,
		Cluster: c.clusterID(), Expect: c.cfg.Expect, Tags: c.cfg.Tags, Reluctant: c.reluctant.Load(),
	}
}

// Addr is the address that other nodes dial, host:port.
func (c *Cluster) Addr() string { return c.advertise }

// welcome decides over whoever connects.
func (c *Cluster) welcome(h mux.Hello) mux.Welcome {
	own := c.clusterID()
	w := mux.Welcome{Identity: c.identity()}
	switch {
	case h.Node == c.cfg.ID && h.Instance == c.instance:
		w.Refusal = "this is you"
	case h.Node == c.cfg.ID:
		c.log.Warn("another process has this node's id: is its data directory a copy?", "addr", h.Addr)
		w.Refusal = "your id is mine: is your data directory a copy?"
	case h.To != "" && h.To != c.cfg.ID:
		w.Refusal = "this is node " + c.cfg.ID
	case h.Cluster != "" && own != "" && h.Cluster != own:
		w.Refusal = "this is cluster " + own + ", yours is " + h.Cluster
	case (h.Kind == mux.Raft || h.Kind == mux.Propose) && (own == "" || h.Cluster != own):
		w.Refusal = "not of one cluster yet"
	default:
		c.book.learn(h.Node, entry{Addr: h.Addr, Boot: h.Boot, Cluster: h.Cluster})
	}
	return w
}

// dial connects to an address and greets. to is the node that must answer, or "".
func (c *Cluster) dial(kind mux.Kind, to, addr string, timeout time.Duration) (net.Conn, mux.Welcome, error) {
	return c.dialContext(c.ctx, kind, to, addr, timeout)
}

func (c *Cluster) dialContext(ctx context.Context, kind mux.Kind, to, addr string, timeout time.Duration) (net.Conn, mux.Welcome, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := c.cfg.Network.Dial(ctx, addr)
	if err != nil {
		return nil, mux.Welcome{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	w, err := mux.Greet(conn, mux.Hello{Identity: c.identity(), Kind: kind, To: to}, c.secrets(), timeout)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		if mux.AboutSecret(err) && c.mayLog(&c.secretLogged) {
			c.log.Warn("a node does not take this node's cluster secret, or has none", "addr", addr, "error", err)
		}
		return nil, w, errors.Join(err, conn.Close())
	}
	c.book.learn(w.Node, entry{Addr: w.Addr, Boot: w.Boot, Cluster: w.Cluster})
	return conn, w, nil
}

func (c *Cluster) secrets() (out mux.Secrets) {
	for _, s := range c.cfg.Secrets {
		out = append(out, []byte(s))
	}
	return out
}

// mayLog says whether a line that was last logged at the given time is due again.
func (c *Cluster) mayLog(last *time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(*last) < 15*time.Second {
		return false
	}
	*last = time.Now()
	return true
}

// wake lets the steward look at once.
func (c *Cluster) wake() {
	select {
	case c.wakeup <- struct{}{}:
	default:
	}
}

// Leader is who leads, as far as this node knows.
func (c *Cluster) Leader() Leader { return c.leaders.get() }

// IsLeader reports whether this node leads, as far as it knows.
func (c *Cluster) IsLeader() bool { return c.leaders.get().Self }

// Snapshot takes a snapshot of the state machine now and shortens the log,
// leaving some of it for nodes that lag a little. It returns when it is on disk.
// With nothing new since the last one it does nothing.
func (c *Cluster) Snapshot() error {
	r := c.raftNow()
	if snaps, err := c.stores.snaps.List(); err == nil && len(snaps) > 0 && snaps[0].Index >= r.AppliedIndex() {
		return nil
	}
	n, err := c.stores.log.trailing()
	if err != nil {
		return fmt.Errorf("snapshot: count log: %w", err)
	}
	conf := r.ReloadableConfig()
	conf.TrailingLogs = n
	if err := r.ReloadConfig(conf); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	err = r.Snapshot().Error()
	if errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}
