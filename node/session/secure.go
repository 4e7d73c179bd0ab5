package session

import (
	"context"
	"crypto/tls"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"strings"
	"time"

	"warren/protocol"
)

// secure makes the handshake of TLS, on a connection that is one. The deadline of
// our own handshake, which is set, bounds it too.
func (c *connection) secure(ctx context.Context) error {
	conn, is := c.cfg.Conn.(*tls.Conn)
	if !is {
		return nil
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	state := conn.ConnectionState()
	c.tls = &state
	return nil
}

// mechanisms are those of connection.start. EXTERNAL is offered to a client without
// a certificate too, as in RabbitMQ: so it learns why it is refused.
func (c *connection) mechanisms() string {
	all := "PLAIN AMQPLAIN"
	if c.cfg.AnonymousUser != "" {
		all += " ANONYMOUS"
	}
	if c.external() {
		all += " EXTERNAL"
	}
	return all
}

func (c *connection) external() bool { return c.tls != nil && c.cfg.External != nil }

// loginExternal logs the client in by its certificate; what it answered does not
// count.
func (c *connection) loginExternal() error {
	if !c.external() {
		return protocol.Errorf(protocol.CommandInvalid, protocol.IDConnectionStartOk, "invalid authentication mechanism 'EXTERNAL'")
	}
	user, err := c.cfg.External(*c.tls, c.cfg.Conn.RemoteAddr())
	if err != nil {
		return c.refuseLogin("EXTERNAL", user, err)
	}
	c.user = user
	return nil
}

// TLSInfo describes the encryption of a connection, with the JSON names of
// RabbitMQ's management API; without TLS all are null.
type TLSInfo struct {
	Protocol    *string `json:"ssl_protocol"`
	KeyExchange *string `json:"ssl_key_exchange"`
	Cipher      *string `json:"ssl_cipher"`
	Hash        *string `json:"ssl_hash"`
	Subject     *string `json:"peer_cert_subject"` // null without a certificate of the client
	Issuer      *string `json:"peer_cert_issuer"`
	Validity    *string `json:"peer_cert_validity"`
}

func tlsInfo(state *tls.ConnectionState) (i TLSInfo) {
	if state == nil {
		return i
	}
	version := strings.ToLower(strings.ReplaceAll(tls.VersionName(state.Version), "TLS ", "tlsv"))
	exchange, cipher, hash := suite(tls.CipherSuiteName(state.CipherSuite))
	i.Protocol, i.KeyExchange, i.Cipher, i.Hash = &version, &exchange, &cipher, &hash
	if len(state.PeerCertificates) > 0 {
		cert := state.PeerCertificates[0]
		subject, issuer := distinguishedName(cert.RawSubject), distinguishedName(cert.RawIssuer)
		validity := cert.NotBefore.UTC().Format(time.RFC3339) + " - " + cert.NotAfter.UTC().Format(time.RFC3339)
		i.Subject, i.Issuer, i.Validity = &subject, &issuer, &validity
	}
	return i
}

// distinguishedName is a name of a certificate as RFC 4514 writes it, in the
// certificate's order, which the String of pkix.Name would not keep.
func distinguishedName(raw []byte) string {
	var name pkix.RDNSequence
	if _, err := asn1.Unmarshal(raw, &name); err != nil {
		return "" // not after x509 has parsed it
	}
	return name.String()
}

// suite takes a name like TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 apart, as Erlang
// does: (ecdhe_rsa, aes_128_gcm, aead). The suites of TLS 1.3 name no key exchange.
func suite(name string) (exchange, cipher, hash string) {
	name = strings.ToLower(strings.TrimPrefix(name, "TLS_"))
	exchange, rest, found := strings.Cut(name, "_with_")
	if !found {
		exchange, rest = "any", name
	}
	cipher = rest
	if at := strings.LastIndexByte(rest, '_'); at > 0 {
		cipher, hash = rest[:at], rest[at+1:]
	}
	if strings.HasSuffix(rest, "_poly1305") {
		cipher = rest
	}
	if strings.Contains(rest, "gcm") || strings.Contains(rest, "poly1305") {
		hash = "aead"
	}
	return exchange, cipher, hash
}
