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
	// Resolve turns host:port into the addresses of packets, one at least. A name that stands for
	// several nodes has one for each.
	Resolve(ctx context.Context, addr string) ([]net.Addr, error)
}

// osNetwork is TCP and UDP.
type osNetwork struct {
	resolver *net.Resolver // nil: the system's
}

func (osNetwork) Listen(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }
func (osNetwork) ListenPacket(addr string) (net.PacketConn, error) {
	return net.ListenPacket("udp", addr)
}
func (n osNetwork) Dial(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{Resolver: n.resolver}
	return d.DialContext(ctx, "tcp", addr)
}
func (n osNetwork) Resolve(ctx context.Context, addr string) ([]net.Addr, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	number, err := n.resolver.LookupPort(ctx, "udp", port)
	if err != nil {
		return nil, err
	}
	ips, err := n.resolver.LookupIPAddr(ctx, host)
	if err != nil {
		return nil, err
	}
	var all []net.Addr
	for _, ip := range ips {
		all = append(all, &net.UDPAddr{IP: ip.IP, Port: number, Zone: ip.Zone})
	}
	if len(all) == 0 {
		return nil, &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
	}
	return all, nil
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
