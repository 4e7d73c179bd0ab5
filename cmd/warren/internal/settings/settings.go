// Package settings reads what a node is told: one table of settings, each with
// its flag, its WARREN_* variable, its key in a file, default and meaning. The
// flags, the help text, the parsing of variables and files, and
// docs/settings.md all come from that table.
//
// It knows nothing of what the values do: package main hands them to the node.
package settings

import (
	"log/slog"
	"strings"
	"time"
)

//go:generate go run ./gen ../../../../docs/settings.md

// Values holds the value of every setting. The table says what each means. Lists
// are never nil.
type Values struct {
	DataDir  string
	NodeName string

	AMQPAddr         string
	HTTPAddr         string
	ClusterAddr      string
	ClusterAdvertise string
	MetricsAddr      string

	AMQPSAddr            string
	HTTPSAddr            string
	TLSCert              string
	TLSKey               string
	TLSCA                string
	TLSVerify            string
	TLSFailIfNoPeerCert  bool
	TLSMinVersion        string
	SSLCertLoginFrom     string
	SSLCertLoginSANType  string
	SSLCertLoginSANIndex int

	ClusterName string
	Join        []string
	Expect      int

	ClusterTLS        bool
	ClusterSecret     []string
	ClusterSecretFile string

	DefaultUser   string
	DefaultVHost  string
	DefaultPass   string
	AnonymousUser string // empty: nobody may log in without a password
	AnonymousPass string
	LoopbackUsers []string

	MaxMessageSize        int           // bytes
	FrameMax              int           // bytes
	ChannelMax            int           // channels
	ChannelMaxPerNode     int           // channels; 0: no limit
	ConnectionMax         int           // connections; 0: no limit
	ConsumerMaxPerChannel int           // consumers; 0: no limit
	Heartbeat             time.Duration // whole seconds
	HandshakeTimeout      time.Duration

	LogStore         string
	HeartbeatTimeout time.Duration
	ElectionTimeout  time.Duration
	NodeGrace        time.Duration
	SnapshotBytes    int64 // bytes
	MessageMemory    int64 // bytes
	SegmentBytes     int64 // bytes

	MemoryHighWatermark Watermark
	DiskFreeLimit       int64         // bytes; 0: no limit
	DiskStallTimeout    time.Duration // 0: none

	ShutdownTimeout time.Duration
	LogLevel        slog.Level
	LogFormat       string
}

// A Watermark is an amount of memory: one of the two is set.
type Watermark struct {
	Fraction float64 // of the memory that is available, above 0, at most 1
	Bytes    int64
}

// The values of Values.TLSVerify, RabbitMQ's.
const (
	VerifyNone = "verify_none"
	VerifyPeer = "verify_peer"
)

// The values of Values.LogFormat.
const (
	LogText = "text"
	LogJSON = "json"
)

// A Setting is one row of the table.
type Setting struct {
	Flag    string // name of the flag, without the dashes
	Arg     string // what stands for the value in help
	Default string // as it would be written in a file; shown by help and docs
	Group   string // heading in docs/settings.md
	Meaning string // one sentence or two, with the unit and the range

	// Fallback is a variable of RabbitMQ's image that is read when our own
	// variable is not set. Empty: none.
	Fallback string
	// Reload is when a changed value counts after SIGHUP: AtOnce or NewConnections. Empty: after a restart.
	Reload string
	// Secret values are not shown in errors.
	Secret bool

	set func(v *Values, text string) error
}

// Env is the setting's environment variable.
func (s *Setting) Env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(s.Flag, "-", "_"))
}

// Key is the setting's key in a file.
func (s *Setting) Key() string { return strings.ReplaceAll(s.Flag, "-", "_") }

const envPrefix = "WARREN_"

// ConfigFlag and ConfigEnv name the file of settings. They are not part of the
// table because a file cannot name itself.
const (
	ConfigFlag = "config"
	ConfigEnv  = envPrefix + "CONFIG"
)

// Table returns all settings, in the order in which they are documented.
func Table() []*Setting { return table }

// find returns the setting with the given key of a file, nil when there is none.
func find(key string) *Setting {
	for _, s := range table {
		if s.Key() == key {
			return s
		}
	}
	return nil
}
