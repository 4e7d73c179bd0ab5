package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"warren/fsm/command"
	"warren/protocol"
	"warren/protocol/wire"
)

const (
	// minFrameMax is the least frame-max that a client may ask for: what the
	// specification demands. RabbitMQ 4.1 refuses less than 8192; nothing is gained
	// by locking the older clients out.
	minFrameMax = protocol.FrameMinSize
	// refusalDelay is how long a client waits that could not log in or broke the
	// stream of frames (rabbit_reader: SILENT_CLOSE_DELAY).
	refusalDelay = 3 * time.Second
	// lingerTime is how long a client that was told close-ok may take to hang up.
	lingerTime = time.Second
	// maxUnwritten is how many bytes may be gathered behind those that are being written.
	maxUnwritten = 1 << 20
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
}

// A connection is the state of the connection. All of it belongs to the loop
// goroutine, which is the one that Serve runs on, but what says otherwise.
type connection struct {
	s       *Session
	cfg     *Config
	log     *slog.Logger
	running atomic.Bool // the loop answers requests; for any goroutine

	// Agreed in the handshake, constant afterwards.
	user, vhost, mechanism string
	vhostBytes             []byte
	properties             wire.Table
	can                    capabilities
	frameMax, channelMax   int
	heartbeat              time.Duration

	socket   *socket
	reader   *protocol.Reader // the reader goroutine's, after the handshake
	workers  sync.WaitGroup   // reader and writer
	stop     chan struct{}    // closed when they shall end
	bursts   chan burst
	resume   chan struct{} // capacity 1
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

	hasBurst bool
	frames   []protocol.Frame // of the burst, not yet handled
	readErr  error            // of the burst
	replay   []protocol.Frame // were held back, and may be handled now
	held     int              // bytes in replay and in all channels' held
	events   []event          // taken from the inbox
	handled  int              // of them
	room     <-chan struct{}  // not nil: the proposer is full
	unasked  int              // frames until it is asked again
	flight   flight           // publishes without a result
	buffered int              // bytes of unfinished contents and open transactions

	known     bool // the machine may hold something of this connection
	exclusive map[string]struct{}

	channels    map[uint16]*channel
	incarnation uint16
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
	c.socket = &socket{Conn: s.cfg.Conn, stats: &s.stats}
	c.reader = protocol.NewReader(c.socket)
	c.out, c.spare = protocol.NewWriter(s.cfg.Conn), protocol.NewWriter(s.cfg.Conn)
	c.stop = make(chan struct{})
	c.bursts = make(chan burst)
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
	if !stop() && err == nil {
		// The deadline that is set, or about to be, would break the loop's socket.
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = c.socket.Close()
		return c.logHandshake(err)
	}
	c.log = c.log.With("user", c.user, "vhost", c.vhost)
	if name := c.providedName(); name != "" {
		c.log = c.log.With("name", name)
	}
	c.log.Info("connection opened")
	c.workers.Add(2)
	go c.read()
	go c.write()
	c.loop(ctx)
	c.running.Store(false)
	close(c.stop)
	_ = c.socket.Close() // nothing is left to be told
	close(c.toWriter)
	c.workers.Wait()
	c.logEnd()
	return c.err
}

func (c *connection) logHandshake(err error) error {
	var header *protocol.HeaderError
	switch {
	case errors.Is(err, io.EOF):
		c.log.Debug("connection closed before a byte was sent, as health checks do")
		return nil
	case errors.As(err, &header) && header.Guess == protocol.GuessHTTP:
		c.log.Warn("refused a connection: an HTTP client on the AMQP port; the management API has a port of its own")
	case errors.As(err, &header) && header.Guess == protocol.GuessTLS:
		c.log.Warn("refused a connection: a TLS client on the plain AMQP port")
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("handshake timeout: %w", err)
		fallthrough
	default:
		c.log.Warn("connection was not opened", "error", err)
	}
	return err
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

// handshake brings the connection from the protocol header to connection.open-ok
// (specification, section 2.2.4). It reads and writes the socket itself: each
// side waits for the other here.
func (c *connection) handshake(ctx context.Context) error {
	if err := c.socket.SetDeadline(time.Now().Add(c.cfg.HandshakeTimeout)); err != nil {
		return err
	}
	if ctx.Err() != nil { // its deadline may have come before ours
		return context.Cause(ctx)
	}
	err := c.reader.ReadProtocolHeader()
	var header *protocol.HeaderError
	if errors.As(err, &header) {
		c.out.ProtocolHeader()
		return errors.Join(err, c.send())
	}
	if err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{c.start, c.tune, c.open} {
		if err := step(ctx); err != nil {
			return c.refuse(ctx, err)
		}
	}
	c.socket.silence = 2 * c.heartbeat
	return c.socket.SetDeadline(time.Time{})
}

// send writes what is gathered, from the handshake only.
func (c *connection) send() error {
	before := c.out.BytesWritten()
	err := c.out.Flush()
	c.s.stats.sent.Add(c.out.BytesWritten() - before)
	c.s.stats.sentWrites.Add(1)
	return err
}

// silent is an error that the client is not told.
type silent struct{ error }

// refuse ends a handshake that failed: the client is told why, if it is for it to
// know, and kept waiting, so that guessing passwords costs time.
func (c *connection) refuse(ctx context.Context, cause error) error {
	var e *protocol.Error
	switch {
	case errors.As(cause, new(silent)):
		wait := time.NewTimer(refusalDelay)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-ctx.Done():
		}
		return cause
	case !errors.As(cause, &e):
		return cause
	}
	c.out.Method(0, closeMethod(e))
	if err := c.send(); err != nil {
		return errors.Join(cause, err)
	}
	if ctx.Err() == nil && c.socket.SetReadDeadline(time.Now().Add(refusalDelay)) == nil {
		_, _ = io.Copy(io.Discard, c.socket) // until the client hangs up, for which any error does
	}
	return cause
}

// expect reads a method of channel 0.
func (c *connection) expect() (protocol.Method, error) {
	for {
		f, err := c.reader.ReadFrame()
		if err != nil {
			return nil, err
		}
		switch {
		case f.Type == protocol.FrameHeartbeat && f.Channel == 0:
			continue
		case f.Type != protocol.FrameMethod || f.Channel != 0:
			return nil, protocol.UnexpectedFrameError(f)
		}
		m, err := protocol.ParseMethod(f.Payload)
		if err != nil {
			return nil, err
		}
		if _, ok := m.(*protocol.ConnectionClose); ok {
			c.out.Method(0, &protocol.ConnectionCloseOk{})
			return nil, errors.Join(errClientClosed, c.send())
		}
		return m, nil
	}
}

var errClientClosed = errors.New("the client closed the connection during the handshake")

// unexpectedIn is the error of a method that does not belong where it came.
func unexpectedIn(state string, m protocol.Method) error {
	return protocol.Errorf(protocol.ChannelError, m.ID(), "unexpected method in connection state %s", state)
}

// start sends connection.start and logs the client in with what it answers.
func (c *connection) start(context.Context) error {
	c.out.Method(0, &protocol.ConnectionStart{
		VersionMajor: 0, VersionMinor: 9,
		ServerProperties: c.serverProperties(),
		Mechanisms:       "PLAIN AMQPLAIN",
		Locales:          "en_US",
	})
	if err := c.send(); err != nil {
		return err
	}
	m, err := c.expect()
	if err != nil {
		return err
	}
	ok, is := m.(*protocol.ConnectionStartOk)
	if !is {
		return unexpectedIn("starting", m)
	}
	c.properties, c.mechanism = ok.ClientProperties, ok.Mechanism
	c.can = clientCapabilities(ok.ClientProperties)
	return c.login(ok.Mechanism, ok.Response)
}

// serverProperties are ours for connection.start. direct_reply_to is missing from
// RabbitMQ's table of capabilities until it works.
func (c *connection) serverProperties() wire.Table {
	can := wire.Table{}
	for _, name := range []string{
		"publisher_confirms", "exchange_exchange_bindings", "basic.nack", "consumer_cancel_notify",
		"connection.blocked", "consumer_priorities", "authentication_failure_close", "per_consumer_qos",
	} {
		can = append(can, wire.Field{Name: name, Value: true})
	}
	return wire.Table{
		{Name: "capabilities", Value: can},
		{Name: "cluster_name", Value: c.cfg.ClusterName()},
		{Name: "information", Value: "Speaks AMQP 0-9-1 with RabbitMQ's extensions"},
		{Name: "node", Value: c.cfg.Node},
		{Name: "platform", Value: runtime.Version()},
		{Name: "product", Value: c.cfg.Product},
		{Name: "version", Value: c.cfg.Version},
	}
}

func clientCapabilities(properties wire.Table) capabilities {
	v, _ := properties.Get("capabilities")
	t, _ := v.(wire.Table)
	has := func(name string) bool {
		v, _ := t.Get(name)
		yes, _ := v.(bool)
		return yes
	}
	return capabilities{
		cancelNotify:     has("consumer_cancel_notify"),
		blocked:          has("connection.blocked"),
		authFailureClose: has("authentication_failure_close"),
	}
}

func (c *connection) login(mechanism, response string) error {
	var user, password string
	var err error
	switch mechanism {
	case "PLAIN":
		user, password, err = protocol.ParsePlain(response)
	case "AMQPLAIN":
		user, password, err = protocol.ParseAMQPlain(response)
	default:
		return protocol.Errorf(protocol.CommandInvalid, protocol.IDConnectionStartOk, "unknown authentication mechanism '%s'", mechanism)
	}
	if err != nil {
		return silent{fmt.Errorf("%s login: %w", mechanism, err)}
	}
	if err := c.cfg.Authenticate(user, password, c.cfg.Conn.RemoteAddr()); err != nil {
		c.log.Warn("login refused", "mechanism", mechanism, "user", user, "error", err)
		if !c.can.authFailureClose {
			return silent{fmt.Errorf("%s login refused: %w", mechanism, err)}
		}
		return protocol.Errorf(protocol.AccessRefused, 0,
			"Login was refused using authentication mechanism %s. For details see the broker logfile.", mechanism)
	}
	c.user = user
	return nil
}

// tune agrees on the limits. As in RabbitMQ the client may lower ours and not
// raise them, and its heartbeat counts, whatever it is.
func (c *connection) tune(context.Context) error {
	c.out.Method(0, &protocol.ConnectionTune{
		ChannelMax: uint16(min(c.cfg.ChannelMax, math.MaxUint16)),
		FrameMax:   uint32(c.cfg.FrameMax),
		Heartbeat:  uint16(min(c.cfg.Heartbeat/time.Second, math.MaxUint16)),
	})
	if err := c.send(); err != nil {
		return err
	}
	m, err := c.expect()
	if err != nil {
		return err
	}
	ok, is := m.(*protocol.ConnectionTuneOk)
	if !is {
		return unexpectedIn("tuning", m)
	}
	if err := negotiated("frame_max", int(ok.FrameMax), minFrameMax, c.cfg.FrameMax); err != nil {
		return err
	}
	if err := negotiated("channel_max", int(ok.ChannelMax), 1, c.cfg.ChannelMax); err != nil {
		return err
	}
	c.frameMax, c.channelMax = int(ok.FrameMax), int(ok.ChannelMax)
	c.heartbeat = time.Duration(ok.Heartbeat) * time.Second
	c.reader.SetFrameMax(c.frameMax)
	c.out.SetFrameMax(c.frameMax)
	c.spare.SetFrameMax(c.frameMax)
	return nil
}

// negotiated checks what a client made of one of our limits (rabbit_reader:
// validate_negotiated_integer_value). 0 means no limit, which is above any.
func negotiated(name string, value, least, most int) error {
	detail := ""
	if value == 0 {
		detail = " (no limit)"
	}
	switch {
	case value == 0 || value > most:
		return protocol.Errorf(protocol.NotAllowed, protocol.IDConnectionTune,
			"negotiated %s = %d%s is higher than the maximum allowed value (%d)", name, value, detail, most)
	case value < least:
		return protocol.Errorf(protocol.NotAllowed, protocol.IDConnectionTune,
			"negotiated %s = %d is lower than the minimum allowed value (%d)", name, value, least)
	}
	return nil
}

func (c *connection) open(context.Context) error {
	m, err := c.expect()
	if err != nil {
		return err
	}
	open, is := m.(*protocol.ConnectionOpen)
	if !is {
		return unexpectedIn("opening", m)
	}
	if !c.cfg.VHost(open.VirtualHost) {
		return protocol.Errorf(protocol.NotAllowed, protocol.IDConnectionOpen, "vhost %s not found", open.VirtualHost)
	}
	c.vhost, c.vhostBytes = open.VirtualHost, []byte(open.VirtualHost)
	c.running.Store(true) // the loop is about to start
	c.out.Method(0, &protocol.ConnectionOpenOk{})
	return c.send()
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
		// The secrets that we check do not expire, so there is nothing to renew;
		// RabbitMQ's own users are treated alike (rabbit_auth_backend_internal).
		c.out.Method(0, &protocol.ConnectionUpdateSecretOk{})
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
	for _, ch := range c.channels {
		ch.drop()
	}
	clear(c.channels)
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
