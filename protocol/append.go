package protocol

import (
	"encoding/binary"

	"warren/protocol/wire"
)

// ProtocolHeader is what a client sends first, and what a server answers to a
// header that it does not understand.
const ProtocolHeader = "AMQP\x00\x00\x09\x01"

// AppendMethod appends a method frame.
func AppendMethod(dst []byte, channel uint16, m Method) []byte {
	at := len(dst)
	dst = beginFrame(dst, FrameMethod, channel)
	dst = binary.BigEndian.AppendUint32(dst, uint32(m.ID()))
	dst = m.AppendArguments(dst)
	return endFrame(dst, at)
}

// AppendHeader appends a content header frame. properties is a property list as
// wire.AppendProperties makes it, bodySize the length of the whole body in bytes.
func AppendHeader(dst []byte, channel, class uint16, bodySize uint64, properties []byte) []byte {
	dst = frameStart(dst, FrameHeader, channel, contentHeaderSize+len(properties))
	dst = binary.BigEndian.AppendUint16(dst, class)
	dst = append(dst, 0, 0) // weight
	dst = binary.BigEndian.AppendUint64(dst, bodySize)
	at := len(dst)
	dst = append(dst, properties...)
	if len(properties) >= 2 {
		dst[at+1] &^= 3 // of the flags word: they are no property, and a broker may keep a note there
	}
	return append(dst, FrameEnd)
}

// AppendBody appends the body frames of a body: none when it is empty, else as
// many as frameMax (bytes, with the frame's overhead; 0: no limit) asks for.
func AppendBody(dst []byte, channel uint16, body []byte, frameMax int) []byte {
	for most := maxPayload(frameMax); len(body) > 0; {
		n := min(len(body), most)
		dst = frameStart(dst, FrameBody, channel, n)
		dst = append(dst, body[:n]...)
		dst = append(dst, FrameEnd)
		body = body[n:]
	}
	return dst
}

// maxPayload returns the most bytes of payload in a frame. The frame size of a
// peer without limit stays below what a 32-bit length can say.
func maxPayload(frameMax int) int {
	if frameMax <= FrameOverhead {
		return 1<<30 - FrameOverhead
	}
	return frameMax - FrameOverhead
}

// AppendHeartbeat appends a heartbeat frame.
func AppendHeartbeat(dst []byte) []byte {
	return append(dst, FrameHeartbeat, 0, 0, 0, 0, 0, 0, FrameEnd)
}

// AppendDeliver appends a basic.deliver frame without allocating.
func AppendDeliver(dst []byte, channel uint16, tag string, deliveryTag uint64, redelivered bool, exchange string, key []byte) []byte {
	at := len(dst)
	dst = beginFrame(dst, FrameMethod, channel)
	dst = binary.BigEndian.AppendUint32(dst, uint32(IDBasicDeliver))
	dst = wire.AppendShortString(dst, tag)
	dst = binary.BigEndian.AppendUint64(dst, deliveryTag)
	dst = append(dst, bits(redelivered))
	dst = wire.AppendShortString(dst, exchange)
	dst = wire.AppendShortString(dst, key)
	return endFrame(dst, at)
}

// AppendGetOk appends a basic.get-ok frame without allocating.
func AppendGetOk(dst []byte, channel uint16, deliveryTag uint64, redelivered bool, exchange string, key []byte, left uint32) []byte {
	at := len(dst)
	dst = beginFrame(dst, FrameMethod, channel)
	dst = binary.BigEndian.AppendUint32(dst, uint32(IDBasicGetOk))
	dst = binary.BigEndian.AppendUint64(dst, deliveryTag)
	dst = append(dst, bits(redelivered))
	dst = wire.AppendShortString(dst, exchange)
	dst = wire.AppendShortString(dst, key)
	dst = binary.BigEndian.AppendUint32(dst, left)
	return endFrame(dst, at)
}

// AppendReturn appends a basic.return frame without allocating.
func AppendReturn(dst []byte, channel, code uint16, text, exchange string, key []byte) []byte {
	at := len(dst)
	dst = beginFrame(dst, FrameMethod, channel)
	dst = binary.BigEndian.AppendUint32(dst, uint32(IDBasicReturn))
	dst = binary.BigEndian.AppendUint16(dst, code)
	dst = wire.AppendShortString(dst, text)
	dst = wire.AppendShortString(dst, exchange)
	dst = wire.AppendShortString(dst, key)
	return endFrame(dst, at)
}

// AppendAck appends a basic.ack frame, the confirm of a publish, without allocating.
func AppendAck(dst []byte, channel uint16, deliveryTag uint64, multiple bool) []byte {
	dst = frameStart(dst, FrameMethod, channel, 4+8+1)
	dst = binary.BigEndian.AppendUint32(dst, uint32(IDBasicAck))
	dst = binary.BigEndian.AppendUint64(dst, deliveryTag)
	return append(dst, bits(multiple), FrameEnd)
}

// AppendNack appends a basic.nack frame, the refusal of a publish, without
// allocating.
func AppendNack(dst []byte, channel uint16, deliveryTag uint64, multiple bool) []byte {
	dst = frameStart(dst, FrameMethod, channel, 4+8+1)
	dst = binary.BigEndian.AppendUint32(dst, uint32(IDBasicNack))
	dst = binary.BigEndian.AppendUint64(dst, deliveryTag)
	return append(dst, bits(multiple, false), FrameEnd)
}
