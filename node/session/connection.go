package session

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"warren/fsm/command"
	"warren/protocol"
	"warren/protocol/wire"
)

const (
	// refusalDelay is how long a client waits that could not log in or broke the
	// stream of frames (rabbit_reader: SILENT_CLOSE_DELAY).
	refusalDelay = 3 * time.Second
	// lingerTime is how long a client that was told close-ok may take to hang up.
	lingerTime = time.Second
	// maxUnwritten is how many bytes may be gathered behind those that are being written.
	maxUnwritten = 256 << 10
)

type connState uint8

const (
	stateRunning   connState = iota
	stateClosing             // we sent connection.close; its close-ok is awaited
	stateFinishing           // the client sent connection.close; the machine's answer is awaited
	stateDraining            // the last bytes go out, then the client hangs up
)

// capabilities are those of the client that change what we do
// (https://www.rabbitmq.com/docs/consumer-cancel and others).
type capabilities struct {
	cancelNotify, blocked, authFailureClose bool
	// channelQos says that the client means the whole channel by a basic.qos without
	// global, as AMQP's text has it, and consumers that are there too. kombu and Celery
	// do, unless the broker calls itself RabbitMQ: Celery raises the prefetch count
	// for tasks that wait for their time, and would take no others when they fill it.
	channelQos bool
}

// A connection is the state of the connection. All of it belongs to whoever holds mine, but what says otherwise: the
// loop, which runs on the goroutine of Serve, or the reader, while they take a turn. Before
// the reader begins and behind its end it is that of Serve.
type connection struct {
	mine sync.Mutex

	s       *Session
	cfg     *Config
	log     *slog.Logger
	running atomic.Bool // the loop answers requests; for any goroutine

	// Agreed in the handshake, constant afterwards.
	user, vhost, mechanism string
	tls                    *tls.ConnectionState // nil without TLS
	vhostBytes             []byte
	properties             wire.Table
	can                    capabilities
	frameMax, channelMax   int
	heartbeat              time.Duration
	secret                 bool // the user gave a password

	permits permits

	socket   *socket
	reader   *protocol.Reader // the reader goroutine's, after the handshake
	workers  sync.WaitGroup   // reader and writer
	stop     chan struct{}    // closed when they shall end
	resume   chan struct{}    // capacity 1
	toWriter chan *protocol.Writer
	written  chan writeDone
	out      *protocol.Writer // takes frames
	spare    *protocol.Writer // nil while the writer goroutine has it
	quiet    bool             // nothing went out since the last tick

	state    connState
	err      error // what Serve returns
	ended    bool
	gone     bool // the client has hung up
	deadline *time.Timer

	hasBurst  bool
	frames    []protocol.Frame   // of the burst, not yet handled
	readErr   error              // of the burst
	replay    []protocol.Frame   // were held back, and may be handled now
	held      int                // bytes in replay and in all channels' held
	events    []event            // taken from the inbox
	handled   int                // of them
	room      <-chan struct{}    // not nil: the proposer is full
	unasked   int                // frames until it is asked again
	flight    flight             // publishes without a result
	answer    func(*Reply, bool) // of the replies that this connection sends
	replying  replying           // direct replies and shortcuts without an outcome
	shortcuts int                // messages on shortcuts without an outcome
	places    map[string]*spot   // of queues that were published to, by name
	buffered  int                // bytes of unfinished contents and open transactions

	joined    bool // counted in Limits
	known     bool // the machine may hold something of this connection
	counted   bool // for limits: the machine is told of each channel
	exclusive map[string]struct{}

	channels    map[uint16]*channel
	incarnation uint16
	turn        Counts // what this turn of the loop counts
	sizes       sizes  // of what it publishes
	counting    bool   // it does
	span        span
	traffic     noted[traffic]
	dirty       []*channel // have acks or confirms gathered, or an unfinished content

	publisher  bool   // has published
	blocked    string // why publishing is blocked; empty: it is not
	toldOfIt   bool   // connection.blocked was sent
	publish    command.Publish
	settle     command.Settle
	credit     command.Credit
	publishing protocol.PublishView
	acking     protocol.AckView
}

func (c *connection) init(s *Session) {
	c.s, c.cfg, c.log = s, &s.cfg, s.log
	c.answer = s.replied
	c.socket = &socket{Conn: s.cfg.Conn, stats: &s.stats, raw: rawConn(s.cfg.Conn)}
	c.reader = protocol.NewReader(c.socket)
	c.out, c.spare = protocol.NewWriter(s.cfg.Conn), protocol.NewWriter(s.cfg.Conn)
	c.stop = make(chan struct{})
	c.resume = make(chan struct{}, 1)
	c.toWriter = make(chan *protocol.Writer, 1)
	c.written = make(chan writeDone, 1)
	c.exclusive = make(map[string]struct{})
	c.channels = make(map[uint16]*channel)
}

// serve runs the connection from the protocol header to the closed socket.
func (c *connection) serve(ctx context.Context) error {
	// What ends the context must also end a read of the handshake.
	stop := context.AfterFunc(ctx, func() { _ = c.socket.SetDeadline(time.Unix(1, 0)) })
	err := c.handshake(ctx)
	defer c.exit()
	if !stop() && err == nil {
		// The deadline that is set, or about to be, would break the loop's socket.
		err = context.Cause(ctx)
	}
	if err != nil {
		c.leave()
		_ = c.socket.Close()
		return c.logHandshake(err)
	}
	c.log = c.log.With("user", c.user, "vhost", c.vhost)
	if name := c.providedName(); name != "" {
		c.log = c.log.With("name", name)
	}
	c.log.Info("connection opened")
	c.tellOpened()
	c.deadline = time.NewTimer(time.Hour)
	c.deadline.Stop()
	c.workers.Add(2)
	go c.read()
	go c.write()
	c.loop(ctx)
	c.running.Store(false)
	c.tellClosed()
	close(c.stop)
	_ = c.socket.Close() // nothing is left to be told
	close(c.toWriter)
	c.workers.Wait()
	c.logEnd()
	return c.err
}

func (c *connection) logEnd() {
	if c.err == nil {
		c.log.Info("connection closed")
		return
	}
	c.log.Warn("connection closed", "error", c.err)
}

func (c *connection) providedName() string {
	v, _ := c.properties.Get("connection_name")
	name, _ := v.(string)
	return name
}

// connectionFrame handles a frame of channel 0.
func (c *connection) connectionFrame(f protocol.Frame) {
	switch f.Type {
	case protocol.FrameHeartbeat:
		return
	case protocol.FrameMethod:
	default:
		c.fail(protocol.UnexpectedFrameError(f))
		return
	}
	m, err := protocol.ParseMethod(f.Payload)
	if err != nil {
		c.failWith(err)
		return
	}
	switch m := m.(type) {
	case *protocol.ConnectionClose:
		c.clientClose(m)
	case *protocol.ConnectionUpdateSecret:
		c.updateSecret(m)
	default:
		c.failWith(unexpectedIn("running", m))
	}
}

// clientClose is connection.close from the client. Its close-ok comes when the
// machine has let go of all that belonged to the connection, so that requeued
// messages can be seen by then.
func (c *connection) clientClose(m *protocol.ConnectionClose) {
	if m.ReplyCode != protocol.ReplySuccess {
		c.log.Info("client closed the connection", "code", m.ReplyCode, "text", m.ReplyText)
	}
	c.finishGathered()
	c.dropChannels()
	if !c.known {
		c.closeOk()
		return
	}
	c.state = stateFinishing
	c.deadline.Reset(c.cfg.CloseTimeout)
	c.cfg.Proposer.Propose(&command.ConnectionClose{Conn: c.cfg.ID}, c.s, uint64(newToken(0, 0, forConnectionClose, 0)))
}

// closeOk answers connection.close, and ends the connection when that is written
// and the client has hung up.
func (c *connection) closeOk() {
	c.out.Method(0, &protocol.ConnectionCloseOk{})
	c.state = stateDraining
	c.deadline.Reset(lingerTime)
}

// closingFrame handles a frame that came after one side closed the connection.
func (c *connection) closingFrame(f protocol.Frame) {
	if f.Type != protocol.FrameMethod || f.Channel != 0 {
		return
	}
	switch id, _ := protocol.PeekID(f.Payload); {
	case id == protocol.IDConnectionCloseOk && c.state == stateClosing:
		c.ended = true
	case id == protocol.IDConnectionClose && c.state == stateClosing:
		// Both closed at once; each answers the other.
		c.closeOk()
	}
}

// fail closes the connection with an error.
func (c *connection) fail(e *protocol.Error) {
	if c.state != stateRunning {
		return
	}
	c.err = e
	c.shut(e)
}

// failWith is fail with an error of package protocol.
func (c *connection) failWith(err error) {
	var e *protocol.Error
	if !errors.As(err, &e) {
		e = protocol.Errorf(protocol.InternalError, 0, "%s", err)
	}
	c.fail(e)
}

// shut sends connection.close and lets the machine forget the connection.
func (c *connection) shut(e *protocol.Error) {
	c.finishGathered()
	c.dropChannels()
	c.leave()
	c.out.Method(0, closeMethod(e))
	c.state = stateClosing
	c.deadline.Reset(c.cfg.CloseTimeout)
}

// leave lets the machine forget the connection.
func (c *connection) leave() {
	if c.known {
		c.known = false
		c.cfg.Proposer.Propose(&command.ConnectionClose{Conn: c.cfg.ID}, nil, 0)
	}
}

func (c *connection) dropChannels() {
	for n, ch := range c.channels {
		ch.drop()
		c.dropChannel(n)
	}
	c.dirty = c.dirty[:0]
	c.replay, c.held = nil, 0
	c.room = nil
}

// closeMethod is connection.close, also for errors that are a channel's elsewhere.
func closeMethod(e *protocol.Error) protocol.Method {
	return &protocol.ConnectionClose{ReplyCode: e.Code, ReplyText: e.ReplyText(), ClassID: e.ClassID, MethodID: e.MethodID}
}

// setBlocked takes or ends the ban on publishing.
func (c *connection) setBlocked(reason string) {
	c.blocked = reason
	c.tellBlocked()
}

// tellBlocked sends connection.blocked or connection.unblocked to a client that
// publishes, where it is due.
func (c *connection) tellBlocked() {
	if !c.can.blocked || c.state != stateRunning {
		return
	}
	switch {
	case c.blocked != "" && c.publisher && !c.toldOfIt:
		c.toldOfIt = true
		c.out.Method(0, &protocol.ConnectionBlocked{Reason: c.blocked})
	case c.blocked == "" && c.toldOfIt:
		c.toldOfIt = false
		c.out.Method(0, &protocol.ConnectionUnblocked{})
	}
}
