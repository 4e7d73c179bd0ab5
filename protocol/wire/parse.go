package wire

import (
	"encoding/binary"
	"fmt"
	"math"
)

// ParseTable reads a table with its four length bytes from the start of b and
// returns what follows it. Strings and byte slices are copies. An empty table is
// nil. Fields of one name are all kept, in their order.
//
// The bytes may be hostile: nothing is allocated for a length that the data does
// not have, the work is linear in len(b), and nesting is limited to MaxDepth. The
// error is one of ErrTruncated, ErrDepth and ErrType.
func ParseTable(b []byte) (t Table, rest []byte, err error) {
	content, rest, err := longBytes(b)
	if err != nil {
		return nil, nil, err
	}
	if t, err = parseFields(content, 1); err != nil {
		return nil, nil, err
	}
	return t, rest, nil
}

// CheckTableBytes reports whether ParseTable would succeed on b, without
// building the table, and returns what follows it. It does not allocate.
func CheckTableBytes(b []byte) (rest []byte, err error) {
	content, rest, err := longBytes(b)
	if err != nil {
		return nil, err
	}
	if err := checkFields(content, 1); err != nil {
		return nil, err
	}
	return rest, nil
}

// ParseShortBytes reads a short string (one length byte) from the start of b. The
// string aliases b. The error is ErrTruncated.
func ParseShortBytes(b []byte) (s, rest []byte, err error) {
	if len(b) == 0 || len(b)-1 < int(b[0]) {
		return nil, nil, ErrTruncated
	}
	n := 1 + int(b[0])
	return b[1:n:n], b[n:], nil
}

// ParseLongBytes reads a long string (four length bytes) from the start of b. The
// string aliases b. The error is ErrTruncated.
func ParseLongBytes(b []byte) (s, rest []byte, err error) { return longBytes(b) }

func longBytes(b []byte) (s, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, ErrTruncated
	}
	n := uint64(binary.BigEndian.Uint32(b))
	b = b[4:]
	if n > uint64(len(b)) {
		return nil, nil, ErrTruncated
	}
	return b[:n:n], b[n:], nil
}

// errType names the tag that was met. Only parsing builds it: checking returns the
// bare ErrType and so does not allocate.
func errType(tag byte) error { return fmt.Errorf("%w %q", ErrType, tag) }

// size returns the number of bytes of a value of fixed size with this tag, or -1
// when the value has a length of its own, or -2 when there is no such type.
func size(tag byte) int {
	switch tag {
	case 'V':
		return 0
	case 't', 'b', 'B':
		return 1
	case 's', 'u':
		return 2
	case 'I', 'i', 'f':
		return 4
	case 'D':
		return 5
	case 'l', 'L', 'd', 'T':
		return 8
	case 'S', 'x', 'A', 'F':
		return -1
	}
	return -2
}

// splitValue splits the first value off b: its tag and its bytes without any
// length. It does not look into tables and arrays.
func splitValue(b []byte) (tag byte, value, rest []byte, err error) {
	if len(b) == 0 {
		return 0, nil, nil, ErrTruncated
	}
	tag, b = b[0], b[1:]
	switch n := size(tag); {
	case n >= 0:
		if n > len(b) {
			return 0, nil, nil, ErrTruncated
		}
		return tag, b[:n], b[n:], nil
	case n == -1:
		value, rest, err = longBytes(b)
		return tag, value, rest, err
	}
	return tag, nil, nil, ErrType
}

// splitField splits the first field off the content of a table.
func splitField(b []byte) (name []byte, tag byte, value, rest []byte, err error) {
	if name, b, err = ParseShortBytes(b); err != nil {
		return nil, 0, nil, nil, err
	}
	tag, value, rest, err = splitValue(b)
	return name, tag, value, rest, err
}

// countFields counts the fields of a table's content without looking into nested
// ones, so that counting before building stays linear over all levels.
func countFields(b []byte) (n int, err error) {
	for len(b) > 0 {
		var tag byte
		if _, tag, _, b, err = splitField(b); err != nil {
			return 0, nameTag(err, tag)
		}
		n++
	}
	return n, nil
}

func countValues(b []byte) (n int, err error) {
	for len(b) > 0 {
		var tag byte
		if tag, _, b, err = splitValue(b); err != nil {
			return 0, nameTag(err, tag)
		}
		n++
	}
	return n, nil
}

func nameTag(err error, tag byte) error {
	if err == ErrType {
		return errType(tag)
	}
	return err
}

func parseFields(b []byte, depth int) (Table, error) {
	if depth > MaxDepth {
		return nil, ErrDepth
	}
	n, err := countFields(b)
	if n == 0 || err != nil {
		return nil, err
	}
	t := make(Table, n)
	for i := range t {
		name, tag, value, rest, err := splitField(b)
		if err != nil {
			return nil, err
		}
		t[i].Name = string(name)
		if t[i].Value, err = parseValue(tag, value, depth); err != nil {
			return nil, err
		}
		b = rest
	}
	return t, nil
}

func parseValues(b []byte, depth int) (Array, error) {
	if depth > MaxDepth {
		return nil, ErrDepth
	}
	n, err := countValues(b)
	if n == 0 || err != nil {
		return nil, err
	}
	a := make(Array, n)
	for i := range a {
		tag, value, rest, err := splitValue(b)
		if err != nil {
			return nil, err
		}
		if a[i], err = parseValue(tag, value, depth); err != nil {
			return nil, err
		}
		b = rest
	}
	return a, nil
}

// parseValue makes the Go value of what splitValue returned; depth is that of the
// table or array that holds it.
func parseValue(tag byte, b []byte, depth int) (any, error) {
	switch tag {
	case 'V':
		return nil, nil
	case 't':
		return b[0] != 0, nil
	case 'b':
		return int8(b[0]), nil
	case 'B':
		return b[0], nil
	case 's':
		return int16(binary.BigEndian.Uint16(b)), nil
	case 'u':
		return binary.BigEndian.Uint16(b), nil
	case 'I':
		return int32(binary.BigEndian.Uint32(b)), nil
	case 'i':
		return binary.BigEndian.Uint32(b), nil
	case 'l', 'L':
		return int64(binary.BigEndian.Uint64(b)), nil
	case 'f':
		return math.Float32frombits(binary.BigEndian.Uint32(b)), nil
	case 'd':
		return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
	case 'D':
		return Decimal{Scale: b[0], Value: int32(binary.BigEndian.Uint32(b[1:]))}, nil
	case 'T':
		return Timestamp(binary.BigEndian.Uint64(b)), nil
	case 'S':
		return string(b), nil
	case 'x':
		return append([]byte{}, b...), nil
	case 'A':
		a, err := parseValues(b, depth+1)
		return a, err
	case 'F':
		t, err := parseFields(b, depth+1)
		return t, err
	}
	return nil, errType(tag)
}

func checkFields(b []byte, depth int) error {
	if depth > MaxDepth {
		return ErrDepth
	}
	for len(b) > 0 {
		_, tag, value, rest, err := splitField(b)
		if err != nil {
			return err
		}
		if err := checkNested(tag, value, depth); err != nil {
			return err
		}
		b = rest
	}
	return nil
}

func checkValues(b []byte, depth int) error {
	if depth > MaxDepth {
		return ErrDepth
	}
	for len(b) > 0 {
		tag, value, rest, err := splitValue(b)
		if err != nil {
			return err
		}
		if err := checkNested(tag, value, depth); err != nil {
			return err
		}
		b = rest
	}
	return nil
}

func checkNested(tag byte, value []byte, depth int) error {
	switch tag {
	case 'F':
		return checkFields(value, depth+1)
	case 'A':
		return checkValues(value, depth+1)
	}
	return nil
}
