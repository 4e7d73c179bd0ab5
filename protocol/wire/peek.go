package wire

import "encoding/binary"

// The functions of this file read one property of a list without building the
// others. They are meant for lists that CheckProperties accepted; on other
// bytes they answer that the property is absent, or something of the bytes, and
// never panic.

// Present returns the flags word of a property list without its two lowest bits.
func Present(b []byte) uint16 {
	if len(b) < 2 {
		return 0
	}
	return binary.BigEndian.Uint16(b) & flagsKnown
}

// peek returns the bytes of the property with its length, nil when it is absent.
func peek(b []byte, want uint16) []byte {
	has := Present(b)
	if has&want == 0 {
		return nil
	}
	c := propertyCursor{has: has, b: b[2:]}
	for flag := FlagContentType; flag > want; flag >>= 1 {
		c.next(flag)
	}
	return c.next(want)
}

// Headers returns the headers table of a property list that CheckProperties
// accepted, nil where there is none.
func Headers(b []byte) Table {
	v := peek(b, FlagHeaders)
	if v == nil {
		return nil
	}
	t, _, err := ParseTable(v)
	if err != nil {
		return nil
	}
	return t
}

// Header returns the value of the first header called name, without building the
// other headers.
func Header(b []byte, name string) (value any, ok bool) {
	content, _, err := longBytes(peek(b, FlagHeaders))
	if err != nil {
		return nil, false
	}
	for len(content) > 0 {
		n, tag, v, rest, err := splitField(content)
		if err != nil {
			return nil, false
		}
		if string(n) == name {
			value, err := parseValue(tag, v, 1)
			return value, err == nil
		}
		content = rest
	}
	return nil, false
}

// AnyHeader reports whether there is a header of one of some names.
func AnyHeader(b []byte, names ...string) bool {
	content, _, err := longBytes(peek(b, FlagHeaders))
	for err == nil && len(content) > 0 {
		var n []byte
		if n, _, _, content, err = splitField(content); err != nil {
			return false
		}
		for _, name := range names {
			if string(n) == name {
				return true
			}
		}
	}
	return false
}

// DeliveryMode returns the delivery mode: 2 is persistent, 1 transient, 0 absent.
func DeliveryMode(b []byte) uint8 { return peekOctet(b, FlagDeliveryMode) }

// Priority returns the priority, 0 when absent.
func Priority(b []byte) uint8 { return peekOctet(b, FlagPriority) }

func peekOctet(b []byte, flag uint16) uint8 {
	if v := peek(b, flag); v != nil {
		return v[0]
	}
	return 0
}

// TimestampOf returns the timestamp and whether it is present.
func TimestampOf(b []byte) (Timestamp, bool) {
	if v := peek(b, FlagTimestamp); v != nil {
		return Timestamp(binary.BigEndian.Uint64(v)), true
	}
	return 0, false
}

// ShortProperty returns a string property, chosen by its flag, and whether it is
// present. The slice aliases b. Flags of properties that are no strings are absent.
func ShortProperty(b []byte, flag uint16) (value []byte, ok bool) {
	switch flag {
	case FlagHeaders, FlagDeliveryMode, FlagPriority, FlagTimestamp:
		return nil, false
	}
	v := peek(b, flag)
	if v == nil {
		return nil, false
	}
	return v[1:], true
}

// AppendReplaced appends the property list b to dst, with another value of a
// string property, of 255 bytes at most. Where b does not have the property, b is
// appended as it is.
func AppendReplaced(dst, b []byte, flag uint16, value string) []byte {
	if _, ok := ShortProperty(b, flag); !ok {
		return append(dst, b...)
	}
	c := propertyCursor{has: Present(b), b: b[2:]}
	for f := FlagContentType; f > flag; f >>= 1 {
		c.next(f)
	}
	at := len(b) - len(c.b)
	old := len(c.next(flag))
	dst = append(dst, b[:at]...)
	dst = append(dst, byte(len(value)))
	dst = append(dst, value...)
	return append(dst, b[at+old:]...)
}

// AppendWithoutHeader appends the property list b to dst without the headers called
// name. Where there are none, or b is no property list that CheckProperties accepts, b is
// appended as it is.
func AppendWithoutHeader(dst, b []byte, name string) []byte {
	table := peek(b, FlagHeaders)
	content, _, err := longBytes(table)
	if err != nil {
		return append(dst, b...)
	}
	// Before the headers stand the flags and two short strings at most.
	c := propertyCursor{has: Present(b), b: b[2:]}
	c.next(FlagContentType)
	c.next(FlagContentEncoding)
	start := len(b) - len(c.b)
	old := len(dst)
	dst = append(dst, b[:start]...)
	dst = append(dst, 0, 0, 0, 0)
	length := len(dst)
	for rest := content; len(rest) > 0; {
		n, _, _, next, err := splitField(rest)
		if err != nil {
			return append(dst[:old], b...)
		}
		if string(n) != name {
			dst = append(dst, rest[:len(rest)-len(next)]...)
		}
		rest = next
	}
	binary.BigEndian.PutUint32(dst[length-4:], uint32(len(dst)-length))
	return append(dst, b[start+len(table):]...)
}
