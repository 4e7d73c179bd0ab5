package settings

const (
	groupNode    = "Node"
	groupListen  = "Addresses"
	groupTLS     = "TLS"
	groupCluster = "Cluster"
	groupUsers   = "Users"
	groupAMQP    = "AMQP limits"
	groupStorage = "Log and snapshots"
	groupAlarms  = "Alarms"
	groupProcess = "Process"
)

var table = []*Setting{
	{
		Flag: "data-dir", Arg: "DIR", Default: "warren-data", Group: groupNode,
		Meaning: "directory of the node's identity, log, snapshots and messages; made when missing; a relative path starts at the current directory",
		set:     text(func(v *Values) *string { return &v.DataDir }),
	},
	{
		Flag: "node-name", Arg: "NAME", Default: "", Group: groupNode,
		Meaning: "name shown to people; the host name when empty; the node's identity does not depend on it",
		set:     optional(func(v *Values) *string { return &v.NodeName }),
	},
	{
		Flag: "amqp-addr", Arg: "[HOST]:PORT", Default: ":5672", Group: groupListen,
		Meaning: "address for AMQP 0-9-1 clients; no host means all addresses of the machine",
		set:     address(func(v *Values) *string { return &v.AMQPAddr }),
	},
	{
		Flag: "http-addr", Arg: "[HOST]:PORT", Default: ":15672", Group: groupListen,
		Meaning: "address of the HTTP API that warrenctl uses",
		set:     address(func(v *Values) *string { return &v.HTTPAddr }),
	},
	{
		Flag: "metrics-addr", Arg: "[HOST]:PORT", Default: ":15692", Group: groupListen,
		Meaning: "address where Prometheus scrapes /metrics, without a login; when the default one is taken, the node goes on without; empty: none but /metrics at http-addr",
		set:     optionalListener(func(v *Values) *string { return &v.MetricsAddr }),
	},
	{
		Flag: "cluster-addr", Arg: "[HOST]:PORT", Default: ":7900", Group: groupListen,
		Meaning: "address for the other nodes, TCP and UDP: gossip, Raft and calls between nodes; do not open it to clients",
		set:     address(func(v *Values) *string { return &v.ClusterAddr }),
	},
	{
		Flag: "cluster-advertise", Arg: "HOST:PORT", Default: "", Group: groupListen,
		Meaning: "address at which the other nodes reach this one; when empty, that of cluster-addr, with the machine's first private address in place of a missing host",
		set:     optionalAddress(func(v *Values) *string { return &v.ClusterAdvertise }),
	},
	{
		Flag: "amqps-addr", Arg: "[HOST]:PORT", Default: "", Group: groupTLS,
		Meaning: "address for AMQP 0-9-1 clients with TLS, :5671 by custom; empty: none",
		set:     optionalListener(func(v *Values) *string { return &v.AMQPSAddr }),
	},
	{
		Flag: "https-addr", Arg: "[HOST]:PORT", Default: "", Group: groupTLS,
		Meaning: "address of the HTTP API with TLS, :15671 by custom; empty: none",
		set:     optionalListener(func(v *Values) *string { return &v.HTTPSAddr }),
	},
	{
		Flag: "tls-cert", Arg: "FILE", Default: "", Group: groupTLS,
		Meaning: "PEM file of this node's certificate, and those between it and its authority; this file, tls-key and tls-ca are read again on SIGHUP and when they have changed",
		set:     optional(func(v *Values) *string { return &v.TLSCert }),
	},
	{
		Flag: "tls-key", Arg: "FILE", Default: "", Group: groupTLS,
		Meaning: "PEM file of the private key of tls-cert",
		set:     optional(func(v *Values) *string { return &v.TLSKey }),
	},
	{
		Flag: "tls-ca", Arg: "FILE", Default: "", Group: groupTLS,
		Meaning: "PEM file of the authorities whose clients are believed",
		set:     optional(func(v *Values) *string { return &v.TLSCA }),
	},
	{
		Flag: "tls-verify", Arg: "NAME", Default: VerifyNone, Group: groupTLS,
		Meaning: "verify_peer: clients are asked for a certificate of tls-ca, and may log in with it (EXTERNAL); verify_none: they are not",
		set:     oneOf(func(v *Values) *string { return &v.TLSVerify }, VerifyNone, VerifyPeer),
	},
	{
		Flag: "tls-fail-if-no-peer-cert", Arg: "BOOL", Default: "false", Group: groupTLS,
		Meaning: "with verify_peer: true refuses clients without a certificate",
		set:     boolean(func(v *Values) *bool { return &v.TLSFailIfNoPeerCert }),
	},
	{
		Flag: "tls-min-version", Arg: "VERSION", Default: "1.2", Group: groupTLS,
		Meaning: "oldest version of TLS that is spoken: 1.2 or 1.3",
		set:     oneOf(func(v *Values) *string { return &v.TLSMinVersion }, "1.2", "1.3"),
	},
	{
		Flag: "ssl-cert-login-from", Arg: "NAME", Default: "distinguished_name", Group: groupTLS,
		Meaning: "what of a client's certificate is its user name for EXTERNAL: distinguished_name, common_name or subject_alternative_name",
		set:     oneOf(func(v *Values) *string { return &v.SSLCertLoginFrom }, "distinguished_name", "common_name", "subject_alternative_name"),
	},
	{
		Flag: "ssl-cert-login-san-type", Arg: "NAME", Default: "dns", Group: groupTLS,
		Meaning: "with subject_alternative_name: the type of that name, dns, ip, email or uri",
		set:     oneOf(func(v *Values) *string { return &v.SSLCertLoginSANType }, "dns", "ip", "email", "uri"),
	},
	{
		Flag: "ssl-cert-login-san-index", Arg: "N", Default: "0", Group: groupTLS,
		Meaning: "with subject_alternative_name: which one of that type, from 0",
		set:     number(func(v *Values) *int { return &v.SSLCertLoginSANIndex }, 0, 99),
	},
	{
		Flag: "cluster-name", Arg: "NAME", Default: "warren", Group: groupCluster,
		Meaning: "name of a new cluster, shown to clients and operators; warrenctl set_cluster_name changes it",
		set:     text(func(v *Values) *string { return &v.ClusterName }),
	},
	{
		Flag: "join", Arg: "HOST:PORT,...", Default: "", Group: groupCluster,
		Meaning: "cluster addresses of nodes to look for, separated by commas; may name this node too; empty: a node alone",
		set:     addresses(func(v *Values) *[]string { return &v.Join }),
	},
	{
		Flag: "expect", Arg: "N", Default: "0", Group: groupCluster,
		Meaning: "how many nodes found the cluster together: the first start waits until so many see one another; with join and 0, only an existing cluster is joined; without meaning once the node belongs to a cluster",
		set:     number(func(v *Values) *int { return &v.Expect }, 0, 99),
	},
	{
		Flag: "cluster-secret", Arg: "SECRET,...", Default: "", Group: groupCluster, Secret: true,
		Meaning: "what a node has to know to take part, the same on all nodes, at least 16 bytes; of several, separated by commas, the first is used and all are accepted; better given by variable or file; empty: whoever reaches cluster-addr takes part",
		set:     list(func(v *Values) *[]string { return &v.ClusterSecret }),
	},
	{
		Flag: "cluster-secret-file", Arg: "FILE", Default: "", Group: groupCluster,
		Meaning: "file with cluster-secret in it, one on each line; in place of that setting",
		set:     optional(func(v *Values) *string { return &v.ClusterSecretFile }),
	},
	{
		Flag: "cluster-tls", Arg: "BOOL", Default: "false", Group: groupCluster,
		Meaning: "true: connections between nodes are encrypted; each node shows tls-cert, which must be good for servers and clients, and believes those that tls-ca has signed; the same on all nodes; with tls-verify = verify_peer it needs a cluster-secret",
		set:     boolean(func(v *Values) *bool { return &v.ClusterTLS }),
	},
	{
		Flag: "node-grace", Arg: "DURATION", Default: "10s", Group: groupCluster,
		Meaning: "how long a node may be unreachable before its consumers are removed and their unacknowledged messages go back to the queues; a process that is seen to be gone is not waited for so long",
		set:     duration(func(v *Values) *durationField { return &v.NodeGrace }, seconds(1), hours(24)),
	},
	{
		Flag: "heartbeat-timeout", Arg: "DURATION", Default: "500ms", Group: groupCluster,
		Meaning: "silence of the Raft leader after which a follower stands for election; raise it on slow networks",
		set:     duration(func(v *Values) *durationField { return &v.HeartbeatTimeout }, millis(50), seconds(60)),
	},
	{
		Flag: "election-timeout", Arg: "DURATION", Default: "500ms", Group: groupCluster,
		Meaning: "how long a candidate waits for votes before it tries again; at least heartbeat-timeout",
		set:     duration(func(v *Values) *durationField { return &v.ElectionTimeout }, millis(50), seconds(60)),
	},
	{
		Flag: "default-user", Arg: "NAME", Default: "guest", Group: groupUsers, Fallback: "RABBITMQ_DEFAULT_USER",
		Meaning: "first user of a new cluster, an administrator with all permissions in the vhost of --default-vhost; without meaning once the cluster has users",
		set:     text(func(v *Values) *string { return &v.DefaultUser }),
	},
	{
		Flag: "default-pass", Arg: "PASSWORD", Default: "guest", Group: groupUsers, Fallback: "RABBITMQ_DEFAULT_PASS", Secret: true,
		Meaning: "password of the first user; better given by variable or file, because other users of the machine can read flags",
		set:     text(func(v *Values) *string { return &v.DefaultPass }),
	},
	{
		Flag: "default-vhost", Arg: "NAME", Default: "/", Group: groupUsers, Fallback: "RABBITMQ_DEFAULT_VHOST",
		Meaning: "virtual host that a new cluster has; without meaning once the cluster has been started",
		set:     text(func(v *Values) *string { return &v.DefaultVHost }),
	},
	{
		Flag: "anonymous-login-user", Arg: "NAME", Default: "", Group: groupUsers,
		Meaning: "user as whom a client logs in that uses the mechanism ANONYMOUS, without a password of its own; empty: it is not offered",
		set:     optional(func(v *Values) *string { return &v.AnonymousUser }),
	},
	{
		Flag: "anonymous-login-pass", Arg: "PASSWORD", Default: "", Group: groupUsers, Secret: true,
		Meaning: "password of anonymous-login-user",
		set:     optional(func(v *Values) *string { return &v.AnonymousPass }),
	},
	{
		Flag: "loopback-users", Arg: "NAME,...", Default: "guest", Group: groupUsers,
		Meaning: "users that may connect from this machine only, separated by commas; empty: none",
		set:     list(func(v *Values) *[]string { return &v.LoopbackUsers }),
	},
	{
		Flag: "max-message-size", Arg: "SIZE", Default: "16MiB", Group: groupAMQP,
		Meaning: "largest message body that is accepted, up to 40MiB, as one has to fit in an entry of the log; a larger one closes the channel with 406",
		set:     sizeInt(func(v *Values) *int { return &v.MaxMessageSize }, 1, 40<<20),
	},
	{
		Flag: "frame-max", Arg: "SIZE", Default: "128KiB", Group: groupAMQP, Reload: NewConnections,
		Meaning: "largest frame that is proposed to a client, 8KiB to 16MiB; a client may ask for less, down to 4KiB",
		set:     sizeInt(func(v *Values) *int { return &v.FrameMax }, 8192, 16<<20),
	},
	{
		Flag: "channel-max", Arg: "N", Default: "2047", Group: groupAMQP, Reload: NewConnections,
		Meaning: "most channels on one connection, 1 to 65535",
		set:     number(func(v *Values) *int { return &v.ChannelMax }, 1, 65535),
	},
	{
		Flag: "channel-max-per-node", Arg: "N", Default: "0", Group: groupAMQP, Reload: AtOnce,
		Meaning: "most channels that are open at once on the connections of this node; one more closes its connection with 530; 0: no limit",
		set:     number(func(v *Values) *int { return &v.ChannelMaxPerNode }, 0, 1<<30),
	},
	{
		Flag: "connection-max", Arg: "N", Default: "0", Group: groupAMQP, Reload: AtOnce,
		Meaning: "most AMQP connections that are open at once on this node; one more is refused with 530 at connection.open; 0: no limit",
		set:     number(func(v *Values) *int { return &v.ConnectionMax }, 0, 1<<30),
	},
	{
		Flag: "consumer-max-per-channel", Arg: "N", Default: "0", Group: groupAMQP, Reload: NewConnections,
		Meaning: "most consumers of one channel; one more closes its connection with 530; 0: no limit",
		set:     number(func(v *Values) *int { return &v.ConsumerMaxPerChannel }, 0, 1<<30),
	},
	{
		Flag: "heartbeat", Arg: "DURATION", Default: "60s", Group: groupAMQP, Reload: NewConnections,
		Meaning: "heartbeat that is proposed to clients, in whole seconds, 1s to 65535s; the client's answer decides, and 0 there means none",
		set:     wholeSeconds(func(v *Values) *durationField { return &v.Heartbeat }, seconds(1), seconds(65535)),
	},
	{
		Flag: "handshake-timeout", Arg: "DURATION", Default: "10s", Group: groupAMQP, Reload: NewConnections,
		Meaning: "how long a client may take from connecting to connection.open",
		set:     duration(func(v *Values) *durationField { return &v.HandshakeTimeout }, millis(100), hours(1)),
	},
	{
		Flag: "log-store", Arg: "NAME", Default: "wal", Group: groupStorage,
		Meaning: "where the Raft log is kept: wal (segment files) or boltdb (one B+tree file); a data directory keeps the one that it was made with",
		set:     oneOf(func(v *Values) *string { return &v.LogStore }, "wal", "boltdb"),
	},
	{
		Flag: "snapshot-bytes", Arg: "SIZE", Default: "64MiB", Group: groupStorage,
		Meaning: "bytes of log after which a snapshot is taken and the log before it is cut",
		set:     size(func(v *Values) *int64 { return &v.SnapshotBytes }, 1<<20, 1<<40),
	},
	{
		Flag: "message-memory", Arg: "SIZE", Default: "128MiB", Group: groupStorage,
		Meaning: "memory that messages may take once a snapshot has put them on disk; messages since the last snapshot come on top, up to twice --snapshot-bytes",
		set:     size(func(v *Values) *int64 { return &v.MessageMemory }, 1<<20, 1<<40),
	},
	{
		Flag: "segment-bytes", Arg: "SIZE", Default: "64MiB", Group: groupStorage,
		Meaning: "size of a file of messages; a file goes when none of its messages is left",
		set:     size(func(v *Values) *int64 { return &v.SegmentBytes }, 1<<20, 1<<30),
	},
	{
		Flag: "memory-high-watermark", Arg: "AMOUNT", Default: "0.6", Group: groupAlarms, Reload: AtOnce,
		Meaning: "memory that the process may use before publishers of the whole cluster are blocked: a part, above 0 and at most 1, of what the machine or the container has, or a size of at least 1MiB, like 2GB",
		set:     watermark(func(v *Values) *Watermark { return &v.MemoryHighWatermark }),
	},
	{
		Flag: "disk-free-limit", Arg: "SIZE", Default: "50MB", Group: groupAlarms, Reload: AtOnce,
		Meaning: "free space on the disk of data-dir below which publishers of the whole cluster are blocked; 0: never",
		set:     size(func(v *Values) *int64 { return &v.DiskFreeLimit }, 0, 1<<60),
	},
	{
		Flag: "disk-stall-timeout", Arg: "DURATION", Default: "20s", Group: groupAlarms,
		Meaning: "how long a write of the log may take before the node takes its disk for lost and stops, so that its clients go elsewhere; after a tenth of it a leader asks another node to lead; 0: it waits for ever",
		set:     duration(func(v *Values) *durationField { return &v.DiskStallTimeout }, 0, hours(24)),
	},
	{
		Flag: "shutdown-timeout", Arg: "DURATION", Default: "10s", Group: groupProcess,
		Meaning: "how long SIGTERM or SIGINT may take to hand leadership over, close clients with 320 and write what is open; then the process ends with an error",
		set:     duration(func(v *Values) *durationField { return &v.ShutdownTimeout }, millis(100), hours(1)),
	},
	{
		Flag: "log-level", Arg: "LEVEL", Default: "info", Group: groupProcess, Reload: AtOnce,
		Meaning: "least important log line that is written: debug, info, warn or error",
		set:     logLevel,
	},
	{
		Flag: "log-format", Arg: "FORMAT", Default: LogText, Group: groupProcess,
		Meaning: "format of the log on standard error: text or json",
		set:     oneOf(func(v *Values) *string { return &v.LogFormat }, LogText, LogJSON),
	},
}
