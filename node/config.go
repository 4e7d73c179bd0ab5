package node

import (
	"log/slog"
	"time"

	"warren/node/certs"
)

// Config says how a node runs. The zero value of a field means its default.
type Config struct {
	DataDir  string // the node's alone; made when missing
	NodeName string // for people; default: the host name
	Version  string

	AMQPAddr         string // default ":5672"
	HTTPAddr         string // default ":15672"
	ClusterAddr      string // gossip, Raft and calls between nodes; default ":7900"
	ClusterAdvertise string // what other nodes dial; default: from ClusterAddr

	Join   []string // cluster addresses of other nodes
	Expect int      // how many nodes form a new cluster

	ClusterSecrets []string // see cluster.Config.Secrets

	MetricsAddr string // of what Prometheus scrapes; default: none but /metrics at HTTPAddr

	AMQPSAddr string // AMQP over TLS; default: none
	HTTPSAddr string // HTTP over TLS; default: none
	TLS       TLS    // of these two, and of the cluster's port when ClusterTLS is set

	ClusterTLS bool // nodes speak TLS with each other; needs TLS.CA, and ClusterSecrets beside TLS.VerifyPeer

	ClusterName   string // shown to clients and operators; default "warren"
	DefaultUser   string // default "guest"
	DefaultPass   string // default "guest"
	AnonymousUser string // whom a client that uses ANONYMOUS logs in as; empty: it is not offered
	AnonymousPass string
	DefaultVHost  string   // of a new cluster; default "/"
	LoopbackUsers []string // may only connect from this machine; nil: guest. Empty, not nil: nobody is bound

	FrameMax          int           // bytes, default 131072
	ChannelMax        int           // default 2047
	ConsumerMax       int           // consumers of a channel; 0: no limit
	ConnectionMax     int           // AMQP connections open at once on this node; 0: no limit
	ChannelMaxPerNode int           // channels open at once on this node; 0: no limit
	Heartbeat         time.Duration // suggested to clients; default 60 s
	HandshakeTimeout  time.Duration // default 10 s
	MaxMessageSize    int           // bytes, default 16 MiB

	LogStore         string        // "wal" (default) or "boltdb"
	HeartbeatTimeout time.Duration // silence of the leader before an election; default 500 ms
	ElectionTimeout  time.Duration // default: as HeartbeatTimeout
	NodeGrace        time.Duration // how long an unreachable node keeps its consumers; default 10 s
	SnapshotBytes    int64         // log bytes between snapshots; default 64 MiB
	MessageMemory    int64         // bytes that messages may take of memory once they are on disk; default 128 MiB
	SegmentBytes     int64         // size of a file of messages; default 64 MiB

	MemoryWatermark Watermark     // memory above which the alarm is raised; default 0.6 of what is available
	DiskStall       time.Duration // of a write of the log, before the node stops; a leader hands over after a tenth; default 20 s, negative: never
	DiskFreeLimit   int64         // bytes free under DataDir below which the alarm is raised; default 50 MB, negative: never

	// Stop has the process end in order, for an operator who asks for it over HTTP; nil: that is refused.
	Stop func()
	// SetLogLevel sets the least important log line that is written: debug, info, warn or error. It holds until Reread or the end of the
	// process; nil: it cannot be set.
	SetLogLevel func(level string) error
	// Reread reads the settings again; nil: they cannot be. Its second result names those that have changed since
	// the last time.
	Reread func() (Tuning, Reloaded, error)
	// Settings are what operators are shown of all this, by the names of the settings and without secrets.
	Settings map[string]string

	Logger *slog.Logger
}

// TLS names the certificates of the listeners with TLS, and what their clients show.
type TLS = certs.Config

// A Watermark is an amount of memory: a part of what the process may use, or,
// when Bytes is not 0, so many bytes.
type Watermark struct {
	Fraction float64 // above 0, at most 1
	Bytes    int64
}

// Defaults of Config that other packages show.
const (
	DefaultAMQPAddr       = ":5672"
	DefaultHTTPAddr       = ":15672"
	DefaultClusterAddr    = ":7900"
	DefaultMetricsAddr    = ":15692" // of cmd/warren
	DefaultClusterName    = "warren"
	DefaultUser           = "guest"
	DefaultPass           = "guest"
	DefaultVHost          = "/"
	DefaultMaxMessageSize = 16 << 20
	DefaultSnapshotBytes  = 64 << 20
	DefaultMessageMemory  = 128 << 20
	DefaultSegmentBytes   = 64 << 20

	// As RabbitMQ 4 (https://www.rabbitmq.com/docs/memory, …/disk-alarms).
	DefaultMemoryWatermark = 0.6
	DefaultDiskFreeLimit   = 50_000_000
)

func (c Config) withDefaults() Config {
	def(&c.AMQPAddr, DefaultAMQPAddr)
	def(&c.HTTPAddr, DefaultHTTPAddr)
	def(&c.ClusterAddr, DefaultClusterAddr)
	def(&c.ClusterName, DefaultClusterName)
	def(&c.DefaultUser, DefaultUser)
	def(&c.DefaultPass, DefaultPass)
	def(&c.DefaultVHost, DefaultVHost)
	def(&c.MaxMessageSize, DefaultMaxMessageSize)
	def(&c.SnapshotBytes, DefaultSnapshotBytes)
	def(&c.MessageMemory, DefaultMessageMemory)
	def(&c.SegmentBytes, DefaultSegmentBytes)
	def(&c.MemoryWatermark, Watermark{Fraction: DefaultMemoryWatermark})
	def(&c.DiskFreeLimit, DefaultDiskFreeLimit)
	if c.LoopbackUsers == nil {
		c.LoopbackUsers = []string{DefaultUser}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
