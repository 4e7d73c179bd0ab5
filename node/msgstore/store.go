package msgstore

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/hashicorp/raft"

	"warren/fsm/command"
)

// DefaultSegmentBytes is about the size of a segment file.
const DefaultSegmentBytes = 64 << 20

// Config says where a Store keeps its files.
type Config struct {
	Dir          string       // made when missing
	SegmentBytes int64        // after which a new segment begins; default DefaultSegmentBytes
	Logger       *slog.Logger // default slog.Default()

	FS        FS                 // replaces the files of segments in Dir
	Snapshots raft.SnapshotStore // replaces the files of snapshots in Dir; it has to keep one
}

// A Store is the message store of one node. Its methods may be called from any
// goroutine.
type Store struct {
	cfg   Config
	fs    FS
	inner raft.SnapshotStore
	log   *slog.Logger
	ahead *ahead

	snapshots string // directory of the files of snapshots; empty when Config.Snapshots keeps them

	mu       sync.Mutex
	segments map[uint64]*segment
	active   *segment // gets new records; nil: a new one is to be made
	last     uint64   // number of the newest segment
	made     bool     // segments were made since the directory was synced
	scratch  []byte
	retained map[string]map[uint64]bool // segments that the snapshots on disk name
	closed   bool
}

var (
	_ command.Records    = (*Store)(nil)
	_ raft.SnapshotStore = (*Store)(nil)
)

// Open opens the store of a node, or makes one.
func Open(cfg Config) (*Store, error) {
	if cfg.SegmentBytes == 0 {
		cfg.SegmentBytes = DefaultSegmentBytes
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	s := &Store{
		cfg: cfg, fs: cfg.FS, inner: cfg.Snapshots, log: cfg.Logger,
		segments: make(map[uint64]*segment), retained: make(map[string]map[uint64]bool),
	}
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open message store: %w", err), s.closeFiles())
	}
	s.ahead = newAhead(s.read)
	return s, nil
}

func (s *Store) open() (err error) {
	if s.fs == nil {
		if s.fs, err = Directory(s.cfg.Dir); err != nil {
			return err
		}
	}
	names, err := s.fs.List()
	if err != nil {
		return err
	}
	for _, name := range names {
		number, ok := segmentNumber(name)
		if !ok {
			continue
		}
		g, err := openSegment(s.fs, number)
		if err != nil {
			return err
		}
		s.segments[number] = g
		s.last = max(s.last, number)
	}
	if s.inner == nil {
		s.snapshots = filepath.Join(s.cfg.Dir, "snapshots")
		if err := removeUnfinished(s.snapshots); err != nil {
			return err
		}
		if err := checkSnapshots(s.snapshots); err != nil {
			return err
		}
		s.inner, err = raft.NewFileSnapshotStore(s.cfg.Dir, 1, raftLog{s.log})
		if err != nil {
			return err
		}
	}
	return s.retain()
}

// removeUnfinished removes the snapshots that a crash left half written, which
// Raft's store would keep.
func removeUnfinished(dir string) error {
	unfinished, err := filepath.Glob(filepath.Join(dir, "*.tmp"))
	for _, path := range unfinished {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}

// Close closes the files. Nothing may be called afterwards.
func (s *Store) Close() error {
	s.ahead.close()
	return s.closeFiles()
}

func (s *Store) closeFiles() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, g := range s.segments {
		errs = append(errs, g.file.Close())
	}
	s.segments, s.active, s.closed = nil, nil, true
	return errors.Join(errs...)
}

// Read implements command.Records.
func (s *Store) Read(r command.Record) ([]byte, error) {
	if b, ok := s.ahead.take(r); ok {
		return b, nil
	}
	return s.read(r)
}

func (s *Store) read(r command.Record) ([]byte, error) {
	g, err := s.segment(r)
	if err != nil {
		return nil, err
	}
	return g.read(r)
}

// segment returns the segment that a record is in.
func (s *Store) segment(r command.Record) (*segment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.segments[r.Segment]
	if g == nil {
		return nil, damaged(s.fs.Path(segmentName(r.Segment)), "it is not there")
	}
	return g, g.check(r)
}

// Ahead implements command.Records.
func (s *Store) Ahead(r command.Record) { s.ahead.ask(r) }

// Hold implements command.Records.
func (s *Store) Hold(r command.Record) { s.count(r, length(r)) }

// Drop implements command.Records. The space is given back by Collect.
func (s *Store) Drop(r command.Record) { s.count(r, -length(r)) }

func (s *Store) count(r command.Record, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.segments[r.Segment]; g != nil {
		g.live += bytes
	}
}

// store writes a new record, which is held.
func (s *Store) store(b []byte) (command.Record, error) {
	if uint64(len(b)) >= 1<<32 {
		return command.Record{}, fmt.Errorf("a record of %d bytes is too large", len(b))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return command.Record{}, errors.New("message store is closed")
	}
	if s.active == nil || s.active.full || s.active.size >= s.cfg.SegmentBytes {
		if err := s.roll(); err != nil {
			return command.Record{}, err
		}
	}
	r, scratch, err := s.active.append(s.scratch, b)
	if s.scratch = scratch; cap(scratch) > 4<<20 {
		s.scratch = nil
	}
	if err != nil {
		return r, err
	}
	s.active.live += length(r)
	return r, nil
}

// roll begins a new segment.
func (s *Store) roll() error {
	if s.active != nil {
		s.active.full = true
	}
	s.active = nil
	s.last++
	g, err := createSegment(s.fs, s.last)
	if err != nil {
		return err
	}
	s.active, s.segments[g.number], s.made = g, g, true
	return nil
}

// sync makes all records safe.
func (s *Store) sync() error {
	s.mu.Lock()
	var dirty []*segment
	for _, g := range s.segments {
		if g.dirty {
			dirty = append(dirty, g)
			g.dirty = false
		}
	}
	made := s.made
	s.made = false
	s.mu.Unlock()
	var err error
	for _, g := range dirty {
		err = errors.Join(err, g.file.Sync())
	}
	if made {
		err = errors.Join(err, s.fs.Sync())
	}
	if err == nil {
		return nil
	}
	// What the kernel could not write it may have forgotten: nothing is
	// appended to these any more, and what was is given up with the snapshot.
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range dirty {
		g.dirty, g.full = true, true
	}
	s.made = s.made || made
	return fmt.Errorf("sync segments: %w", err)
}

// Usage returns the bytes of the segment files and of the records in them that
// are in use.
func (s *Store) Usage() (total, live int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usage()
}

// Wasteful reports whether a checkpoint would give back disk by an amount that is
// worth it: files that hold nothing in use, or more than half of all.
func (s *Store) Wasteful() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	var idle int64
	for _, g := range s.segments {
		if g.live == 0 {
			idle += g.size
		}
	}
	total, live := s.usage()
	return idle > s.cfg.SegmentBytes/4 || total-live > live+s.cfg.SegmentBytes
}

func (s *Store) usage() (total, live int64) {
	for _, g := range s.segments {
		total += g.size
		live += g.live
	}
	return total, live
}

// stale returns the segments whose records a checkpoint is to store anew, so that
// the files can go: those that hold less in use than not. There are none while little is to be
// gained. When more than half of all is not in use there is one.
func (s *Store) stale() map[uint64]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	total, live := s.usage()
	if total-live <= max(live/2, s.cfg.SegmentBytes) {
		return nil
	}
	found := make(map[uint64]bool)
	for n, g := range s.segments {
		if 2*g.live > g.size {
			continue
		}
		found[n] = true
		g.full = true
	}
	return found
}

// Collect removes the segments of which no record is in use and that no snapshot
// on disk names. It is called when a checkpoint has come to its end.
func (s *Store) Collect() error {
	s.mu.Lock()
	var gone []*segment
	for n, g := range s.segments {
		if g.live != 0 || g.readers > 0 || s.named(n) {
			continue
		}
		gone = append(gone, g)
		delete(s.segments, n)
		if g == s.active {
			s.active = nil
		}
	}
	s.mu.Unlock()
	var errs []error
	for _, g := range gone {
		errs = append(errs, g.file.Close(), s.fs.Remove(segmentName(g.number)))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove segments: %w", err)
	}
	return nil
}

func (s *Store) named(number uint64) bool {
	for _, segments := range s.retained {
		if segments[number] {
			return true
		}
	}
	return false
}
