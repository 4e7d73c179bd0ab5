package integration

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A hostile client does something that the protocol forbids. Whatever it is,
// other connections go on.
type hostile struct {
	name string
	do   func(r *rawClient)
}

// afterOpen is a hostile client that begins well: connection and channel 1 are open.
func afterOpen(do func(r *rawClient)) func(*rawClient) {
	return func(r *rawClient) {
		r.t.Helper()
		r.handshake()
		r.openChannel(1)
		do(r)
	}
}

var hostiles = []hostile{
	// row: 1.1 protocol header
	{"another protocol", func(r *rawClient) {
		r.write([]byte("GET / HTTP/1.1\r\n\r\n"))
		wantHeader(r)
	}},
	{"AMQP 1.0", func(r *rawClient) {
		if peerURLs() != nil {
			r.t.Skip("RabbitMQ 4 speaks AMQP 1.0 too")
		}
		r.write([]byte("AMQP\x03\x01\x00\x00"))
		wantHeader(r)
	}},
	// row: 1.1 protocol header
	{"TLS on the plain port", func(r *rawClient) {
		r.write([]byte("\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03"))
		got := make([]byte, len(protocolHeader))
		if _, err := io.ReadFull(r.in, got); err != nil || !bytes.HasPrefix(got, []byte("AMQP")) {
			r.t.Errorf("answered %x (%v)", got, err)
		}
	}},
	// row: 1.1 protocol header
	{"AMQP 0-8", func(r *rawClient) {
		r.write([]byte("AMQP\x01\x01\x08\x00"))
		wantHeader(r)
	}},
	{"half a header and the end", func(r *rawClient) {
		r.write([]byte("AMQP"))
		_ = r.conn.Close()
	}},
	// row: 1.1 authentication failure
	{"unknown mechanism", func(r *rawClient) {
		r.write(protocolHeader)
		r.expectMethod(0, 10, 10)
		r.startOK("NOSUCH", "")
		r.expectCut(503)
	}},
	// row: 1.1 authentication failure
	{"wrong password", func(r *rawClient) {
		r.write(protocolHeader)
		r.expectMethod(0, 10, 10)
		r.startOK("PLAIN", "\x00guest\x00wrong")
		text := r.expectClose(403)
		if !strings.HasPrefix(text, "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile") {
			r.t.Errorf("text %q", text)
		}
	}},
	{"malformed PLAIN response", func(r *rawClient) {
		r.write(protocolHeader)
		r.expectMethod(0, 10, 10)
		r.startOK("PLAIN", "guest")
		r.expectCut(403, 501, 502)
	}},
	// row: 1.1 tune
	{"channel-max above the limit", func(r *rawClient) {
		r.toTune()
		r.method(0, 10, 31, r.short(4000), r.long(131072), r.short(0))
		r.expectCut(530)
	}},
	// row: 1.1 tune
	{"frame-max above the limit", func(r *rawClient) {
		r.toTune()
		r.method(0, 10, 31, r.short(2047), r.long(1<<20), r.short(0))
		r.expectCut(530)
	}},
	// row: 1.1 tune
	{"no limit of channels", func(r *rawClient) {
		r.toTune()
		r.method(0, 10, 31, r.short(0), r.long(131072), r.short(0))
		if text := r.expectClose(530); text != "NOT_ALLOWED - negotiated channel_max = 0 (no limit) is higher than the maximum allowed value (2047)" {
			r.t.Errorf("text %q", text)
		}
	}},
	// row: 1.1 tune
	{"no limit of frames", func(r *rawClient) {
		r.toTune()
		r.method(0, 10, 31, r.short(2047), r.long(0), r.short(0))
		if text := r.expectClose(530); text != "NOT_ALLOWED - negotiated frame_max = 0 is higher than the maximum allowed value (131072)" {
			r.t.Errorf("text %q", text)
		}
	}},
	// row: 1.1 authentication failure
	{"wrong password of a client that expects no reason", func(r *rawClient) {
		r.write(protocolHeader)
		r.expectMethod(0, 10, 10)
		r.method(0, 10, 11, r.long(0), r.shortstr("PLAIN"), r.longstr("\x00guest\x00wrong"), r.shortstr("en_US"))
		r.expectEnd() // after some seconds
	}},
	{"frame-max below the least", func(r *rawClient) {
		r.toTune()
		r.method(0, 10, 31, r.short(2047), r.long(100), r.short(0))
		r.expectCut(530)
	}},
	// row: 1.1 connection.open
	{"no such vhost", func(r *rawClient) {
		r.toTune()
		r.method(0, 10, 31, r.short(2047), r.long(131072), r.short(0))
		r.method(0, 10, 40, r.shortstr("nosuch"), r.shortstr(""), []byte{0})
		if text := r.expectClose(530); text != "NOT_ALLOWED - vhost nosuch not found" {
			r.t.Errorf("text %q", text)
		}
	}},
	{"open before the handshake", func(r *rawClient) {
		r.write(protocolHeader)
		r.expectMethod(0, 10, 10)
		r.method(1, 20, 10, r.shortstr(""))
		r.expectCut(503, 504, 505)
	}},
	{"bad frame end", afterOpen(func(r *rawClient) {
		f := rawFrame(frameMethod, 1, append(append(r.short(20), r.short(20)...), 1))
		f[len(f)-1] = 0
		r.write(f)
		r.expectClose(501)
	})},
	{"oversized frame", afterOpen(func(r *rawClient) {
		head := append([]byte{frameMethod, 0, 1}, r.long(131072)...)
		r.write(append(head, make([]byte, 131072+1)...))
		r.expectClose(501)
	})},
	{"frame of 4 GiB announced", afterOpen(func(r *rawClient) {
		r.write(append([]byte{frameBody, 0, 1}, r.long(0xffffffff)...))
		r.write(make([]byte, 1000))
		r.expectClose(501)
	})},
	{"unknown frame type", afterOpen(func(r *rawClient) {
		r.frame(77, 1, []byte("?"))
		r.expectClose(501)
	})},
	{"unknown class", afterOpen(func(r *rawClient) {
		r.method(1, 999, 10)
		r.expectCut(540, 503)
	})},
	{"unknown method", afterOpen(func(r *rawClient) {
		r.method(1, 50, 999)
		r.expectCut(540, 503)
	})},
	{"method for clients only", afterOpen(func(r *rawClient) {
		r.method(1, 50, 11, r.shortstr("q"), r.long(0), r.long(0)) // queue.declare-ok
		r.expectClose(503)
	})},
	{"truncated method", afterOpen(func(r *rawClient) {
		r.method(1, 50, 10, r.short(0), []byte{200}, []byte("short"))
		r.expectClose(501)
	})},
	{"truncated table", afterOpen(func(r *rawClient) {
		r.method(1, 50, 10, r.short(0), r.shortstr("q"), []byte{0}, r.long(1000), r.shortstr("k"))
		r.expectClose(501)
	})},
	{"unknown field type", afterOpen(func(r *rawClient) {
		table := append(r.shortstr("k"), '?', 0)
		r.method(1, 50, 10, r.short(0), r.shortstr("q"), []byte{0}, r.long(uint32(len(table))), table)
		r.expectCut(501, 502)
	})},
	// row: 1.2 channel.open, channel.close
	{"method on a channel that is not open", afterOpen(func(r *rawClient) {
		r.method(7, 50, 10, r.short(0), r.shortstr("q"), []byte{0}, r.long(0))
		if text := r.expectClose(504); !strings.HasPrefix(text, "CHANNEL_ERROR - expected 'channel.open'") {
			r.t.Errorf("text %q", text)
		}
	})},
	// row: 1.2 channel.open, channel.close
	{"channel opened twice", afterOpen(func(r *rawClient) {
		r.method(1, 20, 10, r.shortstr(""))
		r.expectClose(504)
	})},
	{"header without a publish", afterOpen(func(r *rawClient) {
		r.header(1, 5, 0)
		r.expectClose(505)
	})},
	{"body without a publish", afterOpen(func(r *rawClient) {
		r.frame(frameBody, 1, []byte("body"))
		r.expectClose(505)
	})},
	{"method between publish and header", afterOpen(func(r *rawClient) {
		r.method(1, 60, 40, r.short(0), r.shortstr(""), r.shortstr("q"), []byte{0})
		r.method(1, 60, 40, r.short(0), r.shortstr(""), r.shortstr("q"), []byte{0})
		r.expectClose(505)
	})},
	{"header of another class", afterOpen(func(r *rawClient) {
		r.method(1, 60, 40, r.short(0), r.shortstr(""), r.shortstr("q"), []byte{0})
		payload := append(append(r.short(50), r.short(0)...), make([]byte, 10)...)
		r.frame(frameHeader, 1, payload)
		r.expectClose(505)
	})},
	{"body longer than announced", afterOpen(func(r *rawClient) {
		if peerURLs() != nil {
			r.t.Skip("RabbitMQ 4.0 waits for ever for a body of negative length")
		}
		r.method(1, 60, 40, r.short(0), r.shortstr(""), r.shortstr("q"), []byte{0})
		r.header(1, 2, 0)
		r.frame(frameBody, 1, []byte("longer"))
		r.expectClose(501)
	})},
	{"server method on channel 0", afterOpen(func(r *rawClient) {
		r.method(0, 50, 10, r.short(0), r.shortstr("q"), []byte{0}, r.long(0))
		r.expectClose(504)
	})},
	{"random bytes", func(r *rawClient) {
		r.write(bytes.Repeat([]byte{0xde, 0xad, 0xbe, 0xef}, 1000))
		_, _ = io.Copy(io.Discard, r.in)
	}},
}

// wantHeader: the server answers with the protocol that it likes best, and
// closes. For RabbitMQ 4 that is AMQP 1.0.
func wantHeader(r *rawClient) {
	r.t.Helper()
	want := protocolHeader
	if peerURLs() != nil {
		want = []byte("AMQP\x03\x01\x00\x00")
	}
	got, err := io.ReadAll(r.in)
	if !bytes.Equal(got, want) {
		r.t.Errorf("answered %x (%v), want %x", got, err, want)
	}
}

// TestHostileClients wants the right reply code for each, and a client that
// behaves, on a connection that is open all the time, unharmed.
//
// row: 1.1 connection errors
func TestHostileClients(t *testing.T) {
	c := sharedCluster(t, 1)
	bystander := dial(t, c.node(0))
	for _, h := range hostiles {
		// In parallel: RabbitMQ lets some of them wait for seconds.
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			ch := channel(t, bystander)
			q := declare(t, ch, c.node(0), nil)
			deliveries := consume(t, ch, q)
			h.do(rawDial(t, c.node(0)))
			publish(t, ch, q, h.name)
			if err := next(t, deliveries, h.name).Ack(false); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestDeepTable nests field tables as deep as a frame allows: the server refuses
// it or takes it, in any case it goes on.
func TestDeepTable(t *testing.T) {
	c := sharedCluster(t, 1)
	bystander := dial(t, c.node(0))
	r := rawDial(t, c.node(0))
	r.handshake()
	r.openChannel(1)
	var table []byte
	for len(table) < 100_000 {
		inner := append(append(r.shortstr("t"), 'F'), r.long(uint32(len(table)))...)
		table = append(inner, table...)
		if len(table) > 20_000 { // prepending is quadratic: 20 kB are some 3,000 levels
			break
		}
	}
	r.method(1, 50, 10, r.short(0), r.shortstr(unique(t)), []byte{0b00100}, r.long(uint32(len(table))), table)
	typ, _, payload := r.readFrame()
	class, method := binary.BigEndian.Uint16(payload), binary.BigEndian.Uint16(payload[2:])
	switch {
	case typ == frameMethod && class == 50 && method == 11: // declared
	case typ == frameMethod && class == 10 && method == 50: // refused
		if code := binary.BigEndian.Uint16(payload[4:]); code != 502 {
			t.Errorf("refused with %d, want 502 SYNTAX_ERROR", code)
		}
	case typ == frameMethod && class == 20 && method == 40: // refused by the channel
	default:
		t.Errorf("answered with frame type %d, method %d.%d", typ, class, method)
	}
	usable(t, bystander)
}

// TestSlowHandshake: a client that says nothing is cut off after the handshake
// timeout (10 s in RabbitMQ), and meanwhile costs nobody anything.
//
// row: 1.1 handshake timeout
func TestSlowHandshake(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t, 1)
	silent, slow := rawDial(t, c.node(0)), rawDial(t, c.node(0))
	slow.write(protocolHeader)
	slow.expectMethod(0, 10, 10)
	bystander := dial(t, c.node(0))
	usable(t, bystander)
	start := time.Now()
	for _, r := range []*rawClient{silent, slow} {
		if _, err := io.Copy(io.Discard, r.in); err != nil && time.Since(start) >= patience {
			t.Fatalf("the server keeps a connection without a handshake: %v", err)
		}
	}
	usable(t, bystander)
}

// TestHeartbeats: the server sends heartbeats at the interval that the client
// asked for and drops a client that sends none.
//
// row: 1.1 heartbeat
func TestHeartbeats(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t, 1)
	r := rawDial(t, c.node(0))
	r.toTune()
	r.method(0, 10, 31, r.short(2047), r.long(131072), r.short(1))
	r.method(0, 10, 40, r.shortstr("/"), r.shortstr(""), []byte{0})
	r.expectMethod(0, 10, 41)
	beats := 0
	for {
		typ, ch, payload, err := r.tryReadFrame()
		if err != nil {
			break // closed on us: we were silent
		}
		if typ != frameHeartbeat || ch != 0 || len(payload) != 0 {
			t.Fatalf("got frame type %d on channel %d", typ, ch)
		}
		beats++
	}
	if beats == 0 {
		t.Error("no heartbeat came before the server gave up")
	}
}

// TestTune checks what the server offers and that a client's smaller wishes count.
//
// row: 1.1 tune
func TestTune(t *testing.T) {
	c := sharedCluster(t, 1)
	r := rawDial(t, c.node(0))
	tune := r.toTune()
	channels, frame, beat := binary.BigEndian.Uint16(tune), binary.BigEndian.Uint32(tune[2:]), binary.BigEndian.Uint16(tune[6:])
	if channels != 2047 || frame != 131072 || beat != 60 {
		t.Errorf("offered channel-max %d, frame-max %d, heartbeat %d; want 2047, 131072, 60", channels, frame, beat)
	}
	r.method(0, 10, 31, r.short(2), r.long(8192), r.short(0))
	r.method(0, 10, 40, r.shortstr("/"), r.shortstr(""), []byte{0})
	r.expectMethod(0, 10, 41)
	r.openChannel(1)
	r.openChannel(2)
	r.method(3, 20, 10, r.shortstr(""))
	r.expectClose(530)
}

// TestServerProperties checks what a client learns in connection.start.
//
// row: 1.1 connection.start
func TestServerProperties(t *testing.T) {
	conn := dial(t, sharedCluster(t, 1).node(0))
	for _, name := range []string{"product", "version", "platform", "information", "copyright", "cluster_name"} {
		if text, ok := conn.Properties[name].(string); !ok || text == "" {
			t.Errorf("server property %s is %v", name, conn.Properties[name])
		}
	}
	capabilities, _ := conn.Properties["capabilities"].(amqp.Table)
	for _, name := range []string{"publisher_confirms", "exchange_exchange_bindings", "basic.nack", "consumer_cancel_notify",
		"connection.blocked", "consumer_priorities", "authentication_failure_close", "per_consumer_qos", "direct_reply_to"} {
		if capabilities[name] != true {
			t.Errorf("capability %s is %v", name, capabilities[name])
		}
	}
}

// TestOldProtocolHeader: the header of 0-9 is taken for 0-9-1's, and the start names mechanisms and locales.
//
// row: 1.1 protocol header; 1.1 connection.start
func TestOldProtocolHeader(t *testing.T) {
	for _, header := range [][]byte{protocolHeader, []byte("AMQP\x01\x01\x00\x09")} {
		r := rawDial(t, sharedCluster(t, 1).node(0))
		r.write(header)
		start := r.expectMethod(0, 10, 10)
		if start[0] != 0 || start[1] != 9 {
			t.Errorf("version %d.%d", start[0], start[1])
		}
		rest := start[2+4+binary.BigEndian.Uint32(start[2:]):] // behind the server's properties
		mechanisms := string(rest[4 : 4+binary.BigEndian.Uint32(rest)])
		locales := string(rest[4+len(mechanisms)+4:])
		words := strings.Fields(mechanisms)
		if !slices.Contains(words, "PLAIN") || !slices.Contains(words, "AMQPLAIN") || locales != "en_US" {
			t.Errorf("mechanisms %q, locales %q", mechanisms, locales)
		}
		r.startOK("PLAIN", "\x00guest\x00guest")
		r.expectMethod(0, 10, 30)
	}
}

// TestMechanisms logs in with each mechanism that the server must offer.
//
// row: 1.7 mechanisms
func TestMechanisms(t *testing.T) {
	c := sharedCluster(t, 1)
	for _, auth := range []amqp.Authentication{
		&amqp.PlainAuth{Username: "guest", Password: "guest"},
		&amqp.AMQPlainAuth{Username: "guest", Password: "guest"},
	} {
		conn, err := amqp.DialConfig(c.node(0).url, amqp.Config{SASL: []amqp.Authentication{auth}})
		if err != nil {
			t.Errorf("%s: %v", auth.Mechanism(), err)
			continue
		}
		usable(t, conn)
		if err := conn.Close(); err != nil {
			t.Errorf("%s: close: %v", auth.Mechanism(), err)
		}
	}
}
