package clustertest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"
)

// stream is one direction of a connection.
type stream struct {
	from, to string
	changed  *sync.Cond
	chunks   []chunk
	bytes    int
	ended    bool // by either end: nothing more is written; what is there can be read
}

func (n *Network) newStream(from, to string) *stream {
	return &stream{from: from, to: to, changed: sync.NewCond(&n.mu)}
}

// end ends a stream; lost: with what is on the way.
func (s *stream) end(lost bool) {
	s.ended = true
	if lost {
		s.chunks, s.bytes = nil, 0
	}
	s.changed.Broadcast()
}

type chunk struct {
	data []byte
	due  time.Time
}

// maxBuffered bounds what a stream holds, as a socket's buffers do.
const maxBuffered = 4 << 20

type conn struct {
	host          *Host
	local, remote string
	in, out       *stream
	closed        bool
	readBy        time.Time
	writeBy       time.Time
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	n := c.host.n
	n.mu.Lock()
	defer n.mu.Unlock()
	var due *time.Timer
	err := n.await(c.in.changed, func() time.Time { return c.readBy }, func() bool {
		if c.closed {
			return true
		}
		if n.isCut(c.in.from, c.in.to) && !c.host.down {
			return false
		}
		if len(c.in.chunks) == 0 {
			return c.in.ended
		}
		if d := c.in.chunks[0].due; time.Now().Before(d) {
			if due != nil {
				due.Stop()
			}
			due = n.wakeAt(d, c.in.changed)
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
	k := copy(b, first.data)
	first.data = first.data[k:]
	if len(first.data) == 0 {
		c.in.chunks = c.in.chunks[1:]
	}
	if c.in.bytes >= maxBuffered {
		c.in.changed.Broadcast()
	}
	c.in.bytes -= k
	return k, nil
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) {
	n := c.host.n
	n.mu.Lock()
	defer n.mu.Unlock()
	err := n.await(c.out.changed, func() time.Time { return c.writeBy }, func() bool {
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
	due := time.Now().Add(n.travel(c.out.from, c.out.to))
	if k := len(c.out.chunks); k > 0 && due.Before(c.out.chunks[k-1].due) {
		due = c.out.chunks[k-1].due
	}
	c.out.chunks = append(c.out.chunks, chunk{data: slices.Clone(b), due: due})
	c.out.bytes += len(b)
	c.out.changed.Broadcast()
	return len(b), nil
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.host.n.mu.Lock()
	defer c.host.n.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.shut()
	return nil
}

func (c *conn) shut() {
	c.closed = true
	delete(c.host.n.conns, c)
	c.in.end(false)
	c.out.end(false)
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
func (c *conn) SetReadDeadline(t time.Time) error { return c.set(&c.readBy, t, c.in) }

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.set(&c.writeBy, t, c.out) }

func (c *conn) set(which *time.Time, t time.Time, s *stream) error {
	c.host.n.mu.Lock()
	defer c.host.n.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	*which = t
	s.changed.Broadcast()
	return nil
}

// socket is a packet socket.
type socket struct {
	host    *Host
	addr    string
	changed *sync.Cond
	packets []packet
	closed  bool
}

type packet struct {
	data []byte
	from string
}

// maxPackets bounds a socket's queue; more are lost, as they are by a kernel.
const maxPackets = 1024

// ReadFrom implements net.PacketConn.
func (s *socket) ReadFrom(b []byte) (int, net.Addr, error) {
	s.host.n.mu.Lock()
	defer s.host.n.mu.Unlock()
	for len(s.packets) == 0 && !s.closed {
		s.changed.Wait()
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
	n, own := s.host.n, s.host.ip
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.closed {
		return 0, net.ErrClosed
	}
	if n.isCut(own, ip) || (n.drop != nil && n.drop(own, ip)) {
		return len(b), nil
	}
	p := packet{data: slices.Clone(b), from: s.addr}
	deliver := func() {
		if t := n.sockets[to.String()]; t != nil && len(t.packets) < maxPackets {
			t.packets = append(t.packets, p)
			t.changed.Broadcast()
		}
	}
	if d := n.travel(own, ip); d > 0 {
		time.AfterFunc(d, func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			deliver()
		})
	} else {
		deliver()
	}
	return len(b), nil
}

// Close implements net.PacketConn.
func (s *socket) Close() error {
	s.host.n.mu.Lock()
	defer s.host.n.mu.Unlock()
	if s.closed {
		return s.host.again()
	}
	s.close()
	return nil
}

func (s *socket) close() {
	s.closed = true
	delete(s.host.n.sockets, s.addr)
	s.changed.Broadcast()
}

// LocalAddr implements net.PacketConn.
func (s *socket) LocalAddr() net.Addr { return memAddr(s.addr) }

// SetDeadline implements net.PacketConn; nobody here needs one.
func (s *socket) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.PacketConn; see SetDeadline.
func (s *socket) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.PacketConn; see SetDeadline.
func (s *socket) SetWriteDeadline(time.Time) error { return nil }
