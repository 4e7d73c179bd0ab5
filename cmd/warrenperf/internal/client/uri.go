package client

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// An Endpoint is where and as whom to connect.
type Endpoint struct {
	Host, Port     string
	User, Password string
	VHost          string
	TLS            bool
}

// Addr is host:port.
func (e Endpoint) Addr() string { return net.JoinHostPort(e.Host, e.Port) }

// ParseURI reads an AMQP URI (https://www.rabbitmq.com/docs/uri-spec):
// amqp://user:password@host:port/vhost, or amqps for TLS. What is missing is
// guest, guest, localhost, 5672 (5671 with TLS) and the vhost "/"; "%2F" in the
// path is the vhost "/", an empty path too. A host:port without a scheme is taken
// as amqp. Query parameters are refused.
func ParseURI(s string) (Endpoint, error) {
	if !strings.Contains(s, "://") {
		s = "amqp://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		// The error of net/url repeats the URI, and with it the password.
		return Endpoint{}, fmt.Errorf("not an AMQP URI")
	}
	e := Endpoint{Host: "localhost", Port: "5672", User: "guest", Password: "guest", VHost: "/"}
	switch u.Scheme {
	case "amqp":
	case "amqps":
		e.TLS, e.Port = true, "5671"
	default:
		return Endpoint{}, fmt.Errorf("scheme %q is neither amqp nor amqps", u.Scheme)
	}
	if u.RawQuery != "" {
		return Endpoint{}, fmt.Errorf("query parameters are not known")
	}
	if h := u.Hostname(); h != "" {
		e.Host = h
	}
	if p := u.Port(); p != "" {
		e.Port = p
	}
	if u.User != nil {
		e.User = u.User.Username()
		e.Password, _ = u.User.Password()
	}
	if path := strings.TrimPrefix(u.EscapedPath(), "/"); path != "" {
		if strings.Contains(path, "/") {
			return Endpoint{}, fmt.Errorf("vhost %q has more than one segment: write / as %%2F", path)
		}
		if e.VHost, err = url.PathUnescape(path); err != nil {
			return Endpoint{}, fmt.Errorf("vhost %q: %w", path, err)
		}
	}
	return e, nil
}
