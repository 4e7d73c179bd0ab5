package client_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"warren/cmd/warrenperf/internal/brokertest"
	"warren/cmd/warrenperf/internal/client"
	"warren/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseURI(t *testing.T) {
	plain := client.Endpoint{Host: "localhost", Port: "5672", User: "guest", Password: "guest", VHost: "/"}
	with := func(change func(e *client.Endpoint)) client.Endpoint { e := plain; change(&e); return e }
	for uri, want := range map[string]client.Endpoint{
		"":                    plain,
		"amqp://":             plain,
		"localhost:5672":      plain,
		"amqp://h":            with(func(e *client.Endpoint) { e.Host = "h" }),
		"h:1":                 with(func(e *client.Endpoint) { e.Host, e.Port = "h", "1" }),
		"amqp://[::1]:7/":     with(func(e *client.Endpoint) { e.Host, e.Port = "::1", "7" }),
		"amqps://h":           with(func(e *client.Endpoint) { e.Host, e.Port, e.TLS = "h", "5671", true }),
		"amqp://u:p%40@h/a":   with(func(e *client.Endpoint) { e.Host, e.User, e.Password, e.VHost = "h", "u", "p@", "a" }),
		"amqp://u@h/%2F":      with(func(e *client.Endpoint) { e.Host, e.User, e.Password = "h", "u", "" }),
		"amqp://h:1/a%2Fb%20": with(func(e *client.Endpoint) { e.Host, e.Port, e.VHost = "h", "1", "a/b " }),
	} {
		if got, err := client.ParseURI(uri); err != nil || got != want {
			t.Errorf("%q: %+v, %v", uri, got, err)
		}
	}
	for _, uri := range []string{"http://h", "amqp://h/a/b", "amqp://h?heartbeat=1", "amqp://u:secret@h:port"} {
		if got, err := client.ParseURI(uri); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %+v, %v", uri, got, err)
		}
	}
}

func FuzzParseURI(f *testing.F) {
	f.Add("amqp://u:p@h:1/v%2F")
	f.Add("[::1]:5672")
	f.Fuzz(func(t *testing.T, s string) {
		if e, err := client.ParseURI(s); err == nil && (e.Host == "" || e.Port == "" || e.VHost == "") {
			t.Errorf("%q: %+v", s, e)
		}
	})
}

func dial(t *testing.T, b *brokertest.Broker) *client.Conn {
	e, err := client.ParseURI(b.URI())
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Dial(t.Context(), e, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Drop)
	return c
}

func TestCallsAndErrors(t *testing.T) {
	c := dial(t, brokertest.Start(t, brokertest.Faults{}))
	if c.Server != "Fake 1" || c.FrameMax() != 8192 {
		t.Errorf("%q, %d", c.Server, c.FrameMax())
	}
	_, err := client.Call[*protocol.BasicConsumeOk](c, &protocol.BasicConsume{Queue: "none"})
	var closed *client.ClosedError
	if !errors.As(err, &closed) || !closed.Channel || closed.Code != protocol.NotFound {
		t.Errorf("%v", err)
	}
	if err := c.OpenChannel(); err != nil {
		t.Error(err)
	}
	if ok, err := client.Call[*protocol.QueueDeclareOk](c, &protocol.QueueDeclare{Queue: "q"}); err != nil || ok.Queue != "q" {
		t.Errorf("%+v, %v", ok, err)
	}
	if err := c.Close(5 * time.Second); err != nil {
		t.Error(err)
	}
}

func TestDialGivesUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // never answers
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	e, err := client.ParseURI(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if c, err := client.Dial(ctx, e, "test"); err == nil {
		c.Drop()
		t.Error("connected to nobody")
	}
}

func TestEvents(t *testing.T) {
	near, far := net.Pipe()
	go func() { // what Handle answers
		buf := make([]byte, 100)
		for {
			if _, err := far.Read(buf); err != nil {
				return
			}
		}
	}()
	c := client.New(near)
	defer c.Drop()
	defer func() { _ = far.Close() }()
	handle := func(m protocol.Method) (client.Event, error) {
		b := protocol.AppendMethod(nil, 0, m)
		return c.Handle(protocol.Frame{Type: protocol.FrameMethod, Payload: b[7 : len(b)-1]})
	}
	if e, err := handle(&protocol.ConnectionBlocked{}); e != client.Blocked || err != nil {
		t.Error(e, err)
	}
	if e, err := handle(&protocol.ConnectionUnblocked{}); e != client.Unblocked || err != nil {
		t.Error(e, err)
	}
	if e, err := handle(&protocol.ConnectionStart{}); e != client.Ignored || err != nil {
		t.Error(e, err)
	}
	if e, err := c.Handle(protocol.Frame{Type: protocol.FrameHeartbeat}); e != client.Ignored || err != nil {
		t.Error(e, err)
	}
	if _, err := handle(&protocol.BasicCancel{ConsumerTag: "x"}); err == nil || err.Error() != "broker cancelled consumer x" {
		t.Error(err)
	}
	if _, err := handle(&protocol.ConnectionCloseOk{}); !errors.Is(err, client.ErrClosed) {
		t.Error(err)
	}
	if _, err := handle(&protocol.ConnectionClose{ReplyCode: 320, ReplyText: "bye"}); err == nil || err.Error() != "broker closed the connection: 320 bye" {
		t.Error(err)
	}
	if _, err := c.Handle(protocol.Frame{Type: protocol.FrameMethod, Payload: []byte{0, 10, 0}}); err == nil {
		t.Error("half a method is taken")
	}
}
