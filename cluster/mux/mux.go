package mux

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"
)

// maxGreeting bounds how many connections may be in the middle of their
// greeting; more are closed at once.
const maxGreeting = 256

// Config of a Mux.
type Config struct {
	// Welcome decides over a Hello: a Welcome with a Refusal closes the
	// connection. It is called from many goroutines.
	Welcome func(Hello) Welcome
	// Handle takes over a connection of its kind, on a goroutine of its own. A
	// kind without a handler is refused.
	Handle map[Kind]func(net.Conn, Hello)
	// Secrets are what a node has to know to be served. Empty: nothing.
	Secrets Secrets
	// Timeout bounds the greeting.
	Timeout time.Duration
	Logger  *slog.Logger
}

// Mux accepts the connections of one listener and hands each to the handler of
// its kind. Close ends all of them.
type Mux struct {
	cfg      Config
	listener net.Listener
	greeting chan struct{}
	wg       sync.WaitGroup

	mu     sync.Mutex
	warned time.Time // when a wrong secret was last logged as a warning
	closed bool
	conns  map[net.Conn]struct{}
}

// New serves the listener until Close. The Mux owns the listener.
func New(l net.Listener, cfg Config) *Mux {
	m := &Mux{cfg: cfg, listener: l, greeting: make(chan struct{}, maxGreeting), conns: make(map[net.Conn]struct{})}
	m.wg.Add(1)
	go m.accept()
	return m
}

// Addr is the listener's address.
func (m *Mux) Addr() net.Addr { return m.listener.Addr() }

// Close stops listening, closes every accepted connection that is still open,
// and waits until all handlers have returned.
func (m *Mux) Close() error {
	m.mu.Lock()
	m.closed = true
	open := make([]net.Conn, 0, len(m.conns))
	for c := range m.conns {
		open = append(open, c)
	}
	m.mu.Unlock()
	err := m.listener.Close()
	for _, c := range open {
		_ = c.Close() // it is being given up; there is nobody to tell
	}
	m.wg.Wait()
	return err
}

func (m *Mux) accept() {
	defer m.wg.Done()
	pause := time.Millisecond
	for {
		conn, err := m.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of file descriptors, most likely: others may give some back.
			if m.isClosed() {
				return
			}
			m.cfg.Logger.Error("accept failed", "error", err)
			time.Sleep(pause)
			pause = min(2*pause, time.Second)
			continue
		}
		pause = time.Millisecond
		select {
		case m.greeting <- struct{}{}:
		default:
			m.cfg.Logger.Warn("too many connections in their greeting: refused one", "remote", conn.RemoteAddr())
			_ = conn.Close()
			continue
		}
		c := &tracked{Conn: conn, m: m}
		if !m.track(c) {
			_ = conn.Close()
			return
		}
		go m.serve(c)
	}
}

func (m *Mux) isClosed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed
}

func (m *Mux) track(c *tracked) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.conns[c] = struct{}{}
	m.wg.Add(1)
	return true
}

func (m *Mux) serve(conn *tracked) {
	defer m.wg.Done()
	h, err := m.greet(conn)
	<-m.greeting
	if err != nil {
		m.cfg.Logger.Log(context.Background(), m.level(err), "connection refused", "remote", conn.RemoteAddr(), "node", h.Node, "kind", h.Kind, "error", err)
		_ = conn.Close()
		return
	}
	m.cfg.Handle[h.Kind](conn, h)
}

// level is how loud a refusal is logged. A wrong secret is the operator's to mend,
// and must not fill the log of a node that a stranger knocks at all the time.
func (m *Mux) level(err error) slog.Level {
	if !isAboutSecret(err) {
		return slog.LevelInfo
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.warned) < warnEvery {
		return slog.LevelDebug
	}
	m.warned = time.Now()
	return slog.LevelWarn
}

const warnEvery = time.Second

func (m *Mux) greet(conn net.Conn) (Hello, error) {
	if err := conn.SetDeadline(time.Now().Add(m.cfg.Timeout)); err != nil {
		return Hello{}, err
	}
	rest, err := m.cfg.Secrets.check(conn)
	if err != nil {
		return Hello{}, refuse(conn, err)
	}
	h, err := ReadHello(rest)
	if err != nil {
		return h, err
	}
	w := m.cfg.Welcome(h)
	if w.Refusal == "" && m.cfg.Handle[h.Kind] == nil {
		w.Refusal = fmt.Sprintf("does not serve %s", h.Kind)
	}
	if _, err := conn.Write(AppendWelcome(nil, w)); err != nil {
		return h, fmt.Errorf("welcome: %w", err)
	}
	if w.Refusal != "" {
		return h, errors.New(w.Refusal)
	}
	return h, conn.SetDeadline(time.Time{})
}

// tracked is a connection that the Mux closes with itself.
type tracked struct {
	net.Conn
	m *Mux
}

func (c *tracked) Close() error {
	c.m.mu.Lock()
	delete(c.m.conns, c)
	c.m.mu.Unlock()
	return c.Conn.Close()
}
