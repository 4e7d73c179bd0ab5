package load

import (
	"encoding/binary"

	"warren/cmd/warrenperf/internal/client"
	"warren/protocol"
	"warren/protocol/wire"
)

// A template is the frames of one publish. A message is the template with the
// first bytes of its body overwritten.
type template struct {
	frames []byte
	body   int // where the body begins in frames
	stamp  bool
	number bool
}

func newTemplate(o *Options, queue string, frameMax int) template {
	m := &protocol.BasicPublish{Exchange: o.Exchange, RoutingKey: queue, Mandatory: o.Mandatory}
	if o.RoutingKey != "" {
		m.RoutingKey = o.RoutingKey
	}
	properties := &wire.Properties{}
	if o.Persistent {
		properties.Present, properties.DeliveryMode = wire.FlagDeliveryMode, 2
	}
	t := template{stamp: o.Size >= stampSize, number: o.Size >= numberSize}
	t.frames = protocol.AppendMethod(nil, client.Channel, m)
	t.frames = protocol.AppendHeader(t.frames, client.Channel, protocol.ClassBasic, uint64(o.Size), wire.AppendProperties(nil, properties))
	t.body = len(t.frames) + protocol.FrameOverhead - 1
	t.frames = protocol.AppendBody(t.frames, client.Channel, filler(o.Size), frameMax)
	return t
}

// filler returns bytes that no compression makes smaller, the same each time.
func filler(size int) []byte {
	b := make([]byte, size)
	x := uint64(0x9E3779B97F4A7C15)
	for i := range b { // xorshift64*
		x ^= x >> 12
		x ^= x << 25
		x ^= x >> 27
		b[i] = byte(x * 0x2545F4914F6CDD1D >> 56)
	}
	return b
}

// append adds the frames of a message.
func (t *template) append(dst []byte, stamp int64, id messageID) []byte {
	body := len(dst) + t.body
	dst = append(dst, t.frames...)
	if t.stamp {
		binary.BigEndian.PutUint64(dst[body:], uint64(stamp))
	}
	if t.number {
		binary.BigEndian.PutUint64(dst[body+stampSize:], uint64(id))
	}
	return dst
}

// A messageID is the producer's number in the upper 16 bits, the message's below.
type messageID uint64

const numberBits = 48

func newMessageID(producer int, number uint64) messageID {
	return messageID(uint64(producer)<<numberBits | number)
}

func (id messageID) producer() int  { return int(id >> numberBits) }
func (id messageID) number() uint64 { return uint64(id) & (1<<numberBits - 1) }
