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
	"runtime/debug"
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

const (
	// closeTransfer, closeSessions and closeEpoch bound the steps of Close, so
	// that all of it stays well below the ten seconds that `docker stop` gives.
	closeTransfer = 3 * time.Second
	closeSessions = 3 * time.Second
	closeEpoch    = time.Second
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

// stamp runs on the leader as a batch enters the log.
func (n *Node) stamp(batch []byte) {
	command.Stamp(batch, n.clock.stamp(), n.proposer.Epoch())
}

// submit puts a batch on its way.
func (n *Node) submit(batch []byte, done func(ok bool)) {
	n.cluster.Propose(batch, func(a cluster.Answer) { done(a == cluster.Committed) })
}

// applied takes the output of each log entry. It runs on the goroutine that
// applies the log.
func (n *Node) applied(out *fsm.Output) {
	n.ticker.set(out.Due, out.AnyDue)
	n.clock.saw(out.Header.Stamp)
	n.version.Store(out.Version)
	n.noteParameters(out.Parameters)
	var waiters []command.Waiter
	epoch := n.proposer.Epoch()
	n.noteAccess(out)           // before anybody hears that it is done
	n.vhostEffects(out.Effects) // before anybody hears that it is done
	switch out.Verdict {
	case fsm.Applied:
		waiters = n.proposer.Applied(out.Header.Epoch, out.Header.Sequence)
	case fsm.Gap:
		n.proposer.Refused(out.Header.Epoch)
	}
	n.timeDeliveries(epoch, out)
	n.sessions.Dispatch(epoch, waiters, out.Results, out.Effects)
	for i := range out.Effects {
		switch e := &out.Effects[i]; {
		case e.Node != n.id:
		case e.Kind == command.EffectEpochOpened:
			n.proposer.EpochOpened(e.To.Epoch, e.Nonce)
		case e.Kind == command.EffectEpochRemoved:
			n.epochRemoved(e.To.Epoch, 0, 0, true)
		}
	}
}

// epochRemoved takes the end of an epoch; applied, refused and known as with the proposer's EpochRemoved.
func (n *Node) epochRemoved(epoch, applied, refused uint64, known bool) {
	if !n.proposer.EpochRemoved(epoch, applied, refused, known) {
		return
	}
	for _, s := range n.sessions.All() {
		s.EpochLost()
	}
}

// restored runs when a snapshot took the place of the state, on the goroutine
// that applies the log: sessions learn what they missed.
func (n *Node) restored(m *fsm.Machine) {
	n.guard.Changed()
	n.endGoneUsers()
	n.takeDue(m)
	n.clock.restored(m.Now())
	n.version.Store(m.Version())
	n.shovels.look()
	n.tapVHosts(m)
	defer n.vhostsRestored(m)
	epoch := n.proposer.Epoch()
	if epoch == 0 {
		return // none at the moment, or none yet: a snapshot read at the start
	}
	for _, e := range m.Epochs() {
		if e.Epoch != epoch {
			continue
		}
		n.log.Warn("a snapshot took the place of log entries; sessions are compared with it")
		n.proposer.Restored(e.Sequence, e.Refused)
		for conn, s := range n.sessions.All() {
			s.Restored(m.ConnState(epoch, conn))
		}
		return
	}
	for _, e := range m.Ended() {
		if e.Epoch == epoch {
			n.epochRemoved(epoch, e.Sequence, e.Refused, true)
			return
		}
	}
	n.epochRemoved(epoch, 0, 0, false)
}

// onLeader takes each change of the leader.
func (n *Node) onLeader(l cluster.Leader) {
	if !n.waitWired() {
		return
	}
	n.log.Info("leader", "leader", l.ID, "term", l.Term, "self", l.Self, "known", l.Known)
	n.proposer.LeaderChanged(l.Known)
	n.shovels.look()
}

// onDown removes the epochs of a node that is gone: its consumers go, and what
// they held returns to the queues. The leader calls it, again while it is so.
func (n *Node) onDown(id string) {
	if !n.waitWired() {
		return
	}
	var epochs []fsm.EpochInfo
	n.replica.View(func(m *fsm.Machine) { epochs = m.Epochs() })
	for _, e := range epochs {
		if e.Node != id || id == n.id {
			continue
		}
		n.log.Warn("node is gone, removing its epoch", "gone", e.Name, "gone_id", e.Node, "epoch", e.Epoch)
		n.removeEpoch(e.Epoch)
	}
}

// waitWired holds a callback of the cluster back until open has come past it. It
// returns false when it never will.
func (n *Node) waitWired() bool {
	select {
	case <-n.wired:
		return true
	case <-n.stopped:
		return false
	}
}

// removeEpoch proposes the end of an epoch and does not wait.
func (n *Node) removeEpoch(epoch uint64) <-chan cluster.Answer {
	answer := make(chan cluster.Answer, 1)
	batch := command.AppendToBatch(command.NewBatch(nil, 0, 0), &command.EpochRemove{Epoch: epoch})
	n.cluster.Propose(batch, func(a cluster.Answer) { answer <- a })
	return answer
}

// snapshotCheck is how often the node looks whether a snapshot is due. At 100 MB
// a second so many bytes of new messages are in memory beyond what is planned for.
const snapshotCheck = 100 * time.Millisecond

// snapshots takes a snapshot whenever one is due.
func (n *Node) snapshots(ctx context.Context) {
	tick := time.NewTicker(snapshotCheck)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !n.snapshotDue(time.Since(last)) {
			continue
		}
		start, bytes := time.Now(), n.replica.BytesSinceSnapshot()
		last = start
		if err := n.cluster.Snapshot(); err != nil {
			n.log.Error("snapshot", "err", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(snapshotRetry):
			}
			continue
		}
		total, live := n.disk.Usage()
		n.log.Info("snapshot taken", "took", time.Since(start), "log_bytes", bytes,
			"message_memory", n.replica.MessageMemory(), "message_disk", total, "message_disk_live", live)
	}
}

const (
	// snapshotRetry is how long the node waits after a snapshot that failed.
	snapshotRetry = 5 * time.Second
	// snapshotPause is the least time between two snapshots to give back disk: while one
	// is being sent to another node its files stay.
	snapshotPause = 5 * time.Second
	// memoryPause is the least time between two snapshots to let messages leave memory that came there by
	// few bytes of log: many that were moved, or died, and were on disk.
	memoryPause = time.Second
)

// snapshotDue reports whether a snapshot would shorten the log, let messages leave
// memory, or give back disk, by an amount that is worth it. since is the time since the
// last one was begun.
func (n *Node) snapshotDue(since time.Duration) bool {
	applied := n.replica.BytesSinceSnapshot()
	if applied >= n.cfg.SnapshotBytes {
		return true
	}
	if applied >= n.cfg.SnapshotBytes/4 && n.replica.MessageMemory() > n.cfg.MessageMemory {
		return true
	}
	if applied > 0 && since >= memoryPause && n.replica.MessageMemory() > n.cfg.MessageMemory+n.cfg.SnapshotBytes {
		return true
	}
	return applied > 0 && since >= snapshotPause && n.disk.Wasteful()
}

// giveBackMemory returns to the system, when the node idles, the memory that load
// needed and idling does not: also of load that brings few bytes, as declarations do.
func (n *Node) giveBackMemory(ctx context.Context) {
	const every, busy = 5 * time.Second, 1 << 20 // bytes of log in that time
	const worth = 24 << 20                       // bytes above what was kept the last time
	tick := time.NewTicker(every)
	defer tick.Stop()
	var last, kept int64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := n.replica.BytesApplied()
		idle := now-last < busy
		last = now
		used, err := alarm.MemoryUsed()
		if !idle || err != nil || used < kept+worth {
			kept = min(kept, used)
			continue
		}
		debug.FreeOSMemory()
		if used, err = alarm.MemoryUsed(); err == nil {
			kept = used
		}
	}
}

// Close stops the node: leadership is handed over, clients are told (320), and
// what they held is given back to the cluster before the node goes.
func (n *Node) Close(ctx context.Context) error {
	n.mu.Lock()
	if n.closing {
		n.mu.Unlock()
		return errors.New("node is closing already")
	}
	n.closing = true
	n.mu.Unlock()
	n.log.Info("node is stopping")
	if err := n.failed(); err != nil {
		n.cluster.Fail(err) // it does not wait for what will not come
		n.closeHTTP()       // whoever asks for its health hears that it is gone
	}

	// No new clients.
	n.amqp.Close()
	if n.amqps != nil {
		n.amqps.Close()
	}
	// Leadership first: the others go on while our clients say good-bye.
	if n.cluster.IsLeader() {
		tctx, cancel := context.WithTimeout(ctx, closeTransfer)
		if err := n.cluster.TransferLeadership(tctx, ""); err != nil {
			n.log.Info("leadership was not handed over", "err", err)
		}
		cancel()
	}
	// Clients get 320; their sessions propose the end of what they held.
	n.stop()
	wait(ctx, closeSessions, &n.clients)
	n.replies.close()
	n.shortcuts.close()
	// The epoch ends here, not when somebody notices.
	if epoch := n.proposer.Epoch(); epoch != 0 {
		select {
		case <-n.removeEpoch(epoch):
		case <-time.After(closeEpoch):
		case <-ctx.Done():
		}
	}
	n.proposer.Close()
	err := n.cluster.Shutdown(ctx)
	n.closeHTTP()
	n.work.Wait()
	if err != nil {
		// Raft may still be at work on the files: they stay open.
		err = fmt.Errorf("close cluster: %w", err)
	} else if err = n.disk.Close(); err != nil {
		err = fmt.Errorf("close message store: %w", err)
	} else {
		n.log.Info("node stopped")
	}
	n.end(err)
	return err
}

func (n *Node) closeHTTP() {
	if n.http == nil {
		for _, l := range []net.Listener{n.web, n.webs, n.scrape} {
			if l != nil {
				l.Close()
			}
		}
		return
	}
	n.http.Close()
	if n.metricsHTTP != nil {
		n.metricsHTTP.Close()
	}
}

// abandon undoes a start that failed.
func (n *Node) abandon() {
	n.stop()
	for _, l := range []net.Listener{n.amqp, n.amqps, n.web, n.webs, n.scrape} {
		if l != nil {
			l.Close()
		}
	}
	n.replies.close()
	n.shortcuts.close()
	if n.proposer != nil {
		n.proposer.Close()
	}
	if n.disk != nil {
		if err := n.disk.Close(); err != nil {
			n.log.Error("close message store", "err", err)
		}
	}
	n.work.Wait()
}

// wait waits for wg, d at most.
func wait(ctx context.Context, d time.Duration, wg *sync.WaitGroup) {
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(d):
	case <-ctx.Done():
	}
}
