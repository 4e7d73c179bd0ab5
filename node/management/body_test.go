package management

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections are in memory, so that their deadlines follow the time of a bubble.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	if conn, ok := <-p.conns; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.conns) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// overHTTP calls f with a client's connection to a real HTTP server of the API.
func overHTTP(t *testing.T, f func(conn net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(t)
		s := &http.Server{Handler: New(Config{Broker: b, Access: b.access(), Logger: slog.New(slog.DiscardHandler)}), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
		l := &pipes{conns: make(chan net.Conn)}
		done := make(chan struct{})
		go func() { defer close(done); _ = s.Serve(l) }()
		near, far := net.Pipe()
		l.conns <- far
		f(near)
		_ = near.Close()
		_ = s.Close()
		<-done
		time.Sleep(time.Second) // net/http waits before it closes a connection
	})
}

var basic = "Host: h\r\nAuthorization: Basic " + base64.StdEncoding.EncodeToString([]byte("guest:guest")) + "\r\n"

// A body that comes too slowly is given up, and one that comes steadily is not, however long it takes.
func TestSlowBody(t *testing.T) {
	body := `{"durable":true,"x":"` + strings.Repeat("y", 10<<20) + `"}`
	for _, tt := range []struct {
		pause time.Duration // between pieces
		piece int
		code  int
	}{{5 * time.Second, 1, 400}, {time.Second, 100 << 10, 201}} {
		overHTTP(t, func(conn net.Conn) {
			answer := make(chan *http.Response, 1)
			go func() {
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Errorf("no answer: %v", err)
					resp = new(http.Response)
				}
				answer <- resp
			}()
			begin := time.Now()
			_, _ = io.WriteString(conn, "PUT /api/queues/%2F/slow HTTP/1.1\r\n"+basic+"Content-Length: "+strconv.Itoa(len(body))+"\r\n\r\n")
			var resp *http.Response
			for at := 0; resp == nil; at += tt.piece {
				if at < len(body) {
					_, _ = io.WriteString(conn, body[at:min(at+tt.piece, len(body))])
				}
				select {
				case resp = <-answer:
				case <-time.After(tt.pause):
				}
			}
			if resp.StatusCode != tt.code {
				t.Errorf("answer %+v, want %d", resp, tt.code)
			}
			if took := time.Since(begin); tt.code == 400 && took > 2*bodyPatience {
				t.Errorf("given up after %v", took)
			}
		})
	}
}

// A body that nobody reads, as its client may not log in, does not keep the connection when it does not come.
func TestSlowBodyOfAStranger(t *testing.T) {
	overHTTP(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "PUT /api/queues/%2F/q HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n{")
		begin := time.Now()
		_, _ = io.Copy(io.Discard, conn)
		if took := time.Since(begin); took > 2*bodyPatience {
			t.Errorf("hung up on after %v", took)
		}
	})
}

// Who asks and does not read the answer is hung up on.
func TestUnreadAnswer(t *testing.T) {
	overHTTP(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "GET /api/overview HTTP/1.1\r\n"+basic+"\r\n")
		time.Sleep(2 * bodyPatience)
		all, _ := io.ReadAll(conn)
		if len(all) > 8192 {
			t.Errorf("%d bytes of the answer were kept for the client", len(all))
		}
	})
}

// A second request on one connection has its own time.
func TestDeadlinesAreOfOneRequest(t *testing.T) {
	overHTTP(t, func(conn net.Conn) {
		r := bufio.NewReader(conn)
		for i := range 4 {
			go func() {
				_, _ = io.WriteString(conn, "POST /api/exchanges/%2F/amq.direct/publish HTTP/1.1\r\n"+basic+"Content-Length: 52\r\n\r\n"+
					`{"routing_key":"q","payload":"x","properties":{}   }`)
			}()
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatalf("request %d: %v", i, err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
				t.Fatalf("request %d: %d, %v", i, resp.StatusCode, err)
			}
			time.Sleep(bodyPatience)
		}
	})
}

// What little text makes much memory is refused before it is read.
func TestManyValues(t *testing.T) {
	a := newAPI(t)
	list := func(n int) string {
		return `{"arguments":{"a":[` + strings.TrimSuffix(strings.Repeat("0,", n), ",") + `]}}`
	}
	for _, tt := range []struct {
		path, body string
		code       int
	}{
		{"/api/queues/%2F/q", list(maxValues + 1), 413},
		{"/api/queues/%2F/q", `{"arguments":` + strings.Repeat(`{"a":[`, 80_000) + strings.Repeat(`]}`, 80_000) + "}", 400}, // too deep
		{"/api/queues/%2F/q", `{"arguments":{"a":"` + strings.Repeat(",[{", 200_000) + `"}}`, 201},
		{"/api/definitions", `{"queues":[` + strings.Repeat("{},", maxDefinitionValues) + `{}]}`, 413},
	} {
		method := "PUT"
		if strings.HasSuffix(tt.path, "definitions") {
			method = "POST"
		}
		r := httptest.NewRequest(method, tt.path, strings.NewReader(tt.body))
		r.SetBasicAuth("guest", "guest")
		w := httptest.NewRecorder()
		a.handler.ServeHTTP(w, r)
		if w.Code != tt.code {
			t.Errorf("%.60s…: %d %.200s, want %d", tt.body, w.Code, w.Body, tt.code)
		}
	}
}

// That holds for a list that is sent piece by piece, and for the description, too.
func TestUnreadLongAnswer(t *testing.T) {
	for _, path := range []string{"/api/queues/%2F?columns=name", "/api/openapi.yaml"} {
		overHTTP(t, func(conn net.Conn) {
			for i := range 2 * wholeChunk {
				body := `{"durable":true}`
				_, _ = fmt.Fprintf(conn, "PUT /api/queues/%%2F/q%d HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s", i, basic, len(body), body)
				_, _ = http.ReadResponse(bufio.NewReader(conn), nil)
			}
			_, _ = io.WriteString(conn, "GET "+path+" HTTP/1.1\r\n"+basic+"\r\n")
			time.Sleep(2 * bodyPatience)
			all, _ := io.ReadAll(conn)
			if len(all) > 8192 {
				t.Errorf("%s: %d bytes of the answer were kept for the client", path, len(all))
			}
		})
	}
}
