// Package node is one Warren node: it plugs the parts together, in Open, and takes
// them apart, in Close. What each part promises is in DESIGN.md beside this file.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"warren/cluster"
	"warren/fsm"
	"warren/fsm/command"
	"warren/node/alarm"
	"warren/node/certs"
	"warren/node/delivery"
	"warren/node/guard"
	"warren/node/management"
	"warren/node/msgstore"
	"warren/node/proposer"
	"warren/node/replica"
	"warren/node/session"
)

// A Node is a running node.
type Node struct {
	cfg     Config
	id      string
	log     *slog.Logger
	started time.Time
	clock   *stampClock
	version atomic.Uint64 // of the state machine, as applied so far
	changes atomic.Uint64 // of parameters: see fsm.Output.Parameters

	disk      *msgstore.Store
	replica   *replica.Replica
	guard     *guard.Guard
	proposer  *proposer.Proposer
	cluster   *cluster.Cluster
	sessions  *delivery.Registry[*session.Session]
	replies   *replies
	shortcuts *shortcuts
	limits    session.Limits
	tuned     atomic.Pointer[Tuning]
	tally     session.Tally
	attempts  guard.AttemptLog
	metrics   *latencies
	alarms    *alarms
	ticker    *ticker
	shovels   *shovels
	emitter   *emitter
	traces    *traces

	certs       *certs.Store // nil without TLS
	amqp        net.Listener
	doors       []*door      // below amqp and amqps
	amqps       net.Listener // nil without TLS; its connections make their handshake themselves
	api         *management.Server
	http        *http.Server
	metricsHTTP *http.Server // nil without scrape
	web         net.Listener
	scrape      net.Listener // for Prometheus; nil: none
	webs        net.Listener // nil without TLS

	wired   chan struct{}   // closed when all fields above are set: callbacks wait for it
	ready   chan struct{}   // closed when AMQP connections are first served
	running context.Context // ends with stop
	stop    context.CancelFunc
	stopped <-chan struct{}
	work    sync.WaitGroup // background goroutines
	clients sync.WaitGroup // sessions
	nextID  atomic.Uint64  // last connection number
	backup  atomic.Bool    // one is being taken

	mu      sync.Mutex
	stalled bool      // nothing can be put in the log
	low     alarm.Set // what any node of the cluster is low on
	closing bool
	service maintenance
	traffic [4]uint64 // of connections that have ended; see session.Traffic

	shedding  sync.Mutex // held by shed
	draining  sync.Mutex // held while the node is drained or revived
	reloading sync.Mutex // held while settings are read again

	hashing sync.Mutex // held while the state is hashed: see broker.State

	ended   chan struct{} // closed by the first of fail and a finished Close
	endOnce sync.Once
	failure error
}

// Open starts a node. It returns when the node listens; Ready tells when it
// serves. On an error nothing is left running.
func Open(cfg Config) (*Node, error) {
	cfg = cfg.withDefaults()
	if cfg.NodeName == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("node name: %w", err)
		}
		cfg.NodeName = host
	}
	if err := checkRestored(cfg.DataDir); err != nil {
		return nil, err
	}
	id, err := identity(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	node, err := uuid.Parse(id)
	if err != nil {
		return nil, fmt.Errorf("node id: %w", err)
	}
	n := newNode(cfg, id, node)
	if err := n.open(); err != nil {
		n.abandon()
		return nil, err
	}
	return n, nil
}

// newNode returns a node of which nothing runs yet.
func newNode(cfg Config, id string, node uuid.UUID) *Node {
	ctx, cancel := context.WithCancel(context.Background())
	n := &Node{
		cfg: cfg, id: id,
		log:      cfg.Logger.With("node", cfg.NodeName),
		started:  time.Now(),
		sessions: delivery.NewRegistry[*session.Session](),
		metrics:  newLatencies(),
		wired:    make(chan struct{}),
		ready:    make(chan struct{}),
		ended:    make(chan struct{}),
		running:  ctx,
		stop:     cancel,
		stopped:  ctx.Done(),
	}
	n.tuned.Store(cfg.tuning())
	n.limits.Set(cfg.ConnectionMax, cfg.ChannelMaxPerNode)
	n.limits.Shed = n.shed
	n.replies = newReplies(n, node)
	n.shortcuts = newShortcuts(n, node)
	n.emitter = newEmitter(n)
	n.traces = newTraces(n)
	n.alarms = newAlarms(n)
	n.ticker = newTicker()
	n.clock = newStampClock(n.log)
	n.shovels = newShovels(n)
	n.version.Store(1) // a log that says nothing of it
	return n
}

// open takes the steps of starting, each after what it needs.
func (n *Node) open() (err error) {
	ctx := n.running
	// The listeners first: a port that is taken is the most likely error, and
	// nothing has to be undone yet. Nobody is accepted before the end.
	if n.amqp, err = n.listenClients(n.cfg.AMQPAddr); err != nil {
		return fmt.Errorf("listen for AMQP: %w", err)
	}
	if n.web, err = net.Listen("tcp", n.cfg.HTTPAddr); err != nil {
		return fmt.Errorf("listen for HTTP: %w", err)
	}
	if err := n.listenMetrics(); err != nil {
		return err
	}
	if err := n.listenTLS(); err != nil {
		return err
	}
	// The machine before the log that feeds it, the proposer before the first
	// entry is applied, as it has to see its own.
	n.disk, err = msgstore.Open(msgstore.Config{
		Dir: filepath.Join(n.cfg.DataDir, messagesDir), SegmentBytes: n.cfg.SegmentBytes, Logger: n.log,
	})
	if err != nil {
		return err
	}
	n.openMachine()
	// The cluster replays the log and may elect this node at once.
	if n.cluster, err = cluster.Open(n.clusterConfig()); err != nil {
		if reason := n.failed(); !errors.Is(err, reason) { // Raft does not say why it could not restore a snapshot
			err = errors.Join(err, reason)
		}
		return fmt.Errorf("open cluster: %w", err)
	}
	n.api = management.New(n.managementConfig())
	close(n.wired)
	// Operators may look before clients are served.
	n.http = n.newHTTP(n.api)
	for _, l := range []net.Listener{n.web, n.webs} {
		n.serveHTTP(n.http, l)
	}
	n.serveMetrics()
	if n.certs != nil {
		n.spawn(func() { n.certs.Watch(ctx, certsCheck, n.log) })
	}
	n.spawn(func() { n.api.Run(ctx) })
	n.spawn(func() { n.snapshots(ctx) })
	n.spawn(func() { n.upgrades(ctx) })
	n.spawn(func() { n.ticks(ctx) })
	n.spawn(func() { n.giveBackMemory(ctx) })
	n.spawn(func() { n.alarms.run(ctx) })
	n.spawn(func() { n.shovels.run(ctx) })
	n.spawn(func() { n.emitter.run(ctx) })
	n.spawn(func() { n.traces.run(ctx) })
	// Clients last: they need an epoch.
	n.spawn(func() { n.serveWhenOpened(ctx) })
	n.log.Info("node started", "id", n.id, "version", n.cfg.Version,
		"amqp", n.AMQPAddr(), "http", n.HTTPAddr(), "amqps", n.cfg.AMQPSAddr, "https", n.cfg.HTTPSAddr, "cluster", n.cluster.Addr(), "data", n.cfg.DataDir)
	return nil
}

// openMachine makes the state machine on the disk, and what puts commands in its log.
func (n *Node) openMachine() {
	n.replica = replica.New(replica.Config{
		Disk: n.disk, Node: n.id, MessageMemory: n.cfg.MessageMemory,
		OnApply:  n.metrics.observe(n.metrics.apply),
		Applied:  n.applied,
		Restored: n.restored,
		Failed:   n.end,
	})
	n.guard = guard.New(n.guardConfig())
	n.shortcuts.replica = n.replica
	n.proposer = proposer.New(proposer.Config{
		NodeID: n.id, NodeName: n.cfg.NodeName,
		Submit:   n.submit,
		OnStall:  n.onStall,
		OnCommit: n.metrics.committed,
		Logger:   n.log,
		Refuse:   n.tooNew,
		// Behind others in a batch it has to fit as well.
		MaxCommand: cluster.MaxBatch - command.BatchHeader - proposer.DefaultMaxBatch,
	})
}

// listenClients opens a door for clients.
func (n *Node) listenClients(addr string) (net.Listener, error) {
	d, err := openDoor(addr)
	if err != nil {
		return nil, err // not a listener that holds a nil *door
	}
	n.doors = append(n.doors, d)
	return d, nil
}

func (n *Node) spawn(f func()) {
	n.work.Add(1)
	go func() {
		defer n.work.Done()
		f()
	}()
}

func (n *Node) clusterConfig() cluster.Config {
	listen, dial := n.clusterTLS()
	return cluster.Config{
		TLSListen: listen, TLSDial: dial,
		ID: n.id, Name: n.cfg.NodeName,
		DataDir:       filepath.Join(n.cfg.DataDir, clusterDir),
		BindAddr:      n.cfg.ClusterAddr,
		AdvertiseAddr: n.cfg.ClusterAdvertise,
		Join:          n.cfg.Join,
		Expect:        n.cfg.Expect,
		Secrets:       n.cfg.ClusterSecrets,
		FSM:           n.replica,
		Prepare:       n.stamp,
		Patient:       command.IsPatient,
		Tags:          map[string]string{"amqp": n.AMQPAddr(), "http": n.HTTPAddr(), "version": n.cfg.Version, versionTag: strconv.Itoa(fsm.Version)},
		LogStore:      n.cfg.LogStore,
		SnapshotStore: n.disk,
		Timing: cluster.Timing{
			Heartbeat: n.cfg.HeartbeatTimeout,
			Election:  n.cfg.ElectionTimeout,
			NodeGrace: n.cfg.NodeGrace,
			DiskStall: n.diskStall(), DiskFail: n.cfg.DiskStall,
		},
		Handlers: n.handlers(),
		OnSync:   n.metrics.observe(n.metrics.sync),
		OnLeader: n.onLeader,
		OnDown:   n.onDown,
		OnFail:   n.end,        // what is on disk is right, what Raft has in memory is not
		Logger:   n.cfg.Logger, // it adds the node's name itself
	}
}

// diskStall is how long a write may take before a leader asks another node to lead.
func (n *Node) diskStall() time.Duration {
	if n.cfg.DiskStall < 0 {
		return n.cfg.DiskStall // never
	}
	return n.cfg.DiskStall / 10
}

// end says that the node is over, and why; nil after Close.
func (n *Node) end(err error) {
	n.endOnce.Do(func() {
		n.failure = err
		close(n.ended)
	})
}

// Wait returns when the node has been closed, or cannot go on: then with the
// reason, and Close is still to be called.
func (n *Node) Wait() error {
	<-n.ended
	return n.failure
}

// failed returns why the node is over, nil while it is not.
func (n *Node) failed() error {
	select {
	case <-n.ended:
		return n.failure
	default:
		return nil
	}
}

// aliveLook is how often it is looked whether a snapshot that takes the place of the state goes on.
const aliveLook = 100 * time.Millisecond

// Alive returns when the parts of the node answer that everything else waits for, or wait for a snapshot that is
// being taken in, which may be long. When they are stuck it never does.
func (n *Node) Alive() {
	_ = n.maintenance()
	loaded, answers := n.replica.Loaded(), make(chan struct{})
	go func() { // ends with the snapshot
		n.replica.View(func(*fsm.Machine) {})
		close(answers)
	}()
	tick := time.NewTicker(aliveLook)
	defer tick.Stop()
	for n.replica.Loaded() == loaded {
		select {
		case <-answers:
			return
		case <-tick.C:
		}
	}
}

// Ready is closed when the node serves AMQP clients for the first time.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// AMQPAddr is the address that the node listens on for AMQP.
func (n *Node) AMQPAddr() string { return n.amqp.Addr().String() }

// HTTPAddr is the address that the node listens on for HTTP.
func (n *Node) HTTPAddr() string { return n.web.Addr().String() }
