package guard

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"sync"
	"sync/atomic"
)

// maxVerified is how many pairs of hash and password are remembered.
const maxVerified = 4096

// maxWaiters is how many may wait for their password to be checked: some ten seconds.
const maxWaiters = 256

// A verifier compares passwords with hashes. What fitted once is remembered by a keyed
// digest, as checking an expensive hash for each of thousands of connections that come
// at once would take minutes. Only what fitted: guesses cost their full price.
//
// An expensive hash is checked by one goroutine at a time, so that guessing takes one
// core and 19 MiB at most, and connections that come together with one password wait for
// one check. Who waits does so for as long as its context lasts, and no more than maxWaiters
// do. A pair holds the stored hash, so a password that was changed never fits by memory.
type verifier struct {
	key     [32]byte      // of this process
	costly  chan struct{} // holds one while a hash is computed
	waiters atomic.Int32  // for costly
	nothing *argon        // to be compared with when there is no such user

	mu       sync.Mutex
	verified map[[32]byte]struct{}
}

func newVerifier() *verifier {
	v := &verifier{costly: make(chan struct{}, 1), verified: make(map[[32]byte]struct{})}
	rand.Read(v.key[:]) // never fails: crypto/rand.Read
	v.nothing = &argon{time: argonTime, memory: argonMemory, threads: argonThreads, salt: make([]byte, argonSalt), key: make([]byte, argonKey)}
	return v
}

// matches reports whether the password is the one that was hashed. Without a hash the
// answer is no, after the time that it takes with one.
func (v *verifier) matches(ctx context.Context, hash, algorithm, password string) (bool, error) {
	if hash != "" && algorithm != Argon2id {
		return matchesSalted(hash, algorithm, password), nil
	}
	a, broken := parseArgon(hash)
	if broken != nil {
		a = v.nothing
	}
	pair := v.digest(hash, password)
	if v.known(pair) {
		return true, nil
	}
	if err := v.begin(ctx); err != nil {
		return false, err
	}
	defer v.end()
	if v.known(pair) { // found while we waited
		return true, nil
	}
	if subtle.ConstantTimeCompare(a.hash(password), a.key) != 1 || broken != nil {
		return false, nil
	}
	v.remember(pair)
	return true, nil
}

// begin waits until the caller may compute a hash; end is to follow. Turns go in the order
// of coming, as channels serve who waits.
func (v *verifier) begin(ctx context.Context) error {
	if v.waiters.Add(1) > maxWaiters {
		v.waiters.Add(-1)
		return ErrBusy
	}
	defer v.waiters.Add(-1)
	select {
	case v.costly <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrBusy, context.Cause(ctx))
	}
}

func (v *verifier) end() { <-v.costly }

func (v *verifier) digest(hash, password string) (d [32]byte) {
	mac := hmac.New(sha256.New, v.key[:])
	mac.Write([]byte(hash))
	mac.Write([]byte{0})
	mac.Write([]byte(password))
	mac.Sum(d[:0])
	return d
}

func (v *verifier) known(pair [32]byte) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, ok := v.verified[pair]
	return ok
}

func (v *verifier) remember(pair [32]byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.verified) >= maxVerified {
		clear(v.verified) // rare: so many different logins since the start
	}
	v.verified[pair] = struct{}{}
}
