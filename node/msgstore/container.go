package msgstore

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"warren/fsm/command"
)

// A snapshot is a sequence of blocks behind what it is and its version: bytes of
// the machine, and records. On the node's disk a record is a reference to a segment; in a
// stream to another node it is the record itself. Numbers are big endian, checksums CRC-32C.
//
//	'B', length (4), checksum (4), bytes
//	'R', segment (8), offset (8), size (4), checksum of these (4)
//	'P', size (4), checksum (4), bytes of a record
//	'E', number of records (8), checksum of it (4)
const (
	localMagic       = "WARRENLS"
	streamMagic      = "WARRENSS"
	containerVersion = 1
	containerHead    = len(localMagic) + 1

	blockBytes  = 'B'
	blockRefer  = 'R'
	blockRecord = 'P'
	blockEnd    = 'E'

	bytesHead = 9
	referSize = 1 + 20 + 4
	endSize   = 1 + 8 + 4
	mostBytes = 1 << 20 // in a block of bytes
)

var (
	errSnapshot        = errors.New("damaged snapshot")
	errSnapshotVersion = errors.New("snapshot of an unknown version")
)

// A blockWriter writes a snapshot. Its first error sticks.
type blockWriter struct {
	w       *bufio.Writer
	records uint64
	err     error
}

func newBlockWriter(w io.Writer, magic string) *blockWriter {
	b := &blockWriter{w: bufio.NewWriterSize(w, 256<<10)}
	b.put([]byte(magic))
	b.put([]byte{containerVersion})
	return b
}

func (b *blockWriter) put(p []byte) {
	if b.err == nil {
		_, b.err = b.w.Write(p)
	}
}

func (b *blockWriter) bytes(p []byte) {
	for len(p) > 0 {
		n := min(len(p), mostBytes)
		b.framed(blockBytes, p[:n])
		p = p[n:]
	}
}

func (b *blockWriter) record(p []byte) {
	b.records++
	b.framed(blockRecord, p)
}

func (b *blockWriter) framed(kind byte, p []byte) {
	var head [bytesHead]byte
	head[0] = kind
	binary.BigEndian.PutUint32(head[1:], uint32(len(p)))
	binary.BigEndian.PutUint32(head[5:], crc32.Checksum(p, castagnoli))
	b.put(head[:])
	b.put(p)
}

func (b *blockWriter) refer(r command.Record) {
	b.records++
	var p [referSize]byte
	p[0] = blockRefer
	binary.BigEndian.PutUint64(p[1:], r.Segment)
	binary.BigEndian.PutUint64(p[9:], r.Offset)
	binary.BigEndian.PutUint32(p[17:], r.Size)
	binary.BigEndian.PutUint32(p[21:], crc32.Checksum(p[1:21], castagnoli))
	b.put(p[:])
}

// end writes the last block.
func (b *blockWriter) end() error {
	var p [endSize]byte
	p[0] = blockEnd
	binary.BigEndian.PutUint64(p[1:], b.records)
	binary.BigEndian.PutUint32(p[9:], crc32.Checksum(p[1:9], castagnoli))
	b.put(p[:])
	return b.flush()
}

func (b *blockWriter) flush() error {
	if b.err == nil {
		b.err = b.w.Flush()
	}
	return b.err
}

// A block is one block of a snapshot.
type block struct {
	kind   byte
	data   []byte         // of blockBytes and blockRecord
	record command.Record // of blockRefer
}

// A blockReader reads a snapshot.
type blockReader struct {
	r       *bufio.Reader
	name    string // for errors
	file    bool   // it is one of this node, of that name
	kinds   string // that may stand in it
	records uint64
	ended   bool
}

// newBlockReader reads the head of a snapshot.
func newBlockReader(r io.Reader, magic, name string) (*blockReader, error) {
	b := &blockReader{r: bufio.NewReaderSize(r, 256<<10), name: name, file: magic == localMagic, kinds: string([]byte{blockBytes, blockRefer, blockEnd})}
	if magic == streamMagic {
		b.kinds = string([]byte{blockBytes, blockRecord, blockEnd})
	}
	var head [containerHead]byte
	if _, err := io.ReadFull(b.r, head[:]); err != nil {
		return nil, b.fault(err)
	}
	if string(head[:len(magic)]) != magic {
		return nil, b.failed("it does not begin as a snapshot does")
	}
	if v := head[len(magic)]; v != containerVersion {
		return nil, fmt.Errorf("%w: %s is of version %d, this program knows %d", errSnapshotVersion, name, v, containerVersion)
	}
	return b, nil
}

func (b *blockReader) failed(format string, args ...any) error {
	if b.file {
		return damaged(b.name, format, args...)
	}
	return fmt.Errorf("%w %s: %s", errSnapshot, b.name, fmt.Sprintf(format, args...))
}

// fault makes an error of one of the reader below. One that ends early is damaged.
func (b *blockReader) fault(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return b.failed("it ends early")
	}
	return fmt.Errorf("read snapshot %s: %w", b.name, err)
}

// next returns the next block, and io.EOF behind the last one.
func (b *blockReader) next() (block, error) {
	if b.ended {
		return block{}, io.EOF
	}
	kind, err := b.r.ReadByte()
	if err != nil {
		return block{}, b.fault(err)
	}
	found := false
	for i := range len(b.kinds) {
		found = found || b.kinds[i] == kind
	}
	if !found {
		return block{}, b.failed("a block is of kind %#x", kind)
	}
	switch kind {
	case blockBytes, blockRecord:
		return b.framed(kind)
	case blockRefer:
		return b.referred()
	default:
		return block{}, b.last()
	}
}

func (b *blockReader) framed(kind byte) (block, error) {
	var head [bytesHead - 1]byte
	if _, err := io.ReadFull(b.r, head[:]); err != nil {
		return block{}, b.fault(err)
	}
	size, sum := binary.BigEndian.Uint32(head[:]), binary.BigEndian.Uint32(head[4:])
	if kind == blockRecord {
		b.records++
	} else if size > mostBytes {
		return block{}, b.failed("a block has %d bytes", size)
	}
	data, err := b.take(int(size))
	if err != nil {
		return block{}, b.fault(err)
	}
	if crc32.Checksum(data, castagnoli) != sum {
		return block{}, b.failed("a checksum does not match")
	}
	return block{kind: kind, data: data}, nil
}

// take reads n bytes. Memory is taken only as bytes arrive.
func (b *blockReader) take(n int) ([]byte, error) {
	data := make([]byte, 0, min(n, 2*mostBytes))
	for len(data) < n {
		at := len(data)
		data = append(data, make([]byte, min(n-at, 2*mostBytes))...)
		if _, err := io.ReadFull(b.r, data[at:]); err != nil {
			return nil, err
		}
	}
	return data, nil
}

func (b *blockReader) referred() (block, error) {
	var p [referSize - 1]byte
	if _, err := io.ReadFull(b.r, p[:]); err != nil {
		return block{}, b.fault(err)
	}
	if crc32.Checksum(p[:20], castagnoli) != binary.BigEndian.Uint32(p[20:]) {
		return block{}, b.failed("a checksum does not match")
	}
	b.records++
	return block{kind: blockRefer, record: command.Record{
		Segment: binary.BigEndian.Uint64(p[0:]),
		Offset:  binary.BigEndian.Uint64(p[8:]),
		Size:    binary.BigEndian.Uint32(p[16:]),
	}}, nil
}

func (b *blockReader) last() error {
	var p [endSize - 1]byte
	if _, err := io.ReadFull(b.r, p[:]); err != nil {
		return b.fault(err)
	}
	if crc32.Checksum(p[:8], castagnoli) != binary.BigEndian.Uint32(p[8:]) {
		return b.failed("a checksum does not match")
	}
	if n := binary.BigEndian.Uint64(p[:]); n != b.records {
		return b.failed("it has %d records of %d", b.records, n)
	}
	if _, err := b.r.ReadByte(); !errors.Is(err, io.EOF) {
		return b.failed("something stands behind its end")
	}
	b.ended = true
	return io.EOF
}

// recordReader is a local snapshot as the machine reads it.
type recordReader struct {
	blocks  *blockReader
	check   func(command.Record) error // whether the record is there
	bytes   []byte
	records []command.Record // that stood before the bytes read so far
}

// Read implements command.RecordReader.
func (r *recordReader) Read(p []byte) (int, error) {
	for len(r.bytes) == 0 {
		if err := r.block(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.bytes)
	r.bytes = r.bytes[n:]
	return n, nil
}

// Next implements command.RecordReader.
func (r *recordReader) Next() (command.Record, error) {
	if len(r.records) == 0 {
		return command.Record{}, r.blocks.failed("a record is missing")
	}
	next := r.records[0]
	r.records = r.records[1:]
	return next, nil
}

func (r *recordReader) block() error {
	b, err := r.blocks.next()
	if err != nil {
		return err
	}
	if b.kind == blockBytes {
		r.bytes = b.data
		return nil
	}
	if err := r.check(b.record); err != nil {
		return err
	}
	r.records = append(r.records, b.record)
	return nil
}
