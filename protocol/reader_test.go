package protocol

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
	"testing/iotest"
)

func frame(kind uint8, channel uint16, payload []byte) []byte {
	b := frameStart(nil, kind, channel, len(payload))
	return append(append(b, payload...), FrameEnd)
}

// stream is some frames behind one another and what a Reader has to make of it.
func stream() (b []byte, want []Frame) {
	want = []Frame{
		{FrameMethod, 1, []byte("method")},
		{FrameHeader, 65535, []byte("header")},
		{FrameBody, 2, bytes.Repeat([]byte("b"), 8184)},
		{FrameBody, 2, nil},
		{FrameHeartbeat, 0, nil},
		{FrameBody, 2, bytes.Repeat([]byte("c"), 5000)},
	}
	for _, f := range want {
		b = append(b, frame(f.Type, f.Channel, f.Payload)...)
	}
	return b, want
}

func TestReadFrame(t *testing.T) {
	b, want := stream()
	for name, r := range map[string]io.Reader{
		"at once":       bytes.NewReader(b),
		"halves":        iotest.HalfReader(bytes.NewReader(b)),
		"single bytes":  iotest.OneByteReader(bytes.NewReader(b)),
		"EOF with data": iotest.DataErrReader(bytes.NewReader(b)),
	} {
		t.Run(name, func(t *testing.T) {
			r := NewReader(r)
			for i, w := range want {
				f, err := r.ReadFrame()
				if err != nil || f.Type != w.Type || f.Channel != w.Channel || !bytes.Equal(f.Payload, w.Payload) {
					t.Fatalf("frame %d: type %d, channel %d, %d bytes, %v", i, f.Type, f.Channel, len(f.Payload), err)
				}
			}
			if _, err := r.ReadFrame(); err != io.EOF {
				t.Errorf("at the end: %v", err)
			}
			if r.BytesRead() != uint64(len(b)) || r.Buffered() != 0 {
				t.Errorf("read %d of %d, %d buffered", r.BytesRead(), len(b), r.Buffered())
			}
		})
	}
}

func TestReadFrameCutShort(t *testing.T) {
	b := frame(FrameMethod, 1, []byte("method"))
	for n := 1; n < len(b); n++ {
		if _, err := NewReader(bytes.NewReader(b[:n])).ReadFrame(); err != io.ErrUnexpectedEOF {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
}

// A timeout in the middle of a frame loses nothing.
func TestReadFrameAfterTimeout(t *testing.T) {
	b := frame(FrameMethod, 1, []byte("method"))
	for n := range len(b) {
		r := NewReader(io.MultiReader(bytes.NewReader(b[:n]), &once{err: os.ErrDeadlineExceeded}, bytes.NewReader(b[n:])))
		if _, err := r.ReadFrame(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("after %d bytes: %v", n, err)
		}
		if f, err := r.ReadFrame(); err != nil || string(f.Payload) != "method" {
			t.Fatalf("after the timeout at %d: %q, %v", n, f.Payload, err)
		}
	}
}

// once fails one read with err and is at its end then.
type once struct{ err error }

func (o *once) Read([]byte) (int, error) {
	err := o.err
	o.err = io.EOF
	return 0, err
}

// A length beyond frame-max is an error as soon as the header is there: nothing is
// waited for.
func TestReadFrameTooLarge(t *testing.T) {
	header := func(size int) io.Reader {
		return io.MultiReader(bytes.NewReader(frameStart(nil, FrameBody, 1, size)), &mustNotRead{t})
	}
	r := NewReader(header(InitialFrameMax + 1))
	_, err := r.ReadFrame()
	check(t, err, FrameError, "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,8193,8184}")
	if _, again := r.ReadFrame(); again != err {
		t.Errorf("once more: %v", again)
	}
	if !r.FrameBuffered() {
		t.Error("an error that stays would be waited for")
	}

	r = NewReader(header(1<<32 - 1))
	r.SetFrameMax(131072)
	_, err = r.ReadFrame()
	check(t, err, FrameError, "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,4294967295,131064}")
	if cap(r.buf) > minReadBuffer {
		t.Errorf("%d bytes allocated", cap(r.buf))
	}

	// As in RabbitMQ a payload may be as large as frame-max itself, 8 bytes more
	// than it should.
	r = NewReader(bytes.NewReader(frame(FrameBody, 1, make([]byte, InitialFrameMax))))
	if f, err := r.ReadFrame(); err != nil || len(f.Payload) != InitialFrameMax {
		t.Errorf("%d bytes, %v", len(f.Payload), err)
	}
}

type mustNotRead struct{ t *testing.T }

func (m *mustNotRead) Read([]byte) (int, error) {
	m.t.Error("read on behind a frame that is too large")
	return 0, io.EOF
}

// A claimed length costs nothing until the bytes come.
func TestReadFrameClaimedLength(t *testing.T) {
	r := NewReader(bytes.NewReader(frameStart(nil, FrameBody, 1, 1<<31)))
	r.SetFrameMax(0)
	if _, err := r.ReadFrame(); err != io.ErrUnexpectedEOF {
		t.Error(err)
	}
	if cap(r.buf) > minReadBuffer {
		t.Errorf("%d bytes allocated", cap(r.buf))
	}
}

func TestReadFrameBadEnd(t *testing.T) {
	b := frame(FrameMethod, 1, []byte("ab"))
	b[len(b)-1] = 7
	r := NewReader(bytes.NewReader(append(b, frame(FrameMethod, 1, nil)...)))
	_, err := r.ReadFrame()
	check(t, err, FrameError, "FRAME_ERROR - type 1, all octets = <<\"ab\">>: {invalid_frame_end_marker,7}")
	if _, again := r.ReadFrame(); again != err {
		t.Errorf("once more: %v", again)
	}
}

// A frame of an unknown type does not lose the place in the stream.
func TestReadFrameUnknownType(t *testing.T) {
	for _, tt := range []struct {
		f    []byte
		text string
	}{
		{frame(0, 1, []byte{5}), "FRAME_ERROR - type 0, all octets = <<5>>: unknown_frame"},
		{frame(4, 1, nil), "FRAME_ERROR - type 4, all octets = <<>>: unknown_frame"},
		{frame(255, 0, make([]byte, 17)), "FRAME_ERROR - type 255, first 16 octets = <<0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0>>: unknown_frame"},
		{frame(FrameHeartbeat, 0, []byte{1}), "FRAME_ERROR - type 8, all octets = <<1>>: unknown_frame"},
	} {
		r := NewReader(bytes.NewReader(append(tt.f, frame(FrameMethod, 3, []byte("next"))...)))
		f, err := r.ReadFrame()
		check(t, err, FrameError, tt.text)
		if f.Type != tt.f[0] {
			t.Errorf("type %d", f.Type)
		}
		if f, err := r.ReadFrame(); err != nil || f.Channel != 3 || string(f.Payload) != "next" {
			t.Errorf("the next frame: %+v, %v", f, err)
		}
	}
}

func TestFrameBuffered(t *testing.T) {
	one := frame(FrameMethod, 1, []byte("one"))
	b := append(append(one, one...), one[:5]...)
	r := NewReader(bytes.NewReader(b))
	if r.FrameBuffered() || r.Buffered() != 0 {
		t.Error("something is there before the first read")
	}
	if _, err := r.ReadFrame(); err != nil {
		t.Fatal(err)
	}
	if !r.FrameBuffered() || r.Buffered() != len(one)+5 {
		t.Errorf("%d bytes buffered", r.Buffered())
	}
	if _, err := r.ReadFrame(); err != nil {
		t.Fatal(err)
	}
	if r.FrameBuffered() || r.Buffered() != 5 {
		t.Errorf("part of a frame taken for one, %d bytes buffered", r.Buffered())
	}
}

// The buffer follows the traffic: large reads make it grow, to a bound, and when the
// traffic ebbs it shrinks.
func TestReaderBufferSize(t *testing.T) {
	busy := bytes.Repeat(frame(FrameBody, 1, make([]byte, 1000)), 3000)
	heartbeats := bytes.Repeat(frame(FrameHeartbeat, 0, nil), 100)
	r := NewReader(io.MultiReader(bytes.NewReader(busy), iotest.OneByteReader(bytes.NewReader(heartbeats))))
	largest := 0
	for range 3000 {
		if _, err := r.ReadFrame(); err != nil {
			t.Fatal(err)
		}
		largest = max(largest, len(r.buf))
	}
	if largest != maxReadBuffer {
		t.Errorf("largest buffer %d, want %d", largest, maxReadBuffer)
	}
	for range 100 {
		if _, err := r.ReadFrame(); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.buf) != minReadBuffer {
		t.Errorf("buffer of an idle connection: %d", len(r.buf))
	}
}

func TestReaderNoProgress(t *testing.T) {
	if _, err := NewReader(stuck{}).ReadFrame(); err != io.ErrNoProgress {
		t.Error(err)
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

// FuzzReader compares a Reader that gets all at once with one that gets single
// bytes: same frames, same end; and nothing larger than allowed comes through.
func FuzzReader(f *testing.F) {
	// Small seeds: the fuzzer spends its time on shortening large ones.
	f.Add(append(frame(FrameMethod, 1, []byte("method")), frame(FrameBody, 65535, nil)...))
	f.Add(frame(FrameHeartbeat, 0, []byte("x")))
	f.Add(frameStart(nil, FrameBody, 1, 1<<30))
	f.Add([]byte("\x01\x00\x01\x00\x00\x00\x00\x00"))
	f.Add([]byte("AMQP\x00\x00\x09\x01"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		whole := NewReader(bytes.NewReader(b))
		single := NewReader(iotest.OneByteReader(bytes.NewReader(b)))
		for {
			f, err := whole.ReadFrame()
			g, err2 := single.ReadFrame()
			if (err == nil) != (err2 == nil) || err != nil && err.Error() != err2.Error() {
				t.Fatalf("%v, byte for byte %v", err, err2)
			}
			if f.Type != g.Type || f.Channel != g.Channel || !bytes.Equal(f.Payload, g.Payload) {
				t.Fatalf("%+v, byte for byte %+v", f, g)
			}
			if len(f.Payload) > InitialFrameMax {
				t.Fatalf("a frame of %d bytes", len(f.Payload))
			}
			var e *Error
			switch {
			case err == nil:
			case errors.As(err, &e) && e.Code == FrameError:
				if whole.lost != nil {
					return
				}
			case err == io.EOF || err == io.ErrUnexpectedEOF:
				return
			default:
				t.Fatal(err)
			}
		}
	})
}

// BenchmarkReader reads a stream of small publishes, as from a busy publisher.
func BenchmarkReader(b *testing.B) {
	var one []byte
	one = AppendMethod(one, 1, &BasicPublish{Exchange: "exchange", RoutingKey: "routing.key"})
	one = AppendHeader(one, 1, ClassBasic, 100, []byte{0x10, 0, 2})
	one = AppendBody(one, 1, make([]byte, 100), 131072)
	r := NewReader(&endless{b: bytes.Repeat(one, 100)})
	r.SetFrameMax(131072)
	var view PublishView
	b.ReportAllocs()
	b.SetBytes(int64(len(one)))
	for b.Loop() {
		f, err := r.ReadFrame()
		if err != nil {
			b.Fatal(err)
		}
		if err := view.Parse(f.Payload); err != nil {
			b.Fatal(err)
		}
		if f, err = r.ReadFrame(); err != nil {
			b.Fatal(err)
		}
		if _, err := ParseContentHeader(f.Payload); err != nil {
			b.Fatal(err)
		}
		if _, err = r.ReadFrame(); err != nil {
			b.Fatal(err)
		}
	}
}

// endless reads the same bytes again and again.
type endless struct {
	b  []byte
	at int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.b[e.at:])
	e.at = (e.at + n) % len(e.b)
	return n, nil
}
