package certs

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"
)

// Where a user name may come from, as RabbitMQ's ssl_cert_login_from has it.
const (
	DistinguishedName = "distinguished_name"
	CommonName        = "common_name"
	AlternativeName   = "subject_alternative_name"
)

// Types of alternative names, as RabbitMQ's ssl_cert_login_san_type has them.
const (
	SANDNS   = "dns"
	SANIP    = "ip"
	SANEmail = "email"
	SANURI   = "uri"
)

// Errors of Login. The texts are RabbitMQ's.
var (
	ErrNoCertificate = errors.New("connection peer presented no TLS (x.509) certificate")
	ErrNoName        = errors.New("no name found")
)

// Login is the user name of the client behind a connection: of its certificate,
// which the handshake has verified.
func (s *Store) Login(state tls.ConnectionState) (string, error) {
	if len(state.VerifiedChains) == 0 || len(state.PeerCertificates) == 0 {
		return "", ErrNoCertificate
	}
	cert := state.PeerCertificates[0]
	var name string
	switch s.cfg.LoginFrom {
	case CommonName:
		name = commonNames(cert)
	case AlternativeName:
		if names := alternativeNames(cert, s.cfg.SANType); s.cfg.SANIndex >= 0 && s.cfg.SANIndex < len(names) {
			name = names[s.cfg.SANIndex]
		}
	default:
		name = distinguishedName(cert)
	}
	if name == "" {
		return "", fmt.Errorf("%w in %s of the certificate of %q", ErrNoName, s.cfg.LoginFrom, cert.Subject)
	}
	return name, nil
}

// distinguishedName is the subject as RFC 4514 writes it, in the order that the
// certificate has it in; Subject.String has an order of its own.
func distinguishedName(cert *x509.Certificate) string {
	var name pkix.RDNSequence
	if _, err := asn1.Unmarshal(cert.RawSubject, &name); err != nil {
		return "" // not after x509 has parsed it
	}
	return name.String()
}

var idCommonName = asn1.ObjectIdentifier{2, 5, 4, 3}

// commonNames are all of them, with commas between, as in RabbitMQ.
func commonNames(cert *x509.Certificate) string {
	var names []string
	for _, n := range cert.Subject.Names {
		if s, is := n.Value.(string); is && n.Type.Equal(idCommonName) {
			names = append(names, s)
		}
	}
	return strings.Join(names, ",")
}

func alternativeNames(cert *x509.Certificate, kind string) (names []string) {
	switch kind {
	case SANIP:
		for _, ip := range cert.IPAddresses {
			names = append(names, ip.String())
		}
	case SANEmail:
		return cert.EmailAddresses
	case SANURI:
		for _, u := range cert.URIs {
			names = append(names, u.String())
		}
	default:
		return cert.DNSNames
	}
	return names
}
