package clustertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"warren/cluster"
)

// Network is an in-memory network with faults. Every node has a host of its own.
// The zero value is not usable; see NewNetwork.
type Network struct {
	mu        sync.Mutex
	changed   *sync.Cond
	listeners map[string]*listener
	sockets   map[string]*socket
	cut       map[[2]string]bool
	delay     func(from, to string) time.Duration
	drop      func(from, to string) bool
	nextPort  int
}

// NewNetwork returns a network without faults.
func NewNetwork() *Network {
	n := &Network{
		listeners: make(map[string]*listener), sockets: make(map[string]*socket),
		cut: make(map[[2]string]bool), nextPort: 10000,
	}
	n.changed = sync.NewCond(&n.mu)
	return n
}

// Host is the network as one host sees it, for cluster.Config.Network. The name
// must be an IP address.
func (n *Network) Host(ip string) cluster.Network { return &host{n: n, ip: ip} }

// Partition cuts every path between the two groups of hosts: what is on the way
// stays there until Heal, new connections find nobody, packets are lost.
func (n *Network) Partition(a, b []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, x := range a {
		for _, y := range b {
			n.cut[[2]string{x, y}], n.cut[[2]string{y, x}] = true, true
		}
	}
	n.changed.Broadcast()
}

// Heal ends all partitions.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
	n.changed.Broadcast()
}

// Delay sets how long bytes and packets travel; nil: no time. Streams keep their order.
func (n *Network) Delay(f func(from, to string) time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay = f
}

// Drop sets which packets are lost; nil: none. Streams lose nothing.
func (n *Network) Drop(f func(from, to string) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.drop = f
}

// RandomDelay is a Delay of up to most.
func RandomDelay(most time.Duration) func(string, string) time.Duration {
	return func(string, string) time.Duration { return rand.N(most) }
}

// isCut and travel are called with the lock held.
func (n *Network) isCut(from, to string) bool { return n.cut[[2]string{from, to}] }

func (n *Network) travel(from, to string) time.Duration {
	if n.delay == nil {
		return 0
	}
	return n.delay(from, to)
}

// wakeAt wakes all who wait when the time has come.
func (n *Network) wakeAt(t time.Time) *time.Timer {
	return time.AfterFunc(time.Until(t), func() {
		n.mu.Lock()
		n.changed.Broadcast()
		n.mu.Unlock()
	})
}

// await waits, with the lock held, until ready or the deadline; a zero deadline
// is none.
func (n *Network) await(deadline func() time.Time, ready func() bool) error {
	for !ready() {
		d := deadline()
		if !d.IsZero() {
			if !time.Now().Before(d) {
				return os.ErrDeadlineExceeded
			}
			t := n.wakeAt(d)
			n.changed.Wait()
			t.Stop()
			continue
		}
		n.changed.Wait()
	}
	return nil
}

type host struct {
	n  *Network
	ip string
}

func (h *host) own(addr string) (string, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	if port == "0" {
		h.n.nextPort++
		port = strconv.Itoa(h.n.nextPort)
	}
	return net.JoinHostPort(h.ip, port), nil
}

// Listen implements cluster.Network.
func (h *host) Listen(addr string) (net.Listener, error) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	a, err := h.own(addr)
	if err != nil {
		return nil, err
	}
	if h.n.listeners[a] != nil {
		return nil, &net.OpError{Op: "listen", Net: "mem", Err: syscall.EADDRINUSE}
	}
	l := &listener{n: h.n, addr: a}
	h.n.listeners[a] = l
	return l, nil
}

// ListenPacket implements cluster.Network.
func (h *host) ListenPacket(addr string) (net.PacketConn, error) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	a, err := h.own(addr)
	if err != nil {
		return nil, err
	}
	if h.n.sockets[a] != nil {
		return nil, &net.OpError{Op: "listen", Net: "mem", Err: syscall.EADDRINUSE}
	}
	s := &socket{n: h.n, ip: h.ip, addr: a}
	h.n.sockets[a] = s
	return s, nil
}

// Resolve implements cluster.Network.
func (h *host) Resolve(_ context.Context, addr string) (net.Addr, error) { return memAddr(addr), nil }

// Dial implements cluster.Network.
func (h *host) Dial(ctx context.Context, addr string) (net.Conn, error) {
	to, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		h.n.mu.Lock()
		h.n.changed.Broadcast()
		h.n.mu.Unlock()
	})
	defer stop()
	for h.n.isCut(h.ip, to) {
		if ctx.Err() != nil {
			return nil, &net.OpError{Op: "dial", Net: "mem", Err: ctx.Err()}
		}
		h.n.changed.Wait()
	}
	l := h.n.listeners[addr]
	if l == nil {
		return nil, &net.OpError{Op: "dial", Net: "mem", Err: syscall.ECONNREFUSED}
	}
	h.n.nextPort++
	local := net.JoinHostPort(h.ip, strconv.Itoa(h.n.nextPort))
	there, back := &stream{from: h.ip, to: to}, &stream{from: to, to: h.ip}
	mine := &conn{n: h.n, local: local, remote: addr, in: back, out: there}
	theirs := &conn{n: h.n, local: addr, remote: local, in: there, out: back}
	l.waiting = append(l.waiting, theirs)
	h.n.changed.Broadcast()
	return mine, nil
}

type memAddr string

func (memAddr) Network() string  { return "mem" }
func (a memAddr) String() string { return string(a) }

type listener struct {
	n       *Network
	addr    string
	waiting []*conn
	closed  bool
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	for len(l.waiting) == 0 && !l.closed {
		l.n.changed.Wait()
	}
	if l.closed {
		return nil, net.ErrClosed
	}
	c := l.waiting[0]
	l.waiting = l.waiting[1:]
	return c, nil
}

// Close implements net.Listener. Connections that nobody accepted are reset.
func (l *listener) Close() error {
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	if l.closed {
		return net.ErrClosed
	}
	l.closed = true
	delete(l.n.listeners, l.addr)
	for _, c := range l.waiting {
		c.in.ended, c.out.ended = true, true
	}
	l.n.changed.Broadcast()
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return memAddr(l.addr) }

// stream is one direction of a connection.
type stream struct {
	from, to string
	chunks   []chunk
	bytes    int
	ended    bool // by either end: nothing more is written; what is there can be read
}

type chunk struct {
	data []byte
	due  time.Time
}

// maxBuffered bounds what a stream holds, as a socket's buffers do.
const maxBuffered = 4 << 20

type conn struct {
	n             *Network
	local, remote string
	in, out       *stream
	closed        bool
	readBy        time.Time
	writeBy       time.Time
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	var due *time.Timer
	err := c.n.await(func() time.Time { return c.readBy }, func() bool {
		if c.closed {
			return true
		}
		if c.n.isCut(c.in.from, c.in.to) {
			return false
		}
		if len(c.in.chunks) == 0 {
			return c.in.ended
		}
		if d := c.in.chunks[0].due; time.Now().Before(d) {
			if due != nil {
				due.Stop()
			}
			due = c.n.wakeAt(d)
			return false
		}
		return true
	})
	if due != nil {
		due.Stop()
	}
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case err != nil:
		return 0, err
	case len(c.in.chunks) == 0:
		return 0, io.EOF
	}
	first := &c.in.chunks[0]
	n := copy(b, first.data)
	first.data = first.data[n:]
	if len(first.data) == 0 {
		c.in.chunks = c.in.chunks[1:]
	}
	c.in.bytes -= n
	c.n.changed.Broadcast()
	return n, nil
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	err := c.n.await(func() time.Time { return c.writeBy }, func() bool {
		return c.closed || c.out.ended || c.out.bytes < maxBuffered
	})
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case err != nil:
		return 0, err
	case c.out.ended:
		return 0, syscall.EPIPE
	}
	due := time.Now().Add(c.n.travel(c.out.from, c.out.to))
	if k := len(c.out.chunks); k > 0 && due.Before(c.out.chunks[k-1].due) {
		due = c.out.chunks[k-1].due
	}
	c.out.chunks = append(c.out.chunks, chunk{data: append([]byte(nil), b...), due: due})
	c.out.bytes += len(b)
	c.n.changed.Broadcast()
	return len(b), nil
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.closed, c.in.ended, c.out.ended = true, true, true
	c.n.changed.Broadcast()
	return nil
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return memAddr(c.local) }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return memAddr(c.remote) }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error { return c.set(&c.readBy, t) }

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.set(&c.writeBy, t) }

func (c *conn) set(which *time.Time, t time.Time) error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	*which = t
	c.n.changed.Broadcast()
	return nil
}

// socket is a packet socket.
type socket struct {
	n        *Network
	ip, addr string
	packets  []packet
	closed   bool
}

type packet struct {
	data []byte
	from string
}

// maxPackets bounds a socket's queue; more are lost, as they are by a kernel.
const maxPackets = 1024

// ReadFrom implements net.PacketConn.
func (s *socket) ReadFrom(b []byte) (int, net.Addr, error) {
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	for len(s.packets) == 0 && !s.closed {
		s.n.changed.Wait()
	}
	if s.closed {
		return 0, nil, net.ErrClosed
	}
	p := s.packets[0]
	s.packets = s.packets[1:]
	return copy(b, p.data), memAddr(p.from), nil
}

// WriteTo implements net.PacketConn.
func (s *socket) WriteTo(b []byte, to net.Addr) (int, error) {
	ip, _, err := net.SplitHostPort(to.String())
	if err != nil {
		return 0, fmt.Errorf("packet address: %w", err)
	}
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	if s.closed {
		return 0, net.ErrClosed
	}
	if s.n.isCut(s.ip, ip) || (s.n.drop != nil && s.n.drop(s.ip, ip)) {
		return len(b), nil
	}
	p := packet{data: append([]byte(nil), b...), from: s.addr}
	deliver := func() {
		if t := s.n.sockets[to.String()]; t != nil && len(t.packets) < maxPackets {
			t.packets = append(t.packets, p)
			s.n.changed.Broadcast()
		}
	}
	if d := s.n.travel(s.ip, ip); d > 0 {
		time.AfterFunc(d, func() {
			s.n.mu.Lock()
			defer s.n.mu.Unlock()
			deliver()
		})
	} else {
		deliver()
	}
	return len(b), nil
}

// Close implements net.PacketConn.
func (s *socket) Close() error {
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.closed = true
	delete(s.n.sockets, s.addr)
	s.n.changed.Broadcast()
	return nil
}

// LocalAddr implements net.PacketConn.
func (s *socket) LocalAddr() net.Addr { return memAddr(s.addr) }

// SetDeadline implements net.PacketConn; nobody here needs one.
func (s *socket) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.PacketConn; see SetDeadline.
func (s *socket) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.PacketConn; see SetDeadline.
func (s *socket) SetWriteDeadline(time.Time) error { return nil }
