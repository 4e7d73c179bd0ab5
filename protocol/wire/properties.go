package wire

import "encoding/binary"

// Bits of the flags word, Properties.Present. The two lowest bits are no
// property: the specification (section 4.2.6.1) keeps bit 0 for a further flags
// word, which no class needs; like RabbitMQ we pass both over.
const (
	FlagContentType     uint16 = 1 << 15
	FlagContentEncoding uint16 = 1 << 14
	FlagHeaders         uint16 = 1 << 13
	FlagDeliveryMode    uint16 = 1 << 12
	FlagPriority        uint16 = 1 << 11
	FlagCorrelationID   uint16 = 1 << 10
	FlagReplyTo         uint16 = 1 << 9
	FlagExpiration      uint16 = 1 << 8
	FlagMessageID       uint16 = 1 << 7
	FlagTimestamp       uint16 = 1 << 6
	FlagType            uint16 = 1 << 5
	FlagUserID          uint16 = 1 << 4
	FlagAppID           uint16 = 1 << 3
	FlagClusterID       uint16 = 1 << 2

	flagsKnown uint16 = 0xFFFC
)

// Properties are the 14 basic properties. A nil pointer or zero-length field
// that the sender did not set is told apart by Present: only properties whose
// flag is set are encoded, whatever their field holds.
type Properties struct {
	Present                            uint16 // bit 15 is content-type … bit 2 is cluster-id, as in the flags word
	ContentType, ContentEncoding       string
	Headers                            Table
	DeliveryMode, Priority             uint8
	CorrelationID, ReplyTo, Expiration string
	MessageID                          string
	Timestamp                          Timestamp
	Type, UserID, AppID, ClusterID     string
}

// AppendProperties appends the flags word and the present properties. Strings
// longer than 255 bytes are cut to 255; see AppendTable for the headers.
func AppendProperties(dst []byte, p *Properties) []byte {
	has := p.Present & flagsKnown
	dst = binary.BigEndian.AppendUint16(dst, has)
	short := func(flag uint16, s string) {
		if has&flag != 0 {
			dst = AppendShortString(dst, s)
		}
	}
	short(FlagContentType, p.ContentType)
	short(FlagContentEncoding, p.ContentEncoding)
	if has&FlagHeaders != 0 {
		dst = AppendTable(dst, p.Headers)
	}
	if has&FlagDeliveryMode != 0 {
		dst = append(dst, p.DeliveryMode)
	}
	if has&FlagPriority != 0 {
		dst = append(dst, p.Priority)
	}
	short(FlagCorrelationID, p.CorrelationID)
	short(FlagReplyTo, p.ReplyTo)
	short(FlagExpiration, p.Expiration)
	short(FlagMessageID, p.MessageID)
	if has&FlagTimestamp != 0 {
		dst = binary.BigEndian.AppendUint64(dst, uint64(p.Timestamp))
	}
	short(FlagType, p.Type)
	short(FlagUserID, p.UserID)
	short(FlagAppID, p.AppID)
	short(FlagClusterID, p.ClusterID)
	return dst
}

// ParseProperties reads the flags word and properties: all of b. The error is one
// of ErrTruncated, ErrTrailing, ErrDepth and ErrType.
func ParseProperties(b []byte) (Properties, error) {
	if err := CheckProperties(b); err != nil {
		return Properties{}, err
	}
	has := binary.BigEndian.Uint16(b) & flagsKnown
	p := Properties{Present: has}
	c := propertyCursor{has: has, b: b[2:]}
	p.ContentType = c.short(FlagContentType)
	p.ContentEncoding = c.short(FlagContentEncoding)
	if table := c.next(FlagHeaders); table != nil {
		t, _, err := ParseTable(table)
		if err != nil {
			return Properties{}, err
		}
		p.Headers = t
	}
	p.DeliveryMode = c.octet(FlagDeliveryMode)
	p.Priority = c.octet(FlagPriority)
	p.CorrelationID = c.short(FlagCorrelationID)
	p.ReplyTo = c.short(FlagReplyTo)
	p.Expiration = c.short(FlagExpiration)
	p.MessageID = c.short(FlagMessageID)
	if v := c.next(FlagTimestamp); v != nil {
		p.Timestamp = Timestamp(binary.BigEndian.Uint64(v))
	}
	p.Type = c.short(FlagType)
	p.UserID = c.short(FlagUserID)
	p.AppID = c.short(FlagAppID)
	p.ClusterID = c.short(FlagClusterID)
	return p, nil
}

// CheckProperties reports whether b is a well-formed property list, without
// building it. ParseProperties of what it accepts does not fail. It does not
// allocate.
func CheckProperties(b []byte) error {
	if len(b) < 2 {
		return ErrTruncated
	}
	has := binary.BigEndian.Uint16(b) & flagsKnown
	b = b[2:]
	for flag := FlagContentType; flag >= FlagClusterID; flag >>= 1 {
		if has&flag == 0 {
			continue
		}
		n, err := propertySize(b, flag)
		if err != nil {
			return err
		}
		if flag == FlagHeaders {
			if err := checkFields(b[4:n], 1); err != nil {
				return err
			}
		}
		b = b[n:]
	}
	if len(b) != 0 {
		return ErrTrailing
	}
	return nil
}

// propertySize returns the number of bytes, its length included, of the property
// that stands at the start of b.
func propertySize(b []byte, flag uint16) (int, error) {
	n := 1
	switch flag {
	case FlagDeliveryMode, FlagPriority:
	case FlagTimestamp:
		n = 8
	case FlagHeaders:
		content, _, err := longBytes(b)
		if err != nil {
			return 0, err
		}
		return 4 + len(content), nil
	default:
		if len(b) == 0 {
			return 0, ErrTruncated
		}
		n = 1 + int(b[0])
	}
	if n > len(b) {
		return 0, ErrTruncated
	}
	return n, nil
}

// A propertyCursor walks a property list, property by property, in the order of
// the flags. Any property that runs past the end ends the walk.
type propertyCursor struct {
	has uint16
	b   []byte
}

// next returns the bytes of the property with its length and steps over it, nil
// when it is not present.
func (c *propertyCursor) next(flag uint16) []byte {
	if c.has&flag == 0 {
		return nil
	}
	n, err := propertySize(c.b, flag)
	if err != nil {
		c.has = 0
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

func (c *propertyCursor) short(flag uint16) string {
	if v := c.next(flag); v != nil {
		return string(v[1:])
	}
	return ""
}

func (c *propertyCursor) octet(flag uint16) uint8 {
	if v := c.next(flag); v != nil {
		return v[0]
	}
	return 0
}
