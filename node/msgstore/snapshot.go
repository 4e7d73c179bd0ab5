package msgstore

import (
	"errors"
	"fmt"
	"io"
	"maps"

	"github.com/hashicorp/raft"

	"warren/fsm/command"
)

// retain learns which segments the snapshots on disk name.
func (s *Store) retain() error {
	list, err := s.inner.List()
	if err != nil {
		return err
	}
	retained := make(map[string]map[uint64]bool)
	for _, meta := range list {
		s.mu.Lock()
		known := s.retained[meta.ID]
		s.mu.Unlock()
		if known == nil {
			if known, _, err = s.scan(meta.ID); err != nil {
				return err
			}
		}
		retained[meta.ID] = known
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retained = retained
	return nil
}

// scan reads a whole snapshot and returns the segments that it names, and the
// size of the stream that it is to another node. Each record is in its segment, as far as the
// sizes of the files tell.
func (s *Store) scan(id string) (segments map[uint64]bool, size int64, err error) {
	segments = make(map[uint64]bool)
	size = int64(containerHead + endSize)
	err = s.eachBlock(id, func(b block) error {
		size += bytesHead
		if b.kind == blockBytes {
			size += int64(len(b.data))
			return nil
		}
		segments[b.record.Segment] = true
		size += int64(b.record.Size)
		_, err := s.segment(b.record)
		return err
	})
	return segments, size, err
}

// eachBlock calls f with the blocks of a snapshot.
func (s *Store) eachBlock(id string, f func(block) error) error {
	_, rc, err := s.openInner(id)
	if err != nil {
		return err
	}
	defer rc.Close()
	blocks, err := newBlockReader(rc, localMagic, s.statePath(id))
	if err != nil {
		return err
	}
	for {
		b, err := blocks.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = f(b)
		}
		if err != nil {
			return err
		}
	}
}

// openInner opens a snapshot as it is on disk. Raft's store compares the checksum of the whole.
func (s *Store) openInner(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta, rc, err := s.inner.Open(id)
	switch {
	case err == nil:
		return meta, rc, nil
	case err.Error() == crcMismatch:
		return nil, nil, damaged(s.statePath(id), "its checksum does not match")
	}
	return nil, nil, fmt.Errorf("open snapshot %s: %w", id, err)
}

// crcMismatch is the text by which Raft's store says so.
const crcMismatch = "CRC mismatch"

// List implements raft.SnapshotStore.
func (s *Store) List() ([]*raft.SnapshotMeta, error) { return s.inner.List() }

// Open implements raft.SnapshotStore. The reader gives the snapshot as a stream
// for another node, with all records in it, and the size is that of the stream; Local
// gives what this node needs.
func (s *Store) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	segments, size, err := s.scan(id)
	if err != nil {
		return nil, nil, err
	}
	if err := s.acquire(segments); err != nil {
		return nil, nil, err
	}
	found, rc, err := s.openInner(id)
	if err != nil {
		s.release(segments)
		return nil, nil, err
	}
	meta := *found
	meta.Size = size
	return &meta, &Snapshot{s: s, id: id, rc: rc, segments: segments}, nil
}

// acquire keeps segments from being removed.
func (s *Store) acquire(segments map[uint64]bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := range segments {
		if s.segments[n] == nil {
			return damaged(s.fs.Path(segmentName(n)), "it is not there")
		}
	}
	for n := range segments {
		s.segments[n].readers++
	}
	return nil
}

func (s *Store) release(segments map[uint64]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := range segments {
		if g := s.segments[n]; g != nil {
			g.readers--
		}
	}
}

// A Snapshot is a snapshot on disk that is being read.
type Snapshot struct {
	s        *Store
	id       string
	rc       io.ReadCloser
	segments map[uint64]bool
	closed   bool

	blocks *blockReader
	out    chunk
	stream *blockWriter
	done   bool
}

// chunk is what was made of the stream and not read yet.
type chunk struct{ b []byte }

func (c *chunk) Write(p []byte) (int, error) {
	c.b = append(c.b, p...)
	return len(p), nil
}

// Local returns the snapshot as the machine of this node loads it: with
// references to records, each of which is in its segment, as far as the sizes of the files
// tell. Read must not be called before or after it.
func (v *Snapshot) Local() (command.RecordReader, error) {
	blocks, err := newBlockReader(v.rc, localMagic, v.s.statePath(v.id))
	if err != nil {
		return nil, err
	}
	check := func(r command.Record) error {
		_, err := v.s.segment(r)
		return err
	}
	return &recordReader{blocks: blocks, check: check}, nil
}

// Read gives the stream for another node.
func (v *Snapshot) Read(p []byte) (n int, err error) {
	if v.blocks == nil {
		if v.blocks, err = newBlockReader(v.rc, localMagic, v.s.statePath(v.id)); err != nil {
			return 0, err
		}
		v.stream = newBlockWriter(&v.out, streamMagic)
	}
	for len(v.out.b) == 0 {
		if v.done {
			return 0, io.EOF
		}
		v.out.b = v.out.b[:0]
		if err := v.fill(); err != nil {
			return 0, err
		}
	}
	n = copy(p, v.out.b)
	v.out.b = v.out.b[n:]
	return n, nil
}

// fill makes the next part of the stream.
func (v *Snapshot) fill() error {
	b, err := v.blocks.next()
	switch {
	case errors.Is(err, io.EOF):
		v.done = true
		return v.stream.end()
	case err != nil:
		return err
	case b.kind == blockBytes:
		v.stream.bytes(b.data)
	default:
		data, err := v.s.read(b.record)
		if err != nil {
			return err
		}
		v.stream.record(data)
	}
	return v.stream.flush()
}

// Close lets go of the snapshot.
func (v *Snapshot) Close() error {
	if v.closed {
		return nil
	}
	v.closed = true
	v.s.release(v.segments)
	return v.rc.Close()
}

// Create implements raft.SnapshotStore. What is written to the sink is a stream
// from another node; Begin is for the machine of this node.
func (s *Store) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	inner, err := s.inner.Create(version, index, term, configuration, configurationIndex, trans)
	if err != nil {
		return nil, err
	}
	return &Sink{s: s, inner: inner, out: newBlockWriter(inner, localMagic), named: make(map[uint64]bool)}, nil
}

// A Sink takes one new snapshot. It is used by one goroutine.
type Sink struct {
	s      *Store
	inner  raft.SnapshotSink
	out    *blockWriter
	stale  map[uint64]bool
	named  map[uint64]bool // segments
	local  bool
	closed bool
	err    error // of closing

	pipe     *io.PipeWriter // to the goroutine that takes a stream
	received chan error
	held     []command.Record // by a stream that is taken
}

// ID implements raft.SnapshotSink.
func (k *Sink) ID() string { return k.inner.ID() }

// Begin makes the sink one for a snapshot of this node's machine.
func (k *Sink) Begin() command.RecordWriter {
	k.local = true
	k.stale = k.s.stale()
	return (*localSink)(k)
}

// localSink is a Sink as the machine writes to it.
type localSink Sink

func (k *localSink) Write(b []byte) (int, error) {
	k.out.bytes(b)
	return len(b), k.out.err
}

func (k *localSink) Store(b []byte) (command.Record, error) { return k.s.store(b) }

func (k *localSink) Refer(r command.Record) error {
	k.named[r.Segment] = true
	k.out.refer(r)
	return k.out.err
}

func (k *localSink) Stale(r command.Record) bool { return k.stale[r.Segment] }

func (k *localSink) Read(r command.Record) ([]byte, error) { return k.s.read(r) }

// Write takes the stream of another node. Its records go to segments of this
// node at once.
func (k *Sink) Write(b []byte) (int, error) {
	if k.local {
		return 0, errors.New("a stream cannot be written to a snapshot of this node's machine")
	}
	if k.pipe == nil {
		r, w := io.Pipe()
		k.pipe, k.received = w, make(chan error, 1)
		go func() {
			err := k.receive(r)
			r.CloseWithError(err) // the writer learns of it
			k.received <- err
		}()
	}
	return k.pipe.Write(b)
}

// receive turns a stream into a local snapshot.
func (k *Sink) receive(r io.Reader) error {
	blocks, err := newBlockReader(r, streamMagic, "from another node")
	if err != nil {
		return err
	}
	var loose int64 // bytes that are not synced
	for {
		b, err := blocks.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case b.kind == blockBytes:
			k.out.bytes(b.data)
		default:
			record, err := k.s.store(b.data)
			if err != nil {
				return err
			}
			k.held = append(k.held, record)
			k.named[record.Segment] = true
			k.out.refer(record)
			loose += length(record)
		}
		// Gigabytes to sync at the end would hold up Raft.
		if loose >= k.s.cfg.SegmentBytes {
			if err := k.s.sync(); err != nil {
				return err
			}
			loose = 0
		}
		if k.out.err != nil {
			return k.out.err
		}
	}
}

// Close makes the snapshot and its records safe.
func (k *Sink) Close() error {
	if k.closed {
		return k.err
	}
	k.closed = true
	k.err = k.finish()
	if k.err != nil {
		k.err = errors.Join(fmt.Errorf("finish snapshot %s: %w", k.ID(), k.err), k.inner.Cancel())
	}
	k.letGo()
	return k.err
}

func (k *Sink) finish() error {
	if !k.local {
		if k.pipe == nil {
			return errors.New("nothing was written to it")
		}
		if err := errors.Join(k.pipe.Close(), <-k.received); err != nil {
			return err
		}
	}
	if err := k.out.end(); err != nil {
		return err
	}
	if err := k.s.sync(); err != nil {
		return err
	}
	// The name stands before the snapshot can be the newest one.
	k.s.mu.Lock()
	k.s.retained[k.ID()] = maps.Clone(k.named)
	k.s.mu.Unlock()
	err := k.inner.Close() // after an error it may be there all the same
	if err == nil {
		err = k.s.sumMeta(k.ID())
	}
	return errors.Join(err, k.s.retain())
}

// Cancel gives the snapshot up.
func (k *Sink) Cancel() error {
	if k.closed {
		return nil
	}
	k.closed = true
	if k.pipe != nil {
		k.pipe.CloseWithError(errors.New("the snapshot was cancelled"))
		<-k.received
	}
	k.letGo()
	return k.inner.Cancel()
}

// letGo gives up the hold of what was received: from now on the snapshot names it,
// or nothing does.
func (k *Sink) letGo() {
	for _, r := range k.held {
		k.s.Drop(r)
	}
	k.held = nil
}
