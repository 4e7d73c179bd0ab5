package mux

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var someone = Identity{Cluster: "c1", Node: "n1", Addr: "10.0.0.1:7900", Instance: 7, Boot: 3}

func TestGreetingRoundTrip(t *testing.T) {
	h := Hello{Identity: someone, Kind: Call, To: "n2"}
	got, err := ReadHello(iotest.OneByteReader(bytes.NewReader(AppendHello(nil, h))))
	if err != nil || got != h {
		t.Errorf("got %+v, %v", got, err)
	}
	w := Welcome{Identity: someone}
	if got, err := ReadWelcome(bytes.NewReader(AppendWelcome(nil, w))); err != nil || got != w {
		t.Errorf("got %+v, %v", got, err)
	}
	w.Refusal = "not you"
	var refused *RefusedError
	if _, err := ReadWelcome(bytes.NewReader(AppendWelcome(nil, w))); !errors.As(err, &refused) || refused.Reason != "not you" || refused.Node != "n1" {
		t.Errorf("got %v", err)
	}
}

func TestReadHelloTakesNoByteMore(t *testing.T) {
	r := bytes.NewReader(append(AppendHello(nil, Hello{Identity: someone, Kind: Raft}), "next"...))
	if _, err := ReadHello(r); err != nil {
		t.Fatal(err)
	}
	if rest, _ := io.ReadAll(r); string(rest) != "next" {
		t.Errorf("left %q", rest)
	}
}

func TestReadHelloRefuses(t *testing.T) {
	good := AppendHello(nil, Hello{Identity: someone, Kind: Raft})
	change := func(at int, b byte) []byte {
		out := bytes.Clone(good)
		out[at] = b
		return out
	}
	for name, c := range map[string]struct {
		bytes []byte
		want  error
	}{
		"http":       {[]byte("GET / HTTP/1.1\r\n\r\n"), ErrStranger},
		"version":    {change(3, 9), ErrVersion},
		"kind":       {change(6, 99), ErrMangled},
		"too long":   {change(4, 255), ErrMangled},
		"cut string": {change(23, 200), ErrMangled},
		"cut off":    {good[:len(good)-3], io.ErrUnexpectedEOF},
		"empty":      {nil, io.EOF},
		"no node":    {AppendHello(nil, Hello{Kind: Raft}), ErrMangled},
	} {
		if _, err := ReadHello(bytes.NewReader(c.bytes)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestFrames(t *testing.T) {
	b := AppendFrame(nil, FramePing, 1)
	b = AppendFrame(b, FrameBatch, 2, bytes.Repeat([]byte{5}, 3*step+17)...)
	b = AppendFrame(b, FrameReply, 3, byte(ReplyOK), 'x')
	r := bytes.NewReader(b)
	for _, want := range []struct {
		t FrameType
		n int
	}{{FramePing, 0}, {FrameBatch, 3*step + 17}, {FrameReply, 2}} {
		f, err := ReadFrame(r, 1<<30)
		if err != nil || f.Type != want.t || len(f.Payload) != want.n {
			t.Fatalf("got type %d, %d bytes, %v", f.Type, len(f.Payload), err)
		}
	}
	if _, err := ReadFrame(r, 10); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	if _, err := ReadFrame(bytes.NewReader(AppendFrame(nil, FrameBatch, 1, 1, 2, 3)), 2); !errors.Is(err, ErrFrameTooLarge) {
		t.Errorf("above the limit: %v", err)
	}
	if _, err := ReadFrame(bytes.NewReader(AppendFrame(nil, 77, 1)), 2); !errors.Is(err, ErrFrameType) {
		t.Errorf("unknown type: %v", err)
	}
	cut := AppendFrame(nil, FrameBatch, 1, 1, 2, 3)
	if _, err := ReadFrame(bytes.NewReader(cut[:len(cut)-1]), 10); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut off: %v", err)
	}
}

func TestRequests(t *testing.T) {
	method, wait, payload, err := ParseRequest(AppendRequest(nil, "m", 99, []byte("body")))
	if err != nil || method != "m" || wait != 99 || string(payload) != "body" {
		t.Errorf("got %q %d %q %v", method, wait, payload, err)
	}
	for _, b := range [][]byte{nil, {0, 0, 0, 1}, {0, 0, 0, 1, 5, 'a'}} {
		if _, _, _, err := ParseRequest(b); !errors.Is(err, ErrRequest) {
			t.Errorf("%v: %v", b, err)
		}
	}
}

// serve runs a Mux that echoes on Call connections.
func serve(t *testing.T, log io.Writer) *Mux { return serveWithin(t, log, 200*time.Millisecond) }

func serveWithin(t *testing.T, log io.Writer, timeout time.Duration) *Mux {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := New(l, Config{
		Timeout: timeout, Logger: slog.New(slog.NewTextHandler(log, nil)),
		Welcome: func(h Hello) Welcome {
			w := Welcome{Identity: Identity{Node: "me"}}
			if h.To != "" && h.To != "me" {
				w.Refusal = "wrong door"
			}
			return w
		},
		Handle: map[Kind]func(net.Conn, Hello){
			Call: func(c net.Conn, _ Hello) {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			},
		},
	})
	t.Cleanup(func() {
		if err := m.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	return m
}

func dial(t *testing.T, m *Mux) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", m.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestMux(t *testing.T) {
	m := serve(t, io.Discard)
	c := dial(t, m)
	if w, err := Greet(c, Hello{Identity: someone, Kind: Call, To: "me"}, nil, time.Second); err != nil || w.Node != "me" {
		t.Fatalf("%+v, %v", w, err)
	}
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
		t.Fatalf("%q, %v", b, err)
	}
	var refused *RefusedError
	if _, err := Greet(dial(t, m), Hello{Identity: someone, Kind: Call, To: "other"}, nil, time.Second); !errors.As(err, &refused) {
		t.Errorf("wrong door: %v", err)
	}
	if _, err := Greet(dial(t, m), Hello{Identity: someone, Kind: Gossip}, nil, time.Second); !errors.As(err, &refused) {
		t.Errorf("a kind that nobody serves: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(b); err == nil {
		t.Error("a connection outlives the mux")
	}
}

// TestStrangers: whatever they send or do not send, they are gone soon, and others
// are served.
func TestStrangers(t *testing.T) {
	var log syncWriter
	m := serve(t, &log)
	silent, rude := dial(t, m), dial(t, m)
	if _, err := rude.Write([]byte(strings.Repeat("GET / HTTP/1.1\r\n", 1000))); err != nil {
		t.Logf("already gone: %v", err)
	}
	for name, c := range map[string]net.Conn{"silent": silent, "rude": rude} {
		_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := io.ReadAll(c); errors.Is(err, io.ErrUnexpectedEOF) || isTimeout(err) {
			t.Errorf("%s stranger is still there: %v", name, err)
		}
	}
	if _, err := Greet(dial(t, m), Hello{Identity: someone, Kind: Call}, nil, 5*time.Second); err != nil {
		t.Errorf("a friend: %v", err)
	}
	if !strings.Contains(log.String(), "not a node of ours") {
		t.Errorf("no log line on the stranger: %s", log.String())
	}
}

// TestCrowd: strangers who stand at the door keep nobody out, and fill no log.
func TestCrowd(t *testing.T) {
	var log syncWriter
	m := serveWithin(t, &log, time.Minute)
	began := time.Now()
	for range maxGreeting + 20 {
		dial(t, m)
	}
	for range 3 {
		if _, err := Greet(dial(t, m), Hello{Identity: someone, Kind: Call}, nil, 30*time.Second); err != nil {
			t.Fatalf("a friend: %v", err)
		}
	}
	m.mu.Lock()
	standing := len(m.greeting)
	m.mu.Unlock()
	if standing == 0 || standing > maxGreetingFrom {
		t.Errorf("%d strangers at the door", standing)
	}
	if n, most := strings.Count(log.String(), "\n"), 1+int(time.Since(began)/warnEvery); n == 0 || n > most {
		t.Errorf("%d lines in the log, want %d at most:\n%s", n, most, log.String())
	}
}

// TestMakeRoom: a host that has too many connections pays for its next one, and all pay
// when there are too many hosts.
func TestMakeRoom(t *testing.T) {
	m := &Mux{conns: make(map[net.Conn]struct{})}
	add := func(host string) (c, oldest *tracked) {
		c = &tracked{host: host}
		oldest, _ = m.track(c)
		return c, oldest
	}
	other, _ := add("other")
	first, _ := add("a")
	for range maxGreetingFrom - 1 {
		if _, oldest := add("a"); oldest != nil {
			t.Fatal("closed one without need")
		}
	}
	if _, oldest := add("a"); oldest != first {
		t.Error("not the host's oldest")
	}
	for i := range maxGreeting - len(m.greeting) {
		if _, oldest := add(strings.Repeat("b", 1+i)); oldest != nil {
			t.Fatal("closed one without need")
		}
	}
	if _, oldest := add("c"); oldest != other || len(m.greeting) != maxGreeting {
		t.Errorf("not the oldest of all; %d greet", len(m.greeting))
	}
	last, _ := add("d")
	m.greeted(last)
	if _, oldest := add("d"); oldest != nil {
		t.Error("there was room")
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func FuzzReadHello(f *testing.F) {
	f.Add(AppendHello(nil, Hello{Identity: someone, Kind: Raft, To: "x"}))
	f.Add([]byte("WRN\x01\x00\x00"))
	f.Add([]byte("GET / HTTP/1.1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ReadHello(bytes.NewReader(b))
		if err != nil {
			return
		}
		again, err := ReadHello(bytes.NewReader(AppendHello(nil, h)))
		if err != nil || again != h {
			t.Fatalf("%+v became %+v, %v", h, again, err)
		}
	})
}

func FuzzReadFrame(f *testing.F) {
	f.Add(AppendFrame(nil, FrameCall, 9, AppendRequest(nil, "m", 1, []byte("x"))...))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 5, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, err := ReadFrame(bytes.NewReader(b), 1<<28)
		if err != nil {
			return
		}
		if len(fr.Payload)+FrameHeader > len(b) {
			t.Fatalf("payload of %d bytes out of %d", len(fr.Payload), len(b))
		}
		if fr.Type == FrameCall {
			if method, wait, payload, err := ParseRequest(fr.Payload); err == nil {
				if got := AppendRequest(nil, method, wait, payload); !bytes.Equal(got, fr.Payload) {
					t.Fatalf("request %x became %x", fr.Payload, got)
				}
			}
		}
	})
}
