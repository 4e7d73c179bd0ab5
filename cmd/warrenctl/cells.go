package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
)

func texts(row []any) []string {
	s := make([]string, len(row))
	for i, v := range row {
		s[i] = escape(cell(v))
	}
	return s
}

// cell is a value as text. Tables look as rabbitmqctl prints them:
// [{"x-max-length",10}].
func cell(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return nested(v)
}

// atoms is a list of words, which Erlang prints without quotes.
type atoms []any

func nested(v any) string {
	switch v := v.(type) {
	case atoms:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = fmt.Sprint(e)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case nil:
		return ""
	case string:
		return `"` + v + `"`
	case map[string]any:
		parts := make([]string, 0, len(v))
		for _, name := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, `{"`+name+`",`+nested(v[name])+`}`)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = nested(e)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return fmt.Sprint(v)
}

// escape keeps a cell on its line and in its column: control characters and
// backslashes become octal numbers and double backslashes, as rabbitmqctl writes them. So do those
// from U+0080 to U+009F: a terminal may take one for the beginning of an order.
func escape(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == '\\' }) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\\':
			b.WriteString(`\\`)
		case unicode.IsControl(r):
			fmt.Fprintf(&b, `\%03o`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
