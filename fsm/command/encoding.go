package command

import (
	"encoding/binary"
	"math"

	"warren/protocol/wire"
)

func appendUint(dst []byte, v uint64) []byte { return binary.AppendUvarint(dst, v) }

func appendString[T string | []byte](dst []byte, s T) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// appendFlags packs up to eight flags, the first in bit 0.
func appendFlags(dst []byte, flags ...bool) []byte {
	var b byte
	for i, f := range flags {
		if f {
			b |= 1 << i
		}
	}
	return append(dst, b)
}

func appendTable(dst []byte, t wire.Table) []byte {
	if len(t) == 0 {
		return append(dst, 0, 0, 0, 0)
	}
	return wire.AppendTable(dst, t)
}

func appendChannel(dst []byte, c Channel) []byte {
	return appendUint(appendUint(dst, c.Conn), uint64(c.Number))
}

// cursor reads a payload. After the first error it returns zero values.
type cursor struct {
	b   []byte
	err error
}

func (c *cursor) fail() {
	if c.err == nil {
		c.err = ErrTruncated
	}
	c.b = nil
}

func (c *cursor) uint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.fail()
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) uint16() uint16 {
	v := c.uint()
	if v > math.MaxUint16 {
		c.fail()
	}
	return uint16(v)
}

func (c *cursor) uint32() uint32 {
	v := c.uint()
	if v > math.MaxUint32 {
		c.fail()
	}
	return uint32(v)
}

func (c *cursor) bytes() []byte {
	n := c.uint()
	if n > uint64(len(c.b)) {
		c.fail()
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) string() string { return string(c.bytes()) }

func (c *cursor) byte() byte {
	if len(c.b) == 0 {
		c.fail()
		return 0
	}
	v := c.b[0]
	c.b = c.b[1:]
	return v
}

func (c *cursor) flags(to ...*bool) {
	b := c.byte()
	for i, f := range to {
		*f = b&(1<<i) != 0
	}
	if b>>len(to) != 0 {
		c.fail()
	}
}

func (c *cursor) table() wire.Table {
	if c.err != nil {
		return nil
	}
	t, rest, err := wire.ParseTable(c.b)
	if err != nil {
		c.err, c.b = err, nil
		return nil
	}
	c.b = rest
	if len(t) == 0 {
		return nil
	}
	return t
}

func (c *cursor) channel() Channel { return Channel{Conn: c.uint(), Number: c.uint16()} }

// Append and decode of each command stand side by side: one is the other's inverse.

func (m *EpochOpen) Append(dst []byte) []byte {
	dst = appendString(dst, m.Node)
	dst = appendString(dst, m.Name)
	return appendUint(dst, m.Nonce)
}
func (m *EpochOpen) decode(c *cursor) { m.Node, m.Name, m.Nonce = c.string(), c.string(), c.uint() }

func (m *EpochRemove) Append(dst []byte) []byte { return appendUint(dst, m.Epoch) }
func (m *EpochRemove) decode(c *cursor)         { m.Epoch = c.uint() }

func (m *Tick) Append(dst []byte) []byte { return dst }
func (m *Tick) decode(*cursor)           {}

func (m *ConnectionClose) Append(dst []byte) []byte { return appendUint(dst, m.Conn) }
func (m *ConnectionClose) decode(c *cursor)         { m.Conn = c.uint() }

func (m *ChannelClose) Append(dst []byte) []byte { return appendChannel(dst, m.Channel) }
func (m *ChannelClose) decode(c *cursor)         { m.Channel = c.channel() }

func (m *ExchangeDeclare) Append(dst []byte) []byte {
	dst = appendString(dst, m.VHost)
	dst = appendString(dst, m.Name)
	dst = appendString(dst, m.Type)
	dst = appendFlags(dst, m.Passive, m.Durable, m.AutoDelete, m.Internal)
	return appendTable(dst, m.Args)
}
func (m *ExchangeDeclare) decode(c *cursor) {
	m.VHost, m.Name, m.Type = c.string(), c.string(), c.string()
	c.flags(&m.Passive, &m.Durable, &m.AutoDelete, &m.Internal)
	m.Args = c.table()
}

func (m *ExchangeDelete) Append(dst []byte) []byte {
	dst = appendString(dst, m.VHost)
	dst = appendString(dst, m.Name)
	return appendFlags(dst, m.IfUnused)
}
func (m *ExchangeDelete) decode(c *cursor) {
	m.VHost, m.Name = c.string(), c.string()
	c.flags(&m.IfUnused)
}

func (m *Binding) append(dst []byte) []byte {
	dst = appendString(dst, m.VHost)
	dst = appendUint(dst, m.Conn)
	dst = appendString(dst, m.Source)
	dst = appendString(dst, m.Destination)
	dst = appendFlags(dst, m.ToExchange)
	dst = appendString(dst, m.Key)
	return appendTable(dst, m.Args)
}
func (m *Binding) decode(c *cursor) {
	m.VHost, m.Conn = c.string(), c.uint()
	m.Source, m.Destination = c.string(), c.string()
	c.flags(&m.ToExchange)
	m.Key = c.string()
	m.Args = c.table()
}

func (m *Bind) Append(dst []byte) []byte   { return m.append(dst) }
func (m *Unbind) Append(dst []byte) []byte { return m.append(dst) }

func (m *QueueDeclare) Append(dst []byte) []byte {
	dst = appendString(dst, m.VHost)
	dst = appendUint(dst, m.Conn)
	dst = appendString(dst, m.Name)
	dst = appendFlags(dst, m.Passive, m.Durable, m.Exclusive, m.AutoDelete, m.Generated)
	return appendTable(dst, m.Args)
}
func (m *QueueDeclare) decode(c *cursor) {
	m.VHost, m.Conn, m.Name = c.string(), c.uint(), c.string()
	c.flags(&m.Passive, &m.Durable, &m.Exclusive, &m.AutoDelete, &m.Generated)
	m.Args = c.table()
}

func (m *QueueDelete) Append(dst []byte) []byte {
	dst = appendString(dst, m.VHost)
	dst = appendUint(dst, m.Conn)
	dst = appendString(dst, m.Name)
	return appendFlags(dst, m.IfUnused, m.IfEmpty)
}
func (m *QueueDelete) decode(c *cursor) {
	m.VHost, m.Conn, m.Name = c.string(), c.uint(), c.string()
	c.flags(&m.IfUnused, &m.IfEmpty)
}

func (m *QueuePurge) Append(dst []byte) []byte {
	dst = appendString(dst, m.VHost)
	dst = appendUint(dst, m.Conn)
	return appendString(dst, m.Name)
}
func (m *QueuePurge) decode(c *cursor) { m.VHost, m.Conn, m.Name = c.string(), c.uint(), c.string() }

func (m *Publish) Append(dst []byte) []byte {
	dst = appendString(dst, m.VHost)
	dst = appendString(dst, m.Exchange)
	dst = appendString(dst, m.Key)
	dst = appendFlags(dst, m.Mandatory, m.Keyed)
	dst = appendString(dst, m.Properties)
	return appendString(dst, m.Body)
}
func (m *Publish) decode(c *cursor) {
	m.VHost, m.Exchange, m.Key = c.bytes(), c.bytes(), c.bytes()
	c.flags(&m.Mandatory, &m.Keyed)
	m.Properties, m.Body = c.bytes(), c.bytes()
}

func (m *Settle) Append(dst []byte) []byte {
	dst = appendChannel(dst, m.Channel)
	dst = appendUint(dst, m.From)
	dst = appendUint(dst, m.To)
	return append(dst, byte(m.Outcome))
}
func (m *Settle) decode(c *cursor) {
	m.Channel = c.channel()
	m.From, m.To, m.Outcome = c.uint(), c.uint(), Outcome(c.byte())
	if m.Outcome > Return {
		c.fail()
	}
}

func (m *Consume) Append(dst []byte) []byte {
	dst = appendString(dst, m.VHost)
	dst = appendChannel(dst, m.Channel)
	dst = appendString(dst, m.Queue)
	dst = appendString(dst, m.Tag)
	dst = appendFlags(dst, m.NoAck, m.Exclusive)
	dst = appendUint(dst, uint64(m.Prefetch))
	dst = appendUint(dst, m.Limit)
	return appendTable(dst, m.Args)
}
func (m *Consume) decode(c *cursor) {
	m.VHost, m.Channel = c.string(), c.channel()
	m.Queue, m.Tag = c.string(), c.string()
	c.flags(&m.NoAck, &m.Exclusive)
	m.Prefetch, m.Limit = c.uint32(), c.uint()
	m.Args = c.table()
}

func (m *Cancel) Append(dst []byte) []byte { return appendString(appendChannel(dst, m.Channel), m.Tag) }
func (m *Cancel) decode(c *cursor)         { m.Channel, m.Tag = c.channel(), c.string() }

func (m *Get) Append(dst []byte) []byte {
	dst = appendString(dst, m.VHost)
	dst = appendChannel(dst, m.Channel)
	dst = appendString(dst, m.Queue)
	return appendFlags(dst, m.NoAck)
}
func (m *Get) decode(c *cursor) {
	m.VHost, m.Channel, m.Queue = c.string(), c.channel(), c.string()
	c.flags(&m.NoAck)
}

func (m *Credit) Append(dst []byte) []byte {
	return appendUint(appendString(appendChannel(dst, m.Channel), m.Tag), m.Limit)
}
func (m *Credit) decode(c *cursor) {
	m.Channel = c.channel()
	if tag := c.bytes(); m.Tag != string(tag) { // the same consumer again needs no new string
		m.Tag = string(tag)
	}
	m.Limit = c.uint()
}

func (m *Qos) Append(dst []byte) []byte {
	return appendUint(appendChannel(dst, m.Channel), uint64(m.Prefetch))
}
func (m *Qos) decode(c *cursor) { m.Channel, m.Prefetch = c.channel(), c.uint32() }

func (m *Recover) Append(dst []byte) []byte { return appendChannel(dst, m.Channel) }
func (m *Recover) decode(c *cursor)         { m.Channel = c.channel() }

func (m *Commit) Append(dst []byte) []byte {
	dst = appendString(dst, m.VHost)
	dst = appendChannel(dst, m.Channel)
	return appendString(dst, m.Commands)
}
func (m *Commit) decode(c *cursor) {
	m.VHost, m.Channel, m.Commands = c.string(), c.channel(), c.bytes()
}

func (m *Upgrade) Append(dst []byte) []byte { return appendUint(dst, m.Version) }
func (m *Upgrade) decode(c *cursor)         { m.Version = c.uint() }

func (m *DelayedCancel) Append(dst []byte) []byte {
	return appendUint(appendString(dst, m.VHost), m.ID)
}
func (m *DelayedCancel) decode(c *cursor) { m.VHost, m.ID = c.string(), c.uint() }
