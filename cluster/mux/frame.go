package mux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// FrameType says what a frame of a call or propose connection carries.
type FrameType uint8

// The types of frame. Only ever append.
const (
	FramePing    FrameType = 1 // answered with a pong of the same id
	FramePong    FrameType = 2
	FrameCall    FrameType = 3 // a request; see AppendRequest
	FrameReply   FrameType = 4 // one byte of ReplyStatus, then the answer or the text of the error
	FrameBatch   FrameType = 5 // a proposed batch; ids are 1, 2, 3 … on one connection
	FrameAnswer  FrameType = 6 // one byte: what became of the batch of that id
	frameTypeEnd FrameType = 7
)

// ReplyStatus is the first byte of a reply.
type ReplyStatus uint8

// The kinds of reply.
const (
	ReplyOK       ReplyStatus = 0
	ReplyError    ReplyStatus = 1
	ReplyNoMethod ReplyStatus = 2
)

// FrameHeader is the length of what stands before a frame's payload: length of
// the payload (4), type (1), id (8), big endian.
const FrameHeader = 13

// Frame is one message of a call or propose connection.
type Frame struct {
	Type    FrameType
	ID      uint64
	Payload []byte
}

// Errors of reading frames. The connection is of no more use after one.
var (
	ErrFrameTooLarge = errors.New("frame is too large")
	ErrFrameType     = errors.New("unknown type of frame")
	ErrRequest       = errors.New("mangled request")
)

// PutFrameHeader fills the header of a frame whose payload has n bytes.
func PutFrameHeader(h *[FrameHeader]byte, t FrameType, id uint64, n int) {
	binary.BigEndian.PutUint32(h[:], uint32(n))
	h[4] = byte(t)
	binary.BigEndian.PutUint64(h[5:], id)
}

// AppendFrame appends a whole frame.
func AppendFrame(dst []byte, t FrameType, id uint64, payload ...byte) []byte {
	var h [FrameHeader]byte
	PutFrameHeader(&h, t, id, len(payload))
	return append(append(dst, h[:]...), payload...)
}

// ReadFrame reads one frame whose payload is at most limit bytes long. The
// payload is a new slice of its own. Memory grows with the bytes that arrive, not
// with the length that was claimed.
func ReadFrame(r io.Reader, limit int) (Frame, error) {
	var h [FrameHeader]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return Frame{}, err
	}
	n := int(binary.BigEndian.Uint32(h[:]))
	f := Frame{Type: FrameType(h[4]), ID: binary.BigEndian.Uint64(h[5:])}
	if f.Type == 0 || f.Type >= frameTypeEnd {
		return f, fmt.Errorf("%w: %d", ErrFrameType, f.Type)
	}
	if n > limit {
		return f, fmt.Errorf("%w: %d bytes, %d allowed", ErrFrameTooLarge, n, limit)
	}
	var err error
	f.Payload, err = readPayload(r, n)
	return f, err
}

// step is how many claimed bytes are believed before any has come: the usual
// largest batch fits, so that it is read into its place at once.
const step = 2 << 20

func readPayload(r io.Reader, n int) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	b := make([]byte, min(n, step))
	for at := 0; ; {
		if _, err := io.ReadFull(r, b[at:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if len(b) == n {
			return b, nil
		}
		at = len(b)
		grown := make([]byte, min(n, 2*len(b)))
		copy(grown, b)
		b = grown
	}
}

// AppendRequest appends the payload of a FrameCall: how long the caller waits
// (4, milliseconds), length of the method's name (1), the name, and the rest is
// the caller's payload.
func AppendRequest(dst []byte, method string, waitMS uint32, payload []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, waitMS)
	method = method[:min(len(method), maxString)]
	dst = append(dst, byte(len(method)))
	dst = append(dst, method...)
	return append(dst, payload...)
}

// ParseRequest is the inverse of AppendRequest. The payload aliases b.
func ParseRequest(b []byte) (method string, waitMS uint32, payload []byte, err error) {
	if len(b) < 5 || len(b) < 5+int(b[4]) {
		return "", 0, nil, ErrRequest
	}
	end := 5 + int(b[4])
	return string(b[5:end]), binary.BigEndian.Uint32(b), b[end:], nil
}
