package protocol

import (
	"io"
	"net"
)

const (
	// uncopied is the size of a body frame's payload from which it is handed to
	// the socket in place. Below it copying is cheaper than one more entry of writev.
	uncopied = 4 << 10

	// keepBuffer is the largest buffer that a Writer keeps between flushes.
	keepBuffer = 512 << 10
)

// A Writer gathers frames and writes them with one call. Nothing reaches the
// underlying writer before Flush. It is not safe for concurrent use.
//
// Who owns the bytes: everything is copied but the bodies given to Content,
// Deliver, GetOk and Return. A body, or a part of it, may be kept by reference;
// the caller must leave it unchanged from the call until Flush returns, and may
// share it with other Writers. Whether a body is copied depends on its size and on
// the underlying writer: only a TCP or Unix connection takes bodies uncopied, with
// one writev. A TLS connection would make a record of each piece, so there
// everything is copied into one.
type Writer struct {
	w        io.Writer
	vectored bool
	frameMax int // bytes, 0: no limit
	buf      []byte
	bodies   []reference
	pieces   net.Buffers // reused by Flush
	size     int         // bytes of buf and bodies
	written  uint64
	err      error
}

// A reference is a piece of a body that stands at position at of buf.
type reference struct {
	at   int
	body []byte
}

// NewWriter returns a Writer to w with a frame-max of FrameMinSize.
func NewWriter(w io.Writer) *Writer {
	vectored := false
	switch w.(type) {
	case *net.TCPConn, *net.UnixConn:
		vectored = true
	}
	return &Writer{w: w, vectored: vectored, frameMax: FrameMinSize}
}

// SetFrameMax sets the largest frame that may be written, in bytes; 0 is no limit.
// It concerns bodies only: methods and content headers cannot be split.
func (w *Writer) SetFrameMax(n int) { w.frameMax = n }

// Buffered returns the number of bytes that wait for Flush.
func (w *Writer) Buffered() int { return w.size }

// BytesWritten returns the number of bytes that the underlying writer took.
func (w *Writer) BytesWritten() uint64 { return w.written }

// Append calls f with the buffer and keeps what f appends, for the Append
// functions of this package: w.Append(func(b []byte) []byte { … }).
func (w *Writer) Append(f func(dst []byte) []byte) { w.set(f(w.buf)) }

func (w *Writer) set(buf []byte) {
	w.size += len(buf) - len(w.buf)
	w.buf = buf
}

// ProtocolHeader adds our protocol header.
func (w *Writer) ProtocolHeader() { w.set(append(w.buf, ProtocolHeader...)) }

// Method adds a method frame.
func (w *Writer) Method(channel uint16, m Method) { w.set(AppendMethod(w.buf, channel, m)) }

// Heartbeat adds a heartbeat frame.
func (w *Writer) Heartbeat() { w.set(AppendHeartbeat(w.buf)) }

// Ack adds a basic.ack frame.
func (w *Writer) Ack(channel uint16, deliveryTag uint64, multiple bool) {
	w.set(AppendAck(w.buf, channel, deliveryTag, multiple))
}

// Nack adds a basic.nack frame.
func (w *Writer) Nack(channel uint16, deliveryTag uint64, multiple bool) {
	w.set(AppendNack(w.buf, channel, deliveryTag, multiple))
}

// Deliver adds a basic.deliver frame; Content must follow.
func (w *Writer) Deliver(channel uint16, tag string, deliveryTag uint64, redelivered bool, exchange string, key []byte) {
	w.set(AppendDeliver(w.buf, channel, tag, deliveryTag, redelivered, exchange, key))
}

// GetOk adds a basic.get-ok frame; Content must follow.
func (w *Writer) GetOk(channel uint16, deliveryTag uint64, redelivered bool, exchange string, key []byte, left uint32) {
	w.set(AppendGetOk(w.buf, channel, deliveryTag, redelivered, exchange, key, left))
}

// Return adds a basic.return frame; Content must follow.
func (w *Writer) Return(channel, code uint16, text, exchange string, key []byte) {
	w.set(AppendReturn(w.buf, channel, code, text, exchange, key))
}

// Content adds the content header and the body frames of a message of class
// basic. The body may be kept by reference until Flush, see Writer; properties
// are copied.
func (w *Writer) Content(channel uint16, properties, body []byte) {
	w.set(AppendHeader(w.buf, channel, ClassBasic, uint64(len(body)), properties))
	for most := maxPayload(w.frameMax); len(body) > 0; {
		n := min(len(body), most)
		w.bodyFrame(channel, body[:n:n])
		body = body[n:]
	}
}

func (w *Writer) bodyFrame(channel uint16, part []byte) {
	buf := frameStart(w.buf, FrameBody, channel, len(part))
	if w.vectored && len(part) >= uncopied {
		w.bodies = append(w.bodies, reference{at: len(buf), body: part})
		w.size += len(part)
	} else {
		buf = append(buf, part...)
	}
	w.set(append(buf, FrameEnd))
}

// Flush writes what was gathered and forgets it. After an error, which is the
// underlying writer's, the peer may have part of a frame: every further Flush
// returns the same error and writes nothing.
func (w *Writer) Flush() error {
	if w.size == 0 || w.err != nil {
		w.reset()
		return w.err
	}
	n, err := w.write()
	w.written += uint64(n)
	w.err = err
	w.reset()
	return err
}

// TryFlush is Flush with a write that takes what it can without waiting, and says how much that
// was. It returns false when something is left for Flush. Bodies that are kept by reference are left.
func (w *Writer) TryFlush(write func(p []byte) int) bool {
	if w.err != nil || len(w.bodies) > 0 {
		return false
	}
	n := write(w.buf)
	w.written += uint64(n)
	if n == len(w.buf) {
		w.reset()
		return true
	}
	w.buf = w.buf[:copy(w.buf, w.buf[n:])]
	w.size -= n
	return false
}

func (w *Writer) write() (int64, error) {
	if len(w.bodies) == 0 {
		n, err := w.w.Write(w.buf)
		if err == nil && n < len(w.buf) {
			err = io.ErrShortWrite
		}
		return int64(n), err
	}
	pieces := w.pieces[:0]
	from := 0
	for _, r := range w.bodies {
		pieces = append(pieces, w.buf[from:r.at], r.body)
		from = r.at
	}
	pieces = append(pieces, w.buf[from:])
	w.pieces = pieces
	n, err := w.pieces.WriteTo(w.w) // advances w.pieces; the array is kept below
	w.pieces = pieces
	return n, err
}

// Shrink lets go of buffers that a burst has left. It is for connections that
// have been quiet for a while; nothing may wait for Flush.
func (w *Writer) Shrink() {
	if w.size == 0 {
		w.buf, w.bodies, w.pieces = nil, nil, nil
	}
}

// reset empties the Writer and lets go of bodies and of an overgrown buffer.
func (w *Writer) reset() {
	clear(w.bodies)
	w.bodies = w.bodies[:0]
	clear(w.pieces)
	w.pieces = w.pieces[:0]
	w.buf = w.buf[:0]
	if cap(w.buf) > keepBuffer {
		w.buf = nil
	}
	w.size = 0
}
