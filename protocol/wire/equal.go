package wire

import (
	"bytes"
	"math"
)

// TypeName returns RabbitMQ's name for the type of a field value, as it stands in
// texts such as "inequivalent arg 'x-max-length' for queue": "longstr", "signedint",
// "void" for nil … It returns "" for a Go type that a field cannot hold.
// (Source: rabbit_binary_parser in rabbitmq-server.)
func TypeName(v any) string {
	switch v.(type) {
	case nil:
		return "void"
	case bool:
		return "bool"
	case int8:
		return "byte"
	case uint8:
		return "unsignedbyte"
	case int16:
		return "short"
	case uint16:
		return "unsignedshort"
	case int32:
		return "signedint"
	case uint32:
		return "unsignedint"
	case int64:
		return "long"
	case float32:
		return "float"
	case float64:
		return "double"
	case Decimal:
		return "decimal"
	case Timestamp:
		return "timestamp"
	case string:
		return "longstr"
	case []byte:
		return "binary"
	case Array:
		return "array"
	case Table:
		return "table"
	}
	return ""
}

// Int returns the value of a field of any integer type ('b' to 'L'; a timestamp
// is none) and whether it is one.
func Int(v any) (int64, bool) {
	switch v := v.(type) {
	case int8:
		return int64(v), true
	case uint8:
		return int64(v), true
	case int16:
		return int64(v), true
	case uint16:
		return int64(v), true
	case int32:
		return int64(v), true
	case uint32:
		return int64(v), true
	case int64:
		return v, true
	}
	return 0, false
}

// Float returns the value of a field of either float type and whether it is one.
func Float(v any) (float64, bool) {
	switch v := v.(type) {
	case float32:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// EqualValue reports whether two field values are equivalent as arguments of a
// declaration: integers of any width are compared by value, and so are floats of
// either width; other types must be the same. (RabbitMQ: type_class in
// rabbit_misc; we apply it inside arrays and tables too.) A not-a-number equals
// itself, so that a declaration can be repeated.
func EqualValue(a, b any) bool {
	if x, ok := Int(a); ok {
		y, ok := Int(b)
		return ok && x == y
	}
	if x, ok := Float(a); ok {
		y, ok := Float(b)
		return ok && (x == y || math.IsNaN(x) && math.IsNaN(y))
	}
	switch x := a.(type) {
	case nil:
		return b == nil
	case bool:
		y, ok := b.(bool)
		return ok && x == y
	case string:
		y, ok := b.(string)
		return ok && x == y
	case Timestamp:
		y, ok := b.(Timestamp)
		return ok && x == y
	case Decimal:
		y, ok := b.(Decimal)
		return ok && x == y
	case []byte:
		y, ok := b.([]byte)
		return ok && bytes.Equal(x, y)
	case Array:
		y, ok := b.(Array)
		return ok && equalArray(x, y)
	case Table:
		y, ok := b.(Table)
		return ok && EqualTable(x, y)
	}
	return false
}

func equalArray(a, b Array) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !EqualValue(a[i], b[i]) {
			return false
		}
	}
	return true
}

// EqualTable reports whether two tables have the same names with equivalent
// values (see EqualValue), in any order. Of several fields with one name the
// first counts, as for Get.
func EqualTable(a, b Table) bool {
	x, y := firsts(a), firsts(b)
	if len(x) != len(y) {
		return false
	}
	for name, v := range x {
		w, ok := y[name]
		if !ok || !EqualValue(v, w) {
			return false
		}
	}
	return true
}

// firsts indexes a table. A map keeps the comparison of two large tables linear;
// nothing depends on the order in which it is walked.
func firsts(t Table) map[string]any {
	if len(t) == 0 {
		return nil
	}
	m := make(map[string]any, len(t))
	for i := range t {
		if _, seen := m[t[i].Name]; !seen {
			m[t[i].Name] = t[i].Value
		}
	}
	return m
}
