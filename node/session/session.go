// Package session is one AMQP 0-9-1 connection and its channels, as a client of
// RabbitMQ knows them: methods in, commands out, and back again results and
// deliveries of the replicated state machine as methods.
//
// It keeps what belongs to the conversation (channel states, delivery tags,
// publish sequence numbers, open transactions) and nothing else: queues,
// exchanges and messages live in the machine, and how commands get there is
// the Proposer's matter. DESIGN.md beside this file tells who owns what.
package session

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"warren/fsm/access"
	"warren/fsm/command"
)

// Defaults of Config.
const (
	DefaultFrameMax         = 131072
	DefaultChannelMax       = 2047
	DefaultHeartbeat        = 60 * time.Second
	DefaultHandshakeTimeout = 10 * time.Second
	DefaultCloseTimeout     = 10 * time.Second
	DefaultMaxMessageSize   = 16 << 20
	DefaultMaxInFlight      = 4 << 20
	DefaultMaxTransaction   = 32 << 20
	DefaultMaxReplies       = 64 << 20
)

// A Proposer puts commands into the replicated log.
type Proposer interface {
	// Propose encodes cmd before it returns, and never blocks. The result comes to
	// to.Result with the token, in the order of the calls. to may be nil.
	Propose(cmd command.Command, to command.Receiver, token uint64)
	// Patiently is Propose for a command whose result nobody waits for: it may go a little later
	// than with the next Send, together with what others have to say.
	Patiently(cmd command.Command)
	// Send puts on its way what was proposed. It never blocks.
	Send()
	// Room returns nil when more may be proposed; otherwise a channel that is closed
	// when it is the caller's turn to propose a little before it asks again.
	Room() <-chan struct{}
}

// Access says what users may do. Its methods may be called from any goroutine.
type Access interface {
	// Version is another one after each change of users or permissions.
	Version() uint64
	// Rules returns what a user may do in a vhost.
	Rules(user, vhost string) Rules
}

// Rules are what a user may do in a vhost. They do not change.
type Rules interface {
	User() uint64                    // the user's id; 0: there is no such user
	Enter() bool                     // the user may open a connection to the vhost
	Allows(n *access.Need) bool      // the user has what is needed
	Impersonates() bool              // the user may publish in the name of others
	Restricted(exchange string) bool // topic permissions are to be asked for the exchange
}

// Config is what a session needs. Zero numbers mean the defaults above.
type Config struct {
	Conn net.Conn // a *tls.Conn makes its handshake within HandshakeTimeout
	ID   uint64   // number of the connection, never used twice by this process

	Proposer Proposer
	// Authenticate returns nil when the user may log in from the address. Its error
	// is logged and not told to the client.
	Authenticate func(user, password string, remote net.Addr) error
	// Access says what users may do. With nil they may do everything.
	Access Access
	// External returns the user whom the certificate of a TLS client stands for, when it
	// may log in from the address. Its error is logged and not told to the client.
	// With nil the mechanism EXTERNAL is not offered.
	External func(state tls.ConnectionState, remote net.Addr) (user string, err error)
	// VHost reports whether a virtual host exists.
	VHost func(ctx context.Context, name string) bool
	// Admit is asked before a client enters a vhost. A *command.Error is a refusal; any other
	// error means that nobody can tell. Counted says that the machine was told of the connection, or
	// may be yet: it must be told of its channels, and of its end. With nil all is admitted.
	Admit func(ctx context.Context, vhost, user string) (counted bool, err error)

	// KnowsReturns reports whether command.Return may be proposed: not yet in a cluster in which some have an older
	// version. With nil it may.
	KnowsReturns func() bool

	FrameMax         int           // bytes of a frame, 4096 or more
	ChannelMax       int           // highest number of a channel, 1 to 65535
	ConsumerMax      int           // consumers of a channel; 0: no limit
	Heartbeat        time.Duration // what we propose; the client's word counts
	HandshakeTimeout time.Duration // from accept to connection.open
	CloseTimeout     time.Duration // how long a closing connection may take
	MaxMessageSize   int           // bytes of a body
	MaxInFlight      int           // bytes published on the connection and not yet applied
	MaxTransaction   int           // bytes buffered by one transaction
	MaxReplies       int           // bytes of direct replies that wait for the client to read

	// Limits are those of the node; nil: there are none.
	Limits *Limits
	// Tally counts for the node; nil: nobody wants to know.
	Tally *Tally
	// OnConfirm, if there is one, takes how long it took from a publish to its confirm, of one message of
	// a channel at a time. It must not block.
	OnConfirm func(time.Duration)
	// OnEvent, if there is one, takes what happens to the connection and its channels. It must not block.
	OnEvent func(Event)
	// Taps say who wants copies of messages; nil: nobody ever does.
	Taps *atomic.Pointer[Taps]
	// AnonymousUser and AnonymousPass are how a client logs in that uses ANONYMOUS. With
	// no user the mechanism is not offered.
	AnonymousUser, AnonymousPass string

	// Shortcuts hands messages for exclusive queues past the log. With nil all go
	// through it.
	Shortcuts Shortcuts
	// Replies carries direct replies between connections. With nil they reach nobody.
	Replies Replies

	Product, Version, Node string
	ClusterName            func() string

	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	setDefault(&c.FrameMax, DefaultFrameMax)
	setDefault(&c.ChannelMax, DefaultChannelMax)
	setDefault(&c.Heartbeat, DefaultHeartbeat)
	setDefault(&c.HandshakeTimeout, DefaultHandshakeTimeout)
	setDefault(&c.CloseTimeout, DefaultCloseTimeout)
	setDefault(&c.MaxMessageSize, DefaultMaxMessageSize)
	setDefault(&c.MaxInFlight, DefaultMaxInFlight)
	setDefault(&c.MaxTransaction, DefaultMaxTransaction)
	setDefault(&c.MaxReplies, DefaultMaxReplies)
	setDefault(&c.Product, "Warren")
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.KnowsReturns == nil {
		c.KnowsReturns = func() bool { return true }
	}
	if c.Replies == nil {
		c.Replies = noReplies{}
	}
	if c.Taps == nil {
		c.Taps = &noTaps
	}
	if c.Limits == nil {
		c.Limits = new(Limits)
	}
	if c.Tally == nil {
		c.Tally = new(Tally)
	}
	if c.ClusterName == nil {
		c.ClusterName = func() string { return "" }
	}
	return c
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// A Session is one client connection. It is a command.Receiver for what the log
// brings for it. Serve runs it; all other exported methods may be called from
// any goroutine, before, during and after.
type Session struct {
	cfg   Config
	log   *slog.Logger
	inbox inbox
	base  Info          // what never changes of Info
	done  chan struct{} // closed when Serve is about to return
	stats stats
	place atomic.Pointer[place] // see Place
	open  openChannels
	kept  kept

	conn connection // of whoever takes a turn; see there
}

// stats are counted by reader and writer, and read by anyone.
type stats struct {
	received, receivedReads atomic.Uint64 // bytes, reads
	sent, sentWrites        atomic.Uint64
}

var _ command.Receiver = (*Session)(nil)

// New returns a session for an accepted connection, which it owns from now on.
func New(cfg Config) *Session {
	cfg = cfg.withDefaults()
	s := &Session{cfg: cfg, inbox: newInbox(), done: make(chan struct{})}
	s.base = baseInfo(cfg, time.Now())
	s.log = cfg.Logger.With("connection", s.base.Name)
	s.conn.init(s)
	return s
}

// Serve runs the connection until it has ended and everything that belonged to
// it is told to the machine. It returns nil when it was closed in good order by
// either side, else why it ended. When ctx ends the client is closed with 320
// CONNECTION_FORCED.
func (s *Session) Serve(ctx context.Context) error {
	defer close(s.done)
	err := s.conn.serve(ctx)
	left, _ := s.inbox.close()
	s.keepNothing()
	s.saveShortcuts(s.conn.events[s.conn.handled:])
	s.saveShortcuts(left)
	s.cfg.Proposer.Send()
	return err
}

// Close asks the session to close the connection with an AMQP reply code and a
// text (without the name of the code). It returns at once. The client is given
// CloseTimeout to agree, then its socket is closed.
func (s *Session) Close(code uint16, text string) {
	s.inbox.ask(func(r *requests) { r.close = &closeRequest{code: code, text: text} })
}

// AccessChanged says that users or permissions have changed. Operations to come see that
// by Access.Version; this ends the connection if its user is gone.
func (s *Session) AccessChanged() {
	s.inbox.ask(func(r *requests) { r.checkUser = true })
}

// Blocked stops the connection from publishing until Unblocked: the next
// publish that it sends is not read on, and neither is what follows it. A client
// that publishes is told the reason with connection.blocked, if it knows the method.
// See https://www.rabbitmq.com/docs/connection-blocked.
func (s *Session) Blocked(reason string) {
	s.inbox.ask(func(r *requests) { r.blocked = &reason })
}

// Unblocked ends what Blocked began.
func (s *Session) Unblocked() {
	s.inbox.ask(func(r *requests) { r.blocked = new(string) })
}
