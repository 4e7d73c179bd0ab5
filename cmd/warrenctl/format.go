package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// formats are the values of --formatter.
var formats = []string{"table", "json", "csv", "pretty_table"}

// table is what a list command prints: rows with a cell for each column.
type table struct {
	columns []string
	rows    [][]any
}

// print writes t in the format asked for. A table without rows has no header,
// as rabbitmqctl's.
func (o *options) print(t *table) error {
	switch o.format {
	case "json":
		return t.json(o.out)
	case "csv":
		return t.csv(o.out)
	case "pretty_table":
		return t.pretty(o.out)
	default:
		return t.tabs(o.out, !o.silent && !o.noHeader)
	}
}

func (t *table) tabs(w io.Writer, header bool) error {
	var b bytes.Buffer
	if header && len(t.rows) > 0 {
		b.WriteString(strings.Join(t.columns, "\t") + "\n")
	}
	for _, row := range t.rows {
		b.WriteString(strings.Join(texts(row), "\t") + "\n")
	}
	_, err := w.Write(b.Bytes())
	return err
}

func texts(row []any) []string {
	s := make([]string, len(row))
	for i, v := range row {
		s[i] = escape(cell(v))
	}
	return s
}

// words is a list of names. Tables show them without quotes: [a, b].
type words []any

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
	case words:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = fmt.Sprint(e)
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
// backslashes become octal numbers and double backslashes, as rabbitmqctl writes them.
func escape(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\\':
			b.WriteString(`\\`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\%03o`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// json writes an array with an object on each line, its fields in the order of
// the columns.
func (t *table) json(w io.Writer) error {
	var b bytes.Buffer
	b.WriteString("[\n")
	for i, row := range t.rows {
		if i > 0 {
			b.WriteString(",\n")
		}
		b.WriteByte('{')
		for j, v := range row {
			if j > 0 {
				b.WriteByte(',')
			}
			if err := field(&b, t.columns[j], v); err != nil {
				return err
			}
		}
		b.WriteByte('}')
	}
	if len(t.rows) > 0 {
		b.WriteByte('\n')
	}
	b.WriteString("]\n")
	_, err := w.Write(b.Bytes())
	return err
}

func field(b *bytes.Buffer, name string, v any) error {
	if err := encode(b, name, ""); err != nil {
		return err
	}
	b.WriteByte(':')
	return encode(b, v, "")
}

// encode appends v as JSON. Characters that matter in HTML only stay as they
// are: names of connections have a '>'.
func encode(b *bytes.Buffer, v any, indent string) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1) // the newline
	return nil
}

func (t *table) csv(w io.Writer) error {
	out := csv.NewWriter(w)
	if err := out.Write(t.columns); err != nil {
		return err
	}
	for _, row := range t.rows {
		s := make([]string, len(row))
		for i, v := range row {
			s[i] = cell(v)
		}
		if err := out.Write(s); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// pretty draws a table with lines around the cells.
func (t *table) pretty(w io.Writer) error {
	if len(t.rows) == 0 {
		return nil
	}
	lines := [][]string{t.columns}
	for _, row := range t.rows {
		lines = append(lines, texts(row))
	}
	widths := make([]int, len(t.columns))
	for _, line := range lines {
		for i, s := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(s))
		}
	}
	rule := func(left, middle, right string) string {
		parts := make([]string, len(widths))
		for i, n := range widths {
			parts[i] = strings.Repeat("─", n+2)
		}
		return left + strings.Join(parts, middle) + right + "\n"
	}
	var b bytes.Buffer
	b.WriteString(rule("┌", "┬", "┐"))
	for n, line := range lines {
		if n > 0 {
			b.WriteString(rule("├", "┼", "┤"))
		}
		for i, s := range line {
			b.WriteString("│ " + s + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(s)+1))
		}
		b.WriteString("│\n")
	}
	b.WriteString(rule("└", "┴", "┘"))
	_, err := w.Write(b.Bytes())
	return err
}

// printObject writes a value as indented JSON.
func (o *options) printObject(v any) error {
	var b bytes.Buffer
	if err := encode(&b, v, "  "); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err := o.out.Write(b.Bytes())
	return err
}
