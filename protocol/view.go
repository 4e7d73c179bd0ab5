package protocol

import (
	"encoding/binary"

	"warren/protocol/wire"
)

// A PublishView is the arguments of basic.publish as they stand in the frame. The
// slices alias the payload.
type PublishView struct {
	Exchange, RoutingKey []byte
	Mandatory, Immediate bool
}

// Parse reads the payload of a basic.publish frame, as PeekID told it to be. It
// does not allocate. The error is that of ParseMethod.
func (v *PublishView) Parse(payload []byte) error {
	if id, ok := PeekID(payload); !ok || id != IDBasicPublish {
		return notThe(IDBasicPublish, payload)
	}
	a := arguments{b: payload[4:]}
	a.short() // reserved-1
	v.Exchange = a.shortBytes()
	v.RoutingKey = a.shortBytes()
	flags := a.octet()
	v.Mandatory = flags&1 != 0
	v.Immediate = flags&2 != 0
	return a.finish(IDBasicPublish, payload[4:])
}

// An AckView is the arguments of basic.ack, basic.nack and basic.reject.
type AckView struct {
	ID          ID // IDBasicAck, IDBasicNack or IDBasicReject
	DeliveryTag uint64
	Multiple    bool // never of a reject
	Requeue     bool // never of an ack
}

// Parse reads the payload of a frame of one of the three methods, as PeekID told
// it to be. It does not allocate. The error is that of ParseMethod.
func (v *AckView) Parse(payload []byte) error {
	id, ok := PeekID(payload)
	if !ok || id != IDBasicAck && id != IDBasicNack && id != IDBasicReject {
		return notThe(IDBasicAck, payload)
	}
	a := arguments{b: payload[4:]}
	*v = AckView{ID: id, DeliveryTag: a.longLong()}
	flags := a.octet()
	switch id {
	case IDBasicAck:
		v.Multiple = flags&1 != 0
	case IDBasicNack:
		v.Multiple = flags&1 != 0
		v.Requeue = flags&2 != 0
	case IDBasicReject:
		v.Requeue = flags&1 != 0
	}
	return a.finish(id, payload[4:])
}

func notThe(want ID, payload []byte) error {
	id, ok := PeekID(payload)
	if !ok {
		return unknownFrame(Frame{Type: FrameMethod, Payload: payload})
	}
	return Errorf(CommandInvalid, id, "expected method %s", want)
}

// A ContentHeader is the payload of a header frame.
type ContentHeader struct {
	ClassID    uint16
	BodySize   uint64 // bytes
	Properties []byte // flags word and values; wire.CheckProperties accepted it
}

// contentHeaderSize is class id, weight and body size.
const contentHeaderSize = 2 + 2 + 8

// ParseContentHeader reads the payload of a header frame. Properties aliases it.
// It does not allocate. The weight is passed over. The error is an *Error that
// closes the connection: 501 FRAME_ERROR for a payload that is too short, 502
// SYNTAX_ERROR for malformed properties (RabbitMQ: 541, as its parser crashes).
func ParseContentHeader(payload []byte) (ContentHeader, error) {
	if len(payload) < contentHeaderSize {
		return ContentHeader{}, unknownFrame(Frame{Type: FrameHeader, Payload: payload})
	}
	h := ContentHeader{
		ClassID:    binary.BigEndian.Uint16(payload),
		BodySize:   binary.BigEndian.Uint64(payload[4:]),
		Properties: payload[contentHeaderSize:],
	}
	if err := wire.CheckProperties(h.Properties); err != nil {
		return ContentHeader{}, Errorf(SyntaxError, NewID(h.ClassID, 0), "malformed content properties: %s", err)
	}
	return h, nil
}
