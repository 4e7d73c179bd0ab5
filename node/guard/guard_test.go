package guard

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"warren/fsm"
	"warren/fsm/access"
	"warren/fsm/command"
)

// world is a machine and a guard of it.
type world struct {
	*Guard
	t        *testing.T
	m        *fsm.Machine
	mu       sync.Mutex
	sequence uint64
}

func newWorld(t *testing.T, loopbackUsers ...string) *world {
	w := &world{t: t, m: fsm.New(nil)}
	w.Guard = New(Config{View: w.view, LoopbackUsers: loopbackUsers, FirstUser: "first", FirstPass: "pass"})
	w.apply(command.NewBatch(nil, 0, 0), &command.EpochOpen{Node: "n", Nonce: 1})
	return w
}

func (w *world) view(f func(*fsm.Machine)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w.m)
}

func (w *world) apply(batch []byte, cmd command.Command) {
	w.t.Helper()
	w.mu.Lock()
	var out fsm.Output
	err := w.m.Apply(fsm.Meta{Index: w.m.Index() + 1, Term: 1}, command.AppendToBatch(batch, cmd), &out)
	w.mu.Unlock()
	if err != nil || len(out.Results) != 1 || out.Results[0].Err != nil {
		w.t.Fatalf("%T: %v, %+v", cmd, err, out.Results)
	}
	w.Changed()
}

func (w *world) do(cmd command.Command) {
	w.t.Helper()
	w.sequence++
	w.apply(command.NewBatch(nil, 1, w.sequence), cmd)
}

func (w *world) begin() { w.do(&command.AccessInit{User: "root", VHost: "/"}) }

func (w *world) user(name, hash, algorithm string) {
	w.do(&command.UserPut{Name: name, SetPassword: true, Hash: hash, Algorithm: algorithm})
}

// salted makes a hash as RabbitMQ does.
func saltedHash(sum func([]byte) []byte, salt, password string) string {
	return base64.StdEncoding.EncodeToString(append([]byte(salt), sum([]byte(salt+password))...))
}

// TestHashes logs in with hashes made as RabbitMQ makes them, and with ours.
//
// row: 1.7 password hashes
func TestHashes(t *testing.T) {
	w := newWorld(t)
	w.begin()
	sums := map[string]func([]byte) []byte{
		SHA256: func(b []byte) []byte { s := sha256.Sum256(b); return s[:] },
		SHA512: func(b []byte) []byte { s := sha512.Sum512(b); return s[:] },
		MD5:    func(b []byte) []byte { s := md5.Sum(b); return s[:] },
	}
	for algorithm, sum := range sums {
		w.user(algorithm, saltedHash(sum, "\x01\x02\x03\xff", "sécret"), algorithm)
	}
	// The example of RabbitMQ's documentation (https://www.rabbitmq.com/docs/passwords).
	w.user("example", "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", SHA256)
	hash, algorithm, _ := w.Hash(t.Context(), "sécret")
	w.user("argon", hash, algorithm)
	w.user("by rabbitmqctl", w.RabbitHash("sécret"), SHA256)
	for _, name := range []string{SHA256, SHA512, MD5, "argon", "by rabbitmqctl"} {
		for range 2 { // the second time by memory
			if err := w.Authenticate(t.Context(), name, "sécret"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, wrong := range []string{"secret", "sécret ", "s"} {
			if err := w.Authenticate(t.Context(), name, wrong); !errors.Is(err, ErrCredentials) {
				t.Errorf("%s with %q: %v", name, wrong, err)
			}
		}
		if err := w.Authenticate(t.Context(), name, ""); !errors.Is(err, ErrBlank) {
			t.Errorf("%s without a password: %v", name, err)
		}
	}
	if err := w.Authenticate(t.Context(), "example", "test12"); err != nil {
		t.Errorf("the documented hash: %v", err)
	}
	if err := w.Authenticate(t.Context(), "nobody", "sécret"); !errors.Is(err, ErrCredentials) {
		t.Errorf("nobody: %v", err)
	}
}

// TestMemoryOfPasswords checks that a password that was changed, or taken away, is not
// remembered, and that what is remembered is bounded.
func TestMemoryOfPasswords(t *testing.T) {
	w := newWorld(t)
	w.begin()
	hash, algorithm, _ := w.Hash(t.Context(), "one")
	w.user("u", hash, algorithm)
	if w.Authenticate(t.Context(), "u", "one") != nil || w.Authenticate(t.Context(), "u", "two") == nil {
		t.Fatal("the first password does not count")
	}
	next, _, _ := w.Hash(t.Context(), "two")
	w.user("u", next, algorithm)
	if w.Authenticate(t.Context(), "u", "one") == nil || w.Authenticate(t.Context(), "u", "two") != nil {
		t.Error("the second password does not count")
	}
	w.user("u", "", algorithm)
	if w.Authenticate(t.Context(), "u", "two") == nil || w.Authenticate(t.Context(), "u", "") == nil {
		t.Error("a user without a password logs in")
	}
	for i := range 3 * maxVerified {
		w.verifier.remember(w.verifier.digest(fmt.Sprint(i), ""))
	}
	if n := len(w.verifier.verified); n > maxVerified {
		t.Errorf("%d logins are remembered", n)
	}
}

func TestBadHashes(t *testing.T) {
	good := newHash("x")
	for _, c := range []struct{ hash, algorithm string }{
		{"kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", SHA512},
		{"kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", "rot13"},
		{"kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2PO", SHA256},
		{"not base64!", SHA256},
		{"x", Argon2id},
		{good[:len(good)-30], Argon2id},
		{strings.Replace(good, "t=2", "t=200", 1), Argon2id},
		{strings.Replace(good, "m=19456", "m=99999999", 1), Argon2id},
		{strings.Replace(good, "p=1", "p=0", 1), Argon2id},
		{strings.Replace(good, "argon2id", "argon2i", 1), Argon2id},
	} {
		if err := checkHash(c.hash, c.algorithm); !errors.Is(err, ErrHash) {
			t.Errorf("%s by %s: %v", c.hash, c.algorithm, err)
		}
		if fits, err := newVerifier().matches(t.Context(), c.hash, c.algorithm, "x"); fits || err != nil {
			t.Errorf("%s by %s fits: %v, %v", c.hash, c.algorithm, fits, err)
		}
	}
	one, other := newHash("x"), newHash("x")
	if checkHash(good, Argon2id) != nil || checkHash("", SHA256) != nil || one == other {
		t.Error("a good hash is refused, or hashes have no salt")
	}
}

// TestLogin: password, and from where.
//
// row: 1.1 loopback users
func TestLogin(t *testing.T) {
	local := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	mapped := &net.TCPAddr{IP: net.ParseIP("::ffff:127.0.0.1"), Port: 1}
	far := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}
	bound, free := newWorld(t, "guest"), newWorld(t)
	for _, w := range []*world{bound, free} {
		w.begin()
		w.user("guest", rabbitHash("secret"), SHA256)
	}
	for _, c := range []struct {
		name, user, pass string
		from             net.Addr
		w                *world
		want             error
	}{
		{"right", "guest", "secret", local, bound, nil},
		{"right, IPv4 in IPv6", "guest", "secret", mapped, bound, nil},
		{"wrong password", "guest", "Secret", local, bound, ErrCredentials},
		{"no password", "guest", "", local, bound, ErrBlank},
		{"wrong user", "root", "secret", local, bound, ErrCredentials},
		{"from afar", "guest", "secret", far, bound, ErrLoopback},
		{"from afar, wrong", "guest", "wrong", far, bound, ErrCredentials},
		{"from afar, allowed", "guest", "secret", far, free, nil},
		{"from nowhere", "guest", "secret", nil, bound, ErrLoopback},
	} {
		if err := c.w.Login(t.Context(), c.user, c.pass, c.from); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestBeforeUsers checks who may look at a node whose cluster has no users yet.
func TestBeforeUsers(t *testing.T) {
	w := newWorld(t)
	if err := w.Authenticate(t.Context(), "first", "pass"); err != nil || len(w.Tags("first")) != 1 {
		t.Errorf("the user of the settings: %v", err)
	}
	if w.Authenticate(t.Context(), "first", "x") == nil || w.Authenticate(t.Context(), "root", "pass") == nil || len(w.Tags("root")) != 0 {
		t.Error("somebody else is let in")
	}
	w.begin()
	if w.Authenticate(t.Context(), "first", "pass") == nil || len(w.Tags("first")) != 0 {
		t.Error("the user of the settings counts although there are users")
	}
}

func need(right access.Right, exchange bool, name string) *access.Need {
	return &access.Need{Right: right, Exchange: exchange, Name: name}
}

// row: 1.7 permissions
func TestRules(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.user("u", "", SHA256)
	if r := w.Rules("u", "/"); r.Enter() || r.User() == 0 || r.Allows(need(access.Read, false, "q")) {
		t.Error("a user without permissions may do something")
	}
	w.do(&command.PermissionSet{User: "u", VHost: "/", Configure: "", Write: "^amq\\.default$|own", Read: `^(?!secret)`})
	r := w.Rules("u", "/")
	for _, c := range []struct {
		need *access.Need
		want bool
	}{
		{need(access.Configure, false, "q"), false},
		{need(access.Configure, false, ""), true}, // RabbitMQ takes the empty pattern for ^$
		{need(access.Configure, true, ""), false}, // the default exchange has a name
		{need(access.Write, true, ""), true},
		{need(access.Write, false, "my own queue"), true}, // anywhere in the name
		{need(access.Write, false, "other"), false},
		{need(access.Read, false, "public"), true}, // by lookahead
		{need(access.Read, false, "secret"), false},
		{need(access.Any, false, "secret own"), true},
		{need(access.Any, false, "secret"), false},
	} {
		if got := r.Allows(c.need); got != c.want {
			t.Errorf("%+v: %v", *c.need, got)
		}
	}
	w.do(&command.UserPut{Name: "u", SetTags: true, Tags: []string{"impersonator"}})
	if r.Impersonates() || !w.Rules("u", "/").Impersonates() {
		t.Error("the tag impersonator does not count, or counts too early")
	}
	r = w.Rules("u", "/")
	if !r.Enter() || w.Rules("u", "elsewhere").Enter() {
		t.Error("permissions in one vhost are those in another, or none")
	}
	if w.Rules("u", "/") != r {
		t.Error("rules are not remembered")
	}
	w.do(&command.PermissionClear{User: "u", VHost: "/"})
	if w.Rules("u", "/").Enter() {
		t.Error("cleared permissions count")
	}
	id := r.User()
	w.do(&command.UserDelete{Name: "u"})
	if w.Rules("u", "/").User() != 0 {
		t.Error("a deleted user has an id")
	}
	w.user("u", "", SHA256)
	if w.Rules("u", "/").User() == id {
		t.Error("another user of the same name has the same id")
	}
}

// TestTopicRules: routing keys, only with topic exchanges.
//
// row: 1.7 topic permissions
func TestTopicRules(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.user("u.1", "", SHA256)
	w.do(&command.PermissionSet{User: "u.1", VHost: "/", Configure: ".*", Write: ".*", Read: ".*"})
	w.do(&command.TopicPermissionSet{User: "u.1", VHost: "/", Exchange: "amq.topic", Write: `^{username}\.{vhost}\.`, Read: ""})
	w.do(&command.TopicPermissionSet{User: "u.1", VHost: "/", Exchange: "amq.direct", Write: "^only$", Read: "^only$"})
	r := w.Rules("u.1", "/")
	for _, c := range []struct {
		exchange, key string
		right         access.Right
		want          bool
	}{
		{"amq.topic", "u.1./.x", access.Write, true},
		{"amq.topic", "u.2./.x", access.Write, false},
		{"amq.topic", "", access.Read, true},
		{"amq.topic", "a", access.Read, false},
		{"amq.direct", "whatever", access.Write, true}, // no topic exchange
		{"amq.fanout", "whatever", access.Write, true}, // nothing set
	} {
		if got := r.Allows(&access.Need{Right: c.right, Exchange: true, Name: c.exchange, Topic: true, Key: c.key}); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	if !r.Restricted("amq.topic") || r.Restricted("amq.fanout") {
		t.Error("the wrong exchanges are asked about")
	}
}

// TestPatternsEnd checks that a pattern that backtracks for ever does not.
func TestPatternsEnd(t *testing.T) {
	p, err := compile(`^(?=a)(a+)+$`)
	if err != nil {
		t.Fatal(err)
	}
	if p.fits(strings.Repeat("a", 60) + "b") {
		t.Error("it fits what it should not")
	}
	if _, err := compile("("); err == nil {
		t.Error("a half bracket is a pattern")
	}
}

// TestManyAtOnce logs in many times at once while the password changes.
func TestManyAtOnce(t *testing.T) {
	w := newWorld(t)
	w.begin()
	hash, algorithm, _ := w.Hash(t.Context(), "p")
	w.user("u", hash, algorithm)
	w.do(&command.PermissionSet{User: "u", VHost: "/", Read: ".*"})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 50 {
				if err := w.Authenticate(t.Context(), "u", "p"); err != nil {
					t.Error(err)
				}
				if !w.Rules("u", "/").Allows(need(access.Read, false, "q")) {
					t.Error("not allowed")
				}
			}
		})
	}
	for i := range 50 {
		w.do(&command.PermissionSet{User: "u", VHost: "/", Read: ".*", Write: fmt.Sprint(i)})
	}
	wg.Wait()
}

// Whoever waits for the check of a password gives up with its context, and only so many wait.
func TestBusy(t *testing.T) {
	w := newWorld(t)
	w.begin()
	hash, algorithm, _ := w.Hash(t.Context(), "p")
	w.user("u", hash, algorithm)
	known, algorithm, _ := w.Hash(t.Context(), "k")
	w.user("known", known, algorithm)
	if err := w.Authenticate(t.Context(), "known", "k"); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w.verifier.costly = make(chan struct{}, 1) // of the bubble
		w.verifier.costly <- struct{}{}            // somebody computes and computes
		ctx, cancel := context.WithCancel(t.Context())
		answers := make(chan error, maxWaiters)
		for range maxWaiters {
			go func() { answers <- w.Authenticate(ctx, "u", "wrong") }()
		}
		synctest.Wait()
		if err := w.Authenticate(t.Context(), "u", "p"); !errors.Is(err, ErrBusy) {
			t.Errorf("one more than may wait: %v", err)
		}
		if _, _, err := w.Hash(t.Context(), "p"); !errors.Is(err, ErrBusy) {
			t.Errorf("a hash beside as many as may wait: %v", err)
		}
		if err := w.Authenticate(t.Context(), "known", "k"); err != nil {
			t.Errorf("a password that is known: %v", err)
		}
		cancel()
		for range maxWaiters {
			if err := <-answers; !errors.Is(err, ErrBusy) || !errors.Is(err, context.Canceled) {
				t.Errorf("who has gone: %v", err)
			}
		}
		w.verifier.end()
		if err := w.Authenticate(t.Context(), "u", "p"); err != nil {
			t.Errorf("when all have gone: %v", err)
		}
	})
}

func BenchmarkNewHash(b *testing.B) {
	for b.Loop() {
		newHash("password")
	}
}

func BenchmarkRemembered(b *testing.B) {
	v, hash := newVerifier(), newHash("password")
	for b.Loop() {
		if fits, err := v.matches(b.Context(), hash, Argon2id, "password"); !fits {
			b.Fatal("it does not fit", err)
		}
	}
}

// TestKnown: who has a certificate has to be a user, and to come from where it may.
func TestKnown(t *testing.T) {
	w := newWorld(t, "first", "root")
	here, away := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1}
	check := func(user string, from net.Addr, want error) {
		t.Helper()
		if err := w.Known(user, from); !errors.Is(err, want) {
			t.Errorf("%s from %v: %v, want %v", user, from, err, want)
		}
	}
	check("first", here, nil)
	check("first", away, ErrLoopback)
	check("root", here, ErrUnknown)
	w.begin()
	check("first", here, ErrUnknown)
	check("root", here, nil)
	check("root", away, ErrLoopback)
	check("", here, ErrUnknown)
}
