package node

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"warren/node/certs"
	"warren/node/management"
)

// certsCheck is how often the node looks whether its certificates have changed.
const certsCheck = 5 * time.Second

// listenTLS opens the listeners with TLS that are wanted.
func (n *Node) listenTLS() (err error) {
	if n.cfg.AMQPSAddr == "" && n.cfg.HTTPSAddr == "" && !n.cfg.ClusterTLS {
		return nil
	}
	if n.cfg.ClusterTLS && n.cfg.TLS.CA == "" {
		return errors.New("TLS between nodes needs the authorities that signed their certificates")
	}
	if n.cfg.ClusterTLS && n.cfg.TLS.VerifyPeer && len(n.cfg.ClusterSecrets) == 0 {
		return errors.New("TLS between nodes needs a cluster secret when the same authorities sign clients: a certificate alone would make them nodes")
	}
	if n.certs, err = certs.Open(n.cfg.TLS); err != nil {
		return err
	}
	if n.cfg.AMQPSAddr != "" {
		l, err := n.listenClients(n.cfg.AMQPSAddr)
		if err != nil {
			return fmt.Errorf("listen for AMQP with TLS: %w", err)
		}
		n.amqps = tls.NewListener(l, n.certs.Server(true))
	}
	if n.cfg.HTTPSAddr != "" {
		l, err := net.Listen("tcp", n.cfg.HTTPSAddr)
		if err != nil {
			return fmt.Errorf("listen for HTTP with TLS: %w", err)
		}
		// Its clients log in with a password: none is asked for a certificate.
		n.webs = tls.NewListener(l, n.certs.Server(false))
	}
	return nil
}

// clusterTLS are the configurations of the cluster's port, nil without TLS.
func (n *Node) clusterTLS() (listen, dial *tls.Config) {
	if !n.cfg.ClusterTLS {
		return nil, nil
	}
	return n.certs.Peers()
}

// certificates are those of the listeners with TLS, as they are used now.
func (n *Node) certificates() []management.Certificates {
	if n.certs == nil {
		return nil
	}
	cert, ca := n.certs.Expiry()
	var all []management.Certificates
	for _, l := range n.listeners() {
		if l.Protocol == "amqp/ssl" || l.Protocol == "https" || l.Protocol == "clustering" && n.cfg.ClusterTLS {
			all = append(all, management.Certificates{
				Listener: l, CertFile: n.cfg.TLS.Cert, CAFile: n.cfg.TLS.CA, CertExpires: cert, CAExpire: ca,
			})
		}
	}
	return all
}

// external is how clients log in with their certificate; nil when none is verified.
func (n *Node) external() func(tls.ConnectionState, net.Addr) (string, error) {
	if n.certs == nil || !n.certs.Verifies() {
		return nil
	}
	return func(state tls.ConnectionState, remote net.Addr) (string, error) {
		user, err := n.certs.Login(state)
		if err != nil {
			return "", err
		}
		err = n.guard.Known(user, remote)
		n.noteLogin(amqpLogin, user, remote, err)
		return user, err
	}
}
