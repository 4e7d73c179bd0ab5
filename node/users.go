package node

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

var errCredentials = errors.New("user name or password is wrong")

// authenticate checks a login. A user of LoopbackUsers is let in from this
// machine only, as RabbitMQ's loopback_users
// (https://www.rabbitmq.com/docs/access-control#loopback-users).
func (n *Node) authenticate(user, password string, remote net.Addr) error {
	// Hashes, so that the comparison takes the same time for any length.
	u, want := sha256.Sum256([]byte(user)), sha256.Sum256([]byte(n.cfg.DefaultUser))
	p, wantPass := sha256.Sum256([]byte(password)), sha256.Sum256([]byte(n.cfg.DefaultPass))
	if subtle.ConstantTimeCompare(u[:], want[:])&subtle.ConstantTimeCompare(p[:], wantPass[:]) != 1 {
		return errCredentials
	}
	if slices.Contains(n.cfg.LoopbackUsers, user) && !loopback(remote) {
		return fmt.Errorf("user %q may only connect from this machine: set --loopback-users to change that", user)
	}
	return nil
}

func loopback(a net.Addr) bool {
	if a == nil {
		return false
	}
	ap, err := netip.ParseAddrPort(a.String())
	return err == nil && ap.Addr().Unmap().IsLoopback()
}
