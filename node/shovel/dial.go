package shovel

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	// dialTimeout is how long it may take to connect and log in, unless the URI says so.
	dialTimeout = 30 * time.Second
	// heartbeat is what the shovel proposes: a side that is gone is missed after twice that.
	heartbeat = 10 * time.Second
	// internalUser is how a connection that needs no login is called in lists, as RabbitMQ's is.
	internalUser = "none"
	// frameMax is what is proposed, in bytes.
	frameMax = 131072
)

// Names of ends in errors and logs.
const (
	sourceName      = "source"
	destinationName = "destination"
)

// errURI tells nothing of the URI: there may be a password in it.
var errURI = errors.New("it is not a valid AMQP URI")

// Redact returns a URI without user and password, and, as RabbitMQ does, without what is asked for: there may be the
// paths of files and the password of a key in it. Other brokers get to see it, in x-shovelled.
func Redact(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host + u.EscapedPath()
}

// Inside reports whether a URI leads to the broker that runs the shovel and no other, and to which vhost. trusted:
// it names no user, so nobody logs in.
func Inside(uri, protocol string) (vhost string, inside, trusted bool) {
	u, err := url.Parse(uri)
	if err != nil {
		return "", false, false
	}
	p, err := amqp.ParseURI(uri)
	if err != nil {
		return "", false, false
	}
	inside = u.Host == "" || protocol == "local"
	return p.Vhost, inside, inside && u.User == nil
}

// An end is the connection to one side.
type end struct {
	name   string // sourceName or destinationName
	uri    string // redacted
	socket *socket
	conn   *amqp.Connection
	ch     *amqp.Channel
}

// connect tries the URIs of one side in turn, beginning with the one that worked last.
func (w *Worker) connect(ctx context.Context, name, protocol string, uris []string, begin *int) (*end, error) {
	var failed []error
	for i := range uris {
		at := (*begin + i) % len(uris)
		e, err := w.dial(ctx, name, protocol, uris[at])
		if err == nil {
			*begin = at
			return e, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		failed = append(failed, fmt.Errorf("%s %s: %w", name, Redact(uris[at]), err))
	}
	return nil, errors.Join(failed...)
}

func (w *Worker) dial(ctx context.Context, name, protocol, uri string) (*end, error) {
	u, err := amqp.ParseURI(uri)
	if err != nil {
		return nil, errURI
	}
	timeout := cmp.Or(time.Duration(u.ConnectionTimeout)*time.Millisecond, dialTimeout)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	user, password := u.Username, u.Password
	_, inside, trusted := Inside(uri, protocol)
	var conn net.Conn
	if inside && w.cfg.Local != nil {
		if trusted {
			user, password = internalUser, ""
		}
		conn, err = w.cfg.Local(trusted)
	} else {
		conn, err = dialSocket(ctx, uri, &u)
	}
	if err != nil {
		return nil, err
	}
	return w.login(ctx, name, uri, &u, newSocket(conn), sasl(&u, user, password))
}

// login begins to speak. The socket is closed when that fails.
func (w *Worker) login(ctx context.Context, name, uri string, u *amqp.URI, socket *socket, how []amqp.Authentication) (*end, error) {
	// The library knows no context: until all is ready, its socket ends with ours.
	stop := context.AfterFunc(ctx, func() { socket.Close() })
	conn, err := amqp.Open(socket, amqp.Config{
		SASL: how, Vhost: u.Vhost, Heartbeat: heartbeat, FrameSize: frameMax, Locale: "en_US",
		ChannelMax: u.ChannelMax,
		Properties: amqp.Table{"connection_name": "Shovel " + w.shovel.Name, "product": "Warren", "version": w.cfg.Version},
	})
	if err != nil {
		stop()
		socket.Close()
		return nil, cmp.Or(ctx.Err(), socket.blame(err))
	}
	e := &end{name: name, uri: Redact(uri), socket: socket, conn: conn}
	e.ch, err = conn.Channel()
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		e.cut()
		return nil, cmp.Or(ctx.Err(), socket.blame(err))
	}
	return e, nil
}

// sasl is how the shovel logs in.
func sasl(u *amqp.URI, user, password string) []amqp.Authentication {
	for _, mechanism := range u.AuthMechanism {
		if mechanism == "external" || mechanism == "EXTERNAL" {
			return []amqp.Authentication{&amqp.ExternalAuth{}}
		}
	}
	return []amqp.Authentication{&amqp.PlainAuth{Username: user, Password: password}}
}

func dialSocket(ctx context.Context, uri string, u *amqp.URI) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(u.Host, strconv.Itoa(u.Port)))
	if err != nil || u.Scheme != "amqps" {
		return conn, err
	}
	cfg, err := tlsConfig(uri, u)
	if err != nil {
		conn.Close()
		return nil, err
	}
	secure := tls.Client(conn, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// tlsConfig follows https://www.rabbitmq.com/docs/uri-query-parameters. Unless the URI says verify=verify_none, the
// other side has to show a certificate for the host.
func tlsConfig(uri string, u *amqp.URI) (*tls.Config, error) {
	cfg := &tls.Config{ServerName: cmp.Or(u.ServerName, u.Host), MinVersion: tls.VersionTLS12}
	if q, err := url.Parse(uri); err == nil && q.Query().Get("verify") == "verify_none" {
		cfg.InsecureSkipVerify = true
	}
	if u.CACertFile != "" {
		pem, err := readFile(u.CACertFile)
		if err != nil {
			return nil, fmt.Errorf("cacertfile: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("cacertfile: no certificate in %s", u.CACertFile)
		}
	}
	if u.CertFile != "" {
		cert, err := readFile(u.CertFile)
		if err != nil {
			return nil, fmt.Errorf("certfile: %w", err)
		}
		key, err := readFile(cmp.Or(u.KeyFile, u.CertFile))
		if err != nil {
			return nil, fmt.Errorf("keyfile: %w", err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("certfile: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// maxPEM is the size of the largest file of certificates that is read, in bytes.
const maxPEM = 4 << 20

// readFile reads a file that a URI names. One that never ends, or that waits for a writer, would hold up the node.
func readFile(path string) ([]byte, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() || info.Size() > maxPEM {
		return nil, fmt.Errorf("%s is no regular file of at most %d bytes", path, maxPEM)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxPEM))
}

// cut ends the connection at once.
func (e *end) cut() {
	e.socket.Close()
	_ = e.conn.CloseDeadline(time.Now()) // it knows that from the socket too
}

// close ends the connection in good order, so that what was sent has been taken.
func (e *end) close(limit time.Duration) error {
	if err := e.conn.CloseDeadline(time.Now().Add(limit)); err != nil {
		e.socket.Close()
		return fmt.Errorf("close %s: %w", e.name, err)
	}
	return nil
}

// ensureQueue declares a queue that is missing, as a durable one, and returns how many messages are ready in it.
func (e *end) ensureQueue(name string, predeclared bool, args amqp.Table) (ready int, err error) {
	look, err := e.conn.Channel()
	if err != nil {
		return 0, err
	}
	q, err := look.QueueDeclarePassive(name, true, false, false, false, nil)
	if err == nil {
		return q.Messages, look.Close()
	}
	var refused *amqp.Error
	if predeclared || !errors.As(err, &refused) || refused.Code != amqp.NotFound {
		return 0, fmt.Errorf("%s queue: %w", e.name, err)
	}
	if _, err := e.ch.QueueDeclare(name, true, false, false, false, args); err != nil {
		return 0, fmt.Errorf("%s queue: %w", e.name, err)
	}
	return 0, nil
}
