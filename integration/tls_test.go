package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// An authority signs the certificates of a test.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
	last int64
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir(), pool: x509.NewCertPool()}
	der, key := a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, a.key = cert, key
	a.pool.AddCert(cert)
	a.write(t, "ca", "CERTIFICATE", der)
	return a
}

func (a *authority) sign(t testing.TB, c *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a.last++
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(a.last), time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name+".pem") }

func (a *authority) write(t testing.TB, name, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(a.file(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// issue writes a certificate and its key, for a server on this machine and for a client.
func (a *authority) issue(t testing.TB, name, common string) tls.Certificate {
	t.Helper()
	der, key := a.sign(t, &x509.Certificate{
		Subject:     pkix.Name{CommonName: common, Organization: []string{"tests"}},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	})
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	a.write(t, name, "CERTIFICATE", der)
	a.write(t, name+"-key", "PRIVATE KEY", k)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// secureNode is where a node listens with TLS.
type secureNode struct {
	*node
	amqps, https string
}

func startSecure(t *testing.T, a *authority, n int, args ...string) (*cluster, []secureNode) {
	t.Helper()
	skipWithPeer(t)
	a.issue(t, "server", "server")
	c, err := newCluster(executable(t, "warren"), executable(t, "warrenctl"), n, options{args: append([]string{
		"--tls-cert", a.file("server"), "--tls-key", a.file("server-key"), "--tls-ca", a.file("ca"),
		"--tls-verify", "verify_peer", "--ssl-cert-login-from", "common_name",
	}, args...)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.end(t.Failed(), t.Logf) })
	var nodes []secureNode
	for _, nd := range c.nodes {
		s := secureNode{nd, freeAddr(), freeAddr()}
		nd.args = append(nd.args, "--amqps-addr", s.amqps, "--https-addr", s.https)
		nd.start(t)
		nodes = append(nodes, s)
	}
	c.waitReady(t)
	return c, nodes
}

func dialTLS(t *testing.T, n secureNode, conf *tls.Config, sasl amqp.Authentication) (*amqp.Connection, error) {
	t.Helper()
	conn, err := amqp.DialConfig("amqps://"+n.amqps+"/", amqp.Config{
		TLSClientConfig: conf, SASL: []amqp.Authentication{sasl}, Dial: amqp.DefaultDial(patience),
	})
	if err == nil {
		t.Cleanup(func() { _ = conn.Close() }) // it may have ended with its node
	}
	return conn, err
}

var guest = &amqp.PlainAuth{Username: "guest", Password: "guest"}

// TestTLS takes amqp091-go over TLS to three nodes, with a password and with a
// certificate, across the loss of the leader and a restart of all.
//
// row: 1.7 TLS; 1.7 EXTERNAL
func TestTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	c, nodes := startSecure(t, a, 3)
	plain := func() *tls.Config { return &tls.Config{RootCAs: a.pool} }
	withCert := func(name string) *tls.Config {
		return &tls.Config{RootCAs: a.pool, Certificates: []tls.Certificate{a.issue(t, "client-"+name, name)}}
	}
	queue := unique(t)
	send := func(n secureNode, conf *tls.Config, sasl amqp.Authentication, body string) {
		t.Helper()
		conn, err := dialTLS(t, n, conf, sasl)
		if err != nil {
			t.Fatalf("connect to %s: %v", n.name, err)
		}
		ch := channel(t, conn)
		if _, err := ch.QueueDeclare(queue, true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		if err := ch.Confirm(false); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		d, err := ch.PublishWithDeferredConfirmWithContext(ctx, "", queue, false, false, amqp.Publishing{Body: []byte(body)})
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := d.WaitContext(ctx); !ok || err != nil {
			t.Fatalf("confirm: %v, %v", ok, err)
		}
	}
	get := func(n secureNode) string {
		t.Helper()
		conn, err := dialTLS(t, n, plain(), guest)
		if err != nil {
			t.Fatalf("connect to %s: %v", n.name, err)
		}
		m, ok, err := channel(t, conn).Get(queue, true)
		if err != nil || !ok {
			t.Fatalf("get: %v, %v", ok, err)
		}
		return string(m.Body)
	}
	large := strings.Repeat("x", 1<<20) // more than a record, and than a frame
	send(nodes[0], plain(), guest, large)
	if got := get(nodes[2]); got != large {
		t.Errorf("%d bytes came of %d", len(got), len(large))
	}
	send(nodes[1], withCert("guest"), &amqp.ExternalAuth{}, "external")

	t.Run("fields", func(t *testing.T) { wantTLSFields(t, c, nodes[0], withCert("guest")) })
	t.Run("refused", func(t *testing.T) {
		for name, conf := range map[string]*tls.Config{"nobody": withCert("nobody"), "no certificate": plain()} {
			var e *amqp.Error
			if _, err := dialTLS(t, nodes[0], conf, &amqp.ExternalAuth{}); !errors.As(err, &e) || e.Code != amqp.AccessRefused {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := amqp.DialConfig(c.node(0).url, amqp.Config{SASL: []amqp.Authentication{&amqp.ExternalAuth{}}}); err == nil {
			t.Error("EXTERNAL was taken without TLS")
		}
		if _, err := dialTLS(t, nodes[0], &tls.Config{RootCAs: x509.NewCertPool()}, guest); err == nil {
			t.Error("the node shows a certificate that anybody believes")
		}
	})
	t.Run("HTTPS", func(t *testing.T) {
		var overview map[string]any
		getHTTPS(t, a, nodes[1].https, "/api/overview", &overview)
		if overview["cluster_name"] == nil {
			t.Errorf("overview: %v", overview)
		}
	})

	lost := c.leader(t)
	lost.kill(t)
	for _, n := range nodes {
		if n.node != lost {
			eventually(t, "clients again on "+n.name, n.tryClient)
			send(n, withCert("guest"), &amqp.ExternalAuth{}, "after the leader")
		}
	}
	for _, n := range c.nodes {
		if n != lost {
			n.kill(t)
		}
	}
	for _, n := range c.nodes {
		n.start(t)
	}
	c.waitReady(t)
	for i, want := range []string{"external", "after the leader", "after the leader"} {
		if got := get(nodes[i]); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func wantTLSFields(t *testing.T, c *cluster, n secureNode, conf *tls.Config) {
	t.Helper()
	if _, err := dialTLS(t, n, conf, &amqp.ExternalAuth{}); err != nil {
		t.Fatal(err)
	}
	var all []map[string]any
	if err := c.node(1).getJSON("/api/connections", &all); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, o := range all {
		if o["auth_mechanism"] != "EXTERNAL" || o["node"] != n.name {
			continue
		}
		found = true
		for key, want := range map[string]string{
			"ssl": "true", "ssl_protocol": "tlsv1.3", "ssl_key_exchange": "any", "ssl_hash": "aead", "user": "guest",
			"peer_cert_subject": "CN=guest,O=tests", "peer_cert_issuer": "CN=authority",
		} {
			if got := fmt.Sprint(o[key]); got != want {
				t.Errorf("%s is %s, want %s", key, got, want)
			}
		}
		if s, _ := o["peer_cert_validity"].(string); strings.Count(s, "Z") != 2 {
			t.Errorf("validity is %q", s)
		}
	}
	if !found {
		t.Errorf("the connection is not listed: %v", all)
	}
	if out := c.node(0).ctl(t, "list_connections", "user", "ssl", "ssl_protocol", "peer_cert_subject"); !strings.Contains(out, "CN=guest,O=tests") {
		t.Errorf("list_connections:\n%s", out)
	}
}

func getHTTPS(t *testing.T, a *authority, addr, path string, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("guest", "guest")
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.pool}}, Timeout: patience}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s", path, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
}

// TestCertificatesAreReadAgain changes the certificate of a running node: on SIGHUP
// and by itself. Open connections stay.
//
// row: 1.7 TLS
func TestCertificatesAreReadAgain(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	_, nodes := startSecure(t, a, 1)
	old, err := dialTLS(t, nodes[0], &tls.Config{RootCAs: a.pool}, guest)
	if err != nil {
		t.Fatal(err)
	}
	shown := func(want string) func() error {
		return func() error {
			conn, err := tls.Dial("tcp", nodes[0].amqps, &tls.Config{RootCAs: a.pool})
			if err != nil {
				return err
			}
			defer conn.Close()
			if got := conn.ConnectionState().PeerCertificates[0].Subject.CommonName; got != want {
				return fmt.Errorf("shows the certificate of %s", got)
			}
			return nil
		}
	}
	if err := shown("server")(); err != nil {
		t.Fatal(err)
	}
	a.issue(t, "server", "told")
	nodes[0].sendSignal(t, syscall.SIGHUP)
	eventually(t, "the new certificate after SIGHUP", shown("told"))
	a.issue(t, "server", "found out")
	eventually(t, "the new certificate without a signal", shown("found out"))
	channel(t, old)
}

// TestTLSHandshakeIsBounded: who says nothing, or what is no TLS, is closed within the handshake
// timeout, and others are served meanwhile.
func TestTLSHandshakeIsBounded(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	_, nodes := startSecure(t, a, 1, "--handshake-timeout", "1s")
	for _, says := range []string{"", "AMQP\x00\x00\x09\x01", "\x16\x03\x01\x02\x00"} {
		conn, err := net.Dial("tcp", nodes[0].amqps)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, says); err != nil {
			t.Fatal(err)
		}
		if _, err := dialTLS(t, nodes[0], &tls.Config{RootCAs: a.pool}, guest); err != nil {
			t.Errorf("another client: %v", err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after %q the connection stays open", says)
		}
	}
}

const pikaTLS = `
import pika, ssl, sys
port, ca, cert, key, queue = int(sys.argv[1]), *sys.argv[2:6]
context = ssl.create_default_context(cafile=ca)
context.load_cert_chain(cert, key)
for credentials in pika.PlainCredentials("guest", "guest"), pika.credentials.ExternalCredentials():
    c = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port, credentials=credentials,
        ssl_options=pika.SSLOptions(context, "localhost")))
    ch = c.channel()
    ch.queue_declare(queue)
    ch.confirm_delivery()
    ch.basic_publish("", queue, b"x" * 300000)
    method, _, body = ch.basic_get(queue, auto_ack=True)
    assert len(body) == 300000
    c.close()
print("both")
`

func TestTLSWithPika(t *testing.T) {
	python := pythonWithPika(t)
	a := newAuthority(t)
	_, nodes := startSecure(t, a, 1)
	a.issue(t, "client", "guest")
	_, port, err := net.SplitHostPort(nodes[0].amqps)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, python, "-c", pikaTLS, port, a.file("ca"), a.file("client"), a.file("client-key"), unique(t)).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "both") {
		t.Fatalf("%v\n%s", err, out)
	}
}
