package integration

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"testing"
	"time"
)

// A rawClient speaks AMQP byte by byte, for what no client library sends. It
// shares no code with the server, so that a mistake in one is seen by the other.
type rawClient struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

// Frame types and the frame end of AMQP 0-9-1, section 4.2.3.
const (
	frameMethod    = 1
	frameHeader    = 2
	frameBody      = 3
	frameHeartbeat = 8
	frameEnd       = 0xce
)

var protocolHeader = []byte("AMQP\x00\x00\x09\x01")

// rawDial connects; the connection ends with the test.
func rawDial(t testing.TB, n *node) *rawClient {
	t.Helper()
	conn, err := net.DialTimeout("tcp", n.amqp, patience)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	return rawOn(t, conn)
}

// rawOn is a client on a connection, which ends with the test.
func rawOn(t testing.TB, conn net.Conn) *rawClient {
	t.Helper()
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &rawClient{t: t, conn: conn, in: bufio.NewReader(conn)}
}

func (r *rawClient) short(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }
func (r *rawClient) long(v uint32) []byte  { return binary.BigEndian.AppendUint32(nil, v) }
func (r *rawClient) shortstr(s string) []byte {
	return append([]byte{byte(len(s))}, s...)
}
func (r *rawClient) longstr(s string) []byte { return append(r.long(uint32(len(s))), s...) }

// write sends bytes. The server may have closed already: that shows when reading.
func (r *rawClient) write(b []byte) {
	_, _ = r.conn.Write(b)
}

func rawFrame(typ byte, ch uint16, payload []byte) []byte {
	b := append([]byte{typ}, binary.BigEndian.AppendUint16(nil, ch)...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	return append(append(b, payload...), frameEnd)
}

func (r *rawClient) frame(typ byte, ch uint16, payload []byte) { r.write(rawFrame(typ, ch, payload)) }

func (r *rawClient) method(ch, class, id uint16, args ...[]byte) {
	payload := append(r.short(class), r.short(id)...)
	for _, a := range args {
		payload = append(payload, a...)
	}
	r.frame(frameMethod, ch, payload)
}

// header sends a content header of class basic with one word of property flags.
func (r *rawClient) header(ch uint16, size uint64, flags uint16, properties ...[]byte) {
	payload := append(r.short(60), r.short(0)...)
	payload = binary.BigEndian.AppendUint64(payload, size)
	payload = append(payload, r.short(flags)...)
	for _, p := range properties {
		payload = append(payload, p...)
	}
	r.frame(frameHeader, ch, payload)
}

// readFrame reads the next frame that is no heartbeat.
func (r *rawClient) readFrame() (typ byte, ch uint16, payload []byte) {
	r.t.Helper()
	for {
		var err error
		if typ, ch, payload, err = r.tryReadFrame(); err != nil {
			r.t.Fatalf("read frame: %v", err)
		}
		if typ != frameHeartbeat {
			return typ, ch, payload
		}
	}
}

func (r *rawClient) tryReadFrame() (typ byte, ch uint16, payload []byte, err error) {
	var head [7]byte
	if _, err := io.ReadFull(r.in, head[:]); err != nil {
		return 0, 0, nil, err
	}
	payload = make([]byte, binary.BigEndian.Uint32(head[3:]))
	if _, err := io.ReadFull(r.in, payload); err != nil {
		return 0, 0, nil, err
	}
	if end, err := r.in.ReadByte(); err != nil || end != frameEnd {
		return 0, 0, nil, errors.Join(errors.New("bad frame end"), err)
	}
	return head[0], binary.BigEndian.Uint16(head[1:]), payload, nil
}

// expectMethod reads one method and returns its arguments.
func (r *rawClient) expectMethod(ch, class, id uint16) []byte {
	r.t.Helper()
	typ, gotCh, payload := r.readFrame()
	if typ != frameMethod || len(payload) < 4 {
		r.t.Fatalf("got frame type %d, want method %d.%d", typ, class, id)
	}
	c, m := binary.BigEndian.Uint16(payload), binary.BigEndian.Uint16(payload[2:])
	if gotCh != ch || c != class || m != id {
		r.t.Fatalf("got method %d.%d on channel %d (%q), want %d.%d on channel %d", c, m, gotCh, payload[4:], class, id, ch)
	}
	return payload[4:]
}

// expectClose reads a connection.close and answers it; then the server closes
// the socket.
func (r *rawClient) expectClose(code uint16) string {
	r.t.Helper()
	args := r.expectMethod(0, 10, 50)
	got := binary.BigEndian.Uint16(args)
	text := string(args[3 : 3+args[2]])
	if got != code {
		r.t.Fatalf("connection closed with %d %q, want %d", got, text, code)
	}
	r.method(0, 10, 51)
	r.expectEnd()
	return text
}

// expectCut wants the connection ended for one of these reasons, or without a
// word: before connection.open, and where its decoder gives up, RabbitMQ cuts a
// client off in silence (in the first case after some seconds).
func (r *rawClient) expectCut(codes ...uint16) {
	r.t.Helper()
	typ, _, payload, err := r.tryReadFrame()
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			r.t.Fatal("the server did nothing")
		}
		return
	}
	if typ != frameMethod || !bytes.HasPrefix(payload, []byte{0, 10, 0, 50}) {
		r.t.Fatalf("got frame type %d %q, want connection.close", typ, payload)
	}
	if code := binary.BigEndian.Uint16(payload[4:]); !slices.Contains(codes, code) {
		r.t.Fatalf("connection closed with %d %q, want one of %v", code, payload[7:], codes)
	}
	r.method(0, 10, 51)
	r.expectEnd()
}

// expectEnd wants the server to close the socket.
func (r *rawClient) expectEnd() {
	r.t.Helper()
	rest, err := io.ReadAll(r.in)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		r.t.Fatal("the server did not close the socket")
	}
	if len(rest) != 0 {
		r.t.Fatalf("bytes before the end: %x", rest)
	}
}

// toTune goes as far as connection.tune and returns its arguments.
func (r *rawClient) toTune() []byte {
	r.t.Helper()
	r.write(protocolHeader)
	r.expectMethod(0, 10, 10)
	r.startOK("PLAIN", "\x00guest\x00guest")
	return r.expectMethod(0, 10, 30)
}

// startOK claims RabbitMQ's capability that makes the server say why it refuses.
func (r *rawClient) startOK(mechanism, response string) {
	capability := append(r.shortstr("authentication_failure_close"), 't', 1)
	capabilities := append(r.shortstr("capabilities"), 'F')
	capabilities = append(append(capabilities, r.long(uint32(len(capability)))...), capability...)
	properties := append(r.long(uint32(len(capabilities))), capabilities...)
	r.method(0, 10, 11, properties, r.shortstr(mechanism), r.longstr(response), r.shortstr("en_US"))
}

// handshake goes through to connection.open-ok, without heartbeats.
func (r *rawClient) handshake() {
	r.t.Helper()
	r.toTune()
	r.method(0, 10, 31, r.short(2047), r.long(131072), r.short(0))
	r.method(0, 10, 40, r.shortstr("/"), r.shortstr(""), []byte{0})
	r.expectMethod(0, 10, 41)
}

func (r *rawClient) openChannel(ch uint16) {
	r.t.Helper()
	r.method(ch, 20, 10, r.shortstr(""))
	r.expectMethod(ch, 20, 11)
}
