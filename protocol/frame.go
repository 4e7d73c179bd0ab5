package protocol

import "encoding/binary"

// Sizes of the parts of a frame, in bytes (specification, section 4.2.3).
const (
	frameHeaderSize = 7
	// FrameOverhead is what a frame adds to its payload: header and end octet.
	FrameOverhead = frameHeaderSize + 1
)

// A Frame is one AMQP frame without its end octet.
type Frame struct {
	Type    uint8
	Channel uint16
	Payload []byte
}

// beginFrame appends the header of a frame of unknown length. The frame starts at
// the present end of dst; endFrame needs to know where that was.
func beginFrame(dst []byte, kind uint8, channel uint16) []byte {
	return append(dst, kind, byte(channel>>8), byte(channel), 0, 0, 0, 0)
}

// endFrame writes the length into the frame that begins at dst[at:] and ends it.
func endFrame(dst []byte, at int) []byte {
	binary.BigEndian.PutUint32(dst[at+3:], uint32(len(dst)-at-frameHeaderSize))
	return append(dst, FrameEnd)
}

// frameStart appends the header of a frame whose length is known.
func frameStart(dst []byte, kind uint8, channel uint16, size int) []byte {
	dst = append(dst, kind, byte(channel>>8), byte(channel))
	return binary.BigEndian.AppendUint32(dst, uint32(size))
}

// AppendFrame appends a frame of any type and payload, well-formed or not.
func AppendFrame(dst []byte, f Frame) []byte {
	dst = frameStart(dst, f.Type, f.Channel, len(f.Payload))
	dst = append(dst, f.Payload...)
	return append(dst, FrameEnd)
}
