// Package client is the least AMQP client that a load generator needs: it
// connects, makes synchronous calls during set-up, and gives its reader, writer
// and socket away for loops of the caller's own that cost nothing per message.
package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"warren/protocol"
	"warren/protocol/wire"
)

// Timeout bounds the wait for the answer of a Call and for the handshake.
const Timeout = 30 * time.Second

// ErrClosed says that the connection ended as the caller had asked: close-ok came.
var ErrClosed = errors.New("connection closed")

// A ClosedError says that the broker closed the connection or the channel.
type ClosedError struct {
	Channel bool // only the channel
	Code    uint16
	Text    string
}

func (e *ClosedError) Error() string {
	what := "connection"
	if e.Channel {
		what = "channel"
	}
	return fmt.Sprintf("broker closed the %s: %d %s", what, e.Code, e.Text)
}

// CancelledError says that the broker cancelled a consumer, as when its queue goes.
type CancelledError struct{ Tag string }

func (e *CancelledError) Error() string { return "broker cancelled consumer " + e.Tag }

// A Conn is one connection with channel 1 open. One goroutine may read while
// another writes.
type Conn struct {
	Reader *protocol.Reader
	Writer *protocol.Writer // for the goroutine that writes
	Server string           // product and version, as the broker says

	net      net.Conn
	frameMax int
}

// Channel is the channel that Dial opens.
const Channel uint16 = 1

// Dial connects and opens Channel. Heartbeats are off: the load shows what is
// alive. name is shown in the broker's list of connections.
func Dial(ctx context.Context, e Endpoint, name string) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	var dialer interface {
		DialContext(ctx context.Context, network, addr string) (net.Conn, error)
	} = &net.Dialer{}
	if e.TLS {
		dialer = &tls.Dialer{Config: &tls.Config{ServerName: e.Host}}
	}
	socket, err := dialer.DialContext(ctx, "tcp", e.Addr())
	if err != nil {
		return nil, err
	}
	c := New(socket)
	stop := context.AfterFunc(ctx, func() { _ = socket.SetDeadline(time.Unix(1, 0)) })
	err = c.open(e, name)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = socket.Close()
		return nil, fmt.Errorf("connect to %s: %w", e.Addr(), err)
	}
	return c, nil
}

// New makes a Conn of a socket on which nothing was said.
func New(socket net.Conn) *Conn {
	return &Conn{Reader: protocol.NewReader(socket), Writer: protocol.NewWriter(socket), net: socket}
}

func (c *Conn) open(e Endpoint, name string) error {
	c.Writer.ProtocolHeader()
	if err := c.Writer.Flush(); err != nil {
		return err
	}
	start, err := expect[*protocol.ConnectionStart](c)
	if err != nil {
		return err
	}
	c.Server = server(start.ServerProperties)
	c.Writer.Method(0, &protocol.ConnectionStartOk{
		ClientProperties: properties(name), Mechanism: "PLAIN",
		Response: protocol.PlainResponse(e.User, e.Password), Locale: "en_US",
	})
	if err := c.Writer.Flush(); err != nil {
		return err
	}
	tune, err := expect[*protocol.ConnectionTune](c)
	if errors.Is(err, io.EOF) {
		return errors.New("the broker refused the login")
	}
	if err != nil {
		return err
	}
	c.frameMax = int(tune.FrameMax)
	c.Reader.SetFrameMax(c.frameMax)
	c.Writer.SetFrameMax(c.frameMax)
	c.Writer.Method(0, &protocol.ConnectionTuneOk{ChannelMax: tune.ChannelMax, FrameMax: tune.FrameMax})
	c.Writer.Method(0, &protocol.ConnectionOpen{VirtualHost: e.VHost})
	if err := c.Writer.Flush(); err != nil {
		return err
	}
	if _, err := expect[*protocol.ConnectionOpenOk](c); err != nil {
		return err
	}
	return c.OpenChannel()
}

// OpenChannel opens Channel, again after a broker closed it.
func (c *Conn) OpenChannel() error {
	_, err := Call[*protocol.ChannelOpenOk](c, &protocol.ChannelOpen{})
	return err
}

func properties(name string) wire.Table {
	capabilities := wire.Table{}
	for _, capability := range []string{"publisher_confirms", "basic.nack", "consumer_cancel_notify",
		"connection.blocked", "authentication_failure_close"} {
		capabilities = append(capabilities, wire.Field{Name: capability, Value: true})
	}
	return wire.Table{
		{Name: "product", Value: "warrenperf"},
		{Name: "connection_name", Value: name},
		{Name: "capabilities", Value: capabilities},
	}
}

func server(t wire.Table) string {
	product, _ := t.Get("product")
	version, _ := t.Get("version")
	return fmt.Sprintf("%v %v", product, version)
}

// FrameMax is the agreed frame-max in bytes, 0 for no limit.
func (c *Conn) FrameMax() int { return c.frameMax }

// Write sends whole frames that the caller has encoded. It may be called beside
// any other use: frames of two calls do not mix.
func (c *Conn) Write(frames []byte) error {
	_, err := c.net.Write(frames)
	return err
}

// SetReadDeadline ends a read that waits, when it passes; reading may go on after
// a new one. The zero time is none.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.net.SetReadDeadline(t) }

// Call sends a method on Channel and waits for its answer. Only during set-up:
// no other goroutine may read, and deliveries are not expected.
func Call[M protocol.Method](c *Conn, m protocol.Method) (M, error) {
	var none M
	if err := c.net.SetDeadline(time.Now().Add(Timeout)); err != nil {
		return none, err
	}
	c.Writer.Method(Channel, m)
	if err := c.Writer.Flush(); err != nil {
		return none, fmt.Errorf("%s: %w", m.ID(), err)
	}
	answer, err := expect[M](c)
	if err != nil {
		return none, fmt.Errorf("%s: %w", m.ID(), err)
	}
	return answer, c.net.SetDeadline(time.Time{})
}

// expect reads until a method of type M comes.
func expect[M protocol.Method](c *Conn) (M, error) {
	var none M
	for {
		f, err := c.Reader.ReadFrame()
		if err != nil {
			return none, err
		}
		if f.Type != protocol.FrameMethod {
			continue
		}
		m, err := protocol.ParseMethod(f.Payload)
		if err != nil {
			return none, err
		}
		if got, ok := m.(M); ok {
			return got, nil
		}
		if _, err := c.event(m); err != nil {
			return none, err
		}
	}
}

// An Event is what a frame meant that belongs to no message.
type Event int

// Events. Ignored is all that needs no answer of the caller's.
const (
	Ignored Event = iota
	Blocked
	Unblocked
)

// Handle takes a frame that the caller's own loop does not know. Its error ends
// the use of the connection: a *ClosedError, a *CancelledError, ErrClosed.
func (c *Conn) Handle(f protocol.Frame) (Event, error) {
	if f.Type != protocol.FrameMethod {
		return Ignored, nil
	}
	m, err := protocol.ParseMethod(f.Payload)
	if err != nil {
		return Ignored, err
	}
	return c.event(m)
}

func (c *Conn) event(m protocol.Method) (Event, error) {
	switch m := m.(type) {
	case *protocol.ConnectionClose:
		_ = c.Write(protocol.AppendMethod(nil, 0, &protocol.ConnectionCloseOk{})) // it may be gone already
		return Ignored, &ClosedError{Code: m.ReplyCode, Text: m.ReplyText}
	case *protocol.ChannelClose:
		_ = c.Write(protocol.AppendMethod(nil, Channel, &protocol.ChannelCloseOk{}))
		return Ignored, &ClosedError{Channel: true, Code: m.ReplyCode, Text: m.ReplyText}
	case *protocol.ConnectionCloseOk:
		return Ignored, ErrClosed
	case *protocol.BasicCancel:
		return Ignored, &CancelledError{Tag: m.ConsumerTag}
	case *protocol.ConnectionBlocked:
		return Blocked, nil
	case *protocol.ConnectionUnblocked:
		return Unblocked, nil
	}
	return Ignored, nil
}

// SendClose asks the broker to close the connection; who reads sees ErrClosed.
func (c *Conn) SendClose(wait time.Duration) error {
	if err := c.net.SetDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	return c.Write(protocol.AppendMethod(nil, 0, &protocol.ConnectionClose{ReplyCode: protocol.ReplySuccess, ReplyText: "done"}))
}

// Drop closes the socket without a word.
func (c *Conn) Drop() { _ = c.net.Close() }

// Close says connection.close, waits for the answer at most wait, and closes the
// socket. The caller is the only user left.
func (c *Conn) Close(wait time.Duration) error {
	defer c.Drop()
	if err := c.SendClose(wait); err != nil {
		return err
	}
	for {
		f, err := c.Reader.ReadFrame()
		if err != nil {
			return err
		}
		switch _, err := c.Handle(f); {
		case errors.Is(err, ErrClosed):
			return nil
		case err == nil, errors.As(err, new(*CancelledError)):
		default:
			return err
		}
	}
}
