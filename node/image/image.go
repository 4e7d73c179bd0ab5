// Package image is the file of a backup: what it is, the stream of one snapshot, and
// a checksum of both, so that a file that was cut off or changed is never taken for a
// whole one. It streams in both directions, and knows neither the cluster nor what a
// snapshot means.
package image

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
)

// An image is, with numbers big endian:
//
//	"WARRENBK", version (1 byte), length of the head (4), head (JSON), body, SHA-256 of all before (32)
//
// The head tells the length of the body.
const (
	magic    = "WARRENBK"
	version  = 1
	fixed    = len(magic) + 1 + 4
	mostHead = 64 << 10 // bytes
)

// Errors of Open and of reading a file.
var (
	ErrNotImage = errors.New("not a backup of Warren")
	ErrVersion  = errors.New("backup of a version that this program does not know")
	ErrDamaged  = errors.New("damaged backup")
)

// A Head says what an image is of.
type Head struct {
	ClusterName string    `json:"cluster_name"`
	ClusterID   string    `json:"cluster_id"`
	Node        string    `json:"node"`    // name of the node that wrote it
	Version     string    `json:"version"` // of its program
	Index       uint64    `json:"index"`   // of the log: all up to it is in the image
	Term        uint64    `json:"term"`    // of that entry
	Taken       time.Time `json:"taken"`   // by the clock of the node
	Bytes       int64     `json:"bytes"`   // of the body
}

// encoded is all that stands before the body.
func (h *Head) encoded() ([]byte, error) {
	text, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("head of the backup: %w", err)
	}
	if len(text) > mostHead || h.Bytes < 0 {
		return nil, fmt.Errorf("head of the backup: %d bytes before a body of %d", len(text), h.Bytes)
	}
	b := append([]byte(magic), version)
	b = binary.BigEndian.AppendUint32(b, uint32(len(text)))
	return append(b, text...), nil
}

// New returns the image of a body, of which h.Bytes are read, and the size of the
// image. A body that ends early is an error of reading.
func New(h Head, body io.Reader) (image io.Reader, size int64, err error) {
	head, err := h.encoded()
	if err != nil {
		return nil, 0, err
	}
	sum := sha256.New()
	w := &writer{sum: sum, parts: io.TeeReader(io.MultiReader(bytes.NewReader(head), &exactly{from: body, left: h.Bytes}), sum)}
	return w, int64(len(head)) + h.Bytes + sha256.Size, nil
}

// writer reads what is to be written, and the checksum behind it.
type writer struct {
	parts io.Reader
	sum   hash.Hash
	tail  *bytes.Reader // nil: not reached
}

func (w *writer) Read(p []byte) (int, error) {
	if w.tail != nil {
		return w.tail.Read(p)
	}
	n, err := w.parts.Read(p)
	if errors.Is(err, io.EOF) {
		w.tail = bytes.NewReader(w.sum.Sum(nil))
		err = nil
	}
	return n, err
}

// exactly reads so many bytes, and no less.
type exactly struct {
	from io.Reader
	left int64
}

func (e *exactly) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.from.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	if errors.Is(err, io.EOF) {
		err = nil
		if e.left > 0 {
			err = io.ErrUnexpectedEOF
		}
	}
	return n, err
}

// A File is an image that is being read. Reading it gives the body, and io.EOF only when
// the checksum was right and nothing stands behind it.
type File struct {
	Head Head

	from io.Reader
	body io.Reader
	sum  hash.Hash
	end  error // what follows the body; nil: not reached
}

// Open reads the head of an image. Its errors, and those of reading the File, are
// ErrNotImage, ErrVersion, ErrDamaged, and those of from.
func Open(from io.Reader) (*File, error) {
	f := &File{from: from, sum: sha256.New()}
	hashed := io.TeeReader(from, f.sum)
	var b [fixed]byte
	if _, err := io.ReadFull(hashed, b[:]); err != nil {
		if cut(err) {
			return nil, fmt.Errorf("%w: it is shorter than the head of one", ErrNotImage)
		}
		return nil, fmt.Errorf("read backup: %w", err)
	}
	if string(b[:len(magic)]) != magic {
		return nil, fmt.Errorf("%w: it does not begin as one", ErrNotImage)
	}
	if v := b[len(magic)]; v != version {
		return nil, fmt.Errorf("%w: %d, and %d is known", ErrVersion, v, version)
	}
	size := binary.BigEndian.Uint32(b[len(magic)+1:])
	if size > mostHead {
		return nil, fmt.Errorf("%w: a head of %d bytes", ErrDamaged, size)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(hashed, text); err != nil {
		return nil, ended(err)
	}
	if err := json.Unmarshal(text, &f.Head); err != nil {
		return nil, fmt.Errorf("%w: its head: %w", ErrDamaged, err)
	}
	if f.Head.Bytes < 0 {
		return nil, fmt.Errorf("%w: a body of %d bytes", ErrDamaged, f.Head.Bytes)
	}
	f.body = &exactly{from: hashed, left: f.Head.Bytes}
	return f, nil
}

func (f *File) Read(p []byte) (int, error) {
	if f.end != nil {
		return 0, f.end
	}
	n, err := f.body.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		f.end = f.finish()
		err = f.end
	case err != nil:
		f.end = ended(err)
		err = f.end
	}
	return n, err
}

// finish checks what stands behind the body.
func (f *File) finish() error {
	want := f.sum.Sum(nil)
	got := make([]byte, len(want)+1)
	switch n, err := io.ReadFull(f.from, got); {
	case err == nil:
		return fmt.Errorf("%w: something stands behind its end", ErrDamaged)
	case !cut(err):
		return fmt.Errorf("read backup: %w", err)
	case n < len(want):
		return fmt.Errorf("%w: it is cut off", ErrDamaged)
	case !bytes.Equal(got[:n], want):
		return fmt.Errorf("%w: its checksum does not match", ErrDamaged)
	}
	return io.EOF
}

func cut(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// ended is the error of a file that goes on no longer where it should.
func ended(err error) error {
	if cut(err) {
		return fmt.Errorf("%w: it is cut off", ErrDamaged)
	}
	return fmt.Errorf("read backup: %w", err)
}
