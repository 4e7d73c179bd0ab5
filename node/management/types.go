package management

import (
	"errors"
	"time"
)

// Errors that Broker.Forget returns, wrapped or not.
var (
	ErrUnknownNode = errors.New("no such node in the cluster")
	ErrNodeRunning = errors.New("the node is running: stop it first")
)

// ErrHashing means that Broker.State is at work for another caller.
var ErrHashing = errors.New("the state is being hashed for another request: try again later")

// StateInfo is the state of a node's replica, as checksums: nodes with the same index have the same ones.
type StateInfo struct {
	Node    string `json:"node"`  // name of the node that answers
	Index   uint64 `json:"index"` // of the last log entry applied
	History string `json:"history_hash"`
	State   string `json:"state_hash"`
}

// ClusterInfo is the cluster as one node sees it.
type ClusterInfo struct {
	Name          string   `json:"name"`
	ID            string   `json:"cluster_id"` // never changes; empty before the node belongs to a cluster
	Node          string   `json:"node"`       // name of the node that answers
	NodeID        string   `json:"id"`         // its id
	Leader        string   `json:"leader"`     // name of the leader, empty when none is known
	State         string   `json:"raft_state"`
	Term          uint64   `json:"raft_term"`
	CommitIndex   uint64   `json:"raft_commit_index"`
	AppliedIndex  uint64   `json:"raft_applied_index"`
	LastIndex     uint64   `json:"raft_last_index"`
	SnapshotIndex uint64   `json:"raft_snapshot_index"`
	Members       []Member `json:"members"`

	// Alarms are those that are raised on any node: publishers are blocked while there are any.
	Alarms []Alarm `json:"alarms"`
	// BeingDrained says that the node is in maintenance mode: it is well, and takes no clients.
	BeingDrained bool `json:"being_drained"`
	// Serving says that the node accepts AMQP clients.
	Serving bool `json:"serving"`
	// Waiting says what the node waits for before it can serve; empty when for nothing.
	Waiting string `json:"waiting,omitempty"`
}

// Member is a node of the cluster.
type Member struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	ClusterAddr string `json:"cluster_address"`
	AMQPAddr    string `json:"amqp_address"`
	HTTPAddr    string `json:"http_address"`
	Version     string `json:"version"`
	Voter       bool   `json:"raft_voter"`
	Leader      bool   `json:"raft_leader"`
	Running     bool   `json:"running"`
	// BeingDrained says that the node is in maintenance mode.
	BeingDrained bool `json:"being_drained"`
}

// Alarm is a resource that a node has run low on, in the form of RabbitMQ's health
// checks (rabbit_alarm:format_as_map).
type Alarm struct {
	Node     string `json:"node"`     // its name
	Resource string `json:"resource"` // memory or disk
}

// NodeStats are the numbers that only a node itself knows, with RabbitMQ's JSON
// names. Nodes send them to each other in this form. Sizes are bytes.
type NodeStats struct {
	MemoryUsed    int64 `json:"mem_used"`
	MemoryLimit   int64 `json:"mem_limit"` // 0: none is known
	MemoryAlarm   bool  `json:"mem_alarm"`
	DiskFree      int64 `json:"disk_free"`
	DiskFreeLimit int64 `json:"disk_free_limit"`
	DiskFreeAlarm bool  `json:"disk_free_alarm"`
	Uptime        int64 `json:"uptime"` // milliseconds
	PID           int   `json:"os_pid"`
	Processors    int   `json:"processors"`
	Processes     int   `json:"proc_used"` // goroutines
	FDUsed        int   `json:"fd_used"`   // 0, as FDTotal: not known
	FDTotal       int   `json:"fd_total"`
	SocketsUsed   int   `json:"sockets_used"` // AMQP connections
	Channels      int   `json:"channels"`     // open ones
	BeingDrained  bool  `json:"being_drained"`
	RaftStats
	Memory Memory `json:"memory"`
}

// RaftStats are the state of a node in the Raft group.
type RaftStats struct {
	State         string `json:"raft_state"` // Leader, Follower, Candidate or Shutdown
	Term          uint64 `json:"raft_term"`
	CommitIndex   uint64 `json:"raft_commit_index"`
	AppliedIndex  uint64 `json:"raft_applied_index"`
	LastIndex     uint64 `json:"raft_last_index"`
	SnapshotIndex uint64 `json:"raft_snapshot_index"`
}

// Memory is what the memory of a node is used for, in bytes.
type Memory struct {
	Messages  int64 `json:"messages"`  // bodies and what belongs to them
	Heap      int64 `json:"heap"`      // other objects, those too that are garbage
	Stacks    int64 `json:"stacks"`    // of goroutines
	Runtime   int64 `json:"runtime"`   // what the Go runtime needs for itself
	Unused    int64 `json:"unused"`    // kept for objects to come
	Allocated int64 `json:"allocated"` // the sum of these
	Resident  int64 `json:"resident"`  // as MemoryUsed
}

// Attempts are logins that were tried, on one node by one protocol, or from one source.
type Attempts struct {
	Protocol  string `json:"protocol"`       // amqp091 or http
	Address   string `json:"remote_address"` // of a source
	User      string `json:"username"`       // of a source
	Succeeded uint64 `json:"auth_attempts_succeeded"`
	Failed    uint64 `json:"auth_attempts_failed"`
}

// Certificates are those of a listener, with the times at which they expire.
type Certificates struct {
	Listener
	CertFile, CAFile      string
	CertExpires, CAExpire []time.Time
}

// Listener is a port that the node listens on.
type Listener struct {
	Protocol string `json:"protocol"` // amqp, amqp/ssl, http, https, clustering
	Address  string `json:"ip_address"`
	Port     int    `json:"port"`
}

// A ConnectionKey tells a connection from all others of the cluster.
type ConnectionKey struct {
	NodeID string `json:"node_id"` // of its node
	ID     uint64 `json:"id"`      // number in its node's process
}

// ConnectionRef is what a connection and its channels are looked for by. It is cheap to have
// of very many.
type ConnectionRef struct {
	ConnectionKey
	Node        string   `json:"node"`
	Name        string   `json:"name"`
	User        string   `json:"user"` // empty before the login
	VHost       string   `json:"vhost"`
	PeerHost    string   `json:"peer_host"`
	PeerPort    int      `json:"peer_port"`
	ConnectedAt int64    `json:"connected_at"` // milliseconds since the Unix epoch
	Channels    []uint16 `json:"channels"`     // numbers of the open ones, sorted
}

// Connection is one AMQP connection. The JSON names are RabbitMQ's; nodes send
// each other connections in the same form, with the key, Rates and ChannelInfos.
type Connection struct {
	ConnectionKey
	Name             string         `json:"name"`
	User             string         `json:"user"`
	VHost            string         `json:"vhost"`
	State            string         `json:"state"`
	Node             string         `json:"node"`
	Type             string         `json:"type"`
	Protocol         string         `json:"protocol"`
	AuthMechanism    string         `json:"auth_mechanism"`
	SSL              bool           `json:"ssl"`
	SSLProtocol      *string        `json:"ssl_protocol"` // these are null without TLS
	SSLKeyExchange   *string        `json:"ssl_key_exchange"`
	SSLCipher        *string        `json:"ssl_cipher"`
	SSLHash          *string        `json:"ssl_hash"`
	PeerCertSubject  *string        `json:"peer_cert_subject"` // and these without a certificate of the client
	PeerCertIssuer   *string        `json:"peer_cert_issuer"`
	PeerCertValidity *string        `json:"peer_cert_validity"`
	PeerHost         string         `json:"peer_host"`
	PeerPort         int            `json:"peer_port"`
	Host             string         `json:"host"`
	Port             int            `json:"port"`
	Channels         int            `json:"channels"`
	ChannelMax       int            `json:"channel_max"`
	FrameMax         int            `json:"frame_max"` // bytes
	Timeout          int            `json:"timeout"`   // heartbeat, seconds
	ClientProperties map[string]any `json:"client_properties"`
	UserProvidedName string         `json:"user_provided_name,omitempty"`
	ReceivedBytes    uint64         `json:"recv_oct"`
	ReceivedPackets  uint64         `json:"recv_cnt"`
	SentBytes        uint64         `json:"send_oct"`
	SentPackets      uint64         `json:"send_cnt"`
	Rates            TrafficRates   `json:"rates"`
	SendPending      int            `json:"send_pend"`    // bytes
	ConnectedAt      int64          `json:"connected_at"` // milliseconds since the Unix epoch
	ChannelInfos     []Channel      `json:"channel_infos"`
}

// Channel is one AMQP channel, with RabbitMQ's JSON names.
type Channel struct {
	Number        uint16            `json:"number"`
	Name          string            `json:"name"` // the connection's and " (1)"
	User          string            `json:"user"`
	VHost         string            `json:"vhost"`
	Node          string            `json:"node"`
	State         string            `json:"state"`
	Connection    ConnectionDetails `json:"connection_details"`
	Prefetch      int               `json:"prefetch_count"`
	GlobalQos     int               `json:"global_prefetch_count"`
	Unacked       int               `json:"messages_unacknowledged"`
	Unconfirmed   int               `json:"messages_unconfirmed"`
	Uncommitted   int               `json:"messages_uncommitted"`
	AcksPending   int               `json:"acks_uncommitted"`
	Consumers     int               `json:"consumer_count"`
	Confirm       bool              `json:"confirm"`
	Transactional bool              `json:"transactional"`

	Counts map[string]uint64  `json:"counts"` // what happened to messages, by RabbitMQ's names
	Rates  map[string]float64 `json:"rates"`  // of that, in a second
}

// TrafficRates are how much goes over the socket of a connection in a second.
type TrafficRates struct {
	ReceivedBytes   float64 `json:"recv_oct"`
	ReceivedPackets float64 `json:"recv_cnt"`
	SentBytes       float64 `json:"send_oct"`
	SentPackets     float64 `json:"send_cnt"`
}

// ConnectionDetails names a channel's connection.
type ConnectionDetails struct {
	Name     string `json:"name"`
	PeerHost string `json:"peer_host"`
	PeerPort int    `json:"peer_port"`
}
