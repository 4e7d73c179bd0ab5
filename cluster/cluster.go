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

// ID is the id of the cluster that the node belongs to, which never changes, or "".
func (c *Cluster) ID() string { return c.clusterID() }

// clusterID is the id of the cluster that the node belongs to, or "".
func (c *Cluster) clusterID() string { return *c.cluster.Load() }

func (c *Cluster) raftNow() *raft.Raft { return c.raft.Load() }

// Addr is the address that other nodes dial, host:port.
func (c *Cluster) Addr() string { return c.advertise }

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
