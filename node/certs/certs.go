// Package certs holds the certificates of the TLS listeners: it reads them from
// files, reads them again when told to or when the files have changed, and tells the user
// name that a client's certificate stands for. It knows no listener and no user.
package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Config names the files and says what clients have to show.
type Config struct {
	// Cert and Key are PEM files: the chain of this node, its own certificate first,
	// and the private key. CA holds the authorities whose clients are believed.
	Cert, Key, CA string

	// VerifyPeer asks clients for a certificate, and refuses one that no
	// authority of CA has signed; FailIfNoPeerCert refuses those without one too.
	VerifyPeer, FailIfNoPeerCert bool

	MinVersion uint16 // tls.VersionTLS12, also when 0, or tls.VersionTLS13

	LoginFrom string // what of a client's certificate is its user name: DistinguishedName, also when empty, CommonName or AlternativeName
	SANType   string // with AlternativeName: SANDNS, also when empty, SANIP, SANEmail or SANURI
	SANIndex  int    // with AlternativeName: which one of that type, from 0
}

// check completes the defaults.
func (c *Config) check() error {
	switch {
	case c.Cert == "" || c.Key == "":
		return errors.New("a certificate and its key are needed")
	case c.VerifyPeer && c.CA == "":
		return errors.New("clients cannot be verified without a file of authorities")
	case c.FailIfNoPeerCert && !c.VerifyPeer:
		return errors.New("a client's certificate can only be demanded when it is verified")
	}
	if c.MinVersion == 0 {
		c.MinVersion = tls.VersionTLS12
	}
	if c.LoginFrom == "" {
		c.LoginFrom = DistinguishedName
	}
	if c.SANType == "" {
		c.SANType = SANDNS
	}
	return nil
}

// A Store is what was read last. Its methods may be called from any goroutine.
type Store struct {
	cfg    Config
	asking atomic.Pointer[tls.Config]
	expiry atomic.Pointer[expiry]
	silent atomic.Pointer[tls.Config] // the same, without asking clients for a certificate

	mu    sync.Mutex // one reload at a time
	stamp stamp
}

// Open reads the files.
func Open(cfg Config) (*Store, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	s := &Store{cfg: cfg}
	return s, s.Reload()
}

// Server is the configuration of a listener. A handshake uses what was read last.
// With ask clients are asked for a certificate, if the configuration says so.
func (s *Store) Server(ask bool) *tls.Config {
	from := &s.silent
	if ask {
		from = &s.asking
	}
	return &tls.Config{
		MinVersion:         s.cfg.MinVersion,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return from.Load(), nil },
	}
}

// Peers are the configurations of a port where nodes meet, to listen and to dial: each
// side shows its certificate and believes those that CA has signed, whatever the names
// in them, as nodes may move. A node's certificate has to be good for servers and for clients:
// one for clients only is that of an AMQP client, and lets nobody in here.
func (s *Store) Peers() (listen, dial *tls.Config) {
	listen = &tls.Config{
		MinVersion: s.cfg.MinVersion,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			c := s.asking.Load().Clone()
			c.ClientAuth = tls.RequireAndVerifyClientCert // good for clients
			c.VerifyConnection = s.isServer
			return c, nil
		},
	}
	dial = &tls.Config{
		MinVersion: s.cfg.MinVersion,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &s.asking.Load().Certificates[0], nil
		},
		InsecureSkipVerify: true, // VerifyConnection does it, but for the name
		VerifyConnection:   s.isServer,
	}
	return listen, dial
}

// isServer checks that the other side's certificate is of CA and good for servers.
func (s *Store) isServer(state tls.ConnectionState) error {
	between := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots: s.asking.Load().ClientCAs, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	return err
}

// Verifies reports whether clients are asked for a certificate.
func (s *Store) Verifies() bool { return s.cfg.VerifyPeer }

// Reload reads the files again. After an error the ones that were read before stay
// in use. Connections that are open stay as they are.
func (s *Store) Reload() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.look()
	conf, ends, err := s.cfg.read()
	s.stamp = now // what cannot be read now is not tried again before it changes
	if err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	silent := conf.Clone()
	silent.ClientAuth, silent.ClientCAs = tls.NoClientCert, nil
	s.asking.Store(conf)
	s.silent.Store(silent)
	s.expiry.Store(ends)
	return nil
}

// expiry is when the certificates end.
type expiry struct{ cert, ca []time.Time }

// Expiry returns when the certificates that were read last end: those of the node's chain, its own
// first, and those of the authorities.
func (s *Store) Expiry() (cert, ca []time.Time) {
	e := s.expiry.Load()
	return e.cert, e.ca
}

// ends appends when a certificate ends, if it is one.
func ends(all []time.Time, der []byte) []time.Time {
	if c, err := x509.ParseCertificate(der); err == nil {
		all = append(all, c.NotAfter)
	}
	return all
}

func (c *Config) read() (*tls.Config, *expiry, error) {
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate %s with key %s: %w", c.Cert, c.Key, err)
	}
	e := new(expiry)
	for _, der := range pair.Certificate {
		e.cert = ends(e.cert, der)
	}
	conf := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: c.MinVersion}
	if c.CA == "" {
		return conf, e, nil
	}
	b, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, nil, fmt.Errorf("authorities: %w", err)
	}
	conf.ClientCAs = x509.NewCertPool()
	if !conf.ClientCAs.AppendCertsFromPEM(b) {
		return nil, nil, fmt.Errorf("authorities: no certificate in %s", c.CA)
	}
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		e.ca = ends(e.ca, block.Bytes)
	}
	switch {
	case c.FailIfNoPeerCert:
		conf.ClientAuth = tls.RequireAndVerifyClientCert
	case c.VerifyPeer:
		conf.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return conf, e, nil
}

// stamp tells whether files have changed.
type stamp [3]struct {
	modified time.Time
	size     int64
}

func (s *Store) look() (now stamp) {
	for i, name := range []string{s.cfg.Cert, s.cfg.Key, s.cfg.CA} {
		if info, err := os.Stat(name); err == nil {
			now[i].modified, now[i].size = info.ModTime(), info.Size()
		}
	}
	return now
}

// Watch looks at the files now and then, and reads them again when they have changed,
// until ctx ends.
func (s *Store) Watch(ctx context.Context, every time.Duration, log *slog.Logger) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.mu.Lock()
		changed := s.look() != s.stamp
		s.mu.Unlock()
		if !changed {
			continue
		}
		if err := s.Reload(); err != nil {
			log.Error("certificates have changed and cannot be read: the old ones stay in use", "err", err)
			continue
		}
		log.Info("certificates have changed and were read again", "certificate", s.cfg.Cert)
	}
}
