package cluster

import (
	"context"
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
