package mux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Version is the version of Hello, Welcome and the frames.
const Version = 1

// Kind says what a connection is for.
type Kind uint8

// The kinds of connection. Only ever append.
const (
	Raft    Kind = 1 // a stream of hashicorp/raft's network transport
	Gossip  Kind = 2 // a stream of memberlist
	Call    Kind = 3 // requests and answers, and pings
	Propose Kind = 4 // batches to the leader, and their answers
)

func (k Kind) String() string {
	switch k {
	case Raft:
		return "raft"
	case Gossip:
		return "gossip"
	case Call:
		return "call"
	case Propose:
		return "propose"
	default:
		return fmt.Sprintf("kind %d", uint8(k))
	}
}

// Identity is what a node says of itself on every connection.
type Identity struct {
	Cluster  string // cluster id; empty before the node belongs to one
	Node     string // node id
	Addr     string // host:port where the node can be dialled
	Instance uint64 // random, one per process
	Boot     uint64 // how often the node was started: a newer one has the truer address
}

// Hello opens a connection.
type Hello struct {
	Identity
	Kind Kind
	To   string // node id that should answer; empty: whoever is there
}

// Welcome answers a Hello. A non-empty Refusal says why the connection is closed.
type Welcome struct {
	Identity
	Refusal string
}

// Wire format of both: "WRN", version (1), length of the rest (2, big endian);
// then one byte (kind, or 0), instance (8), boot (8), and strings with their
// length in one byte. Unknown bytes behind the last known string are ignored, so
// that fields can be added.
const (
	prefixLen = 6
	maxHello  = 2048
	maxString = 255
)

// Errors of the greeting.
var (
	ErrStranger = errors.New("not a node of ours")
	ErrVersion  = errors.New("node speaks another version")
	ErrMangled  = errors.New("mangled greeting")
)

// RefusedError is a greeting that was answered with a refusal.
type RefusedError struct {
	Node   string // who refused
	Reason string
}

func (e *RefusedError) Error() string { return fmt.Sprintf("node %q refused: %s", e.Node, e.Reason) }

// AppendHello appends the encoding of h.
func AppendHello(dst []byte, h Hello) []byte {
	return appendGreeting(dst, byte(h.Kind), h.Identity, h.To)
}

// AppendWelcome appends the encoding of w.
func AppendWelcome(dst []byte, w Welcome) []byte {
	return appendGreeting(dst, 0, w.Identity, w.Refusal)
}

func appendGreeting(dst []byte, kind byte, id Identity, last string) []byte {
	at := len(dst)
	dst = append(dst, 'W', 'R', 'N', Version, 0, 0, kind)
	dst = binary.BigEndian.AppendUint64(dst, id.Instance)
	dst = binary.BigEndian.AppendUint64(dst, id.Boot)
	for _, s := range []string{id.Cluster, id.Node, id.Addr, last} {
		s = s[:min(len(s), maxString)]
		dst = append(dst, byte(len(s)))
		dst = append(dst, s...)
	}
	binary.BigEndian.PutUint16(dst[at+4:], uint16(len(dst)-at-prefixLen))
	return dst
}

// ReadHello reads a Hello and not a byte more.
func ReadHello(r io.Reader) (Hello, error) {
	kind, id, to, err := readGreeting(r)
	if err != nil {
		return Hello{}, err
	}
	if kind < byte(Raft) || kind > byte(Propose) {
		return Hello{}, fmt.Errorf("%w: unknown kind %d", ErrMangled, kind)
	}
	if id.Node == "" {
		return Hello{}, fmt.Errorf("%w: no node id", ErrMangled)
	}
	return Hello{Identity: id, Kind: Kind(kind), To: to}, nil
}

// ReadWelcome reads a Welcome and not a byte more. A refusal is a *RefusedError.
func ReadWelcome(r io.Reader) (Welcome, error) {
	kind, id, refusal, err := readGreeting(r)
	if err != nil {
		return Welcome{}, err
	}
	if kind != 0 || id.Node == "" {
		return Welcome{}, fmt.Errorf("%w: not a welcome", ErrMangled)
	}
	w := Welcome{Identity: id, Refusal: refusal}
	if refusal != "" {
		return w, &RefusedError{Node: id.Node, Reason: refusal}
	}
	return w, nil
}

func readGreeting(r io.Reader) (kind byte, id Identity, last string, err error) {
	var p [prefixLen]byte
	if _, err = io.ReadFull(r, p[:]); err != nil {
		return 0, id, "", fmt.Errorf("read greeting: %w", err)
	}
	if p[0] != 'W' || p[1] != 'R' || p[2] != 'N' {
		return 0, id, "", fmt.Errorf("%w: greeting begins with %q", ErrStranger, p[:3])
	}
	if p[3] != Version {
		return 0, id, "", fmt.Errorf("%w: %d, ours is %d", ErrVersion, p[3], Version)
	}
	n := int(binary.BigEndian.Uint16(p[4:]))
	if n > maxHello {
		return 0, id, "", fmt.Errorf("%w: %d bytes", ErrMangled, n)
	}
	b := make([]byte, n)
	if _, err = io.ReadFull(r, b); err != nil {
		return 0, id, "", fmt.Errorf("read greeting: %w", err)
	}
	return parseGreeting(b)
}

func parseGreeting(b []byte) (kind byte, id Identity, last string, err error) {
	if len(b) < 17 {
		return 0, id, "", fmt.Errorf("%w: %d bytes", ErrMangled, len(b))
	}
	kind = b[0]
	id.Instance = binary.BigEndian.Uint64(b[1:])
	id.Boot = binary.BigEndian.Uint64(b[9:])
	b = b[17:]
	for _, s := range []*string{&id.Cluster, &id.Node, &id.Addr, &last} {
		if len(b) < 1 || len(b) < 1+int(b[0]) {
			return 0, id, "", fmt.Errorf("%w: string is cut off", ErrMangled)
		}
		*s = string(b[1 : 1+int(b[0])])
		b = b[1+int(b[0]):]
	}
	return kind, id, last, nil
}

// Greet proves the secret, if there is one, sends h on a new connection and waits
// for the answer, for as long as timeout. On an error the connection is of no more
// use; the caller closes it.
func Greet(conn net.Conn, h Hello, secrets Secrets, timeout time.Duration) (Welcome, error) {
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return Welcome{}, fmt.Errorf("greet: %w", err)
	}
	if err := secrets.prove(conn); err != nil {
		return Welcome{}, err
	}
	if _, err := conn.Write(AppendHello(nil, h)); err != nil {
		return Welcome{}, fmt.Errorf("greet: %w", err)
	}
	w, err := ReadWelcome(conn)
	if err != nil {
		return w, err
	}
	if h.To != "" && w.Node != h.To {
		return w, fmt.Errorf("%w: node %q answers for %q", ErrMangled, w.Node, h.To)
	}
	return w, conn.SetDeadline(time.Time{})
}
