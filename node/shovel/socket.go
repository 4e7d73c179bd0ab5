package shovel

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync/atomic"
)

// A socket stands between the client library and the other side, and looks at the frames that come: the library trusts
// its broker more than a node may trust whichever broker a parameter names. It takes frames of any size before that is
// agreed, keeps every message that it is sent, and counts up to any confirm. It also ends the connection at a header
// field of type L, which RabbitMQ and clients in Python write for large numbers; here that becomes l, which means the same.
type socket struct {
	net.Conn
	in    *bufio.Reader
	ready []byte // taken in and to be handed out
	pass  int64  // how many bytes behind it are handed out as they come
	keep  []byte // memory of ready

	messages  atomic.Int64          // how many messages may still come
	published atomic.Int64          // how many may be confirmed
	fault     atomic.Pointer[error] // what the other side did that no broker does
}

// Frames (AMQP 0-9-1, 4.2.3).
const (
	frameMethod    = 1
	frameHeader    = 2
	frameBody      = 3
	frameHeartbeat = 8
	frameHead      = 7 // bytes before the payload
	frameEnd       = 1 // byte behind it
)

// Of class basic, whose first argument is the delivery tag.
const (
	classBasic = 60
	methodAck  = 80
	methodNack = 120
)

// maxMessage is the largest body that RabbitMQ can be set to take, in bytes.
const maxMessage = 512 << 20

// What the other side does that no broker does.
var (
	errFrameSize = errors.New("it sends larger frames than were agreed")
	errUnasked   = errors.New("it sends more messages than it was asked for")
	errBodySize  = errors.New("it sends a message of more than 512 MiB")
	errConfirm   = errors.New("it confirms messages that it was not sent")
)

func newSocket(conn net.Conn) *socket {
	return &socket{Conn: conn, in: bufio.NewReaderSize(conn, 64<<10)}
}

// blame returns an error, or the one that it comes of: the library often does not tell.
func (s *socket) blame(err error) error {
	if fault := s.fault.Load(); fault != nil && err != nil {
		return *fault
	}
	return err
}

// ends ends the connection by a fault of the other side.
func (s *socket) ends(err error) error {
	s.fault.Store(&err)
	return err
}

// Read implements net.Conn. Only the library calls it.
func (s *socket) Read(p []byte) (int, error) {
	if len(s.ready) == 0 && s.pass == 0 {
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	if len(s.ready) > 0 {
		n := copy(p, s.ready)
		s.ready = s.ready[n:]
		return n, nil
	}
	n, err := s.in.Read(p[:min(int64(len(p)), s.pass)])
	s.pass -= int64(n)
	return n, err
}

// next takes in as much of a frame as it has to look at.
func (s *socket) next() error {
	if err := s.take(0, frameHead); err != nil {
		return err
	}
	size := int(binary.BigEndian.Uint32(s.keep[3:]))
	look := 0
	switch s.keep[0] {
	case frameMethod:
		look = min(size, 12) // class, method and a tag
	case frameHeader:
		look = size
	case frameBody, frameHeartbeat:
	default:
		return nil // not a frame: the library says so
	}
	if size > frameMax-frameHead-frameEnd {
		return s.ends(errFrameSize)
	}
	if err := s.take(frameHead, look); err != nil {
		return err
	}
	s.pass = int64(size - look + frameEnd)
	if s.keep[0] == frameHeader {
		return s.header(s.keep[frameHead:])
	}
	return s.method(s.keep[frameHead:])
}

// take takes in n bytes, which are handed out behind as many as behind says of those that were taken in before.
func (s *socket) take(behind, n int) error {
	if cap(s.keep) < behind+n {
		s.keep = append(make([]byte, 0, behind+n), s.keep[:behind]...)
	}
	s.keep = s.keep[:behind+n]
	switch _, err := io.ReadFull(s.in, s.keep[behind:]); {
	case err == io.EOF && behind > 0:
		return io.ErrUnexpectedEOF // in the middle of a frame
	case err != nil:
		return err
	}
	s.ready = s.keep
	return nil
}

// method looks at the begin of a method.
func (s *socket) method(b []byte) error {
	if len(b) < 12 || binary.BigEndian.Uint16(b) != classBasic {
		return nil
	}
	m, tag := binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint64(b[4:])
	if (m == methodAck || m == methodNack) && tag > uint64(s.published.Load()) {
		return s.ends(errConfirm)
	}
	return nil
}

// header looks at the header of a message, and makes it one that the library can read.
func (s *socket) header(b []byte) error {
	if len(b) < 14 {
		return nil // the library says that it is none
	}
	if binary.BigEndian.Uint64(b[4:]) > maxMessage {
		return s.ends(errBodySize)
	}
	if s.messages.Add(-1) < 0 {
		return s.ends(errUnasked)
	}
	flags, at := binary.BigEndian.Uint16(b[12:]), 14
	const contentType, contentEncoding, headers = 1 << 15, 1 << 14, 1 << 13
	if flags&headers == 0 || flags&1 != 0 {
		return nil
	}
	for _, text := range []uint16{contentType, contentEncoding} {
		if flags&text != 0 && at < len(b) {
			at += 1 + int(b[at])
		}
	}
	if at < len(b) {
		signed(b[at:], true, 0)
	}
	return nil
}

// maxNesting is how deep the library reads.
const maxNesting = 32

// signed makes L in a table or an array l. It leaves off where there is something that is none of the two.
func signed(b []byte, named bool, depth int) {
	if len(b) < 4 || depth > maxNesting {
		return
	}
	n := binary.BigEndian.Uint32(b)
	if b = b[4:]; uint64(n) > uint64(len(b)) {
		return
	}
	b = b[:n]
	for len(b) > 0 {
		if named {
			name := 1 + int(b[0])
			if name >= len(b) {
				return
			}
			b = b[name:]
		}
		if b[0] == 'L' {
			b[0] = 'l'
		}
		size, ok := fieldSize(b)
		if !ok {
			return
		}
		switch b[0] {
		case 'F':
			signed(b[1:size], true, depth+1)
		case 'A':
			signed(b[1:size], false, depth+1)
		}
		b = b[size:]
	}
}

// fieldSize is how many bytes a field takes with its type.
func fieldSize(b []byte) (int, bool) {
	size := 1
	switch b[0] {
	case 'V':
	case 't', 'b', 'B':
		size += 1
	case 's', 'u':
		size += 2
	case 'I', 'i', 'f':
		size += 4
	case 'D':
		size += 5
	case 'l', 'd', 'T':
		size += 8
	case 'S', 'x', 'A', 'F':
		if len(b) < 5 {
			return 0, false
		}
		size += 4
		if n := binary.BigEndian.Uint32(b[1:]); uint64(n) > uint64(len(b)) {
			return 0, false
		} else {
			size += int(n)
		}
	default:
		return 0, false
	}
	return size, size <= len(b)
}
