package clustertest

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"warren/cluster"
)

// Network is an in-memory network with faults. Every node has a host of its own. In a
// bubble of testing/synctest it waits without using up real time.
// The zero value is not usable; see NewNetwork.
type Network struct {
	mu        sync.Mutex
	changed   *sync.Cond // who dials: a cut, or its context
	listeners map[string]*listener
	sockets   map[string]*socket
	conns     map[*conn]bool
	cut       map[path]bool
	delay     func(from, to string) time.Duration
	drop      func(from, to string) bool
	nextPort  int
}

// path is one direction between two hosts.
type path struct{ from, to string }

// NewNetwork returns a network without faults.
func NewNetwork() *Network {
	n := &Network{
		listeners: make(map[string]*listener), sockets: make(map[string]*socket),
		conns: make(map[*conn]bool), cut: make(map[path]bool), nextPort: 10000,
	}
	n.changed = sync.NewCond(&n.mu)
	return n
}

// A Host is the network as one host sees it, for cluster.Config.Network.
type Host struct {
	n    *Network
	ip   string
	down bool
}

var _ cluster.Network = (*Host)(nil)

// Host returns a host. Its name must be an IP address. After Crash a new one of that name may be had.
func (n *Network) Host(ip string) *Host { return &Host{n: n, ip: ip} }

// Partition cuts every path between the two groups of hosts: what is on the way
// stays there until Heal, new connections find nobody, packets are lost.
func (n *Network) Partition(a, b []string) {
	for _, x := range a {
		for _, y := range b {
			n.Cut(x, y)
			n.Cut(y, x)
		}
	}
}

// Cut cuts one direction, as Partition does with both. Nobody can connect in either.
func (n *Network) Cut(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[path{from, to}] = true
}

// Heal ends all cuts.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
	n.changed.Broadcast()
	for c := range n.conns {
		c.in.changed.Broadcast()
	}
}

// Reset breaks the connections between two hosts. What was on the way is lost.
func (n *Network) Reset(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		if p := (path{c.in.from, c.in.to}); p == (path{a, b}) || p == (path{b, a}) {
			c.in.end(true)
			c.out.end(true)
		}
	}
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
func (n *Network) isCut(from, to string) bool { return n.cut[path{from, to}] }

func (n *Network) travel(from, to string) time.Duration {
	if n.delay == nil {
		return 0
	}
	return n.delay(from, to)
}

// wakeAt wakes all who wait for something when the time has come.
func (n *Network) wakeAt(t time.Time, who *sync.Cond) *time.Timer {
	return time.AfterFunc(time.Until(t), func() {
		n.mu.Lock()
		who.Broadcast()
		n.mu.Unlock()
	})
}

// await waits, with the lock held, until ready or the deadline; a zero deadline
// is none.
func (n *Network) await(changed *sync.Cond, deadline func() time.Time, ready func() bool) error {
	for !ready() {
		d := deadline()
		if !d.IsZero() {
			if !time.Now().Before(d) {
				return os.ErrDeadlineExceeded
			}
			t := n.wakeAt(d, changed)
			changed.Wait()
			t.Stop()
			continue
		}
		changed.Wait()
	}
	return nil
}

// errDown is what a host gets that has crashed: its process just does not know yet.
var errDown = errors.New("the host is down")

// Crash ends what the host has open: others are refused from now on. The process that had the host
// may go on, but reaches nobody.
func (h *Host) Crash() {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	h.down = true
	for _, l := range h.n.listeners {
		if l.host == h {
			l.close()
		}
	}
	for _, s := range h.n.sockets {
		if s.host == h {
			s.close()
		}
	}
	for c := range h.n.conns {
		if c.host == h {
			c.in.end(true)
			c.out.end(true)
		}
	}
	h.n.changed.Broadcast()
}

// again is what closing something for the second time says: after a crash it is the first time for the process.
func (h *Host) again() error {
	if h.down {
		return nil
	}
	return net.ErrClosed
}

// own returns an address of the host, with a port of its own for port 0.
func (h *Host) own(addr string) (string, error) {
	if h.down {
		return "", errDown
	}
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
func (h *Host) Listen(addr string) (net.Listener, error) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	a, err := h.own(addr)
	if err != nil {
		return nil, err
	}
	if h.n.listeners[a] != nil {
		return nil, &net.OpError{Op: "listen", Net: "mem", Err: syscall.EADDRINUSE}
	}
	l := &listener{host: h, addr: a, changed: sync.NewCond(&h.n.mu)}
	h.n.listeners[a] = l
	return l, nil
}

// ListenPacket implements cluster.Network.
func (h *Host) ListenPacket(addr string) (net.PacketConn, error) {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	a, err := h.own(addr)
	if err != nil {
		return nil, err
	}
	if h.n.sockets[a] != nil {
		return nil, &net.OpError{Op: "listen", Net: "mem", Err: syscall.EADDRINUSE}
	}
	s := &socket{host: h, addr: a, changed: sync.NewCond(&h.n.mu)}
	h.n.sockets[a] = s
	return s, nil
}

// Resolve implements cluster.Network.
func (h *Host) Resolve(_ context.Context, addr string) ([]net.Addr, error) {
	return []net.Addr{memAddr(addr)}, nil
}

// Dial implements cluster.Network.
func (h *Host) Dial(ctx context.Context, addr string) (net.Conn, error) {
	to, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	n := h.n
	n.mu.Lock()
	defer n.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		n.mu.Lock()
		n.changed.Broadcast()
		n.mu.Unlock()
	})
	defer stop()
	for !h.down && (n.isCut(h.ip, to) || n.isCut(to, h.ip)) {
		if ctx.Err() != nil {
			return nil, &net.OpError{Op: "dial", Net: "mem", Err: ctx.Err()}
		}
		n.changed.Wait()
	}
	if h.down {
		return nil, &net.OpError{Op: "dial", Net: "mem", Err: errDown}
	}
	l := n.listeners[addr]
	if l == nil {
		return nil, &net.OpError{Op: "dial", Net: "mem", Err: syscall.ECONNREFUSED}
	}
	n.nextPort++
	local := net.JoinHostPort(h.ip, strconv.Itoa(n.nextPort))
	there, back := n.newStream(h.ip, to), n.newStream(to, h.ip)
	mine := &conn{host: h, local: local, remote: addr, in: back, out: there}
	theirs := &conn{host: l.host, local: addr, remote: local, in: there, out: back}
	n.conns[mine], n.conns[theirs] = true, true
	l.waiting = append(l.waiting, theirs)
	l.changed.Broadcast()
	return mine, nil
}

type memAddr string

func (memAddr) Network() string  { return "mem" }
func (a memAddr) String() string { return string(a) }

type listener struct {
	host    *Host
	addr    string
	changed *sync.Cond
	waiting []*conn
	closed  bool
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	l.host.n.mu.Lock()
	defer l.host.n.mu.Unlock()
	for len(l.waiting) == 0 && !l.closed {
		l.changed.Wait()
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
	l.host.n.mu.Lock()
	defer l.host.n.mu.Unlock()
	if l.closed {
		return l.host.again()
	}
	l.close()
	return nil
}

func (l *listener) close() {
	l.closed = true
	delete(l.host.n.listeners, l.addr)
	for _, c := range l.waiting {
		c.shut()
	}
	l.waiting = nil
	l.changed.Broadcast()
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return memAddr(l.addr) }
