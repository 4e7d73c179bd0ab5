package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"time"

	"warren/protocol"
	"warren/protocol/wire"
)

// minFrameMax is the least frame-max that a client may ask for: what the
// specification demands. RabbitMQ 4.1 refuses less than 8192; nothing is gained by
// locking the older clients out.
const minFrameMax = protocol.FrameMinSize

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
	if err := c.secure(ctx); err != nil {
		return err
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
		Mechanisms:       c.mechanisms(),
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

// serverProperties are ours for connection.start.
func (c *connection) serverProperties() wire.Table {
	can := wire.Table{}
	for _, name := range []string{
		"publisher_confirms", "exchange_exchange_bindings", "basic.nack", "consumer_cancel_notify",
		"connection.blocked", "consumer_priorities", "authentication_failure_close", "per_consumer_qos",
		"direct_reply_to",
	} {
		can = append(can, wire.Field{Name: name, Value: true})
	}
	return wire.Table{
		{Name: "capabilities", Value: can},
		{Name: "cluster_name", Value: c.cfg.ClusterName()},
		{Name: "copyright", Value: "Copyright (c) 2026 the Warren authors"},
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
	product, _ := properties.Get("product")
	return capabilities{
		cancelNotify:     has("consumer_cancel_notify"),
		blocked:          has("connection.blocked"),
		authFailureClose: has("authentication_failure_close"),
		channelQos:       product == "py-amqp",
	}
}

func (c *connection) login(mechanism, response string) error {
	var user, password string
	var err error
	c.secret = mechanism == "PLAIN" || mechanism == "AMQPLAIN"
	switch {
	case mechanism == "ANONYMOUS" && c.cfg.AnonymousUser != "":
		user, password = c.cfg.AnonymousUser, c.cfg.AnonymousPass
	case mechanism == "PLAIN":
		user, password, err = protocol.ParsePlain(response)
	case mechanism == "AMQPLAIN":
		user, password, err = protocol.ParseAMQPlain(response)
	case mechanism == "EXTERNAL":
		return c.loginExternal()
	default:
		return protocol.Errorf(protocol.CommandInvalid, protocol.IDConnectionStartOk, "unknown authentication mechanism '%s'", mechanism)
	}
	if err != nil {
		return silent{fmt.Errorf("%s login: %w", mechanism, err)}
	}
	if err := c.cfg.Authenticate(user, password, c.cfg.Conn.RemoteAddr()); err != nil {
		return c.refuseLogin(mechanism, user, err)
	}
	c.user = user
	return nil
}

func (c *connection) refuseLogin(mechanism, user string, err error) error {
	c.log.Warn("login refused", "mechanism", mechanism, "user", user, "error", err)
	if !c.can.authFailureClose {
		return silent{fmt.Errorf("%s login refused: %w", mechanism, err)}
	}
	return protocol.Errorf(protocol.AccessRefused, 0,
		"Login was refused using authentication mechanism %s. For details see the broker logfile.", mechanism)
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
// validate_negotiated_integer_value). 0 means no limit, which is above any; the text says so of
// channel_max only.
func negotiated(name string, value, least, most int) error {
	detail := ""
	if value == 0 && name == "channel_max" {
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

func (c *connection) open(ctx context.Context) error {
	m, err := c.expect()
	if err != nil {
		return err
	}
	open, is := m.(*protocol.ConnectionOpen)
	if !is {
		return unexpectedIn("opening", m)
	}
	if err := c.join(); err != nil {
		return err
	}
	if err := c.enter(ctx, open.VirtualHost); err != nil {
		return err
	}
	c.running.Store(true) // the loop is about to start
	c.out.Method(0, &protocol.ConnectionOpenOk{})
	return c.send()
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
