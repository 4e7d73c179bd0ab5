package node

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestUnreadPage: who asks for a page or for metrics, which takes no login, and does not read them, is hung up on.
func TestUnreadPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &Node{log: slog.New(slog.DiscardHandler)}
		ended := make(chan error, 1)
		s := n.newHTTP(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, err := w.Write(make([]byte, 1<<20))
			ended <- err
		}))
		near, far := net.Pipe()
		l := &oneConn{conn: far, closed: make(chan struct{})}
		go func() { _ = s.Serve(l) }()
		_, _ = io.WriteString(near, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		select {
		case err := <-ended:
			if err == nil {
				t.Error("it was written to nobody")
			}
		case <-time.After(time.Hour):
			t.Error("it is still being written after an hour")
		}
		_ = near.Close()
		_ = s.Close()
		time.Sleep(time.Second) // net/http waits before it closes a connection
	})
}

// TestLargeHeader hangs up on who sends more before a body than a name and a path take.
func TestLargeHeader(t *testing.T) {
	n := &Node{log: slog.New(slog.DiscardHandler)}
	s := n.newHTTP(http.NotFoundHandler())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	defer s.Close()
	for size, want := range map[int]int{maxHeader / 2: http.StatusNotFound, 2 * maxHeader: http.StatusRequestHeaderFieldsTooLarge} {
		r, err := http.NewRequest(http.MethodGet, "http://"+l.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(strings.Repeat("n", size/2), "p")
		r.Header.Set("More", strings.Repeat("m", size/4))
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%d bytes: status %d, want %d", size, resp.StatusCode, want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// oneConn is a listener with one connection.
type oneConn struct {
	conn   net.Conn
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	if c := l.conn; c != nil {
		l.conn = nil
		return c, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error   { close(l.closed); return nil }
func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }
