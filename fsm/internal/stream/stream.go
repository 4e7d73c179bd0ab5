// Package stream writes and reads the bytes of a state machine snapshot:
// unsigned varints and length-prefixed byte strings, followed by a CRC-64 of all
// that went before. It knows nothing of what the values mean.
package stream

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"math"
)

// Errors of reading. They are wrapped with what was being read.
var (
	ErrCorrupt  = errors.New("damaged snapshot")
	ErrChecksum = errors.New("snapshot checksum does not match")
)

var table = crc64.MakeTable(crc64.ECMA)

const bufferSize = 64 << 10

// A Writer buffers, counts and sums what is written. The first error of the
// underlying writer sticks, and Close returns it.
type Writer struct {
	w       io.Writer
	buf     []byte
	scratch []byte
	sum     uint64
	written int64
	err     error
	limit   int // of buf
}

// NewWriter returns a Writer on top of w.
func NewWriter(w io.Writer) *Writer {
	return &Writer{w: w, buf: make([]byte, 0, bufferSize), limit: bufferSize}
}

// NewBuffer returns a Writer that keeps what is written: see Buffered. size is a guess.
func NewBuffer(size int) *Writer {
	return &Writer{buf: make([]byte, 0, size), limit: math.MaxInt}
}

// Buffered returns what was written to a Writer of NewBuffer.
func (w *Writer) Buffered() []byte { return w.buf }

// Reset forgets what was written to a Writer of NewBuffer, and uses its memory again.
func (w *Writer) Reset() { w.buf = w.buf[:0] }

// Uint writes an unsigned varint.
func (w *Writer) Uint(v uint64) {
	if len(w.buf)+binary.MaxVarintLen64 > w.limit {
		w.flush()
	}
	w.buf = binary.AppendUvarint(w.buf, v)
}

// Byte writes one byte.
func (w *Writer) Byte(b byte) {
	if len(w.buf) == w.limit {
		w.flush()
	}
	w.buf = append(w.buf, b)
}

// Bytes writes a length and the bytes.
func (w *Writer) Bytes(b []byte) {
	w.Uint(uint64(len(b)))
	w.Raw(b)
}

// String writes a length and the bytes of a string.
func (w *Writer) String(s string) {
	w.Uint(uint64(len(s)))
	if len(w.buf)+len(s) > w.limit {
		w.Raw([]byte(s))
		return
	}
	w.buf = append(w.buf, s...)
}

// Encoded writes the length and bytes of what x appends of itself.
func (w *Writer) Encoded(x interface{ Append([]byte) []byte }) {
	w.scratch = x.Append(w.scratch[:0])
	w.Bytes(w.scratch)
}

// Raw writes bytes without a length.
func (w *Writer) Raw(b []byte) {
	if len(w.buf)+len(b) > w.limit {
		w.flush()
	}
	if len(b) >= w.limit {
		w.emit(b)
		return
	}
	w.buf = append(w.buf, b...)
}

// Flush hands all that was written to the underlying writer.
func (w *Writer) Flush() error {
	w.flush()
	return w.err
}

func (w *Writer) flush() {
	w.emit(w.buf)
	w.buf = w.buf[:0]
}

func (w *Writer) emit(b []byte) {
	if w.err != nil || len(b) == 0 {
		return
	}
	w.sum = crc64.Update(w.sum, table, b)
	n, err := w.w.Write(b)
	w.written += int64(n)
	w.err = err
}

// Fail makes err the writer's error if it has none yet.
func (w *Writer) Fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// Close writes the checksum and returns the number of bytes written in all, and
// the first error. It does not close the underlying writer.
func (w *Writer) Close() (int64, error) {
	w.flush()
	sum := binary.BigEndian.AppendUint64(nil, w.sum)
	w.emit(sum)
	return w.written, w.err
}

// Sum returns the checksum of all that was written so far.
func (w *Writer) Sum() uint64 {
	w.flush()
	return w.sum
}

// A Reader reads what a Writer wrote. After the first error all methods return
// zero values, and Err tells what it was, so that callers need not check each
// step; loops over counts that were read must check Err.
type Reader struct {
	r   *bufio.Reader
	sum uint64
	err error
	tmp [1]byte
}

// NewReader returns a Reader on top of r.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, bufferSize)} }

// Err returns the first error.
func (r *Reader) Err() error { return r.err }

// Fail records that the value just read makes no sense.
func (r *Reader) Fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
	}
}

// fault records an error of the underlying reader. A stream that ends early is
// a damaged one.
func (r *Reader) fault(err error) {
	if r.err != nil {
		return
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: it ends early", ErrCorrupt)
	}
	r.err = err
}

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if r.err != nil {
		return 0
	}
	b, err := r.r.ReadByte()
	if err != nil {
		r.fault(err)
		return 0
	}
	r.tmp[0] = b
	r.sum = crc64.Update(r.sum, table, r.tmp[:])
	return b
}

// Uint reads an unsigned varint.
func (r *Reader) Uint() uint64 {
	if r.err != nil {
		return 0
	}
	if v, ok := r.peekUint(); ok {
		return v
	}
	var v uint64
	for shift := 0; shift < 64; shift += 7 {
		b := r.Byte()
		if shift == 63 && b > 1 {
			break
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
	r.Fail("a number is too long")
	return 0
}

// peekUint reads a varint that lies whole in the buffer.
func (r *Reader) peekUint() (uint64, bool) {
	b, err := r.r.Peek(binary.MaxVarintLen64)
	if err != nil {
		return 0, false
	}
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, false
	}
	r.sum = crc64.Update(r.sum, table, b[:n])
	_, err = r.r.Discard(n)
	return v, err == nil
}

// Bounded reads a varint that must not exceed most.
func (r *Reader) Bounded(most uint64) uint64 {
	v := r.Uint()
	if v > most {
		r.Fail("number %d is more than %d", v, most)
		return 0
	}
	return v
}

// Flags reads one byte, of which only the bits in mask may be set.
func (r *Reader) Flags(mask byte) byte {
	b := r.Byte()
	if b&^mask != 0 {
		r.Fail("unknown flags %#x", b)
		return 0
	}
	return b
}

// Bytes reads a length and so many new bytes. Memory is taken only as bytes
// arrive, so that a damaged length does no harm.
func (r *Reader) Bytes() []byte {
	return r.Raw(r.Uint())
}

// Raw reads n new bytes.
func (r *Reader) Raw(n uint64) []byte {
	if r.err != nil || n == 0 {
		return nil
	}
	const step = 1 << 20
	b := make([]byte, 0, min(n, step))
	for uint64(len(b)) < n {
		at := len(b)
		b = append(b, make([]byte, min(n-uint64(at), step))...)
		if _, err := io.ReadFull(r.r, b[at:]); err != nil {
			r.fault(err)
			return nil
		}
		r.sum = crc64.Update(r.sum, table, b[at:])
	}
	return b
}

// String reads a length and a string.
func (r *Reader) String() string { return string(r.Bytes()) }

// More reports whether there are bytes left to read, and no error yet.
func (r *Reader) More() bool {
	if r.err != nil {
		return false
	}
	_, err := r.r.Peek(1)
	return err == nil
}

// End returns the first error; bytes that were not read are one.
func (r *Reader) End() error {
	if r.More() {
		r.Fail("bytes are left over")
	}
	return r.err
}

// Close reads the checksum and compares it. It returns the first error.
func (r *Reader) Close() error {
	if r.err != nil {
		return r.err
	}
	want := r.sum
	var b [8]byte
	if _, err := io.ReadFull(r.r, b[:]); err != nil {
		r.fault(err)
		return r.err
	}
	if binary.BigEndian.Uint64(b[:]) != want {
		r.err = ErrChecksum
	}
	return r.err
}
