package topology

import (
	"bytes"
	"slices"
	"strings"

	"warren/fsm/command"
	"warren/protocol/wire"
)

// argMatch is the binding argument that says how headers are matched
// (https://www.rabbitmq.com/tutorials/amqp-concepts#exchange-headers).
const argMatch = "x-match"

// matcher is what a binding of a headers exchange asks of a message.
type matcher struct {
	any    bool       // one field that matches is enough; else all must
	fields wire.Table // sorted by name, without those that do not count
}

// newMatcher reads binding arguments that are sorted by name. Fields that begin
// with "x-" count only with all-with-x and any-with-x, x-match never.
func newMatcher(args wire.Table) (matcher, *command.Error) {
	var m matcher
	withX := false
	if v, ok := args.Get(argMatch); ok {
		s, ok := v.(string)
		if !ok {
			return m, refuse(preconditionFailed, "Invalid x-match field type %s (value %s); expected longstr", wire.TypeName(v), valueText(v))
		}
		switch s {
		case "all", "any", "all-with-x", "any-with-x":
		default:
			return m, refuse(preconditionFailed, "Invalid x-match field value %s; expected all, any, all-with-x, or any-with-x", `<<"`+s+`">>`)
		}
		m.any = strings.HasPrefix(s, "any")
		withX = strings.HasSuffix(s, "-with-x")
	}
	for _, f := range args {
		if f.Name == argMatch || !withX && strings.HasPrefix(f.Name, "x-") {
			continue
		}
		m.fields = append(m.fields, f)
	}
	return m, nil
}

// matches tells whether a message with these headers, sorted by name, is asked
// for. Without fields, all matches everything and any nothing.
func (m *matcher) matches(headers wire.Table) bool {
	for _, f := range m.fields {
		for len(headers) > 0 && headers[0].Name < f.Name {
			headers = headers[1:]
		}
		hit := len(headers) > 0 && headers[0].Name == f.Name &&
			(f.Value == nil || sameValue(f.Value, headers[0].Value))
		if hit == m.any {
			return m.any
		}
	}
	return !m.any
}

// headerSet reads the headers of the message that is being routed, once and only
// where a headers exchange asks.
type headerSet struct {
	properties []byte
	read       bool
	sorted     wire.Table
}

func (h *headerSet) reset(properties []byte) { *h = headerSet{properties: properties} }

func (h *headerSet) table() wire.Table {
	if !h.read {
		h.read = true
		h.sorted = slices.Clone(wire.Headers(h.properties))
		sortTable(h.sorted)
	}
	return h.sorted
}

// sameValue compares a binding's value with a header's as RabbitMQ does: of
// numbers and strings the type tag does not count, the value does. So 1 is 1 in
// any integer width, but neither 1.0 nor "1"; a long string equals a byte array
// of the same bytes. Inside tables and arrays the tags count.
//
// A timestamp equals the same timestamp and nothing else. RabbitMQ 4 compares
// the seconds of the binding with the milliseconds of the message, so that one
// never matches itself.
func sameValue(a, b any) bool {
	if x, ok := wire.Int(a); ok {
		y, ok := wire.Int(b)
		return ok && x == y
	}
	if x, ok := wire.Float(a); ok {
		y, ok := wire.Float(b)
		return ok && x == y
	}
	if x, ok := text(a); ok {
		y, ok := text(b)
		return ok && x == y
	}
	return identical(a, b)
}

func text(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case []byte:
		return string(v), true
	}
	return "", false
}

// identical compares values of the same type, tables and arrays field by field.
func identical(a, b any) bool {
	switch x := a.(type) {
	case wire.Table:
		y, ok := b.(wire.Table)
		return ok && slices.EqualFunc(x, y, func(f, g wire.Field) bool {
			return f.Name == g.Name && identical(f.Value, g.Value)
		})
	case wire.Array:
		y, ok := b.(wire.Array)
		return ok && slices.EqualFunc(x, y, identical)
	case []byte:
		y, ok := b.([]byte)
		return ok && bytes.Equal(x, y)
	}
	switch b.(type) {
	case wire.Table, wire.Array, []byte:
		return false // not comparable with ==
	}
	return a == b
}
