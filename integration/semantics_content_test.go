package integration

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// contentSemantics: what is in a message comes out as it went in.
var contentSemantics = []semantic{
	{"sizes", func(t *testing.T, c *cluster) {
		here, there := open(t, c.node(0)), open(t, c.node(1))
		q := declare(t, here, c.node(0), nil)
		if err := here.Confirm(false); err != nil {
			t.Fatal(err)
		}
		got := consume(t, there, q)
		const frame = 131072 - 8 // the body that fits into one frame
		for _, size := range []int{0, 1, 2, 1000, frame - 1, frame, frame + 1, 2 * frame, 1 << 20, 16<<20 - 1, 16 << 20} {
			body := pattern(size)
			confirmed(t, here, "", q, amqp.Publishing{Body: body, DeliveryMode: amqp.Persistent})
			d := receive(t, fmt.Sprintf("message of %d bytes", size), got)
			if len(d.Body) != size || sha256.Sum256(d.Body) != sha256.Sum256(body) {
				t.Fatalf("a body of %d bytes came back with %d, or changed", size, len(d.Body))
			}
			if err := d.Ack(false); err != nil {
				t.Fatal(err)
			}
		}
	}},
	{"small frames", func(t *testing.T, c *cluster) {
		// 8192 is the least frame size that RabbitMQ agrees to.
		conn, err := amqp.DialConfig(c.node(1).url, amqp.Config{FrameSize: 8192, Heartbeat: 30 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if conn.Config.FrameSize != 8192 {
			t.Errorf("frame size %d, want the client's 8192", conn.Config.FrameSize)
		}
		ch, q := filled(t, c, 0)
		body := pattern(100_000)
		publishTo(t, channel(t, conn), "", q, amqp.Publishing{Body: body})
		wantDepth(t, ch, q, 1)
		d, ok, err := channel(t, conn).Get(q, true)
		if err != nil || !ok || !bytes.Equal(d.Body, body) {
			t.Fatalf("got %d bytes, %v, %v", len(d.Body), ok, err)
		}
	}},
	{"all properties", func(t *testing.T, c *cluster) {
		sent := amqp.Publishing{
			ContentType: "application/json", ContentEncoding: "gzip", Headers: amqp.Table{"k": "v"},
			DeliveryMode: 2, Priority: 7, CorrelationId: "corr", ReplyTo: "reply", Expiration: "3600000",
			MessageId: "id", Timestamp: time.Unix(1_700_000_000, 0), Type: "type", UserId: "guest", AppId: "app",
			Body: []byte("body"),
		}
		d := throughBroker(t, c, sent)
		got := amqp.Publishing{
			ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, Headers: d.Headers,
			DeliveryMode: d.DeliveryMode, Priority: d.Priority, CorrelationId: d.CorrelationId, ReplyTo: d.ReplyTo,
			Expiration: d.Expiration, MessageId: d.MessageId, Timestamp: d.Timestamp, Type: d.Type,
			UserId: d.UserId, AppId: d.AppId, Body: d.Body,
		}
		if !reflect.DeepEqual(got, sent) {
			t.Errorf("got  %+v\nsent %+v", got, sent)
		}
	}},
	{"no properties", func(t *testing.T, c *cluster) {
		d := throughBroker(t, c, amqp.Publishing{})
		if d.ContentType != "" || d.DeliveryMode != 0 || d.Priority != 0 || len(d.Headers) != 0 || !d.Timestamp.IsZero() {
			t.Errorf("properties appeared: %+v", d)
		}
	}},
	{"cluster-id property", func(t *testing.T, c *cluster) {
		// The fourteenth property, reserved by 0-9-1: no client library sends it.
		_, q := filled(t, c, 0)
		raw := rawDial(t, c.node(0))
		raw.handshake()
		raw.openChannel(1)
		raw.method(1, 60, 40, raw.short(0), raw.shortstr(""), raw.shortstr(q), []byte{0})
		raw.header(1, 1, 1<<2, raw.shortstr("cluster"))
		raw.frame(3, 1, []byte("b"))
		raw.method(1, 60, 70, raw.short(0), raw.shortstr(q), []byte{1})
		for { // the queue may take the message a moment later
			typ, _, payload := raw.readFrame()
			if typ != 1 {
				t.Fatalf("frame type %d", typ)
			}
			if payload[3] == 72 { // get-empty
				raw.method(1, 60, 70, raw.short(0), raw.shortstr(q), []byte{1})
				continue
			}
			break
		}
		typ, _, payload := raw.readFrame()
		want := append(append(raw.short(60), raw.short(0)...), append([]byte{0, 0, 0, 0, 0, 0, 0, 1}, append(raw.short(1<<2), raw.shortstr("cluster")...)...)...)
		if typ != 2 || !bytes.Equal(payload, want) {
			t.Errorf("header frame %d %x, want %x", typ, payload, want)
		}
	}},
	// row: 1.1 field tables
	{"all field types", func(t *testing.T, c *cluster) {
		headers := amqp.Table{
			"t": true, "f": false, "b": int8(-5), "B": byte(200), "s": int16(-300), "I": int32(math.MinInt32),
			"l": int64(math.MaxInt64), "float": float32(1.5), "double": math.Pi, "S": "longstr \x00 \xff",
			"x": []byte{0, 1, 2}, "D": amqp.Decimal{Scale: 2, Value: 12345}, "T": time.Unix(1_600_000_000, 0), "V": nil,
			"F":     amqp.Table{"nested": amqp.Table{"deep": "value"}, "n": int32(1)},
			"A":     []any{"a", int32(1), amqp.Table{"in": "array"}, []any{true, nil}},
			"empty": amqp.Table{}, "none": []any{}, "": "nameless",
		}
		d := throughBroker(t, c, amqp.Publishing{Headers: headers})
		for name, want := range headers {
			got, ok := d.Headers[name]
			if a, isArray := want.([]any); isArray && len(a) == 0 && ok {
				if g, isArray := got.([]any); isArray && len(g) == 0 {
					continue
				}
			}
			if !ok || !reflect.DeepEqual(got, want) {
				t.Errorf("header %q: got %T %v, sent %T %v", name, got, got, want, want)
			}
		}
		if len(d.Headers) != len(headers) {
			t.Errorf("%d headers, sent %d", len(d.Headers), len(headers))
		}
	}},
}

// pattern makes a body that shows misplaced bytes.
func pattern(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i*7 + i>>8 + i>>16)
	}
	return b
}

// throughBroker publishes on one node and gets on another.
func throughBroker(t *testing.T, c *cluster, p amqp.Publishing) amqp.Delivery {
	t.Helper()
	ch, q := filled(t, c, 0)
	publishTo(t, ch, "", q, p)
	there := open(t, c.node(1))
	wantDepth(t, there, q, 1)
	d, ok, err := there.Get(q, true)
	if err != nil || !ok {
		t.Fatalf("get: %v %v", ok, err)
	}
	return d
}
