package protocol

import (
	"encoding/binary"
	"errors"
	"unicode/utf8"

	"warren/protocol/wire"
)

// An ID names a method: class id in the upper 16 bits, method id in the lower.
type ID uint32

// NewID makes an ID of a class and a method id.
func NewID(class, method uint16) ID { return ID(class)<<16 | ID(method) }

// Class returns the class id.
func (id ID) Class() uint16 { return uint16(id >> 16) }

// Method returns the id of the method in its class.
func (id ID) Method() uint16 { return uint16(id) }

// A Method is one of the structs of this package that stand for a method, by
// pointer. Reserved fields are left out: they are written as zero and passed
// over when read. Short strings longer than 255 bytes are cut when written.
type Method interface {
	ID() ID
	// AppendArguments appends what follows class and method id in the frame.
	AppendArguments(dst []byte) []byte
	parse(a *arguments)
}

// PeekID returns which method a method frame's payload holds. ok is false when the
// payload is too short to say.
func PeekID(payload []byte) (id ID, ok bool) {
	if len(payload) < 4 {
		return 0, false
	}
	return ID(binary.BigEndian.Uint32(payload)), true
}

// ParseMethod reads the payload of a method frame. The method does not alias it.
// The error is an *Error that closes the connection:
//
//   - 540 NOT_IMPLEMENTED for a class or method that does not exist. (RabbitMQ
//     drops the socket without a word; the specification keeps 540 for this.)
//   - 501 FRAME_ERROR for arguments that are too short, too long or hold a short
//     string that is not UTF-8, as RabbitMQ (rabbit_misc:frame_error).
//   - 502 SYNTAX_ERROR for a malformed table. (RabbitMQ answers 541
//     INTERNAL_ERROR, as its parser crashes.)
func ParseMethod(payload []byte) (Method, error) {
	id, ok := PeekID(payload)
	if !ok {
		return nil, unknownFrame(Frame{Type: FrameMethod, Payload: payload})
	}
	m := NewMethod(id)
	if m == nil {
		return nil, Errorf(NotImplemented, id, "unknown method %d of class %d", id.Method(), id.Class())
	}
	if err := ParseMethodInto(payload, m); err != nil {
		return nil, err
	}
	return m, nil
}

// ParseMethodInto is ParseMethod into a method that the caller owns. The payload
// must be of m's method; all of m's fields are set anew.
func ParseMethodInto(payload []byte, m Method) error {
	id, ok := PeekID(payload)
	if !ok {
		return unknownFrame(Frame{Type: FrameMethod, Payload: payload})
	}
	if id != m.ID() {
		return Errorf(CommandInvalid, id, "expected method %s", m.ID())
	}
	a := arguments{b: payload[4:]}
	m.parse(&a)
	return a.finish(id, payload[4:])
}

// bits packs flags into an octet, the first into the lowest bit.
func bits(flags ...bool) (octet byte) {
	for i, f := range flags {
		if f {
			octet |= 1 << i
		}
	}
	return octet
}

// errUTF8 is the fault of a short string that is no text.
var errUTF8 = errors.New("short string is not UTF-8")

// arguments is a cursor over a method's arguments. The first fault stays; after
// it everything reads as zero.
type arguments struct {
	b        []byte
	err      error
	tableErr bool // err is of the inside of a table
}

func (a *arguments) fail(err error) {
	if a.err == nil {
		a.err = err
	}
	a.b = nil
}

// take returns the next n bytes, nil after a fault.
func (a *arguments) take(n int) []byte {
	if len(a.b) < n {
		a.fail(wire.ErrTruncated)
		return nil
	}
	b := a.b[:n]
	a.b = a.b[n:]
	return b
}

func (a *arguments) octet() uint8 {
	if b := a.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (a *arguments) short() uint16 {
	if b := a.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (a *arguments) long() uint32 {
	if b := a.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (a *arguments) longLong() uint64 {
	if b := a.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// shortBytes returns a short string that aliases the payload.
func (a *arguments) shortBytes() []byte {
	s, rest, err := wire.ParseShortBytes(a.b)
	if err != nil {
		a.fail(err)
		return nil
	}
	a.b = rest
	return s
}

func (a *arguments) shortString() string { return string(a.shortBytes()) }

// text returns a short string that has to be UTF-8.
func (a *arguments) text() string {
	s := a.shortBytes()
	if !utf8.Valid(s) {
		a.fail(errUTF8)
		return ""
	}
	return string(s)
}

func (a *arguments) longString() string {
	s, rest, err := wire.ParseLongBytes(a.b)
	if err != nil {
		a.fail(err)
		return ""
	}
	a.b = rest
	return string(s)
}

func (a *arguments) table() wire.Table {
	if a.err != nil {
		return nil
	}
	_, rest, err := wire.ParseLongBytes(a.b)
	if err != nil {
		a.fail(err)
		return nil
	}
	t, _, err := wire.ParseTable(a.b)
	if err != nil {
		a.tableErr = true
		a.fail(err)
		return nil
	}
	a.b = rest
	return t
}

// finish returns the fault of the arguments, bytes left over included.
func (a *arguments) finish(id ID, all []byte) error {
	switch {
	case a.err == nil && len(a.b) == 0:
		return nil
	case a.err == errUTF8:
		return Errorf(FrameError, id, "Malformed UTF-8 in shortstr")
	case a.tableErr:
		return Errorf(SyntaxError, id, "malformed table in arguments of %s: %s", id, a.err)
	}
	return Errorf(FrameError, id, "cannot decode %s", erlangBytes(all))
}
