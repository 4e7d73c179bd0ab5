package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/hashicorp/raft"
)

// LogStore names for Config.LogStore.
const (
	LogStoreWAL    = "wal"    // hashicorp/raft-wal: append-only segments
	LogStoreBoltDB = "boltdb" // hashicorp/raft-boltdb/v2: a B+tree file
)

// DefaultMaxVoters is how many members vote at most when Config.MaxVoters is 0.
// More voters make every commit slower and protect against no likely failure.
const DefaultMaxVoters = 5

// Config says who a node is, whom it looks for, and what it runs.
type Config struct {
	// ID names the node for ever, across addresses and host names. It comes from
	// the data directory: a wiped node has a new one. Up to 128 bytes of letters,
	// digits, '.', '_', '-', '@'.
	ID string
	// Name is for people. Empty: the id.
	Name string
	// DataDir holds the log, the votes, the snapshots and what formation must
	// remember. It belongs to this package alone and is made when missing.
	DataDir string

	// BindAddr is where the node listens, TCP and UDP on the same number. The
	// host may be empty (all addresses); port 0 takes a free one.
	BindAddr string
	// AdvertiseAddr is host:port that the others dial. Empty: BindAddr's, with
	// this machine's first private address in place of an empty or zero host, and
	// the loopback address on a machine that has none. A host name is kept as a
	// name and looked up by those who dial.
	AdvertiseAddr string

	// Join lists addresses (host:port) of nodes to look for. It may name this
	// node itself, names that do not resolve yet, and any of them twice.
	Join []string
	// Expect is how many nodes a new cluster is made of. With no Join, and
	// Expect 0 or 1, a fresh node is a cluster at once. With Join and Expect 0 or
	// 1 a fresh node only ever joins a cluster that is there.
	Expect int

	// FSM is the state machine. It should be a raft.BatchingFSM.
	FSM raft.FSM
	// Prepare is called on the leader, in the order of the log, with each batch
	// right before it enters the log. It may change the batch's bytes in place,
	// not its length. It runs under a lock: it must be short.
	Prepare func(batch []byte)

	// Patient reports whether nobody waits for a batch that was proposed. Such a one stays with the
	// leader, for a millisecond at most, until another comes that takes it along: with one write
	// to each disk and follower for both. With nil all go at once.
	Patient func(batch []byte) bool

	// Secrets protect the node's port: nobody takes part who does not know one of
	// them. The first is the one that this node proves and gossips with, all are
	// accepted, so that a cluster changes its secret node by node: add the new one
	// behind the old on all, then put it first on all, then take the old one away.
	// None: whoever reaches the port is believed.
	Secrets []string

	// TLSListen and TLSDial encrypt the connections between nodes; both or none. Each
	// side has to verify the other. Gossip's packets are not covered: Secrets encrypt those.
	TLSListen, TLSDial *tls.Config

	// Tags are spread by gossip and show in Members: the addresses of other
	// listeners, versions. All together up to about 300 bytes.
	Tags map[string]string

	// LogStore is LogStoreWAL (also when empty) or LogStoreBoltDB. A data
	// directory remembers the one that it was made with.
	LogStore string
	// Timing: zero fields mean their defaults.
	Timing Timing
	// MaxVoters bounds how many members vote; the others only follow. 0: DefaultMaxVoters.
	MaxVoters int
	// SnapshotStore replaces the file store of snapshots under DataDir.
	SnapshotStore raft.SnapshotStore
	// TrailingBytes of log stay behind a snapshot, for nodes that lag a little; default 64 MiB.
	TrailingBytes int
	// Storage replaces the files under DataDir, for tests. It needs a SnapshotStore beside it.
	Storage Storage
	// Network replaces the operating system's, for tests.
	Network Network

	// Handlers answer Call from other nodes, by method name.
	Handlers map[string]Handler
	// OnLeader is told every change of the leader as this node sees it, in
	// order, by one goroutine; it may block.
	OnLeader func(Leader)
	// OnDown is told, on the leader only, that a node's process is gone, that it
	// was unreachable for Timing.NodeGrace, or that it was removed. It is told
	// again, every few seconds and after a change of leader, while it is still so.
	// One goroutine calls; it may block.
	OnDown func(nodeID string)

	// OnSync, if there is one, takes how long it took to bring entries to disk, each time. It must not block.
	OnSync func(time.Duration)
	// OnFail is told, once, that the files of Raft cannot be written or read, or that the
	// disk stands still (Timing.DiskFail). Nothing that is not on disk is confirmed or applied any more, and
	// the owner has to call Shutdown: it should end the process, also when Shutdown does
	// not return, as the system may keep a thread that waits for its disk. It must not block.
	OnFail func(error)

	// Logger: nil means slog.Default().
	Logger *slog.Logger
}

// Timing holds all durations. A zero field means its default.
type Timing struct {
	Heartbeat   time.Duration // silence of the leader before a follower stands; default 500 ms
	Election    time.Duration // how long a candidate waits for votes; at least Heartbeat, which is its default
	LeaderLease time.Duration // how long a leader without a quorum goes on; at most Heartbeat, default 80 % of it
	Commit      time.Duration // raft's own commit notice to followers, a backstop of ours; default 50 ms

	NodeGrace  time.Duration // how long a node may be unreachable before OnDown; default 10 s
	GoneGrace  time.Duration // how long a node that refuses connections may do so before OnDown; default 1 s
	VoterGrace time.Duration // dead voters are removed after it; 0: never

	DiskStall time.Duration // how long a write to disk may take before a leader asks another voter to take over; default 2 s, negative: nothing is done
	DiskFail  time.Duration // how long before the node fails (OnFail); default 20 s, negative: never

	Ping        time.Duration // keepalive on node-to-node links, and the leader's check of its members; default 500 ms
	LinkTimeout time.Duration // silence on a link before it is broken; at least 3×Ping; default 5 s
	Dial        time.Duration // to connect and greet; default 2 s
	RPC         time.Duration // for one Raft request (snapshots: more, by size); default 10 s
	Call        time.Duration // for Call when its context has no deadline; default 5 s
	Transfer    time.Duration // to hand leadership over in Shutdown; default 3 s
	Retry       time.Duration // between attempts to find, form or join a cluster; default 500 ms
}

func (t Timing) withDefaults() Timing {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&t.Heartbeat, 500*time.Millisecond)
	def(&t.Election, t.Heartbeat)
	t.Election = max(t.Election, t.Heartbeat)
	def(&t.LeaderLease, t.Heartbeat*4/5)
	t.LeaderLease = min(t.LeaderLease, t.Heartbeat)
	def(&t.Commit, 50*time.Millisecond)
	def(&t.NodeGrace, 10*time.Second)
	def(&t.GoneGrace, time.Second)
	if t.DiskStall == 0 {
		t.DiskStall = 2 * time.Second
	}
	if t.DiskFail == 0 {
		t.DiskFail = 20 * time.Second
	}
	def(&t.Ping, 500*time.Millisecond)
	def(&t.LinkTimeout, 5*time.Second)
	t.LinkTimeout = max(t.LinkTimeout, 3*t.Ping)
	def(&t.Dial, 2*time.Second)
	def(&t.RPC, 10*time.Second)
	def(&t.Call, 5*time.Second)
	def(&t.Transfer, 3*time.Second)
	def(&t.Retry, 500*time.Millisecond)
	return t
}

// Handler answers one Call. from is the id of the calling node. The payload is
// the handler's to keep. An error reaches the caller as text, see RemoteError.
type Handler func(ctx context.Context, from string, payload []byte) ([]byte, error)

// Leader is who leads, as one node sees it.
type Leader struct {
	ID    string // node id; empty when not Known
	Term  uint64 // Raft term
	Self  bool   // this node leads
	Known bool   // false while there is none
}

// Member is one node of the cluster, or one that gossip has seen.
type Member struct {
	ID     string
	Name   string            // empty when never heard from
	Addr   string            // host:port last known; empty when never known
	Member bool              // part of the Raft configuration
	Voter  bool              // votes
	Leader bool              // leads
	Self   bool              // this node
	Alive  bool              // gossip has it alive, or it is this node
	Tags   map[string]string // as last spread
	// Reluctant says that it leaves leading to others, see SetReluctant.
	Reluctant bool
	// LastContact is when the leader last had an answer from it; zero when
	// unknown, which it always is on a follower but for the leader's own row.
	LastContact time.Time
}

// Stats are numbers of the local Raft node.
type Stats struct {
	State         string // Follower, Candidate, Leader, Shutdown
	ClusterID     string // empty before the node belongs to a cluster
	Term          uint64
	CommitIndex   uint64
	AppliedIndex  uint64 // handed to the state machine, which may still be at work on it
	LastLogIndex  uint64
	SnapshotIndex uint64 // last entry in the newest snapshot
	LeaderID      string
	Waiting       string // what the node waits for before it can take part; empty when for nothing
}

// Answer is what became of a proposed batch.
type Answer uint8

// The answers to Propose.
const (
	// Unknown: the batch may be in the log, now or later, or may not.
	Unknown Answer = iota
	// Committed: the batch is in the log for good. The local state machine may
	// not have applied it yet.
	Committed
	// Refused: the batch is not in the log, and this attempt will not put it there.
	Refused
)

func (a Answer) String() string {
	switch a {
	case Committed:
		return "committed"
	case Refused:
		return "refused"
	default:
		return "unknown"
	}
}

// Errors of the operations.
var (
	ErrClosed      = errors.New("cluster is shut down")
	ErrNoLeader    = errors.New("the cluster has no leader")
	ErrNoSuchNode  = errors.New("no such node in the cluster")
	ErrNodeRunning = errors.New("node is running: stop it first")
	ErrQuorum      = errors.New("removing the node would leave the cluster without a quorum")
	ErrLastVoter   = errors.New("the last voter cannot be removed")
	ErrRemoveSelf  = errors.New("a node cannot remove itself: ask another one")
	ErrUnreachable = errors.New("node is unreachable")
	ErrNoMethod    = errors.New("node has no such method")
	ErrNotMember   = errors.New("node is not a member of the cluster yet")
	ErrTooLarge    = errors.New("payload is too large")
	ErrAmbiguous   = errors.New("more than one node has that name: use the id")
)

// RemoteError is an error that a handler on another node returned.
type RemoteError struct {
	Node, Method, Message string
}

func (e *RemoteError) Error() string {
	return fmt.Sprintf("%s on node %s: %s", e.Method, e.Node, e.Message)
}

// MaxBatch is the largest batch that Propose takes, in bytes. hashicorp/raft-wal
// keeps no entry above 64 MiB; the rest is room for what Raft adds.
const MaxBatch = 60 << 20

// MinSecret is the least length of a secret, in bytes: who has overheard a greeting
// can try to guess one at leisure.
const MinSecret = 16

// MaxCall is the largest payload of a Call or of its answer, in bytes.
const MaxCall = 64 << 20

func (cfg *Config) check() error {
	if err := checkID(cfg.ID); err != nil {
		return err
	}
	if cfg.Name == "" {
		cfg.Name = cfg.ID
	}
	if cfg.DataDir == "" && cfg.Storage == nil {
		return errors.New("no data directory")
	}
	if cfg.Storage != nil && cfg.SnapshotStore == nil {
		return errors.New("a storage of its own needs a snapshot store of its own")
	}
	if cfg.FSM == nil {
		return errors.New("no state machine")
	}
	switch cfg.LogStore {
	case "":
		cfg.LogStore = LogStoreWAL
	case LogStoreWAL, LogStoreBoltDB:
	default:
		return fmt.Errorf("unknown log store %q: %s or %s", cfg.LogStore, LogStoreWAL, LogStoreBoltDB)
	}
	if cfg.TrailingBytes <= 0 {
		cfg.TrailingBytes = trailingBytes
	}
	if cfg.MaxVoters <= 0 {
		cfg.MaxVoters = DefaultMaxVoters
	}
	if cfg.Expect > 1 && len(cfg.Join) == 0 {
		return fmt.Errorf("expecting %d nodes needs addresses to join", cfg.Expect)
	}
	for _, a := range cfg.Join {
		if err := checkAddr(a); err != nil {
			return fmt.Errorf("join address %q: %w", a, err)
		}
	}
	if cfg.AdvertiseAddr != "" {
		if err := checkAddr(cfg.AdvertiseAddr); err != nil {
			return fmt.Errorf("advertised address %q: %w", cfg.AdvertiseAddr, err)
		}
	}
	for _, s := range cfg.Secrets {
		if len(s) < MinSecret {
			return fmt.Errorf("cluster secret of %d bytes: at least %d needed", len(s), MinSecret)
		}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Network == nil {
		cfg.Network = osNetwork{}
	}
	if (cfg.TLSListen == nil) != (cfg.TLSDial == nil) {
		return errors.New("TLS to listen and to dial go together")
	}
	if cfg.TLSListen != nil {
		cfg.Network = &tlsNetwork{Network: cfg.Network, listen: cfg.TLSListen, dial: cfg.TLSDial}
	}
	cfg.Timing = cfg.Timing.withDefaults()
	return nil
}

func checkID(id string) error {
	if id == "" || len(id) > 128 {
		return fmt.Errorf("node id of %d bytes: 1 to 128 allowed", len(id))
	}
	for _, r := range id {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9',
			r == '.', r == '_', r == '-', r == '@':
		default:
			return fmt.Errorf("node id %q: %q is not allowed", id, r)
		}
	}
	return nil
}

func checkAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if host == "" {
		return errors.New("no host")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("bad port %q", port)
	}
	return nil
}
