package mux

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func secrets(s ...string) (out Secrets) {
	for _, x := range s {
		out = append(out, []byte(x))
	}
	return out
}

// TestSecrets lets nodes of all kinds dial each other.
func TestSecrets(t *testing.T) {
	for name, c := range map[string]struct {
		dials, answers Secrets
		refusal        string // what the dialling node is told
		logged         error
	}{
		"same":           {dials: secrets("a"), answers: secrets("a")},
		"rotation":       {dials: secrets("new", "old"), answers: secrets("old", "new")},
		"both open":      {},
		"wrong":          {dials: secrets("b"), answers: secrets("a"), refusal: "wrong cluster secret", logged: ErrWrongSecret},
		"second is late": {dials: secrets("new", "old"), answers: secrets("old"), refusal: "wrong cluster secret", logged: ErrWrongSecret},
		"none":           {answers: secrets("a"), refusal: "no cluster secret", logged: ErrNoSecret},
		"only one side":  {dials: secrets("a"), refusal: "there is none here", logged: ErrOpenNode},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			var served atomic.Int32
			handled := make(chan struct{})
			m := New(l, Config{
				Secrets: c.answers, Timeout: 10 * time.Second,
				Logger:  slog.New(slog.NewTextHandler(&log, nil)),
				Welcome: func(Hello) Welcome { return Welcome{Identity: someone} },
				Handle: map[Kind]func(net.Conn, Hello){Raft: func(conn net.Conn, _ Hello) {
					served.Add(1)
					_ = conn.Close() // enough seen
					close(handled)
				}},
			})
			conn, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			w, err := Greet(conn, Hello{Identity: someone, Kind: Raft}, c.dials, 10*time.Second)
			if err == nil {
				<-handled // else the mux may be closed before
			}
			_ = conn.Close() // the answer is here
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
			if c.refusal == "" {
				if err != nil || w.Node != someone.Node || served.Load() != 1 {
					t.Fatalf("welcome %+v, %v; served %d", w, err, served.Load())
				}
				return
			}
			var refused *RefusedError
			if !errors.As(err, &refused) || !strings.Contains(refused.Reason, c.refusal) {
				t.Errorf("told: %v", err)
			}
			if refused != nil && refused.Node == someone.Node {
				t.Error("a stranger was told who this is")
			}
			if served.Load() != 0 {
				t.Error("served all the same")
			}
			if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), c.logged.Error()) {
				t.Errorf("log: %s", log.String())
			}
		})
	}
}

// talk is a connection whose other side has said all that it will say.
type talk struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (c *talk) Read(b []byte) (int, error)  { return c.in.Read(b) }
func (c *talk) Write(b []byte) (int, error) { return c.out.Write(b) }

// TestReplay: what one connection was let in with lets no other in.
func TestReplay(t *testing.T) {
	s := secrets("a")
	ours, theirs := net.Pipe()
	said := make(chan []byte, 1)
	go func() {
		c := &recorder{Conn: theirs}
		if err := s.prove(c); err != nil {
			t.Errorf("prove: %v", err)
		}
		said <- c.said
	}()
	if _, err := s.check(ours); err != nil {
		t.Fatal(err)
	}
	if _, err := s.check(&talk{in: bytes.NewReader(<-said)}); !errors.Is(err, ErrWrongSecret) {
		t.Errorf("the same again: %v", err)
	}
}

type recorder struct {
	net.Conn
	said []byte
}

func (r *recorder) Write(b []byte) (int, error) {
	r.said = append(r.said, b...)
	return r.Conn.Write(b)
}

// TestReflection: what a node says when it answers does not let anyone in who gives it back.
func TestReflection(t *testing.T) {
	s := secrets("a")
	n := newNonce()
	if slices.Equal(proof(s[0], dials, n, n), proof(s[0], answers, n, n)) {
		t.Error("both sides prove with the same bytes")
	}
}

// FuzzSecrets gives a node that asks for the secret anything: nobody who does not
// know it comes in, and nothing is read beyond what the protocol has.
func FuzzSecrets(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add(AppendHello(nil, Hello{Identity: someone, Kind: Raft}))
	f.Add(append(bytes.Clone(secretMagic), make([]byte, 64)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &talk{in: bytes.NewReader(b)}
		if _, err := secrets("a secret that is not in the corpus").check(c); err == nil {
			t.Fatal("let in")
		}
		if c.out.Len() > len(secretMagic)+nonceLen {
			t.Fatalf("said %d bytes", c.out.Len())
		}
		c = &talk{in: bytes.NewReader(b)}
		if err := secrets("the same").prove(c); err == nil {
			t.Fatal("believed")
		}
		if r, err := (Secrets)(nil).check(&talk{in: bytes.NewReader(b)}); err == nil {
			if got, _ := io.ReadAll(r); !bytes.Equal(got, b) {
				t.Fatal("an open node lost bytes of the greeting")
			}
		}
	})
}
