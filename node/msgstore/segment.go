package msgstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"

	"warren/fsm/command"
)

// A segment file begins with what it is and the version of its format, and holds
// records: size and CRC-32C of the bytes, 4 bytes each, big endian, and the bytes. It is
// never appended to by another process than the one that made it: what a crash left at
// its end is referred to by nothing.
const (
	segmentMagic   = "WARRENSG"
	segmentVersion = 1
	segmentHead    = len(segmentMagic) + 1
	recordHead     = 8
	segmentSuffix  = ".seg"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrDamaged says that a file of the node is not as it was written. The way out:
// stop the node, remove its data directory, and let it join the cluster again.
var ErrDamaged = errors.New("damaged message store")

// damaged makes an error of a file.
func damaged(path, format string, args ...any) error {
	return fmt.Errorf("%w: file %s: %s", ErrDamaged, path, fmt.Sprintf(format, args...))
}

// A segment is one file of records.
type segment struct {
	number  uint64
	path    string
	file    File
	size    int64 // bytes, the head included
	live    int64 // bytes of the records that are held, their heads included
	readers int   // snapshots that are being sent
	dirty   bool  // has what is not synced
	full    bool  // gets no more records
	err     error // it cannot be used: its head is damaged, or cannot be read
}

func segmentName(number uint64) string { return fmt.Sprintf("%016x%s", number, segmentSuffix) }

// segmentNumber returns the number of a segment file; ok is false for other files.
func segmentNumber(name string) (number uint64, ok bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != 16 {
		return 0, false
	}
	number, err := strconv.ParseUint(digits, 16, 64)
	return number, err == nil && number > 0
}

func createSegment(fs FS, number uint64) (*segment, error) {
	name := segmentName(number)
	f, err := fs.Create(name)
	if err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	g := &segment{number: number, path: fs.Path(name), file: f, dirty: true}
	head := append([]byte(segmentMagic), segmentVersion)
	if _, err := f.Write(head); err != nil {
		return nil, errors.Join(fmt.Errorf("write segment: %w", err), f.Close(), fs.Remove(name))
	}
	g.size = int64(len(head))
	return g, nil
}

// openSegment opens a file that an earlier process wrote. Damage is told when the
// segment is used, as it may not be needed.
func openSegment(fs FS, number uint64) (*segment, error) {
	name := segmentName(number)
	f, err := fs.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	g := &segment{number: number, path: fs.Path(name), file: f, full: true}
	if g.size, err = f.Size(); err != nil {
		return nil, errors.Join(fmt.Errorf("open segment: %w", err), f.Close())
	}
	var head [segmentHead]byte
	if _, err := f.ReadAt(head[:], 0); errors.Is(err, io.EOF) {
		g.err = damaged(g.path, "it ends within its head")
	} else if err != nil {
		g.err = fmt.Errorf("read the head of %s: %w", g.path, err)
	} else if string(head[:len(segmentMagic)]) != segmentMagic {
		g.err = damaged(g.path, "it is no segment of messages")
	} else if v := head[len(segmentMagic)]; v != segmentVersion {
		g.err = fmt.Errorf("%w: file %s is of version %d, this program knows %d", ErrDamaged, g.path, v, segmentVersion)
	}
	return g, nil
}

// append writes a record. After an error the segment gets no more.
func (g *segment) append(scratch, b []byte) (r command.Record, buf []byte, err error) {
	buf = binary.BigEndian.AppendUint32(scratch[:0], uint32(len(b)))
	buf = binary.BigEndian.AppendUint32(buf, crc32.Checksum(b, castagnoli))
	buf = append(buf, b...)
	g.dirty = true
	if _, err := g.file.Write(buf); err != nil {
		g.full = true
		return r, buf, fmt.Errorf("write segment: %w", err)
	}
	r = command.Record{Segment: g.number, Offset: uint64(g.size), Size: uint32(len(b))}
	g.size += int64(len(buf))
	return r, buf, nil
}

// check says whether a record can be in the segment.
func (g *segment) check(r command.Record) error {
	if g.err != nil {
		return g.err
	}
	if r.Offset < uint64(segmentHead) || r.Offset > uint64(g.size) || uint64(g.size)-r.Offset < recordHead+uint64(r.Size) {
		return damaged(g.path, "it ends at %d, and is to have a record of %d bytes at %d", g.size, r.Size, r.Offset)
	}
	return nil
}

// read reads a record. It may be called beside append.
func (g *segment) read(r command.Record) ([]byte, error) {
	b := make([]byte, recordHead+int(r.Size))
	if _, err := g.file.ReadAt(b, int64(r.Offset)); err != nil {
		return nil, fmt.Errorf("read %s at %d: %w", g.path, r.Offset, err)
	}
	size, sum := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	b = b[recordHead:]
	if size != r.Size || sum != crc32.Checksum(b, castagnoli) {
		return nil, damaged(g.path, "the record at %d does not match its checksum", r.Offset)
	}
	return b, nil
}

func length(r command.Record) int64 { return recordHead + int64(r.Size) }
