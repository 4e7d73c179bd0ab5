package wire

import (
	"encoding/binary"
	"fmt"
	"math"
)

// maxShort is the greatest length of a short string, in bytes.
const maxShort = 255

// AppendTable appends the encoding of t, with its four length bytes. Fields
// keep their order, so the same table always gives the same bytes. A nil table
// is an empty one.
//
// It panics when a value has a Go type that Field does not list, which is a
// mistake of the program. Names longer than 255 bytes are cut to 255. CheckTable
// finds both in tables that come from elsewhere than ParseTable.
func AppendTable(dst []byte, t Table) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	for i := range t {
		dst = AppendShortString(dst, t[i].Name)
		dst = appendValue(dst, t[i].Value)
	}
	return putLength(dst, at)
}

// AppendArray appends the encoding of a, with its four length bytes. See
// AppendTable for what it does with values that cannot be encoded.
func AppendArray(dst []byte, a Array) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	for _, v := range a {
		dst = appendValue(dst, v)
	}
	return putLength(dst, at)
}

// AppendShortString appends one length byte and s. A string longer than 255
// bytes is cut to 255: the protocol has no way to say more of it.
func AppendShortString[S ~string | ~[]byte](dst []byte, s S) []byte {
	if len(s) > maxShort {
		s = s[:maxShort]
	}
	dst = append(dst, byte(len(s)))
	return append(dst, s...)
}

// AppendLongString appends four length bytes and s.
func AppendLongString[S ~string | ~[]byte](dst []byte, s S) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(s)))
	return append(dst, s...)
}

// putLength writes the number of bytes behind the length at dst[at:] into it.
func putLength(dst []byte, at int) []byte {
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

// appendValue appends the type's tag and the value.
func appendValue(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, 'V')
	case bool:
		if v {
			return append(dst, 't', 1)
		}
		return append(dst, 't', 0)
	case int8:
		return append(dst, 'b', byte(v))
	case uint8:
		return append(dst, 'B', v)
	case int16:
		return binary.BigEndian.AppendUint16(append(dst, 's'), uint16(v))
	case uint16:
		return binary.BigEndian.AppendUint16(append(dst, 'u'), v)
	case int32:
		return binary.BigEndian.AppendUint32(append(dst, 'I'), uint32(v))
	case uint32:
		return binary.BigEndian.AppendUint32(append(dst, 'i'), v)
	case int64:
		return binary.BigEndian.AppendUint64(append(dst, 'l'), uint64(v))
	case float32:
		return binary.BigEndian.AppendUint32(append(dst, 'f'), math.Float32bits(v))
	case float64:
		return binary.BigEndian.AppendUint64(append(dst, 'd'), math.Float64bits(v))
	case Decimal:
		return binary.BigEndian.AppendUint32(append(dst, 'D', v.Scale), uint32(v.Value))
	case Timestamp:
		return binary.BigEndian.AppendUint64(append(dst, 'T'), uint64(v))
	case string:
		return AppendLongString(append(dst, 'S'), v)
	case []byte:
		return AppendLongString(append(dst, 'x'), v)
	case Array:
		return AppendArray(append(dst, 'A'), v)
	case Table:
		return AppendTable(append(dst, 'F'), v)
	}
	panic(fmt.Sprintf("wire: a field cannot hold a value of type %T", v))
}

// CheckTable reports whether AppendTable encodes t faithfully and ParseTable
// reads the result: types that Field lists, names of at most 255 bytes, nesting
// of at most MaxDepth. It is for tables that did not come from ParseTable, such
// as those made from JSON.
func CheckTable(t Table) error { return checkMadeTable(t, 1) }

func checkMadeTable(t Table, depth int) error {
	if depth > MaxDepth {
		return ErrDepth
	}
	for i := range t {
		if len(t[i].Name) > maxShort {
			return fmt.Errorf("%w: %.40q…", ErrName, t[i].Name)
		}
		if err := checkMadeValue(t[i].Value, depth); err != nil {
			return fmt.Errorf("field %.40q: %w", t[i].Name, err)
		}
	}
	return nil
}

func checkMadeValue(v any, depth int) error {
	switch v := v.(type) {
	case string:
		return checkMadeLength(len(v))
	case []byte:
		return checkMadeLength(len(v))
	case Table:
		return checkMadeTable(v, depth+1)
	case Array:
		if depth+1 > MaxDepth {
			return ErrDepth
		}
		for _, e := range v {
			if err := checkMadeValue(e, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	if TypeName(v) == "" {
		return fmt.Errorf("%w: %T", ErrValueType, v)
	}
	return nil
}

func checkMadeLength(n int) error {
	if uint64(n) > math.MaxUint32 {
		return ErrTooLong
	}
	return nil
}
