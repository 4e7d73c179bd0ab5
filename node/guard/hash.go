package guard

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strings"

	"golang.org/x/crypto/argon2"
)

// The algorithms of password hashes, by the names that the HTTP API and definitions
// have for them. The first three are RabbitMQ's, whose hashes are base64 of four bytes of
// salt and the hash of salt and password (https://www.rabbitmq.com/docs/passwords).
const (
	SHA256   = "rabbit_password_hashing_sha256"
	SHA512   = "rabbit_password_hashing_sha512"
	MD5      = "rabbit_password_hashing_md5"
	Argon2id = "warren_password_hashing_argon2id"
)

// ErrHash is the error of a password hash that nobody could log in with.
var ErrHash = errors.New("the password hash cannot be used")

// salted are RabbitMQ's algorithms.
var salted = map[string]func() hash.Hash{SHA256: sha256.New, SHA512: sha512.New, MD5: md5.New}

const (
	saltBytes = 4 // of RabbitMQ's algorithms

	// What a new hash costs: OWASP's smallest recommendation for argon2id. It takes about
	// 30 ms of one core and 19 MiB; see Guard for how that stays bearable.
	argonTime    = 2
	argonMemory  = 19 << 10 // KiB
	argonThreads = 1
	argonSalt    = 16
	argonKey     = 32

	// The most that a hash from elsewhere may cost.
	mostTime   = 16
	mostMemory = 256 << 10 // KiB
)

// argon is a hash of argon2id in the usual text form, with what it costs to check.
type argon struct {
	time, memory uint32
	threads      uint8
	salt, key    []byte
}

func (a *argon) String() string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, a.memory, a.time, a.threads,
		b64.EncodeToString(a.salt), b64.EncodeToString(a.key))
}

func (a *argon) hash(password string) []byte {
	return argon2.IDKey([]byte(password), a.salt, a.time, a.memory, a.threads, uint32(len(a.key)))
}

func parseArgon(text string) (*argon, error) {
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return nil, fmt.Errorf("%w: it is not of the form $argon2id$v=%d$m=…,t=…,p=…$SALT$HASH", ErrHash, argon2.Version)
	}
	a := new(argon)
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &a.memory, &a.time, &a.threads); err != nil {
		return nil, fmt.Errorf("%w: %q are no parameters of argon2id", ErrHash, parts[3])
	}
	var err, err2 error
	a.salt, err = base64.RawStdEncoding.DecodeString(parts[4])
	a.key, err2 = base64.RawStdEncoding.DecodeString(parts[5])
	switch {
	case err != nil || err2 != nil || len(a.key) < 16 || len(a.key) > 128 || len(a.salt) < 8 || len(a.salt) > 128:
		return nil, fmt.Errorf("%w: its salt or key is damaged or of a wrong length", ErrHash)
	case a.time == 0 || a.time > mostTime || a.memory > mostMemory || a.threads == 0 || a.threads > 16:
		return nil, fmt.Errorf("%w: its cost of m=%d,t=%d,p=%d is out of bounds", ErrHash, a.memory, a.time, a.threads)
	}
	return a, nil
}

// newHash hashes a password for storage.
func newHash(password string) string {
	a := &argon{time: argonTime, memory: argonMemory, threads: argonThreads, salt: make([]byte, argonSalt), key: make([]byte, argonKey)}
	rand.Read(a.salt) // never fails: crypto/rand.Read
	a.key = a.hash(password)
	return a.String()
}

// rabbitHash hashes a password as rabbitmqctl hash_password does: SHA-256 with four
// bytes of salt, which all brokers of this kind can import.
func rabbitHash(password string) string {
	salt := make([]byte, saltBytes)
	rand.Read(salt) // never fails: crypto/rand.Read
	sum := sha256.Sum256(append(salt[:saltBytes:saltBytes], password...))
	return base64.StdEncoding.EncodeToString(append(salt, sum[:]...))
}

// checkHash returns an error when no password can fit the hash. An empty one is fine: it
// means that there is no password.
func checkHash(text, algorithm string) error {
	if text == "" {
		return nil
	}
	if algorithm == Argon2id {
		_, err := parseArgon(text)
		return err
	}
	_, _, err := decodeSalted(text, algorithm)
	return err
}

func decodeSalted(text, algorithm string) (newSum func() hash.Hash, raw []byte, err error) {
	newSum = salted[algorithm]
	if newSum == nil {
		return nil, nil, fmt.Errorf("%w: unknown algorithm %q", ErrHash, algorithm)
	}
	raw, err = base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) != saltBytes+newSum().Size() {
		return nil, nil, fmt.Errorf("%w: it is not base64 of %d bytes", ErrHash, saltBytes+newSum().Size())
	}
	return newSum, raw, nil
}

// matchesSalted compares a password with a hash of RabbitMQ's kind.
func matchesSalted(text, algorithm, password string) bool {
	newSum, raw, err := decodeSalted(text, algorithm)
	if err != nil {
		return false
	}
	sum := newSum()
	sum.Write(raw[:saltBytes])
	sum.Write([]byte(password))
	return subtle.ConstantTimeCompare(sum.Sum(nil), raw[saltBytes:]) == 1
}
