package protocol

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"testing"
)

// body returns n bytes that differ from place to place.
func body(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

func TestFastPathsEqualMethods(t *testing.T) {
	for _, tt := range []struct {
		fast []byte
		m    Method
	}{
		{AppendDeliver(nil, 9, "tag", 1<<40, true, "ex", []byte("key")),
			&BasicDeliver{ConsumerTag: "tag", DeliveryTag: 1 << 40, Redelivered: true, Exchange: "ex", RoutingKey: "key"}},
		{AppendDeliver(nil, 9, "tag", 1, false, "", nil), &BasicDeliver{ConsumerTag: "tag", DeliveryTag: 1}},
		{AppendGetOk(nil, 9, 5, true, "ex", []byte("key"), 77),
			&BasicGetOk{DeliveryTag: 5, Redelivered: true, Exchange: "ex", RoutingKey: "key", MessageCount: 77}},
		{AppendReturn(nil, 9, NoRoute, "NO_ROUTE", "ex", []byte("key")),
			&BasicReturn{ReplyCode: NoRoute, ReplyText: "NO_ROUTE", Exchange: "ex", RoutingKey: "key"}},
		{AppendAck(nil, 9, 5, true), &BasicAck{DeliveryTag: 5, Multiple: true}},
		{AppendAck(nil, 9, 5, false), &BasicAck{DeliveryTag: 5}},
		{AppendNack(nil, 9, 5, true), &BasicNack{DeliveryTag: 5, Multiple: true}},
	} {
		if want := AppendMethod(nil, 9, tt.m); !bytes.Equal(tt.fast, want) {
			t.Errorf("%s: %x, want %x", tt.m.ID(), tt.fast, want)
		}
	}
	if got := AppendHeartbeat(nil); !bytes.Equal(got, unhex(t, "08 0000 00000000 ce")) {
		t.Errorf("heartbeat: %x", got)
	}
}

func TestAppendBodySplits(t *testing.T) {
	for _, tt := range []struct {
		size, frameMax int
		parts          []int
	}{
		{0, 20, nil},
		{1, 20, []int{1}},
		{12, 20, []int{12}},
		{13, 20, []int{12, 1}},
		{24, 20, []int{12, 12}},
		{30, 20, []int{12, 12, 6}},
		{30, 0, []int{30}},
	} {
		want := body(tt.size)
		r := NewReader(bytes.NewReader(AppendBody(nil, 4, want, tt.frameMax)))
		var got []byte
		for _, n := range tt.parts {
			f, err := r.ReadFrame()
			if err != nil || f.Type != FrameBody || f.Channel != 4 || len(f.Payload) != n {
				t.Fatalf("%d by %d: %+v, %v", tt.size, tt.frameMax, f, err)
			}
			got = append(got, f.Payload...)
		}
		if _, err := r.ReadFrame(); err != io.EOF || !bytes.Equal(got, want) {
			t.Errorf("%d by %d: %x, %v", tt.size, tt.frameMax, got, err)
		}
	}
}

// script fills a Writer with a bit of everything and returns the bytes that it has
// to write.
func script(w *Writer, frameMax int, bodies [][]byte) (want []byte) {
	w.SetFrameMax(frameMax)
	properties := []byte{0x10, 0, 2}
	w.ProtocolHeader()
	want = append(want, "AMQP\x00\x00\x09\x01"...)
	for i, b := range bodies {
		tag := uint64(i + 1)
		w.Deliver(3, "ctag", tag, false, "ex", []byte("key"))
		w.Content(3, properties, b)
		want = AppendDeliver(want, 3, "ctag", tag, false, "ex", []byte("key"))
		want = AppendHeader(want, 3, ClassBasic, uint64(len(b)), properties)
		want = AppendBody(want, 3, b, frameMax)
		w.Ack(4, tag, false)
		want = AppendAck(want, 4, tag, false)
	}
	w.Nack(4, 9, true)
	want = AppendNack(want, 4, 9, true)
	w.GetOk(5, 1, true, "ex", []byte("key"), 2)
	w.Content(5, properties, bodies[0])
	want = AppendGetOk(want, 5, 1, true, "ex", []byte("key"), 2)
	want = AppendHeader(want, 5, ClassBasic, uint64(len(bodies[0])), properties)
	want = AppendBody(want, 5, bodies[0], frameMax)
	w.Return(5, NoRoute, "NO_ROUTE", "ex", []byte("key"))
	w.Content(5, properties, nil)
	want = AppendReturn(want, 5, NoRoute, "NO_ROUTE", "ex", []byte("key"))
	want = AppendHeader(want, 5, ClassBasic, 0, properties)
	w.Method(0, &ConnectionCloseOk{})
	want = AppendMethod(want, 0, &ConnectionCloseOk{})
	w.Append(AppendHeartbeat)
	w.Heartbeat()
	return AppendHeartbeat(AppendHeartbeat(want))
}

var someBodies = [][]byte{body(0), body(1), body(uncopied - 1), body(uncopied), body(uncopied + 1), body(300_000)}

func TestWriterCopying(t *testing.T) {
	var out bytes.Buffer
	w := NewWriter(&out)
	for _, frameMax := range []int{4096, 131072, 0} {
		out.Reset()
		before := w.BytesWritten()
		want := script(w, frameMax, someBodies)
		if out.Len() != 0 || w.Buffered() != len(want) {
			t.Fatalf("%d bytes written before Flush, %d of %d buffered", out.Len(), w.Buffered(), len(want))
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out.Bytes(), want) || w.BytesWritten()-before != uint64(len(want)) || w.Buffered() != 0 {
			t.Errorf("frame-max %d: %d bytes, want %d, or other ones", frameMax, out.Len(), len(want))
		}
	}
	out.Reset()
	if err := w.Flush(); err != nil || out.Len() != 0 {
		t.Errorf("empty Flush wrote %d bytes, %v", out.Len(), err)
	}
}

func TestWriterOneWrite(t *testing.T) {
	var out countingWriter
	w := NewWriter(&out)
	script(w, 131072, someBodies)
	if err := w.Flush(); err != nil || out.calls != 1 {
		t.Errorf("%d calls of Write, %v", out.calls, err)
	}
}

type countingWriter struct{ calls int }

func (c *countingWriter) Write(p []byte) (int, error) {
	c.calls++
	return len(p), nil
}

// tcpPair returns the two ends of a loopback connection.
func tcpPair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// Over TCP large bodies go out by reference: what arrives is the same.
func TestWriterVectored(t *testing.T) {
	a, b := tcpPair(t)
	w := NewWriter(a)
	for _, frameMax := range []int{4096, 131072, 0} {
		want := script(w, frameMax, someBodies)
		if w.Buffered() != len(want) {
			t.Errorf("%d bytes buffered, want %d", w.Buffered(), len(want))
		}
		if frameMax > 4096 && len(w.bodies) == 0 {
			t.Error("no body by reference")
		}
		for _, r := range w.bodies {
			if len(r.body) < uncopied {
				t.Errorf("a body of %d bytes by reference", len(r.body))
			}
		}
		got := make([]byte, len(want))
		done := make(chan error, 1)
		go func() {
			_, err := io.ReadFull(b, got)
			done <- err
		}()
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if sha256.Sum256(got) != sha256.Sum256(want) {
			t.Errorf("frame-max %d: other bytes arrived", frameMax)
		}
	}
	for _, p := range w.pieces[:cap(w.pieces)] {
		if p != nil {
			t.Error("a body is still held after Flush")
		}
	}
	for _, r := range w.bodies[:cap(w.bodies)] {
		if r.body != nil {
			t.Error("a body is still held after Flush")
		}
	}
}

func TestWriterError(t *testing.T) {
	broken := errors.New("broken")
	out := &failing{err: broken}
	w := NewWriter(out)
	w.Heartbeat()
	if err := w.Flush(); err != broken {
		t.Fatal(err)
	}
	w.Heartbeat()
	if err := w.Flush(); err != broken || out.calls != 1 || w.Buffered() != 0 {
		t.Errorf("after an error: %v, %d writes, %d buffered", err, out.calls, w.Buffered())
	}
	w = NewWriter(&failing{})
	w.Heartbeat()
	if err := w.Flush(); err != io.ErrShortWrite {
		t.Errorf("a short write: %v", err)
	}
}

// failing takes nothing and returns err.
type failing struct {
	err   error
	calls int
}

func (f *failing) Write([]byte) (int, error) {
	f.calls++
	return 0, f.err
}

// A burst must not leave a large buffer behind.
func TestWriterLetsGoOfLargeBuffers(t *testing.T) {
	w := NewWriter(io.Discard)
	w.SetFrameMax(0)
	w.Content(1, []byte{0, 0}, make([]byte, 2*keepBuffer))
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if cap(w.buf) > keepBuffer {
		t.Errorf("%d bytes kept", cap(w.buf))
	}
}

func TestWriterDoesNotAllocate(t *testing.T) {
	w := NewWriter(io.Discard)
	w.SetFrameMax(131072)
	b, key, properties := body(1000), []byte("key"), []byte{0x10, 0, 2}
	if n := testing.AllocsPerRun(100, func() {
		for tag := range uint64(10) {
			w.Deliver(1, "tag", tag, false, "exchange", key)
			w.Content(1, properties, b)
			w.Ack(1, tag, true)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAppendDeliver(b *testing.B) {
	dst, key := make([]byte, 0, 1024), []byte("routing.key")
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendDeliver(dst[:0], 1, "ctag1.abcdef", 77, false, "exchange", key)
	}
}

// BenchmarkWriter writes bursts of 16 deliveries over loopback TCP.
func BenchmarkWriter(b *testing.B) {
	for _, size := range []int{100, 1 << 10, 16 << 10} {
		b.Run(byteSize(size), func(b *testing.B) {
			near, far := tcpPair(b)
			go func() { _, _ = io.Copy(io.Discard, far) }()
			w := NewWriter(near)
			w.SetFrameMax(131072)
			content, key, properties := body(size), []byte("routing.key"), []byte{0x10, 0, 2}
			b.ReportAllocs()
			b.SetBytes(int64(16 * size))
			for b.Loop() {
				for tag := range uint64(16) {
					w.Deliver(1, "ctag1.abcdef", tag, false, "exchange", key)
					w.Content(1, properties, content)
				}
				if err := w.Flush(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func byteSize(n int) string {
	if n < 1<<10 {
		return "100B"
	}
	return map[int]string{1 << 10: "1KiB", 16 << 10: "16KiB"}[n]
}
