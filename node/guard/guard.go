// Package guard tells who may log in to a node and what they may do, from the node's own
// copy of the replicated users and permissions. It keeps nothing but what it can find out
// again: patterns that it has compiled and passwords that it has checked.
//
// Sessions and the HTTP API ask it through small interfaces of their own.
package guard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"warren/fsm"
	"warren/fsm/access"
)

// Errors of Login. They are for the log: clients are told less.
var (
	ErrBlank       = errors.New("the password is empty, which is never right")
	ErrCredentials = errors.New("user name or password is wrong")
	ErrUnknown     = errors.New("there is no such user")
	ErrBusy        = errors.New("too many passwords wait to be checked")
	ErrLoopback    = errors.New("the user may only log in from this machine: set --loopback-users to change that")
)

// Config is what New needs.
type Config struct {
	// View calls f with the state machine under its lock.
	View func(f func(*fsm.Machine))
	// LoopbackUsers may only log in from this machine
	// (https://www.rabbitmq.com/docs/access-control#loopback-users).
	LoopbackUsers []string
	// FirstUser may log in with FirstPass and do everything while the machine has no users
	// yet: an operator can look what a node waits for that has no cluster, and one whose
	// nodes are being updated from a version without users goes on. A machine into which the
	// log has not been read yet has none either, and old ones later: callers see to it that
	// nobody does more than look meanwhile.
	FirstUser, FirstPass string
}

// A Guard answers for one node. Its methods may be called from any goroutine.
type Guard struct {
	cfg      Config
	version  atomic.Uint64
	verifier *verifier

	mu      sync.Mutex
	rules   map[who]*Rules // of the version rulesOf
	rulesOf uint64
}

type who struct{ user, vhost string }

// maxRules is how many users and vhosts have their patterns compiled at a time.
const maxRules = 4096

// New returns a guard.
func New(cfg Config) *Guard {
	g := &Guard{cfg: cfg, verifier: newVerifier(), rules: make(map[who]*Rules)}
	g.version.Store(1)
	return g
}

// Changed says that users or permissions are about to be others than before: to be
// called when the machine has changed, before anybody is told.
func (g *Guard) Changed() { g.version.Add(1) }

// Version is another one after each change.
func (g *Guard) Version() uint64 { return g.version.Load() }

// User returns a user.
func (g *Guard) User(name string) (u access.User, ok bool) {
	g.cfg.View(func(m *fsm.Machine) { u, ok = m.Access().User(name) })
	return u, ok
}

// Login checks a password, and where the login comes from.
func (g *Guard) Login(ctx context.Context, user, password string, remote net.Addr) error {
	if err := g.Authenticate(ctx, user, password); err != nil {
		return err
	}
	return g.from(user, remote)
}

// Known is Login for somebody who has proved in another way who it is: there has to be
// such a user.
func (g *Guard) Known(user string, remote net.Addr) error {
	known := false
	g.cfg.View(func(m *fsm.Machine) {
		if _, known = m.Access().User(user); !m.Access().Begun() {
			known = user == g.cfg.FirstUser
		}
	})
	if !known {
		return ErrUnknown
	}
	return g.from(user, remote)
}

// from checks where a login comes from.
func (g *Guard) from(user string, remote net.Addr) error {
	if slices.Contains(g.cfg.LoopbackUsers, user) && !loopback(remote) {
		return fmt.Errorf("user %q: %w", user, ErrLoopback)
	}
	return nil
}

// Authenticate checks a password. It may wait for those of others, as long as ctx lasts;
// then the answer is ErrBusy.
func (g *Guard) Authenticate(ctx context.Context, user, password string) error {
	if password == "" {
		return ErrBlank
	}
	var u access.User
	var begun bool
	g.cfg.View(func(m *fsm.Machine) {
		u, _ = m.Access().User(user)
		begun = m.Access().Begun()
	})
	if !begun {
		return g.first(user, password)
	}
	fits, err := g.verifier.matches(ctx, u.Hash, u.Algorithm, password)
	if err == nil && !fits {
		err = ErrCredentials
	}
	return err
}

func (g *Guard) first(user, password string) error {
	want := g.verifier.digest(g.cfg.FirstUser, g.cfg.FirstPass)
	if got := g.verifier.digest(user, password); got != want { // keyed digests: their timing tells nothing
		return ErrCredentials
	}
	return nil
}

// Tags returns the tags of a user.
func (g *Guard) Tags(user string) []string {
	var u access.User
	begun := false
	g.cfg.View(func(m *fsm.Machine) {
		u, _ = m.Access().User(user)
		begun = m.Access().Begun()
	})
	if !begun && user == g.cfg.FirstUser {
		return []string{"administrator"}
	}
	return u.Tags
}

// Hash hashes a password for storage. An empty one has no hash: with it nobody logs in.
// It waits like Authenticate.
func (g *Guard) Hash(ctx context.Context, password string) (hash, algorithm string, err error) {
	if password == "" {
		return "", Argon2id, nil
	}
	if err := g.verifier.begin(ctx); err != nil {
		return "", "", err
	}
	defer g.verifier.end()
	return newHash(password), Argon2id, nil
}

// RabbitHash hashes a password in the form that RabbitMQ imports.
func (g *Guard) RabbitHash(password string) string { return rabbitHash(password) }

// CheckHash returns an error when no password can fit a hash.
func (g *Guard) CheckHash(hash, algorithm string) error { return checkHash(hash, algorithm) }

// CheckPattern returns an error when a text is no regular expression.
func (g *Guard) CheckPattern(text string) error {
	if _, err := compile(text); err != nil {
		return fmt.Errorf("invalid regular expression '%s': %w", text, err)
	}
	return nil
}

func loopback(a net.Addr) bool {
	if a == nil {
		return false
	}
	ap, err := netip.ParseAddrPort(a.String())
	return err == nil && ap.Addr().Unmap().IsLoopback()
}
