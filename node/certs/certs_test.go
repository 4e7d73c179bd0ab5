package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority signs certificates for a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, next: 1}
	der, key := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.key = key
	return a
}

func (a *authority) sign(c *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.next++
	c.SerialNumber = big.NewInt(a.next)
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	return der, key
}

// write writes a certificate and its key as PEM files.
func (a *authority) write(c *x509.Certificate, certFile, keyFile string) tls.Certificate {
	a.t.Helper()
	der, key := a.sign(c)
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	writePEM(a.t, certFile, "CERTIFICATE", der)
	writePEM(a.t, keyFile, "PRIVATE KEY", k)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func writePEM(t *testing.T, name, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func server(name string) *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"}}
}

// files are a certificate, a key and authorities in a directory of their own.
func files(t *testing.T, a *authority) Config {
	dir := t.TempDir()
	c := Config{Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key"), CA: filepath.Join(dir, "ca")}
	a.write(server("first"), c.Cert, c.Key)
	writePEM(t, c.CA, "CERTIFICATE", a.cert.Raw)
	return c
}

// connect makes a handshake and returns how both sides see it.
func connect(t *testing.T, s *Store, ask bool, client *tls.Config) (ours, theirs tls.ConnectionState, err error) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	answer := tls.Server(a, s.Server(ask))
	done := make(chan error, 1)
	go func() {
		err := answer.Handshake()
		if err != nil {
			a.Close()
		}
		done <- err
	}()
	client.InsecureSkipVerify = true // the test looks itself at what the server shows
	conn := tls.Client(b, client)
	cerr := conn.Handshake()
	if cerr == nil {
		go func() { _, _ = conn.Read(make([]byte, 1)) }() // an alert, or the end
	}
	if err = <-done; err == nil {
		err = cerr
	}
	return answer.ConnectionState(), conn.ConnectionState(), err
}

func TestReload(t *testing.T) {
	a := newAuthority(t, "authority")
	cfg := files(t, a)
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	shown := func() string {
		_, theirs, err := connect(t, s, true, &tls.Config{})
		if err != nil {
			t.Fatal(err)
		}
		return theirs.PeerCertificates[0].Subject.CommonName
	}
	if got := shown(); got != "first" {
		t.Errorf("shows %s", got)
	}
	a.write(server("second"), cfg.Cert, cfg.Key)
	if got := shown(); got != "first" {
		t.Errorf("shows %s before it was told", got)
	}
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := shown(); got != "second" {
		t.Errorf("shows %s", got)
	}
	if err := os.WriteFile(cfg.Cert, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(); err == nil {
		t.Error("nonsense was read")
	}
	if got := shown(); got != "second" {
		t.Errorf("shows %s after an error", got)
	}
	// And without being told.
	done := make(chan struct{})
	go func() {
		s.Watch(t.Context(), time.Millisecond, slog.New(slog.DiscardHandler))
		close(done)
	}()
	a.write(server("the third of them"), cfg.Cert, cfg.Key)
	for shown() != "the third of them" {
		time.Sleep(time.Millisecond)
	}
}

func TestWhoIsLetIn(t *testing.T) {
	good, bad := newAuthority(t, "authority"), newAuthority(t, "another")
	base := files(t, good)
	dir := t.TempDir()
	client := func(a *authority) []tls.Certificate {
		return []tls.Certificate{a.write(&x509.Certificate{
			Subject: pkix.Name{CommonName: "bunny"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}, filepath.Join(dir, "c"), filepath.Join(dir, "k"))}
	}
	for name, c := range map[string]struct {
		change func(*Config)
		ask    bool
		client *tls.Config
		fails  bool
		login  error
	}{
		"not asked":       {ask: true, client: &tls.Config{Certificates: client(good)}, login: ErrNoCertificate},
		"may":             {change: func(c *Config) { c.VerifyPeer = true }, ask: true, login: ErrNoCertificate},
		"does":            {change: func(c *Config) { c.VerifyPeer = true }, ask: true, client: &tls.Config{Certificates: client(good)}},
		"of another":      {change: func(c *Config) { c.VerifyPeer = true }, ask: true, client: &tls.Config{GetClientCertificate: always(client(bad)[0])}, fails: true},
		"must":            {change: func(c *Config) { c.VerifyPeer, c.FailIfNoPeerCert = true, true }, ask: true, fails: true},
		"must, elsewhere": {change: func(c *Config) { c.VerifyPeer, c.FailIfNoPeerCert = true, true }, login: ErrNoCertificate},
		"too old":         {change: func(c *Config) { c.MinVersion = tls.VersionTLS13 }, ask: true, client: &tls.Config{MaxVersion: tls.VersionTLS12}, fails: true},
		"older still":     {ask: true, client: &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := base
			if c.change != nil {
				c.change(&cfg)
			}
			s, err := Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			client := c.client
			if client == nil {
				client = &tls.Config{}
			}
			ours, _, err := connect(t, s, c.ask, client)
			if (err != nil) != c.fails {
				t.Fatalf("handshake: %v", err)
			}
			if c.fails {
				return
			}
			if user, err := s.Login(ours); !errors.Is(err, c.login) || (err == nil && user != "CN=bunny") {
				t.Errorf("login: %q, %v", user, err)
			}
		})
	}
}

// A certificate of our authority makes a node only when it is good for servers and
// for clients. Clients of the broker have one that is good for clients.
func TestPeers(t *testing.T) {
	ours, bad := newAuthority(t, "authority"), newAuthority(t, "another")
	node := func(a *authority, usages ...x509.ExtKeyUsage) *Store {
		cfg := files(t, ours)
		c := server("node")
		c.ExtKeyUsage = usages
		a.write(c, cfg.Cert, cfg.Key)
		s, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	const forServers, forClients = x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth
	good := node(ours, forServers, forClients)
	for name, c := range map[string]struct {
		other *Store
		fails bool
	}{
		"both usages":  {other: node(ours, forServers, forClients)},
		"any usage":    {other: node(ours)},
		"clients only": {other: node(ours, forClients), fails: true},
		"servers only": {other: node(ours, forServers), fails: true},
		"of another":   {other: node(bad, forServers, forClients), fails: true},
	} {
		a, b := net.Pipe()
		listen, _ := good.Peers()
		_, dial := c.other.Peers()
		done := make(chan error, 1)
		go func() {
			done <- tls.Client(b, dial).Handshake()
			_, _ = b.Read(make([]byte, 1024)) // an alert, or the end
		}()
		err := tls.Server(a, listen).Handshake()
		_ = a.Close()
		if derr := <-done; (err != nil) != c.fails || !c.fails && derr != nil {
			t.Errorf("%s: %v; the dialling side: %v", name, err, derr)
		}
		_ = b.Close()
	}
}

func always(c tls.Certificate) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c, nil }
}

func TestLoginFrom(t *testing.T) {
	u, err := url.Parse("spiffe://example/bunny")
	if err != nil {
		t.Fatal(err)
	}
	a := newAuthority(t, "authority")
	der, _ := a.sign(&x509.Certificate{
		Subject:  pkix.Name{CommonName: "bunny", Organization: []string{"client, of us"}},
		DNSNames: []string{"one.example", "two.example"}, IPAddresses: []net.IP{net.IPv4(10, 0, 0, 7)},
		EmailAddresses: []string{"bunny@example"}, URIs: []*url.URL{u},
	})
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	state := tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}, VerifiedChains: [][]*x509.Certificate{{cert}}}
	for _, c := range []struct {
		from, san string
		index     int
		want      string
	}{
		{DistinguishedName, "", 0, `CN=bunny,O=client\, of us`},
		{CommonName, "", 0, "bunny"},
		{AlternativeName, SANDNS, 0, "one.example"},
		{AlternativeName, SANDNS, 1, "two.example"},
		{AlternativeName, SANDNS, 2, ""},
		{AlternativeName, SANIP, 0, "10.0.0.7"},
		{AlternativeName, SANEmail, 0, "bunny@example"},
		{AlternativeName, SANURI, 0, "spiffe://example/bunny"},
	} {
		s := &Store{cfg: Config{LoginFrom: c.from, SANType: c.san, SANIndex: c.index}}
		got, err := s.Login(state)
		if got != c.want || (c.want == "") != errors.Is(err, ErrNoName) {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
	// The order of the name's parts is the certificate's.
	raw, err := asn1.Marshal(pkix.RDNSequence{
		{{Type: idCommonName, Value: "host"}}, {{Type: asn1.ObjectIdentifier{2, 5, 4, 10}, Value: "client"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	der, _ = a.sign(&x509.Certificate{RawSubject: raw})
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	if got := distinguishedName(cert); got != "O=client,CN=host" {
		t.Errorf("distinguished name %q", got)
	}
	unverified := state
	unverified.VerifiedChains = nil
	if got, err := (&Store{}).Login(unverified); err == nil {
		t.Errorf("a certificate that nobody verified logs %q in", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	good := files(t, newAuthority(t, "authority"))
	other := files(t, newAuthority(t, "another"))
	for name, change := range map[string]func(*Config){
		"no certificate":  func(c *Config) { c.Cert = "" },
		"missing file":    func(c *Config) { c.Cert += "x" },
		"another's key":   func(c *Config) { c.Key = other.Key },
		"no authorities":  func(c *Config) { c.VerifyPeer, c.CA = true, "" },
		"key as those":    func(c *Config) { c.VerifyPeer, c.CA = true, c.Key },
		"must, unchecked": func(c *Config) { c.FailIfNoPeerCert = true },
	} {
		cfg := good
		change(&cfg)
		if _, err := Open(cfg); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}
