package node

import (
	"context"
	"errors"
	"net"

	rights "warren/fsm/access"
	"warren/node/session"
)

// connectInside opens an AMQP connection of the node to itself, for a shovel. On one that is trusted nobody is asked
// for a password and everything is allowed: who may set such a shovel is for the HTTP API to say. ctx ends it.
func (n *Node) connectInside(ctx context.Context, trusted bool) (net.Conn, error) {
	select {
	case <-n.ready:
	default:
		return nil, errors.New("the node does not serve clients yet")
	}
	ours, theirs := net.Pipe()
	id := n.nextID.Add(1)
	cfg := n.sessionConfig(ctx, &insideConn{theirs, id, n.amqp.Addr()}, id)
	cfg.Limits = nil // those are for clients
	if trusted {
		cfg.Authenticate = func(string, string, net.Addr) error { return nil }
		cfg.Access, cfg.Admit = trust{}, nil
	}
	n.serveAs(ctx, cfg)
	return ours, nil
}

// insideConn is the node's half of a connection to itself. It has an address of this machine that no client has.
type insideConn struct {
	net.Conn
	id    uint64
	local net.Addr
}

func (c *insideConn) LocalAddr() net.Addr { return c.local }

func (c *insideConn) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 0), Port: int(c.id)}
}

// trust allows everything to everybody. It is both session.Access and session.Rules.
type trust struct{}

func (trust) Version() uint64                 { return 1 }
func (trust) Rules(_, _ string) session.Rules { return trust{} }
func (trust) User() uint64                    { return 1 }
func (trust) Enter() bool                     { return true }
func (trust) Allows(*rights.Need) bool        { return true }
func (trust) Impersonates() bool              { return true }
func (trust) Restricted(string) bool          { return false }
