package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// InitialFrameMax is the frame-max that holds before tune-ok, in bytes; the
	// specification demands 4096, RabbitMQ allows 8192 by default (initial_frame_max).
	InitialFrameMax = 8192

	minReadBuffer = 4 << 10
	maxReadBuffer = 256 << 10 // grown beyond only for a frame that is larger
	maxEmptyReads = 100
)

// A Reader reads frames. Its buffer grows with the traffic, so that one read of a
// busy connection brings many frames while an idle one holds 4 KiB, and shrinks
// again. It is not safe for concurrent use.
type Reader struct {
	r        io.Reader
	buf      []byte
	from, to int    // unread bytes are buf[from:to]
	frameMax int    // 0: no limit
	read     uint64 // bytes taken from r
	average  int    // moving average of the bytes that a read brought
	lost     error  // the position in the stream is lost: every further read fails
}

// NewReader returns a Reader of r with a frame-max of InitialFrameMax.
func NewReader(r io.Reader) *Reader {
	return &Reader{r: r, buf: make([]byte, minReadBuffer), frameMax: InitialFrameMax}
}

// SetFrameMax sets the largest frame that is accepted, in bytes with header and
// end octet; 0 means no limit. As in RabbitMQ the limit is not sharp: up to 8
// bytes more pass, since many clients count wrong.
func (r *Reader) SetFrameMax(n int) { r.frameMax = n }

// Buffered returns the number of bytes that are read and not yet returned.
func (r *Reader) Buffered() int { return r.to - r.from }

// BytesRead returns the number of bytes taken from the underlying reader.
func (r *Reader) BytesRead() uint64 { return r.read }

// FrameBuffered reports whether ReadFrame would return without reading: a whole
// frame, or an error, is in the buffer.
func (r *Reader) FrameBuffered() bool {
	if r.lost != nil {
		return true
	}
	b := r.buf[r.from:r.to]
	if len(b) < frameHeaderSize {
		return false
	}
	size := binary.BigEndian.Uint32(b[3:])
	return r.tooLarge(size) || uint64(len(b)) >= uint64(size)+FrameOverhead
}

func (r *Reader) tooLarge(size uint32) bool {
	return r.frameMax > 0 && uint64(size) > uint64(r.frameMax)
}

// ReadFrame returns the next frame. Its payload is valid until the next call that
// has to read: as long as FrameBuffered reports true the buffer is not touched, so
// the frames of one read may be handled together.
//
// A length beyond frame-max and a wrong end octet are an *Error, 501 FRAME_ERROR;
// the stream is lost then, and every further call returns the same. A frame of
// an unknown type, or a heartbeat with a payload, is returned with a 501 too, but
// reading may go on. The length is compared before anything is allocated or
// waited for.
//
// An error of the underlying reader is returned as it is (io.EOF between frames,
// io.ErrUnexpectedEOF inside one) and loses nothing: after a timeout ReadFrame may
// be called again.
func (r *Reader) ReadFrame() (Frame, error) {
	if r.lost != nil {
		return Frame{}, r.lost
	}
	if r.from == r.to {
		r.restart()
	}
	for {
		f, n, err := r.next()
		if n > 0 {
			r.from += n
			return f, err
		}
		if err != nil {
			r.lost = err
			return f, err
		}
		if err := r.fill(); err != nil {
			return Frame{}, err
		}
	}
}

// next looks for a whole frame in the buffer and returns it with its size, or 0
// when there is none yet or the stream is lost.
func (r *Reader) next() (f Frame, n int, err error) {
	b := r.buf[r.from:r.to]
	if len(b) < frameHeaderSize {
		return Frame{}, 0, nil
	}
	f = Frame{Type: b[0], Channel: binary.BigEndian.Uint16(b[1:])}
	size := binary.BigEndian.Uint32(b[3:])
	if r.tooLarge(size) {
		what := fmt.Sprintf("{frame_too_large,%d,%d}", size, r.frameMax-FrameOverhead)
		return f, 0, frameError(f, what)
	}
	if uint64(len(b)) < uint64(size)+FrameOverhead {
		return Frame{}, 0, nil
	}
	end := frameHeaderSize + int(size)
	f.Payload = b[frameHeaderSize:end:end]
	if b[end] != FrameEnd {
		return f, 0, frameError(f, fmt.Sprintf("{invalid_frame_end_marker,%d}", b[end]))
	}
	switch f.Type {
	case FrameMethod, FrameHeader, FrameBody:
	case FrameHeartbeat:
		if size != 0 {
			return f, end + 1, unknownFrame(f)
		}
	default:
		return f, end + 1, unknownFrame(f)
	}
	return f, end + 1, nil
}

// restart makes an empty buffer empty from its start, of a size that suits the
// last reads.
func (r *Reader) restart() {
	r.from, r.to = 0, 0
	if len(r.buf) > minReadBuffer && r.average < len(r.buf)/8 {
		r.buf = make([]byte, max(len(r.buf)/2, minReadBuffer))
	}
}

// fill reads once, at least one byte. It makes room by moving the unread bytes to
// the start; the buffer doubles only when it is full of unread bytes or was filled
// to the end, so its size is bounded by twice of what was sent, whatever length a
// frame claims.
func (r *Reader) fill() error {
	switch unread := r.to - r.from; {
	case unread == len(r.buf):
		r.grow(2 * len(r.buf))
	case r.to == len(r.buf) || r.from > 0 && unread < r.from:
		r.to = copy(r.buf, r.buf[r.from:r.to])
		r.from = 0
	}
	for range maxEmptyReads {
		space := len(r.buf) - r.to
		n, err := r.r.Read(r.buf[r.to:])
		if n < 0 || n > space {
			return errors.New("protocol: the reader returned an impossible count")
		}
		r.to += n
		r.read += uint64(n)
		if n > 0 {
			r.average += (n - r.average) / 4
			if n == space && len(r.buf) < maxReadBuffer {
				r.grow(2 * len(r.buf))
			}
			return nil // an error that came with data comes again
		}
		if err == io.EOF && r.Buffered() > 0 {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// grow moves the unread bytes to a larger buffer.
func (r *Reader) grow(size int) {
	b := make([]byte, size)
	r.to = copy(b, r.buf[r.from:r.to])
	r.from = 0
	r.buf = b
}
