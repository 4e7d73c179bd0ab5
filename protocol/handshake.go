package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"warren/protocol/wire"
)

// Guesses of HeaderError.Guess.
const (
	GuessNothing = ""
	GuessHTTP    = "an HTTP request"
	GuessTLS     = "a TLS client"
	GuessAMQP10  = "an AMQP 1.0 client"
	GuessAMQP    = "an AMQP client of another version"
)

// A HeaderError says that the peer did not begin with a protocol header that we
// speak. The answer is ProtocolHeader and a closed socket (specification, section
// 4.2.2).
type HeaderError struct {
	Header [8]byte
	Guess  string // what it may have been, for the log; one of the Guess constants
}

// Error describes what came.
func (e *HeaderError) Error() string {
	if e.Guess == GuessNothing {
		return fmt.Sprintf("client did not start with an AMQP protocol header: %q", e.Header[:])
	}
	return fmt.Sprintf("client did not start with an AMQP 0-9-1 protocol header: %q looks like %s", e.Header[:], e.Guess)
}

// ReadProtocolHeader reads the 8 bytes with which a client begins. It accepts the
// header of 0-9-1 and, as RabbitMQ does, that of 0-9 ("AMQP" 1 1 0 9), which is
// near enough. Anything else is a *HeaderError. It is to be called before the
// first ReadFrame. Errors of the underlying reader are as with ReadFrame: io.EOF
// when nothing came at all, as a load balancer's health check does.
func (r *Reader) ReadProtocolHeader() error {
	for r.Buffered() < len(ProtocolHeader) {
		if err := r.fill(); err != nil {
			return err
		}
	}
	var h [8]byte
	r.from += copy(h[:], r.buf[r.from:r.to])
	switch string(h[:]) {
	case ProtocolHeader, "AMQP\x01\x01\x00\x09":
		return nil
	}
	err := &HeaderError{Header: h, Guess: guess(h[:])}
	r.lost = err
	return err
}

// guess tells by its first bytes what a client that does not speak 0-9-1 may be.
func guess(h []byte) string {
	switch {
	case bytes.HasPrefix(h, []byte("AMQP")) && h[5] == 1 && h[6] == 0 && h[7] == 0:
		return GuessAMQP10
	case bytes.HasPrefix(h, []byte("AMQP")):
		return GuessAMQP
	case h[0] == 0x16 && h[1] == 3 && h[5] == 1: // handshake record, client hello
		return GuessTLS
	}
	for _, verb := range []string{"GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS ", "CONNECT ", "PATCH ", "PRI * "} {
		if bytes.HasPrefix(h, []byte(verb)) {
			return GuessHTTP
		}
	}
	return GuessNothing
}

// Errors of the SASL responses. None of them repeats what the client sent, since
// that may hold a password.
var (
	ErrPlain     = errors.New("PLAIN response is not of the form NUL user NUL password")
	ErrAMQPlain  = errors.New("AMQPLAIN response is not a table")
	ErrNoLogin   = errors.New("AMQPLAIN response is missing LOGIN or PASSWORD field")
	ErrLoginType = errors.New("AMQPLAIN response uses unsupported type for LOGIN or PASSWORD field")
)

// ParsePlain reads the response of SASL PLAIN (RFC 4616) in the form that RabbitMQ
// accepts: without an authorization identity, "\x00user\x00password". The password
// holds no further NUL.
func ParsePlain(response string) (user, password string, err error) {
	rest, ok := strings.CutPrefix(response, "\x00")
	if !ok {
		return "", "", ErrPlain
	}
	user, password, ok = strings.Cut(rest, "\x00")
	if !ok || strings.Contains(password, "\x00") {
		return "", "", ErrPlain
	}
	return user, password, nil
}

// ParseAMQPlain reads the response of AMQPLAIN: the inside of a field table, with
// the strings LOGIN and PASSWORD.
func ParseAMQPlain(response string) (user, password string, err error) {
	t, _, err := wire.ParseTable(wire.AppendLongString(nil, response))
	if err != nil {
		return "", "", fmt.Errorf("%w: %w", ErrAMQPlain, err)
	}
	login, ok1 := t.Get("LOGIN")
	secret, ok2 := t.Get("PASSWORD")
	if !ok1 || !ok2 {
		return "", "", ErrNoLogin
	}
	user, ok1 = login.(string)
	password, ok2 = secret.(string)
	if !ok1 || !ok2 {
		return "", "", ErrLoginType
	}
	return user, password, nil
}

// PlainResponse makes the response of SASL PLAIN.
func PlainResponse(user, password string) string { return "\x00" + user + "\x00" + password }
