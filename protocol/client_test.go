package protocol

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"reflect"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/protocol/wire"
)

// An independent client on the other end of the wire checks that both sides of
// our encoding mean what others mean by it.

// ourTable and clientTable are one table, in our types and in the client's.
var (
	ourTable = wire.Table{
		{Name: "array", Value: wire.Array{int32(1), "x", nil}},
		{Name: "binary", Value: []byte{0, 255}},
		{Name: "bool", Value: true},
		{Name: "byte", Value: int8(-3)},
		{Name: "decimal", Value: wire.Decimal{Scale: 2, Value: -314}},
		{Name: "double", Value: 1.25},
		{Name: "float", Value: float32(1.5)},
		{Name: "long", Value: int64(-1 << 40)},
		{Name: "longstr", Value: "text"},
		{Name: "short", Value: int16(-300)},
		{Name: "signedint", Value: int32(-70000)},
		{Name: "table", Value: wire.Table{{Name: "in", Value: int32(2)}}},
		{Name: "timestamp", Value: wire.Timestamp(1_600_000_000)},
		{Name: "unsignedbyte", Value: uint8(200)},
		{Name: "void", Value: nil},
	}
	clientTable = amqp.Table{
		"array":        []any{int32(1), "x", nil},
		"binary":       []byte{0, 255},
		"bool":         true,
		"byte":         int8(-3),
		"decimal":      amqp.Decimal{Scale: 2, Value: -314},
		"double":       1.25,
		"float":        float32(1.5),
		"long":         int64(-1 << 40),
		"longstr":      "text",
		"short":        int16(-300),
		"signedint":    int32(-70000),
		"table":        amqp.Table{"in": int32(2)},
		"timestamp":    time.Unix(1_600_000_000, 0),
		"unsignedbyte": uint8(200),
		"void":         nil,
	}
)

// A peer is the server's end of the conversation: a script of expectations and
// answers. Its first fault ends the conversation.
type peer struct {
	conn net.Conn
	r    *Reader
	w    *Writer
	err  error
}

func (p *peer) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
		p.conn.Close()
	}
}

func (p *peer) send(channel uint16, m Method) {
	p.w.Method(channel, m)
	p.flush()
}

func (p *peer) flush() {
	if err := p.w.Flush(); err != nil {
		p.fail("write: %w", err)
	}
}

// frame returns the next frame that is no heartbeat.
func (p *peer) frame() Frame {
	for p.err == nil {
		f, err := p.r.ReadFrame()
		if err != nil {
			p.fail("read: %w", err)
		} else if f.Type != FrameHeartbeat {
			return f
		}
	}
	return Frame{}
}

// expect reads a method of want's type and, when want has fields set, compares it.
func expect[M Method](p *peer) (m M) {
	f := p.frame()
	if p.err != nil {
		return m
	}
	got, err := ParseMethod(f.Payload)
	if err != nil {
		p.fail("parse: %w", err)
		return m
	}
	m, ok := got.(M)
	if !ok {
		p.fail("got %s, want %T", got.ID(), m)
	}
	return m
}

func (p *peer) handshake() {
	if err := p.r.ReadProtocolHeader(); err != nil {
		p.fail("%w", err)
		return
	}
	p.send(0, &ConnectionStart{VersionMajor: 0, VersionMinor: 9, ServerProperties: ourTable,
		Mechanisms: "AMQPLAIN PLAIN", Locales: "en_US"})
	ok := expect[*ConnectionStartOk](p)
	if p.err != nil {
		return
	}
	if user, password, err := ParsePlain(ok.Response); user != "us" || password != "pw" || err != nil {
		p.fail("login %q, %q, %v", user, password, err)
	}
	if v, _ := ok.ClientProperties.Get("mine"); !wire.EqualValue(v, ourTable) {
		p.fail("client properties: %#v", v)
	}
	p.send(0, &ConnectionTune{ChannelMax: 2047, FrameMax: 131072, Heartbeat: 60})
	if ok := expect[*ConnectionTuneOk](p); p.err == nil && (ok.ChannelMax != 2047 || ok.FrameMax != 4096 || ok.Heartbeat != 60) {
		p.fail("tune-ok %+v", ok)
	}
	p.r.SetFrameMax(4096)
	p.w.SetFrameMax(4096)
	if open := expect[*ConnectionOpen](p); p.err == nil && open.VirtualHost != "vh" {
		p.fail("open %+v", open)
	}
	p.send(0, &ConnectionOpenOk{})
	expect[*ChannelOpen](p)
	p.send(1, &ChannelOpenOk{})
}

// serve plays the broker for one client.
func (p *peer) serve() {
	p.handshake()
	declare := expect[*QueueDeclare](p)
	if p.err == nil && !(declare.Queue == "q" && declare.Durable && !declare.Exclusive && !declare.NoWait &&
		wire.EqualTable(declare.Arguments, ourTable)) {
		p.fail("declare %+v", declare)
	}
	p.send(1, &QueueDeclareOk{Queue: "q", MessageCount: 5, ConsumerCount: 2})

	var view PublishView
	if err := view.Parse(p.frame().Payload); err != nil || string(view.RoutingKey) != "q" || !view.Mandatory {
		p.fail("publish %+v, %v", view, err)
	}
	h, err := ParseContentHeader(p.frame().Payload)
	if err != nil {
		p.fail("header: %w", err)
		return
	}
	properties, err := wire.ParseProperties(h.Properties)
	if err != nil || !wire.EqualTable(properties.Headers, ourTable) || properties.Type != "kind" ||
		properties.Timestamp != 1_600_000_000 || properties.Priority != 3 || properties.Present != 0xFFF8 {
		p.fail("properties %+v, %v", properties, err)
	}
	raw := bytes.Clone(h.Properties)
	var content []byte
	for uint64(len(content)) < h.BodySize && p.err == nil {
		content = append(content, p.frame().Payload...)
	}

	consume := expect[*BasicConsume](p)
	if p.err != nil {
		return
	}
	p.w.Method(1, &BasicConsumeOk{ConsumerTag: consume.ConsumerTag})
	p.w.Deliver(1, consume.ConsumerTag, 1<<33, true, "ex", []byte("key"))
	p.w.Content(1, raw, content)
	p.flush()
	if ack := expect[*BasicAck](p); p.err == nil && (ack.DeliveryTag != 1<<33 || !ack.Multiple) {
		p.fail("ack %+v", ack)
	}
	expect[*ConnectionClose](p)
	p.send(0, &ConnectionCloseOk{})
}

func TestWithIndependentClient(t *testing.T) {
	near, far := tcpPair(t)
	p := &peer{conn: near, r: NewReader(near), w: NewWriter(near)}
	served := make(chan struct{})
	go func() { defer close(served); p.serve() }()

	if err := talk(far); err != nil {
		t.Error("client:", err)
	}
	far.Close()
	<-served
	if p.err != nil {
		t.Error("server:", p.err)
	}
}

// talk is the client's part.
func talk(conn net.Conn) error {
	c, err := amqp.Open(conn, amqp.Config{
		SASL:       []amqp.Authentication{&amqp.PlainAuth{Username: "us", Password: "pw"}},
		Vhost:      "vh",
		FrameSize:  4096,
		Heartbeat:  60 * time.Second,
		ChannelMax: 2047,
		Properties: amqp.Table{"mine": clientTable},
	})
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(c.Properties, clientTable) {
		return fmt.Errorf("server properties %#v", c.Properties)
	}
	ch, err := c.Channel()
	if err != nil {
		return err
	}
	q, err := ch.QueueDeclare("q", true, false, false, false, clientTable)
	if err != nil || q.Name != "q" || q.Messages != 5 || q.Consumers != 2 {
		return fmt.Errorf("declare-ok %+v, %w", q, err)
	}
	sent := amqp.Publishing{Headers: clientTable, ContentType: "text/plain", ContentEncoding: "gzip", DeliveryMode: 2,
		Priority: 3, CorrelationId: "c", ReplyTo: "r", Expiration: "9", MessageId: "m",
		Timestamp: time.Unix(1_600_000_000, 0), Type: "kind", UserId: "us", AppId: "app", Body: body(10_000)}
	if err := ch.PublishWithContext(context.Background(), "", "q", true, false, sent); err != nil {
		return err
	}
	deliveries, err := ch.Consume("q", "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	d, ok := <-deliveries
	if !ok {
		return fmt.Errorf("no delivery")
	}
	if d.DeliveryTag != 1<<33 || !d.Redelivered || d.Exchange != "ex" || d.RoutingKey != "key" ||
		!reflect.DeepEqual(d.Headers, clientTable) || !bytes.Equal(d.Body, sent.Body) || d.AppId != "app" {
		return fmt.Errorf("delivery %+v", d)
	}
	if err := d.Ack(true); err != nil {
		return err
	}
	return c.Close()
}
