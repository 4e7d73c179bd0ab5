package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
)

// Network is what the cluster needs from the operating system. Tests plug in
// one with faults (see clustertest).
type Network interface {
	// Listen opens a stream listener.
	Listen(addr string) (net.Listener, error)
	// ListenPacket opens a packet socket on the listener's address.
	ListenPacket(addr string) (net.PacketConn, error)
	// Dial connects to host:port. An error that means "nobody listens there,
	// though the machine answers" must satisfy errors.Is(err, syscall.ECONNREFUSED).
	Dial(ctx context.Context, addr string) (net.Conn, error)
	// Resolve turns host:port into the address of a packet.
	Resolve(ctx context.Context, addr string) (net.Addr, error)
}

// osNetwork is TCP and UDP.
type osNetwork struct{}

func (osNetwork) Listen(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }
func (osNetwork) ListenPacket(addr string) (net.PacketConn, error) {
	return net.ListenPacket("udp", addr)
}
func (osNetwork) Dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}
func (osNetwork) Resolve(ctx context.Context, addr string) (net.Addr, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	n, err := net.DefaultResolver.LookupPort(ctx, "udp", port)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return nil, err
	}
	return &net.UDPAddr{IP: ips[0].IP, Port: n, Zone: ips[0].Zone}, nil
}

// tlsNetwork encrypts the streams of another network. Who is accepted makes the
// handshake with the first read, within the deadline of the greeting.
type tlsNetwork struct {
	Network
	listen, dial *tls.Config
}

func (n *tlsNetwork) Listen(addr string) (net.Listener, error) {
	l, err := n.Network.Listen(addr)
	if err != nil {
		return nil, err
	}
	return tls.NewListener(l, n.listen), nil
}

func (n *tlsNetwork) Dial(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := n.Network.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	t := tls.Client(conn, n.dial)
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("TLS with %s: %w", addr, err), conn.Close())
	}
	return t, nil
}
