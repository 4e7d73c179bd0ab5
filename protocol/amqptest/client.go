// Package amqptest is a raw AMQP client for tests: it sends exactly the methods,
// frames and bytes that it is told to, in any order, and expects exact answers. It
// keeps no state of channels, answers nothing by itself and hides nothing but
// heartbeats. A fault ends the test; call it from the test's own goroutine.
package amqptest

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"warren/protocol"
	"warren/protocol/wire"
)

// Timeout is how long a Client waits for an answer, unless SetTimeout says
// otherwise.
const Timeout = 20 * time.Second

// A Client is one connection.
type Client struct {
	t       testing.TB
	conn    net.Conn
	r       *protocol.Reader
	w       *protocol.Writer
	timeout time.Duration
}

// Dial connects over TCP. The connection is closed when the test ends.
func Dial(t testing.TB, addr string) *Client {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, Timeout)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	return New(t, conn)
}

// New makes a Client of a connection, which it closes when the test ends.
func New(t testing.TB, conn net.Conn) *Client {
	c := &Client{t: t, conn: conn, r: protocol.NewReader(conn), w: protocol.NewWriter(conn), timeout: Timeout}
	t.Cleanup(c.Close)
	return c
}

// SetTimeout sets how long each later call waits.
func (c *Client) SetTimeout(d time.Duration) { c.timeout = d }

// Close closes the socket without a word. It may be called again.
func (c *Client) Close() {
	if err := c.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		c.t.Logf("close: %v", err)
	}
}

// Handshake goes from the protocol header to connection.open-ok, with SASL PLAIN
// and the server's own tuning, and returns connection.start and connection.tune.
func (c *Client) Handshake(user, password, vhost string) (*protocol.ConnectionStart, *protocol.ConnectionTune) {
	c.t.Helper()
	start, tune := c.Login(user, password)
	c.TuneAndOpen(tune, vhost)
	Expect[*protocol.ConnectionOpenOk](c, 0)
	return start, tune
}

// Login goes from the protocol header to connection.tune. It states the
// capabilities that RabbitMQ's clients state.
func (c *Client) Login(user, password string) (*protocol.ConnectionStart, *protocol.ConnectionTune) {
	c.t.Helper()
	c.SendRaw([]byte(protocol.ProtocolHeader))
	start := Expect[*protocol.ConnectionStart](c, 0)
	c.Send(0, &protocol.ConnectionStartOk{
		ClientProperties: ClientProperties(),
		Mechanism:        "PLAIN",
		Response:         protocol.PlainResponse(user, password),
		Locale:           "en_US",
	})
	return start, Expect[*protocol.ConnectionTune](c, 0)
}

// TuneAndOpen answers connection.tune with its own values and asks for a vhost.
func (c *Client) TuneAndOpen(tune *protocol.ConnectionTune, vhost string) {
	c.t.Helper()
	c.SetFrameMax(int(tune.FrameMax))
	c.Send(0, &protocol.ConnectionTuneOk{ChannelMax: tune.ChannelMax, FrameMax: tune.FrameMax, Heartbeat: tune.Heartbeat})
	c.Send(0, &protocol.ConnectionOpen{VirtualHost: vhost})
}

// ClientProperties are the client properties that Login sends.
func ClientProperties() wire.Table {
	capabilities := wire.Table{}
	for _, name := range []string{"publisher_confirms", "exchange_exchange_bindings", "basic.nack",
		"consumer_cancel_notify", "connection.blocked", "authentication_failure_close"} {
		capabilities = append(capabilities, wire.Field{Name: name, Value: true})
	}
	return wire.Table{
		{Name: "product", Value: "amqptest"},
		{Name: "capabilities", Value: capabilities},
	}
}

// SetFrameMax sets the frame-max of both directions, in bytes.
func (c *Client) SetFrameMax(n int) {
	c.r.SetFrameMax(n)
	c.w.SetFrameMax(n)
}

// Open opens a channel.
func (c *Client) Open(channel uint16) {
	c.t.Helper()
	c.Send(channel, &protocol.ChannelOpen{})
	Expect[*protocol.ChannelOpenOk](c, channel)
}

// Send sends methods.
func (c *Client) Send(channel uint16, methods ...protocol.Method) {
	c.t.Helper()
	for _, m := range methods {
		c.w.Method(channel, m)
	}
	c.flush()
}

// SendRaw sends bytes as they are.
func (c *Client) SendRaw(b []byte) {
	c.t.Helper()
	c.w.Append(func(dst []byte) []byte { return append(dst, b...) })
	c.flush()
}

// SendFrame sends one frame with any type and payload.
func (c *Client) SendFrame(f protocol.Frame) {
	c.t.Helper()
	c.SendRaw(protocol.AppendFrame(nil, f))
}

// Publish sends a message with its content. properties may be nil.
func (c *Client) Publish(channel uint16, m *protocol.BasicPublish, properties *wire.Properties, body []byte) {
	c.t.Helper()
	if properties == nil {
		properties = &wire.Properties{}
	}
	c.w.Method(channel, m)
	c.w.Content(channel, wire.AppendProperties(nil, properties), body)
	c.flush()
}

func (c *Client) flush() {
	c.t.Helper()
	if err := c.conn.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		c.t.Fatalf("set deadline: %v", err)
	}
	if err := c.w.Flush(); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// Frame returns the next frame that is no heartbeat. Its payload is valid until
// the next call that reads.
func (c *Client) Frame() protocol.Frame {
	c.t.Helper()
	f, err := c.next()
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	return f
}

func (c *Client) next() (protocol.Frame, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(c.timeout)); err != nil {
		return protocol.Frame{}, err
	}
	for {
		f, err := c.r.ReadFrame()
		if err != nil || f.Type != protocol.FrameHeartbeat {
			return f, err
		}
	}
}

// Method returns the next method and its channel.
func (c *Client) Method() (uint16, protocol.Method) {
	c.t.Helper()
	f := c.Frame()
	if f.Type != protocol.FrameMethod {
		c.t.Fatalf("got a frame of type %d on channel %d, want a method", f.Type, f.Channel)
	}
	m, err := protocol.ParseMethod(f.Payload)
	if err != nil {
		c.t.Fatalf("parse: %v", err)
	}
	return f.Channel, m
}

// Expect reads a method, which has to be an M on the channel.
func Expect[M protocol.Method](c *Client, channel uint16) M {
	c.t.Helper()
	on, m := c.Method()
	want, ok := m.(M)
	if !ok || on != channel {
		c.t.Fatalf("got %s %+v on channel %d, want %T on channel %d", m.ID(), m, on, want, channel)
	}
	return want
}

// A Message is a content: properties and body.
type Message struct {
	Properties wire.Properties
	Body       []byte
}

// Content reads a content header and the body frames that belong to it.
func (c *Client) Content(channel uint16) Message {
	c.t.Helper()
	f := c.Frame()
	if f.Type != protocol.FrameHeader || f.Channel != channel {
		c.t.Fatalf("got a frame of type %d on channel %d, want a content header on channel %d", f.Type, f.Channel, channel)
	}
	h, err := protocol.ParseContentHeader(f.Payload)
	if err != nil {
		c.t.Fatalf("parse: %v", err)
	}
	var m Message
	if m.Properties, err = wire.ParseProperties(h.Properties); err != nil {
		c.t.Fatalf("parse: %v", err)
	}
	for uint64(len(m.Body)) < h.BodySize {
		f := c.Frame()
		if f.Type != protocol.FrameBody || f.Channel != channel {
			c.t.Fatalf("got a frame of type %d on channel %d, want a body on channel %d", f.Type, f.Channel, channel)
		}
		m.Body = append(m.Body, f.Payload...)
	}
	if uint64(len(m.Body)) != h.BodySize {
		c.t.Fatalf("body of %d bytes, announced as %d", len(m.Body), h.BodySize)
	}
	return m
}

// Deliver reads a basic.deliver with its content.
func (c *Client) Deliver(channel uint16) (*protocol.BasicDeliver, Message) {
	c.t.Helper()
	d := Expect[*protocol.BasicDeliver](c, channel)
	return d, c.Content(channel)
}

// ExpectChannelClose reads a channel.close with the code and answers it. It returns
// the reply text.
func (c *Client) ExpectChannelClose(channel, code uint16) string {
	c.t.Helper()
	m := Expect[*protocol.ChannelClose](c, channel)
	if m.ReplyCode != code {
		c.t.Fatalf("channel closed with %d %q, want %d", m.ReplyCode, m.ReplyText, code)
	}
	c.Send(channel, &protocol.ChannelCloseOk{})
	return m.ReplyText
}

// ExpectConnectionClose reads a connection.close with the code, answers it and
// waits for the end of the connection. It returns the reply text.
func (c *Client) ExpectConnectionClose(code uint16) string {
	c.t.Helper()
	m := Expect[*protocol.ConnectionClose](c, 0)
	if m.ReplyCode != code {
		c.t.Fatalf("connection closed with %d %q, want %d", m.ReplyCode, m.ReplyText, code)
	}
	c.w.Method(0, &protocol.ConnectionCloseOk{})
	_ = c.w.Flush() // the server may have closed the socket already
	c.ExpectEnd()
	return m.ReplyText
}

// ExpectEnd waits until the server ends the connection; nothing may come before.
func (c *Client) ExpectEnd() {
	c.t.Helper()
	f, err := c.next()
	switch {
	case err == nil:
		c.t.Fatalf("got a frame of type %d on channel %d, want the end of the connection", f.Type, f.Channel)
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.t.Fatalf("the connection is still open")
	case !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.ErrClosedPipe):
		c.t.Fatalf("read: %v", err)
	}
}

// ReadRaw reads exactly n bytes that are no frames, such as the protocol header
// that answers a wrong one. It is to be used before any frame was read.
func (c *Client) ReadRaw(n int) []byte {
	c.t.Helper()
	if c.r.BytesRead() > 0 {
		c.t.Fatal("ReadRaw behind frames")
	}
	if err := c.conn.SetReadDeadline(time.Now().Add(c.timeout)); err != nil {
		c.t.Fatalf("set deadline: %v", err)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(c.conn, b); err != nil {
		c.t.Fatalf("read: %v", err)
	}
	return b
}
