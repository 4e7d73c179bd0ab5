// Package management is the HTTP side of a node: an API with the paths and field
// names of RabbitMQ's management API under /api
// (https://www.rabbitmq.com/docs/http-api-reference), /health for load
// balancers and containers, which needs no login, and at / pages for browsers,
// which are plain files in ui and use the API only.
//
// Reads come from the node's own replica of the state machine. Writes propose the
// command that the AMQP method would, so rules and refusals are the same. Every
// node answers for the whole cluster.
package management

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"warren/fsm"
	"warren/fsm/command"
	"warren/fsm/topology"
	"warren/node/trace"
)

// Broker is what the API needs of the node.
type Broker interface {
	// View calls f with the state machine under its lock. f must be quick and keep
	// nothing that can change.
	View(f func(m *fsm.Machine))
	// CaughtUp reports whether the node knows by now what the cluster had decided when it
	// started: before, users, passwords and permissions may be those of long ago.
	CaughtUp() bool
	// ConnectionRefs lists the connections of the whole cluster, in any order, or those of
	// one name.
	ConnectionRefs(ctx context.Context, name string) ([]ConnectionRef, error)
	// RefsOf lists some connections, as far as they are still there, in any order.
	RefsOf(ctx context.Context, keys []ConnectionKey) ([]ConnectionRef, error)
	// Connections describes some connections, as far as they are still there, in any order.
	Connections(ctx context.Context, keys []ConnectionKey) ([]Connection, error)
	// History asks the nodes for what they have counted over time, by id; those that do
	// not answer are left out.
	History(ctx context.Context, q HistoryQuery) map[string]HistoryAnswer
	// Counted is what this node has counted since it started: what happened to messages on its channels, by
	// RabbitMQ's names of message_stats (publish_checked: on channels in confirm mode), their sizes (see SizeClass), connections and
	// channels opened and closed, by the names of churn_rates, and what went over sockets (recv_oct and the like, as of one
	// connection). consumers, and publishers (channels that have published) are those of now. What is missing is 0.
	Counted() map[string]uint64
	// LocalStats are the numbers of this node.
	LocalStats() NodeStats
	// LocalConnections describes the connections of this node, sorted by name.
	LocalConnections() []Connection
	// LocalAttempts returns the logins that were tried on this node, by protocol or by source.
	LocalAttempts(bySource bool) []Attempts
	// OpenConnections is how many AMQP connections this node has.
	OpenConnections() int
	// CloseConnection closes the connection of that name, on whichever node it
	// is, with AMQP's 320 and the reason; false when there is none.
	CloseConnection(ctx context.Context, name, reason string) (bool, error)
	// CloseUserConnections does that with all connections of a user.
	CloseUserConnections(ctx context.Context, user, reason string) error
	// Shovels describes the shovels that run, in any order. Nodes that do not answer are left out.
	Shovels(ctx context.Context) []ShovelStatus
	// RestartShovel makes a shovel begin anew, if it runs.
	RestartShovel(ctx context.Context, vhost, name string) error
	// TraceStory tells what the nodes know of a trace, by its ID. Nodes that do not answer are left out.
	TraceStory(ctx context.Context, id string) (trace.Story, error)
	// Cluster describes the cluster as this node sees it.
	Cluster(ctx context.Context) ClusterInfo
	// NodeStats asks the nodes for their numbers, by id; those that do not answer
	// are left out.
	NodeStats(ctx context.Context) map[string]NodeStats
	// Attempts returns the logins that were tried on a node, by protocol or by source.
	// ErrUnknownNode: it does not answer.
	Attempts(ctx context.Context, nodeID string, bySource bool) ([]Attempts, error)
	// ResetAttempts makes a node count logins anew.
	ResetAttempts(ctx context.Context, nodeID string) error
	// Forget removes a node, given by id or name, from the cluster for good.
	// Unknown nodes give ErrUnknownNode, those that may not be removed
	// ErrNodeRunning.
	Forget(ctx context.Context, node string) error
	// Transfer makes another node lead: the one given by id or name, or with "" one that is
	// alive. Unknown nodes give ErrUnknownNode.
	Transfer(ctx context.Context, to string) error
	// Drain takes a node, given by id or name, out of service and tells how many connections it closed; force: though
	// the others would be no quorum, which is ErrNeeded otherwise. It may be done again. Other errors: ErrUnknownNode, ErrNotSupported.
	Drain(ctx context.Context, node string, force bool) (closed int, err error)
	// Revive undoes that.
	Revive(ctx context.Context, node string) error
	// Reload has a node, given by id or name, read its settings and certificates again. Errors: ErrReload, ErrUnknownNode,
	// ErrNotSupported.
	Reload(ctx context.Context, node string) (Reloaded, error)
	// SetLogLevel sets the level of the log of a node, given by id or name: debug, info, warn or error. Errors: ErrLogLevel, ErrUnknownNode,
	// ErrNotSupported.
	SetLogLevel(ctx context.Context, node, level string) error
	// State says what state the node's replica is in. It gives ErrHashing while it does so for another
	// caller.
	State() (StateInfo, error)
	// Propose puts a command in the log and waits for its result. The command
	// belongs to connection 0 of the node, which is no client's.
	Propose(ctx context.Context, cmd command.Command) (command.Result, error)
	// Backup takes an image of the whole cluster that holds all that was confirmed
	// before the call, and tells its size in bytes. The file is to be closed. While one of this node is
	// open another one is refused with ErrBackupRunning.
	Backup(ctx context.Context) (file io.ReadCloser, size int64, err error)
}

// Config is what New needs.
type Config struct {
	Broker  Broker
	Access  Access
	Version string    // of the server
	Node    string    // name of this node
	Started time.Time // when the process started
	// Listeners are the ports that this node listens on.
	Listeners []Listener
	Logger    *slog.Logger // default: slog.Default()

	MaxMessageSize int // bytes of a payload that is published; 0: no limit
	ConnectionMax  int // AMQP connections of this node; 0: no limit
	TargetSize     int // how many nodes the cluster is to have; 0: nobody has said
	// Settings are those in force, by name, without secrets.
	Settings map[string]string
	// Stop has the process end in order, some time after it has returned; nil: it cannot be stopped over HTTP.
	Stop func()
	// Metrics are further ones for Prometheus, of the node.
	Metrics []prometheus.Collector
	// CommitLatency is how long the last log entry of the node took; nil: that is not known.
	CommitLatency func() time.Duration
	// Certificates returns those of the listeners with TLS; nil: there are none.
	Certificates func() []Certificates
}

// Limits of one request.
const (
	callTimeout = 30 * time.Second // of what a handler asks of the broker
	maxBody     = 64 << 20         // bytes; a 16 MiB message as JSON may take up to 6 bytes for each
	maxGetBytes = 64 << 20         // of payloads in one answer to get
)

// A Server serves all that a node has over HTTP, and keeps its statistics.
type Server struct {
	http.Handler
	sampler *sampler
	metrics *metrics
	server  *server
}

// Run keeps statistics until ctx ends. Without it there are no rates.
func (s *Server) Run(ctx context.Context) { s.sampler.run(ctx) }

// History answers for this node what another one, or this one, asks for with Broker.History.
func (s *Server) History(q HistoryQuery) HistoryAnswer { return s.sampler.answer(q) }

type server struct {
	cfg     Config
	log     *slog.Logger
	routes  []route
	sampler *sampler
	tuned   atomic.Pointer[tuning]

	large turns // of large bodies

	mu      sync.Mutex
	scratch map[uint16]bool // channels of connection 0 that are in use
	last    uint16
}

// New returns a server.
func New(cfg Config) *Server {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	s := &server{cfg: cfg, log: cfg.Logger, sampler: newSampler(cfg.Broker), scratch: make(map[uint16]bool), large: make(turns, maxLargeBodies)}
	s.tuned.Store(&tuning{cfg.ConnectionMax, cfg.Settings})
	s.routes = s.table()
	mux := http.NewServeMux()
	mux.HandleFunc("/api/", s.serveAPI)
	mux.HandleFunc(profilesPath, s.serveProfiles)
	mux.HandleFunc("GET /health", s.serveHealth)
	s.uiRoutes(mux)
	m := &metrics{s, cfg.Metrics}
	m.register(mux)
	return &Server{mux, s.sampler, m, s}
}

// table lists the resources. The order of the routes has no meaning.
func (s *server) table() []route {
	var t []route
	for _, part := range [][]route{
		s.overviewRoutes(), s.nodeRoutes(), s.connectionRoutes(), s.channelRoutes(), s.exchangeRoutes(),
		s.policyRoutes(),
		s.userRoutes(), s.permissionRoutes(), s.topicPermissionRoutes(),
		s.queueRoutes(), s.messageRoutes(), s.delayedRoutes(), s.browseRoutes(), s.bindingRoutes(), s.consumerRoutes(),
		s.vhostRoutes(), s.limitRoutes(), s.parameterRoutes(), s.shovelRoutes(), s.definitionRoutes(),
		s.healthRoutes(), s.aboutRoutes(), s.loginRoutes(), s.quorumRoutes(), s.backupRoutes(), s.maintenanceRoutes(), s.reloadRoutes(), s.traceRoutes(),
	} {
		t = append(t, part...)
	}
	return t
}

// ownPages refuses what changes something and comes from a page of another site: a browser that has been given a name and a
// password for this one would send them along. Clients that are no browsers do not say where they come from.
var ownPages = http.NewCrossOriginProtection()

func (s *server) serveAPI(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	conn := http.NewResponseController(w)
	_ = conn.SetWriteDeadline(time.Time{}) // that of the last answer
	if r.ContentLength != 0 {
		_ = conn.SetReadDeadline(time.Now().Add(bodyPatience)) // for a body that nobody reads, which net/http wants to see the end of
	}
	c := &call{server: s, w: w, r: r.WithContext(ctx), whole: r.Context()}
	err := ownPages.Check(r)
	if err != nil {
		s.log.Warn("http request of another site's page refused", "origin", r.Header.Get("Origin"), "method", r.Method, "path", r.URL.Path, "remote", r.RemoteAddr)
		err = &failure{http.StatusForbidden, "forbidden", "pages of other sites may not change anything here"}
	} else {
		err = s.handle(c)
	}
	if err != nil {
		c.fail(err)
	}
}

// entities are the parameters of paths from which the machine takes line breaks. They go at
// once, so that the permission that is looked for is that of the name that is used.
var entities = []string{"exchange", "queue", "destination"}

func (s *server) handle(c *call) error {
	segments, err := split(c.r.URL.EscapedPath())
	if err != nil {
		return errBadRequest("path: %v", err)
	}
	rt, params, allowed := find(s.routes, c.r.Method, segments[1:]) // without "api"
	behind := !s.cfg.Broker.CaughtUp()                              // before the login: that may be of what is not true any more
	if behind && rt != nil && !rt.look {
		return c.notYet()
	}
	if rt == nil || !rt.open {
		if err := c.login(); err != nil {
			return err
		}
	}
	if behind {
		c.onlyLook()
	}
	switch {
	case rt != nil:
		c.params = params
		for _, name := range entities {
			if text, ok := params[name]; ok {
				params[name] = topology.StripNewlines(text)
			}
		}
		if rt.open {
			return rt.serve(c)
		}
		if err := c.authorise(rt); err != nil {
			c.log.Warn("http request refused", "user", c.user, "method", c.r.Method, "path", c.r.URL.Path, "err", err)
			return err
		}
		return rt.serve(c)
	case len(allowed) > 0:
		c.w.Header().Set("Allow", allowed)
		if c.r.Method == http.MethodOptions {
			c.w.WriteHeader(http.StatusOK)
			return nil
		}
		return &failure{http.StatusMethodNotAllowed, "method_not_allowed", "Method Not Allowed"}
	default:
		return errNotFound
	}
}
