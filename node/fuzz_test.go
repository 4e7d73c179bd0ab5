package node

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/protocol"
	"warren/protocol/wire"
)

// What FuzzNode makes of its bytes.
const (
	fromTheStart = iota // all that is sent
	behindLogin         // what is sent behind a handshake
	framed              // frames: see unframe
	composed            // choices: see composer
	modes
)

// FuzzNode throws bytes at a whole node, which has a client that behaves beside. Whatever they are, that client is
// served, the server says nothing but legal frames and ends the connection, and then nothing of it is left: no session, no goroutine, no
// memory, nothing in the state machine.
func FuzzNode(f *testing.F) {
	s := newStage(f)
	login, rest := s.capture(f)
	f.Add(uint8(fromTheStart), append(login[:len(login):len(login)], rest...))
	f.Add(uint8(fromTheStart), []byte("AMQP\x00\x00\x09\x01"))
	f.Add(uint8(fromTheStart), []byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add(uint8(behindLogin), rest)
	f.Add(uint8(framed), enframe(rest))
	for at := 0; at < len(rest); { // and each method as the first one on its channel
		size := protocol.FrameOverhead + int(binary.BigEndian.Uint32(rest[at+3:]))
		f.Add(uint8(framed), append(enframe(protocol.AppendMethod(nil, 1, &protocol.ChannelOpen{})), enframe(rest[at:at+size])...))
		at += size
	}
	f.Add(uint8(composed), bytes.Repeat([]byte{7, 1, 13, 2, 99, 5, 0, 3}, 100))
	f.Add(uint8(composed), rest)
	f.Fuzz(func(t *testing.T, mode uint8, b []byte) {
		send := b
		switch mode % modes {
		case behindLogin:
			send = append(login[:len(login):len(login)], b...)
		case framed:
			send = append(login[:len(login):len(login)], unframe(b)...)
		case composed:
			send = append(login[:len(login):len(login)], (&composer{rest: b}).all()...)
		}
		if err := legalWords(throw(t, s.dial(t, s.n.AMQPAddr()), send)); err != nil {
			t.Errorf("the server said what is not legal: %v", err)
		}
		s.recovered(t)
	})
}

// capture is what a real client sends that does what there is to do: up to connection.open, and behind.
func (s *stage) capture(t testing.TB) (login, rest []byte) {
	t.Helper()
	var sent bytes.Buffer
	var mu sync.Mutex
	conn, err := amqp.DialConfig("amqp://"+stageUser+":"+stageUser+"@"+s.n.AMQPAddr()+"/"+stageVHost, amqp.Config{
		Dial: func(network, addr string) (net.Conn, error) {
			c, err := net.DialTimeout(network, addr, stagePatience)
			return &recorded{Conn: c, mu: &mu, sent: &sent}, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	login = bytes.Clone(sent.Bytes())
	sent.Reset()
	mu.Unlock()
	if err := converse(conn); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	return login, bytes.Clone(sent.Bytes())
}

// recorded keeps what is sent.
type recorded struct {
	net.Conn
	mu   *sync.Mutex
	sent *bytes.Buffer
}

func (r *recorded) Write(b []byte) (int, error) {
	r.mu.Lock()
	r.sent.Write(b)
	r.mu.Unlock()
	return r.Conn.Write(b)
}

// converse does with a client what there is to do, and closes the connection.
func converse(conn *amqp.Connection) error {
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	headers := amqp.Table{"n": int32(1), "s": "text", "t": time.Unix(1, 0), "l": []any{int64(1), true, nil, 1.5},
		"in": amqp.Table{"b": []byte{1}, "d": amqp.Decimal{Scale: 2, Value: 3}}, "CC": []any{"cc"}, "x-delay": int32(1)}
	message := amqp.Publishing{Headers: headers, ContentType: "text/plain", DeliveryMode: 2, Priority: 3, CorrelationId: "c",
		ReplyTo: "amq.rabbitmq.reply-to", Expiration: "60000", MessageId: "m", Timestamp: time.Unix(2, 0), UserId: stageUser, Body: bytes.Repeat([]byte("body"), 3000)}
	arguments := amqp.Table{"x-message-ttl": int32(60000), "x-max-priority": int32(5), "x-dead-letter-exchange": "x", "x-max-length": int32(10),
		"x-expires": int32(600000), "x-overflow": "reject-publish", "x-delivery-limit": int32(3), "x-single-active-consumer": true}
	publish := func(exchange, key string, mandatory bool) func() error {
		return func() error { return ch.Publish(exchange, key, mandatory, false, message) }
	}
	var deliveries <-chan amqp.Delivery
	steps := []func() error{
		func() error {
			return ch.ExchangeDeclare("x", "topic", true, false, false, false, amqp.Table{"alternate-exchange": "amq.fanout"})
		},
		func() error { return ch.ExchangeDeclare("h", "headers", false, true, false, false, nil) },
		func() error { _, err := ch.QueueDeclare("q", true, false, false, false, arguments); return err },
		func() error { _, err := ch.QueueDeclare("d", false, true, true, false, nil); return err },
		func() error { return ch.QueueBind("d", "a.*.#", "x", false, nil) },
		func() error { return ch.QueueBind("q", "", "h", false, amqp.Table{"x-match": "any", "n": int32(1)}) },
		func() error { return ch.ExchangeBind("h", "#", "x", false, nil) },
		func() error { return ch.Qos(2, 0, false) },
		func() error { return ch.Qos(0, 0, true) },
		func() error { return ch.Confirm(false) },
		func() error {
			_, err := ch.Consume("amq.rabbitmq.reply-to", "r", true, false, false, false, nil)
			return err
		},
		func() error {
			deliveries, err = ch.Consume("q", "t", false, false, false, false, amqp.Table{"x-priority": int32(1)})
			return err
		},
		publish("", "q", true), publish("x", "a.b", true), publish("h", "", false), publish("", "none", true),
		func() error { d := <-deliveries; return d.Ack(false) },
		func() error { d := <-deliveries; return d.Nack(true, true) },
		func() error {
			//lint:ignore SA1019 old clients send it, so the broker must answer it
			return ch.Recover(true)
		},
		func() error { return ch.Cancel("t", false) },
		publish("", "d", false),
		func() error {
			d, ok, err := ch.Get("d", false)
			if err != nil || !ok {
				return fmt.Errorf("get: %v, %w", ok, err)
			}
			return d.Reject(false)
		},
		func() error { _, _, err := ch.Get("d", true); return err },
		func() error { return ch.Flow(true) },
		func() error { _, err := ch.QueueDeclarePassive("q", true, false, false, false, arguments); return err },
		func() error { _, err := ch.QueuePurge("q", false); return err },
		func() error { return ch.QueueUnbind("d", "a.*.#", "x", nil) },
		func() error { return ch.ExchangeUnbind("h", "#", "x", false, nil) },
		func() error { return conn.UpdateSecret(stageUser, "reason") },
		func() error { ch, err = conn.Channel(); return err },
		func() error { return ch.Tx() },
		func() error { message.ReplyTo = ""; return nil }, // no replies on the second channel
		publish("", "d", true),
		func() error { return ch.TxCommit() },
		publish("x", "q", false),
		func() error { return ch.TxRollback() },
		func() error { _, err := ch.QueueDelete("q", false, false, false); return err },
		func() error { return ch.ExchangeDelete("x", false, false) },
		func() error { return ch.Close() },
		conn.Close,
	}
	for i, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return nil
}

// frameTypes are those that there are.
var frameTypes = [...]uint8{protocol.FrameMethod, protocol.FrameHeader, protocol.FrameBody, protocol.FrameHeartbeat}

// unframe makes whole frames of bytes: of each, type (2 bits) and channel (2 bits), length (2 bytes, or what is left), payload.
func unframe(b []byte) (frames []byte) {
	for len(b) >= 3 {
		size := min(int(binary.BigEndian.Uint16(b[1:])), len(b)-3)
		frames = protocol.AppendFrame(frames, protocol.Frame{
			Type: frameTypes[b[0]&3], Channel: uint16(b[0] >> 2 & 3), Payload: b[3 : 3+size],
		})
		b = b[3+size:]
	}
	return frames
}

// enframe is the opposite for what a client sends; bodies are cut to what fits.
func enframe(frames []byte) (b []byte) {
	for len(frames) > 0 {
		size := int(binary.BigEndian.Uint32(frames[3:]))
		at := uint8(bytes.IndexByte(frameTypes[:], frames[0]))
		channel := binary.BigEndian.Uint16(frames[1:])
		b = append(b, at|uint8(channel&3)<<2)
		b = binary.BigEndian.AppendUint16(b, uint16(size))
		b = append(b, frames[7:7+size]...)
		frames = frames[size+protocol.FrameOverhead:]
	}
	return b
}

// A composer takes bytes for choices: what a client might say in some order, with names that meet.
type composer struct{ rest []byte }

func (c *composer) choice(n int) int {
	if len(c.rest) == 0 {
		return 0
	}
	v := int(c.rest[0])
	c.rest = c.rest[1:]
	return v % n
}

// said are methods of clients; some come more often.
var said = []protocol.ID{
	protocol.IDBasicPublish, protocol.IDBasicPublish, protocol.IDBasicPublish, protocol.IDBasicPublish, protocol.IDBasicPublish,
	protocol.IDBasicConsume, protocol.IDBasicConsume, protocol.IDBasicAck, protocol.IDBasicAck, protocol.IDBasicNack, protocol.IDBasicReject,
	protocol.IDBasicGet, protocol.IDBasicGet, protocol.IDBasicQos, protocol.IDBasicCancel, protocol.IDBasicRecover, protocol.IDBasicRecoverAsync,
	protocol.IDQueueDeclare, protocol.IDQueueDeclare, protocol.IDQueueBind, protocol.IDQueueUnbind, protocol.IDQueuePurge, protocol.IDQueueDelete,
	protocol.IDExchangeDeclare, protocol.IDExchangeBind, protocol.IDExchangeUnbind, protocol.IDExchangeDelete,
	protocol.IDConfirmSelect, protocol.IDTxSelect, protocol.IDTxCommit, protocol.IDTxRollback,
	protocol.IDChannelOpen, protocol.IDChannelOpen, protocol.IDChannelFlow, protocol.IDChannelFlowOk, protocol.IDChannelClose, protocol.IDChannelCloseOk,
	protocol.IDAccessRequest,
}

func (c *composer) all() (b []byte) {
	for channel := range uint16(3) {
		b = protocol.AppendMethod(b, channel+1, &protocol.ChannelOpen{})
	}
	for len(c.rest) > 0 {
		m := protocol.NewMethod(said[c.choice(len(said))])
		c.fill(reflect.ValueOf(m).Elem())
		channel := uint16(1 + c.choice(3))
		b = protocol.AppendMethod(b, channel, m)
		if _, ok := m.(*protocol.BasicPublish); ok && c.choice(40) != 39 {
			b = c.message(b, channel)
		}
	}
	return b
}

func (c *composer) message(b []byte, channel uint16) []byte {
	p := wire.Properties{
		Present: uint16(c.choice(256))<<8 | uint16(c.choice(64))<<2, Headers: c.table(1), DeliveryMode: uint8(c.choice(3)), Priority: uint8(c.choice(12)),
		ReplyTo: c.name(), Expiration: []string{"0", "1", "100", "-1", "x"}[c.choice(5)], UserID: []string{stageUser, "guest"}[c.choice(2)],
	}
	body := bytes.Repeat([]byte{'b'}, c.choice(64)*c.choice(64)*c.choice(64))
	b = protocol.AppendHeader(b, channel, 60, uint64(len(body)), wire.AppendProperties(nil, &p))
	return protocol.AppendBody(b, channel, body, protocol.FrameMinSize)
}

// fill gives each field of a method a value.
func (c *composer) fill(v reflect.Value) {
	for i := range v.NumField() {
		field := v.Field(i)
		switch field.Interface().(type) {
		case wire.Table:
			field.Set(reflect.ValueOf(c.table(1)))
			continue
		}
		switch field.Kind() {
		case reflect.String:
			field.SetString(c.name())
		case reflect.Bool:
			field.SetBool(c.choice(4) == 1)
		case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
			n := uint64(c.choice(20))
			if n == 19 {
				n = ^uint64(0) >> (64 - field.Type().Bits())
			}
			field.SetUint(n)
		}
	}
}

// name is of a queue, an exchange, a consumer, a routing key, or a type.
func (c *composer) name() string {
	return []string{"q", "d", "", "x", "h", "t", "amq.topic", "topic", "fanout", "headers", "direct", "a.b", "#", "amq.rabbitmq.reply-to",
		"amq.gen-x", "x-consistent-hash", "x-delayed-message", "x-recent-history", "x-random", "amq.headers", strings.Repeat("long", 63)}[c.choice(21)]
}

// table makes arguments or headers.
func (c *composer) table(depth int) wire.Table {
	names := []string{"x-message-ttl", "x-max-priority", "x-dead-letter-exchange", "x-dead-letter-routing-key", "x-max-length", "x-max-length-bytes",
		"x-expires", "x-overflow", "x-delivery-limit", "x-single-active-consumer", "x-match", "CC", "BCC", "x-delay", "x-deduplication-header",
		"x-message-deduplication", "x-cache-size", "alternate-exchange", "x-priority", "x-consumer-timeout", "x-delayed-type", "x-queue-type", "x-death", "n"}
	var t wire.Table
	for range max(0, c.choice(8)-4) {
		var value any
		switch c.choice(7) {
		case 0:
			value = c.name()
		case 1:
			value = int32(c.choice(30))
		case 2:
			value = int64(c.choice(4) - 2)
		case 3:
			value = c.choice(2) == 1
		case 4:
			value = wire.Array{c.name(), int32(1)}
		case 5:
			if depth > 0 {
				value = c.table(depth - 1)
			}
		case 6:
			value = []string{"reject-publish", "drop-head", "all", "any", "quorum", "stream", "1.5"}[c.choice(7)]
		}
		t = append(t, wire.Field{Name: names[c.choice(len(names))], Value: value})
	}
	return t
}

// FuzzNodeHTTP sends bytes to the HTTP port of a whole node, as they are or as the body of a request with a login: the answer is none of a
// failure of the server's own, and all else is as with FuzzNode.
func FuzzNodeHTTP(f *testing.F) {
	s := newStage(f)
	login := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(stageUser+":"+stageUser)) + "\r\n"
	deep := `{"arguments":` + strings.Repeat(`{"a":[`, 5000) + strings.Repeat(`]}`, 5000) + "}"
	f.Add("", []byte("GET /api/overview HTTP/1.1\r\nHost: h\r\n"+login+"Connection: close\r\n\r\n"))
	f.Add("", []byte("PUT /api/queues/fuzz/q HTTP/1.1\r\nHost: h\r\n"+login+"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"))
	f.Add("", []byte("POST /api/definitions HTTP/1.1\r\nHost: h\r\n"+login+"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 9\r\n\r\n--b\r\n\r\n{}"))
	f.Add("PUT /api/queues/fuzz/q", []byte(deep))
	f.Add("PUT /api/queues/fuzz/q", []byte(`{"durable":true,"arguments":{"x-max-length":1e400,"t":{"a":[1,null,1.5]}}}`))
	f.Add("POST /api/exchanges/fuzz/amq.default/publish", []byte(`{"routing_key":"q","payload":"eA==","payload_encoding":"base64","properties":{"headers":{"h":[{}]}}}`))
	f.Add("POST /api/queues/fuzz/q/get", []byte(`{"count":2147483647,"ackmode":"ack_requeue_true","encoding":"auto","truncate":1}`))
	f.Add("PUT /api/policies/fuzz/p", []byte(`{"pattern":"(a+)+$","definition":{"max-length":1},"priority":9999999999}`))
	f.Add("GET /api/queues?name=(a%2B)%2B&use_regex=true&page=1&sort=x.y.z&columns=a.b", []byte{})
	f.Fuzz(func(t *testing.T, request string, b []byte) {
		if request != "" {
			method, path, _ := strings.Cut(strings.NewReplacer("\r", "", "\n", "").Replace(request), " ")
			b = fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: h\r\n%sConnection: close\r\nContent-Length: %d\r\n\r\n%s", method, path, login, len(b), b)
		}
		answer := string(throw(t, s.dial(t, s.n.HTTPAddr()), b))
		for _, code := range []int{http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout} {
			if strings.HasPrefix(answer, fmt.Sprintf("HTTP/1.1 %d ", code)) {
				t.Errorf("%s\n%.500s", b[:min(len(b), 300)], answer)
			}
		}
		s.recovered(t)
	})
}
