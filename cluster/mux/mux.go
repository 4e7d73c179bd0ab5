package mux

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"
)

// maxGreeting bounds how many connections may be in the middle of their greeting, and
// maxGreetingFrom how many of one host. For one more the oldest of them is closed: a
// node is through in no time, so those who only stand there do not lock it out.
const (
	maxGreeting     = 256
	maxGreetingFrom = 32
)

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
	wg       sync.WaitGroup

	mu       sync.Mutex
	warned   time.Time // when a wrong secret was last logged as a warning
	crowded  time.Time // the same, of too many greetings
	closed   bool
	conns    map[net.Conn]struct{}
	greeting []*tracked // the oldest first
}

// New serves the listener until Close. The Mux owns the listener.
func New(l net.Listener, cfg Config) *Mux {
	m := &Mux{cfg: cfg, listener: l, conns: make(map[net.Conn]struct{})}
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
		c := &tracked{Conn: conn, m: m, host: host(conn)}
		oldest, ok := m.track(c)
		if !ok {
			_ = conn.Close()
			return
		}
		if oldest != nil {
			m.cfg.Logger.Log(context.Background(), m.limited(&m.crowded),
				"too many connections in their greeting: closed the oldest", "remote", oldest.RemoteAddr())
			_ = oldest.Close() // it has not said who it is
		}
		go m.serve(c)
	}
}

func (m *Mux) isClosed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed
}

func host(conn net.Conn) string {
	address := conn.RemoteAddr().String()
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

// track lets a connection greet. It returns one that has to be closed for it, or nil, and
// false when the Mux is closed.
func (m *Mux) track(c *tracked) (oldest *tracked, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, false
	}
	m.conns[c] = struct{}{}
	m.wg.Add(1)
	oldest = m.makeRoom(c.host)
	m.greeting = append(m.greeting, c)
	return oldest, true
}

// makeRoom takes the oldest connection out of those that greet when one more of the host
// would be too many: the host's own, or, when it is too many of all hosts, anybody's.
// Called with the lock held.
func (m *Mux) makeRoom(host string) *tracked {
	from, first := 0, 0
	for i, c := range m.greeting {
		if c.host == host {
			if from == 0 {
				first = i
			}
			from++
		}
	}
	switch {
	case from >= maxGreetingFrom:
	case len(m.greeting) >= maxGreeting:
		first = 0
	default:
		return nil
	}
	oldest := m.greeting[first]
	m.greeting = slices.Delete(m.greeting, first, first+1)
	return oldest
}

// greeted ends the greeting of a connection, unless it had to make room.
func (m *Mux) greeted(c *tracked) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.greeting = slices.DeleteFunc(m.greeting, func(g *tracked) bool { return g == c })
}

func (m *Mux) serve(conn *tracked) {
	defer m.wg.Done()
	h, err := m.greet(conn)
	m.greeted(conn)
	if err != nil {
		m.cfg.Logger.Log(context.Background(), m.level(err), "connection refused", "remote", conn.RemoteAddr(), "node", h.Node, "kind", h.Kind, "error", err)
		_ = conn.Close()
		return
	}
	m.cfg.Handle[h.Kind](conn, h)
}

// level is how loud a refusal is logged. A wrong secret is the operator's to mend,
// and must not fill the log of a node that a stranger knocks at all the time. A connection
// that we closed ourselves was logged then.
func (m *Mux) level(err error) slog.Level {
	switch {
	case isAboutSecret(err):
		return m.limited(&m.warned)
	case errors.Is(err, net.ErrClosed):
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// limited is the level of a warning that was last logged as one at that time.
func (m *Mux) limited(last *time.Time) slog.Level {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(*last) < warnEvery {
		return slog.LevelDebug
	}
	*last = time.Now()
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
	m    *Mux
	host string // of the other side
}

func (c *tracked) Close() error {
	c.m.mu.Lock()
	delete(c.m.conns, c)
	c.m.mu.Unlock()
	return c.Conn.Close()
}
