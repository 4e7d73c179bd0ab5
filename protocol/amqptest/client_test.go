package amqptest

import (
	"bytes"
	"errors"
	"net"
	"testing"

	"warren/protocol"
	"warren/protocol/wire"
)

// server plays a broker that says what the client's methods want to hear.
func server(conn net.Conn) error {
	defer conn.Close()
	r, w := protocol.NewReader(conn), protocol.NewWriter(conn)
	send := func(channel uint16, m protocol.Method) error {
		w.Heartbeat() // hidden from the test
		w.Method(channel, m)
		return w.Flush()
	}
	if err := r.ReadProtocolHeader(); err != nil {
		return err
	}
	if err := send(0, &protocol.ConnectionStart{Mechanisms: "PLAIN"}); err != nil {
		return err
	}
	var publish protocol.BasicPublish
	for {
		f, err := r.ReadFrame()
		if err != nil {
			return err
		}
		if f.Type == protocol.FrameHeader {
			h, err := protocol.ParseContentHeader(f.Payload)
			if err != nil {
				return err
			}
			w.Deliver(f.Channel, "tag", 1, false, publish.Exchange, []byte(publish.RoutingKey))
			w.Append(func(b []byte) []byte {
				return protocol.AppendHeader(b, f.Channel, h.ClassID, h.BodySize, h.Properties)
			})
			if h.BodySize == 0 {
				err = w.Flush()
			}
			if err != nil {
				return err
			}
			continue
		}
		if f.Type == protocol.FrameBody {
			w.Append(func(b []byte) []byte { return protocol.AppendFrame(b, f) })
			if err := w.Flush(); err != nil {
				return err
			}
			continue
		}
		m, err := protocol.ParseMethod(f.Payload)
		var e *protocol.Error
		if errors.As(err, &e) {
			if err := send(0, e.Close()); err != nil {
				return err
			}
			continue
		}
		switch m := m.(type) {
		case *protocol.ConnectionStartOk:
			err = send(0, &protocol.ConnectionTune{ChannelMax: 7, FrameMax: 4096, Heartbeat: 1})
		case *protocol.ConnectionOpen:
			err = send(0, &protocol.ConnectionOpenOk{})
		case *protocol.ChannelOpen:
			err = send(f.Channel, &protocol.ChannelOpenOk{})
		case *protocol.BasicPublish:
			publish = *m
		case *protocol.QueueDeclare:
			err = send(f.Channel, protocol.Errorf(protocol.NotFound, m.ID(), "no queue").Close())
		case *protocol.ConnectionCloseOk:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func TestClient(t *testing.T) {
	near, far := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- server(far) }()

	c := New(t, near)
	start, tune := c.Handshake("guest", "guest", "/")
	if start.Mechanisms != "PLAIN" || tune.FrameMax != 4096 {
		t.Errorf("%+v, %+v", start, tune)
	}
	c.Open(3)
	c.Publish(3, &protocol.BasicPublish{Exchange: "e", RoutingKey: "k"},
		&wire.Properties{Present: wire.FlagType, Type: "x"}, []byte("body"))
	d, m := c.Deliver(3)
	if d.Exchange != "e" || d.RoutingKey != "k" || m.Properties.Type != "x" || !bytes.Equal(m.Body, []byte("body")) {
		t.Errorf("%+v, %+v", d, m)
	}
	c.Publish(3, &protocol.BasicPublish{}, nil, nil)
	if _, m := c.Deliver(3); len(m.Body) != 0 {
		t.Errorf("%+v", m)
	}
	c.Send(3, &protocol.QueueDeclare{Queue: "q"})
	if text := c.ExpectChannelClose(3, protocol.NotFound); text != "NOT_FOUND - no queue" {
		t.Errorf("text %q", text)
	}
	c.SendFrame(protocol.Frame{Type: protocol.FrameMethod, Payload: []byte{0, 60, 0, 200}})
	if text := c.ExpectConnectionClose(protocol.NotImplemented); text == "" {
		t.Error("no text")
	}
	if err := <-served; err != nil {
		t.Error("server:", err)
	}
}
