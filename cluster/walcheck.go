package cluster

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
	"go.etcd.io/bbolt"
)

// raft-wal repairs the end of its log when it opens it: whatever does not read well is
// taken for a write that a crash cut short, and the entries from there on are gone. A damaged byte in
// the middle looks the same to it, and a node would forget entries that it had acknowledged.
// So its files are read here before: each has frames of eight bytes (type, length or
// checksum, little endian) with their payload padded to eight, and each write ends with a frame
// that holds the CRC-32C of all since the one before (segment/format.go in raft-wal).
const (
	walHeader    = 32
	walFrame     = 8
	walMagic     = 0x58eb6b0d
	frameEntry   = 1
	frameIndex   = 2
	frameCommit  = 3
	walMostEntry = segment.MaxEntrySize
	walReadSize  = 1 << 20
)

// checkWAL reads all files of the log, and counts what it reads in read, if that is not nil. It
// changes nothing. A torn write at the end of the last file is no error, unless the mark says that there was more.
func checkWAL(dir string, mark uint64, read func(path string, bytes int64)) error {
	state, err := walState(dir)
	if err != nil {
		return err
	}
	for _, info := range state.Segments {
		path := filepath.Join(dir, segment.FileName(info))
		n, err := checkSegment(path, info, mark)
		if err != nil {
			return err
		}
		if read != nil {
			read(path, n)
		}
	}
	return nil
}

// walState is what raft-wal remembers of its files; nothing for a log that was not made yet.
func walState(dir string) (state types.PersistentState, err error) {
	path := filepath.Join(dir, metadb.FileName)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		segments, err := filepath.Glob(filepath.Join(dir, "*.wal"))
		if err == nil && len(segments) > 0 {
			err = damaged(path, "it is gone, and files of the log are there")
		}
		return state, err
	}
	if err := checkBolt(path, metadb.MetaBucket); err != nil {
		return state, err
	}
	err = guarded(path, func() error {
		db, err := bbolt.Open(path, 0, &bbolt.Options{ReadOnly: true, Timeout: lockTimeout})
		if err != nil {
			return err
		}
		var raw []byte
		err = db.View(func(tx *bbolt.Tx) error {
			if b := tx.Bucket([]byte(metadb.MetaBucket)); b != nil {
				raw = append(raw, b.Get([]byte(metadb.MetaKey))...)
			}
			return nil
		})
		if err = errors.Join(err, db.Close()); err != nil || raw == nil {
			return err
		}
		if err := json.Unmarshal(raw, &state); err != nil {
			return damaged(path, "%v", err)
		}
		return nil
	})
	return state, err
}

// checkSegment checks one file and returns how much of it is in use.
func checkSegment(path string, info types.SegmentInfo, mark uint64) (used int64, err error) {
	tail := info.SealTime.IsZero()
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		if tail && mark < info.BaseIndex {
			return 0, nil // a crash may have come between the note of it and the file
		}
		return 0, damaged(path, "it is gone")
	}
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // only read from
	stat, err := f.Stat()
	if err != nil {
		return 0, err
	}
	s := &segmentScan{path: path, f: f, size: stat.Size()}
	if err := s.scan(); err != nil {
		return 0, err
	}
	switch {
	case !tail:
		return s.good, s.checkSealed(info)
	case s.size < int64(info.SizeLimit) && s.begun():
		// Its room is made before the first write, and synced with it.
		return 0, damaged(path, "it has %d bytes, and was made with %d", s.size, info.SizeLimit)
	}
	if s.good > 0 && !s.header(info) {
		return 0, damaged(path, "its head does not match")
	}
	next := info.BaseIndex + s.entries
	if err := s.checkTorn(next); err != nil {
		return 0, err
	}
	if next <= mark {
		return 0, damaged(path, "it ends with entry %d, and had %d", next-1, mark)
	}
	return s.good, nil
}

// segmentScan reads a file from its beginning, as far as it is sound.
type segmentScan struct {
	path string
	f    *os.File
	size int64

	good    int64  // where the last sound write ends; 0: there is none
	entries uint64 // in sound writes
	counted uint64 // of all that were seen
	index   int64  // where the index of a sealed file begins; 0: there is none
}

func (s *segmentScan) scan() error {
	in := bufio.NewReaderSize(io.NewSectionReader(s.f, 0, s.size), walReadSize)
	sum := crc32.New(castagnoli)
	at := int64(0)
	// take reads n bytes into the checksum; false at the end of the file.
	take := func(n int64) (bool, error) {
		got, err := io.CopyN(sum, in, n)
		at += got
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		return err == nil, err
	}
	if ok, err := take(walHeader); !ok || err != nil {
		return s.fault(err)
	}
	for {
		var head [walFrame]byte
		if _, err := io.ReadFull(in, head[:]); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		} else if err != nil {
			return s.fault(err)
		}
		at += walFrame
		number := binary.LittleEndian.Uint32(head[4:])
		switch head[0] {
		case frameEntry, frameIndex:
			if number > walMostEntry {
				return nil
			}
			sum.Write(head[:])
			if head[0] == frameEntry {
				s.counted++
			} else {
				s.index = at
			}
			if ok, err := take((int64(number) + walFrame - 1) &^ (walFrame - 1)); !ok || err != nil {
				return s.fault(err)
			}
		case frameCommit:
			if sum.Sum32() != number {
				return nil
			}
			sum.Reset()
			s.good, s.entries = at, s.counted
		default:
			return nil
		}
	}
}

func (s *segmentScan) fault(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("read %s: %w", s.path, err)
}

// begun reports whether something was ever written to the file.
func (s *segmentScan) begun() bool {
	var b [walHeader]byte
	n, err := s.f.ReadAt(b[:], 0)
	return (err == nil || errors.Is(err, io.EOF)) && bytes.Trim(b[:n], "\x00") != nil
}

func (s *segmentScan) header(info types.SegmentInfo) bool {
	var b [walHeader]byte
	if _, err := s.f.ReadAt(b[:], 0); err != nil {
		return false
	}
	return binary.LittleEndian.Uint64(b[:]) == walMagic && binary.LittleEndian.Uint64(b[8:]) == info.BaseIndex &&
		binary.LittleEndian.Uint64(b[16:]) == info.ID && binary.LittleEndian.Uint64(b[24:]) == info.Codec
}

// checkSealed: a file that is complete has all its entries in sound writes.
func (s *segmentScan) checkSealed(info types.SegmentInfo) error {
	switch {
	case s.good == 0 || !s.header(info):
		return damaged(s.path, "its head does not match")
	case info.BaseIndex+s.entries <= info.MaxIndex || s.index != int64(info.IndexStart) || s.index > s.good:
		return damaged(s.path, "it is sound up to byte %d, and should have entries up to %d", s.good, info.MaxIndex)
	}
	return nil
}

// checkTorn tells damage from a write that a crash cut short: behind that there is nothing
// that was written later. Each write begins where the one before was synced, so a whole one behind
// the place where reading stopped says that what stands there had been there. next is the index of the
// entry that stands there.
func (s *segmentScan) checkTorn(next uint64) error {
	rest := make([]byte, s.size-s.good)
	if _, err := s.f.ReadAt(rest, s.good); err != nil && !errors.Is(err, io.EOF) {
		return s.fault(err)
	}
	if at, ok := wholeWrite(rest, next); ok {
		return damaged(s.path, "it cannot be read behind byte %d, and what was written later, at %d, can", s.good, s.good+int64(at))
	}
	return nil
}

// mostSummed and mostFrames bound the search for a whole write, in bytes and frames: messages may be made
// to look like one, and like the way to one.
const (
	mostSummed = 1 << 30
	mostFrames = 1 << 26
)

// wholeWrite looks for a write in the middle of b: frames that lead from behind one commit to
// another one whose checksum is that of all between, with an entry that may stand there when next is the
// first in b. Messages in b may hold the log of another node, or what was in this one earlier.
func wholeWrite(b []byte, next uint64) (at int, ok bool) {
	summed, frames := 0, 0
	for i := 0; i+walFrame <= len(b) && summed < mostSummed && frames < mostFrames; i += walFrame {
		if b[i] != frameCommit || b[i+1] != 0 || b[i+2] != 0 || b[i+3] != 0 {
			continue
		}
		write := b[i+walFrame:]
		if index, ok := firstIndex(write); !ok || index < next || index-next > uint64(i/walFrame) {
			continue
		}
		n, sum, ok := toCommit(write, &frames)
		if !ok {
			continue
		}
		summed += n
		if crc32.Checksum(write[:n], castagnoli) == sum {
			return i + walFrame, true
		}
	}
	return 0, false
}

// firstIndex is the index of the entry that a write begins with, as raft-wal's codec puts it there.
func firstIndex(b []byte) (index uint64, ok bool) {
	if len(b) <= walFrame || b[0] != frameEntry {
		return 0, false
	}
	index, n := binary.Uvarint(b[walFrame:])
	return index, n > 0
}

// toCommit follows frames to the next commit, which stands behind n bytes and holds a sum, and counts them.
func toCommit(b []byte, frames *int) (n int, sum uint32, ok bool) {
	for n+walFrame <= len(b) {
		*frames++
		number := binary.LittleEndian.Uint32(b[n+4:])
		switch b[n] {
		case frameEntry, frameIndex:
			if number > walMostEntry {
				return 0, 0, false
			}
			n += walFrame + (int(number)+walFrame-1)&^(walFrame-1)
		case frameCommit:
			return n, number, n > 0
		default:
			return 0, 0, false
		}
	}
	return 0, 0, false
}
