package mux

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
)

// Secrets prove that a node belongs here: both sides of a connection show that they
// know one, before anything else is said, and neither shows the secret itself.
// The first is the one that this node proves, all are accepted. With none, every
// node is believed.
//
// The side that dials proves first, so a stranger who dials learns nothing. What
// follows on the connection is not encrypted by this: that is what TLS is for.
//
// Wire format: the dialling side sends "WRS", version (1) and a nonce; the other
// answers the same; then each sends an HMAC-SHA256 over its role and both
// nonces, the dialling side first. A refusal is a Welcome in place of an answer.
type Secrets [][]byte

const (
	secretVersion = 1
	nonceLen      = 32
)

var secretMagic = []byte{'W', 'R', 'S', secretVersion}

// Errors of the secret. Both nodes see one.
var (
	ErrWrongSecret = errors.New("wrong cluster secret")
	ErrNoSecret    = errors.New("no cluster secret, and one is needed here")
	ErrOpenNode    = errors.New("a cluster secret, and there is none here")
)

type role string

const (
	dials   role = "warren cluster: dials"
	answers role = "warren cluster: answers"
)

func proof(secret []byte, r role, dialNonce, answerNonce []byte) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(r))
	h.Write(dialNonce)
	h.Write(answerNonce)
	return h.Sum(nil)
}

func newNonce() []byte {
	n := make([]byte, nonceLen)
	_, _ = rand.Read(n) // never fails, see crypto/rand
	return n
}

// prove is the dialling side. An answer that refuses is a *RefusedError.
func (s Secrets) prove(conn net.Conn) error {
	if len(s) == 0 {
		return nil
	}
	own := newNonce()
	if _, err := conn.Write(append(bytes.Clone(secretMagic), own...)); err != nil {
		return fmt.Errorf("cluster secret: %w", err)
	}
	if err := readMagic(conn); err != nil {
		return err
	}
	theirs := make([]byte, nonceLen)
	if _, err := io.ReadFull(conn, theirs); err != nil {
		return fmt.Errorf("cluster secret: %w", err)
	}
	if _, err := conn.Write(proof(s[0], dials, own, theirs)); err != nil {
		return fmt.Errorf("cluster secret: %w", err)
	}
	if err := readMagic(conn); err != nil {
		return err
	}
	got := make([]byte, sha256.Size)
	if _, err := io.ReadFull(conn, got); err != nil {
		return fmt.Errorf("cluster secret: %w", err)
	}
	if !hmac.Equal(got, proof(s[0], answers, own, theirs)) {
		return fmt.Errorf("%w: the other side does not know ours", ErrWrongSecret)
	}
	return nil
}

// readMagic reads what stands before each message of the answering side, or its
// refusal.
func readMagic(conn io.Reader) error {
	got := make([]byte, len(secretMagic))
	if _, err := io.ReadFull(conn, got); err != nil {
		return fmt.Errorf("cluster secret: %w", err)
	}
	if bytes.Equal(got, secretMagic) {
		return nil
	}
	if _, err := ReadWelcome(io.MultiReader(bytes.NewReader(got), conn)); err != nil {
		return err
	}
	return fmt.Errorf("%w: a welcome without the cluster secret", ErrStranger)
}

// check is the answering side. It returns what is left to read from the connection:
// a node that dials without a secret has sent its greeting already.
func (s Secrets) check(conn net.Conn) (io.Reader, error) {
	first := make([]byte, len(secretMagic))
	if _, err := io.ReadFull(conn, first); err != nil {
		return nil, fmt.Errorf("read greeting: %w", err)
	}
	rest := io.MultiReader(bytes.NewReader(first), conn)
	switch proves := bytes.Equal(first[:3], secretMagic[:3]); {
	case !proves && len(s) == 0:
		return rest, nil
	case !proves && string(first[:3]) == "WRN":
		// All of it: a close with unread bytes would take the refusal back.
		if _, err := ReadHello(rest); err != nil {
			return nil, err
		}
		return conn, ErrNoSecret
	case !proves:
		return nil, fmt.Errorf("%w: greeting begins with %q", ErrStranger, first[:3])
	case first[3] != secretVersion:
		return nil, fmt.Errorf("%w: cluster secret of version %d, ours is %d", ErrVersion, first[3], secretVersion)
	}
	theirs := make([]byte, nonceLen)
	if _, err := io.ReadFull(conn, theirs); err != nil {
		return nil, fmt.Errorf("cluster secret: %w", err)
	}
	if len(s) == 0 {
		return conn, ErrOpenNode
	}
	own := newNonce()
	if _, err := conn.Write(append(bytes.Clone(secretMagic), own...)); err != nil {
		return nil, fmt.Errorf("cluster secret: %w", err)
	}
	got := make([]byte, sha256.Size)
	if _, err := io.ReadFull(conn, got); err != nil {
		return nil, fmt.Errorf("cluster secret: %w", err)
	}
	for _, secret := range s {
		if hmac.Equal(got, proof(secret, dials, theirs, own)) {
			_, err := conn.Write(append(bytes.Clone(secretMagic), proof(secret, answers, theirs, own)...))
			return conn, err
		}
	}
	return conn, ErrWrongSecret
}

func isAboutSecret(err error) bool {
	return errors.Is(err, ErrWrongSecret) || errors.Is(err, ErrNoSecret) || errors.Is(err, ErrOpenNode)
}

// AboutSecret reports whether Greet failed for the secret of either node.
func AboutSecret(err error) bool {
	var r *RefusedError
	return isAboutSecret(err) || errors.As(err, &r) && slices.Contains([]string{
		ErrWrongSecret.Error(), ErrNoSecret.Error(), ErrOpenNode.Error(),
	}, r.Reason)
}

// refuse tells a node what is wrong with its secret, not who refuses.
func refuse(conn net.Conn, err error) error {
	if isAboutSecret(err) {
		_, werr := conn.Write(AppendWelcome(nil, Welcome{Identity: Identity{Node: "?"}, Refusal: err.Error()}))
		err = errors.Join(err, werr)
	}
	return err
}
