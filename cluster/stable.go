package cluster

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"runtime/debug"
	"slices"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

// stableFile is the file of the stable store in the data directory.
const stableFile = "stable.db"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stableStore keeps Raft's term and vote, each with a checksum behind it. Values of older
// versions have none, and are believed.
type stableStore struct {
	path  string
	inner keyValues
	disk  *disk
}

// keyValues is the file of a stableStore; it may be an io.Closer.
type keyValues interface {
	Set(key, value []byte) error
	Get(key []byte) ([]byte, error)
}

const stableSum = 4 // bytes

// The lengths of values without their checksum.
const termSize = 8

// openStable opens the store, or makes one.
func openStable(path string) (*stableStore, error) {
	if err := checkBolt(path, "conf", "logs"); err != nil {
		return nil, err
	}
	inner, err := openBolt(path)
	if err != nil {
		return nil, err
	}
	s, err := newStable(path, inner)
	if err != nil {
		return nil, errors.Join(err, inner.Close())
	}
	return s, nil
}

// newStable reads what is in the file.
func newStable(path string, inner keyValues) (*stableStore, error) {
	s := &stableStore{path: path, inner: inner, disk: newDisk(nil)}
	return s, s.check()
}

func openBolt(path string) (store *raftboltdb.BoltStore, err error) {
	err = guarded(path, func() error {
		store, err = raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: &bbolt.Options{Timeout: lockTimeout}, MsgpackUseNewTimeFormat: true})
		return err
	})
	return store, err
}

// The keys: hashicorp/raft's names, and that of the log's mark, which is ours.
var (
	keyCurrentTerm = []byte("CurrentTerm")
	keyVoteTerm    = []byte("LastVoteTerm")
	keyVote        = []byte("LastVoteCand")
	keyMark        = []byte("WarrenLogEnd")

	stableKeys = [][]byte{keyCurrentTerm, keyVoteTerm, keyVote, keyMark}
)

// check reads all that there is. Raft writes its term before it votes, and a vote in two parts.
func (s *stableStore) check() error {
	there := make(map[string]bool)
	for _, key := range stableKeys {
		_, err := s.Get(key)
		if err != nil && !missing(err) {
			return err
		}
		there[string(key)] = err == nil
	}
	term, voteTerm, vote := there[string(keyCurrentTerm)], there[string(keyVoteTerm)], there[string(keyVote)]
	if vote && !voteTerm || !term && (voteTerm || there[string(keyMark)]) {
		return damaged(s.path, "a part of term and vote is gone")
	}
	return nil
}

// missing is the error of a key that is not there, as hashicorp/raft knows it too: by its text.
func missing(err error) bool { return err.Error() == raftboltdb.ErrKeyNotFound.Error() }

func sumOf(key, value []byte) []byte {
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
	return binary.BigEndian.AppendUint32(nil, sum)
}

// Set implements raft.StableStore.
func (s *stableStore) Set(key, value []byte) error { return s.set("write term and vote", key, value) }

// set writes a value. what is done by that is for errors.
func (s *stableStore) set(what string, key, value []byte) error {
	return s.disk.do(what, func() error {
		return s.inner.Set(key, append(slices.Clone(value), sumOf(key, value)...))
	})
}

// Get implements raft.StableStore.
func (s *stableStore) Get(key []byte) (value []byte, err error) {
	err = guarded(s.path, func() error {
		value, err = s.inner.Get(key)
		return err
	})
	if err != nil {
		return nil, err
	}
	n := len(value) - stableSum
	if n >= 0 && slices.Equal(sumOf(key, value[:n]), value[n:]) {
		return value[:n], nil
	}
	// Ids are as long as a UUID in nodes of ours, numbers have eight bytes: what is longer
	// by a checksum had one.
	if len(value) == termSize || len(value) == uuidSize {
		return value, nil
	}
	return nil, damaged(s.path, "the checksum of %s does not match", key)
}

// uuidSize is the length of the node ids that package node makes.
const uuidSize = 36

// SetUint64 implements raft.StableStore. Raft panics when it cannot write its term.
func (s *stableStore) SetUint64(key []byte, value uint64) error {
	err := s.Set(key, binary.BigEndian.AppendUint64(nil, value))
	if err != nil {
		s.disk.end()
	}
	return err
}

// GetUint64 implements raft.StableStore.
func (s *stableStore) GetUint64(key []byte) (uint64, error) {
	b, err := s.Get(key)
	if err != nil {
		return 0, err
	}
	if len(b) != termSize {
		return 0, damaged(s.path, "%s has %d bytes", key, len(b))
	}
	return binary.BigEndian.Uint64(b), nil
}

// Close closes the file.
func (s *stableStore) Close() error {
	if c, ok := s.inner.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// guarded makes errors of the panics and faults by which bbolt and raft-wal answer pages
// that cannot be.
func guarded(path string, f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = damaged(path, "%v", p)
		}
	}()
	return f()
}

// checkBolt reads all of some buckets of a file of bbolt, if there is one, before it is
// opened for writing. bbolt has checksums only for where its pages begin; what is found
// here is what cannot be.
func checkBolt(path string, buckets ...string) error {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Size() == 0 {
		return damaged(path, "it is empty")
	}
	var db *bbolt.DB
	err = guarded(path, func() error {
		db, err = bbolt.Open(path, 0, &bbolt.Options{ReadOnly: true, Timeout: lockTimeout})
		if err != nil {
			return err
		}
		return db.View(func(tx *bbolt.Tx) error { return walkBuckets(tx, path, info.Size(), buckets) })
	})
	if db != nil {
		err = errors.Join(err, guarded(path, db.Close))
	}
	if err != nil && !errors.Is(err, ErrDamaged) && !ofSystem(err) {
		return damaged(path, "%w", err)
	}
	return err
}

func walkBuckets(tx *bbolt.Tx, path string, size int64, buckets []string) error {
	if tx.Size() > size {
		return damaged(path, "it has %d bytes and should have %d", size, tx.Size())
	}
	for _, name := range buckets {
		b := tx.Bucket([]byte(name))
		if b == nil {
			continue // it was never used
		}
		var before []byte
		c := b.Cursor()
		for k, _ := c.First(); k != nil; k, _ = c.Next() {
			if before != nil && slices.Compare(before, k) >= 0 {
				return damaged(path, "keys of %q are out of order", name)
			}
			before = append(before[:0], k...)
		}
	}
	return nil
}

var _ raft.StableStore = (*stableStore)(nil)
