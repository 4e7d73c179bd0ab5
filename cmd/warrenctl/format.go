package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// The values of --formatter. A table is written for whoever reads it: with aligned columns to a terminal, and
// else as rabbitmqctl writes it, with a tab between two columns.
const (
	formatTable      = "table"
	formatJSON       = "json"
	formatJSONStream = "json_stream"
	formatCSV        = "csv"
	formatPretty     = "pretty"
	formatPrettyLong = "pretty_table" // rabbitmqctl's name of it
)

var formats = []string{formatTable, formatJSON, formatJSONStream, formatCSV, formatPretty, formatPrettyLong}

// table is what a list command prints: rows with a cell for each column.
type table struct {
	columns []string
	rows    [][]any
}

// print writes t in the format asked for.
func (o *options) print(t *table) error {
	w := o.rows(t.columns)
	for _, row := range t.rows {
		if err := w.row(row); err != nil {
			return err
		}
	}
	return w.end()
}

// A rowWriter writes a table row by row. Those formats that need not know all rows before the first write each as
// it comes.
type rowWriter interface {
	row(cells []any) error
	end() error
}

// rows begins a table in the format asked for.
func (o *options) rows(columns []string) rowWriter {
	switch o.format {
	case formatJSON:
		return &jsonRows{w: o.out, columns: columns, open: "[\n", between: ",\n", shut: "]\n"}
	case formatJSONStream:
		return &jsonRows{w: o.out, columns: columns, between: "\n"}
	case formatCSV:
		return &csvRows{w: csv.NewWriter(o.out), columns: columns}
	case formatPretty, formatPrettyLong:
		return &prettyRows{w: o.out, lines: [][]string{columns}}
	}
	header := columns
	if o.silent || o.noHeader {
		header = nil
	}
	if isTerminal(o.out) {
		return &alignedRows{w: o.out, header: header}
	}
	return &tabRows{w: o.out, header: header}
}

// isTerminal reports whether somebody reads along.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// tabRows is a table as rabbitmqctl writes it: one without rows has no header.
type tabRows struct {
	w      io.Writer
	header []string // nil: none, or it is written
}

func (t *tabRows) row(cells []any) error {
	line := strings.Join(texts(cells), "\t") + "\n"
	if t.header != nil {
		line, t.header = strings.Join(t.header, "\t")+"\n"+line, nil
	}
	_, err := io.WriteString(t.w, line)
	return err
}

func (t *tabRows) end() error { return nil }

// alignedRows is a table whose columns stand below each other.
type alignedRows struct {
	w      io.Writer
	header []string // nil: none
	lines  [][]string
}

func (t *alignedRows) row(cells []any) error {
	if t.header != nil && len(t.lines) == 0 {
		t.lines = append(t.lines, t.header)
	}
	t.lines = append(t.lines, texts(cells))
	return nil
}

func (t *alignedRows) end() error {
	widths := columnWidths(t.lines)
	var b bytes.Buffer
	for _, line := range t.lines {
		text := ""
		for i, s := range line {
			text += pad(s, widths[i]) + "  "
		}
		b.WriteString(strings.TrimRight(text, " ") + "\n")
	}
	_, err := t.w.Write(b.Bytes())
	return err
}

func columnWidths(lines [][]string) []int {
	if len(lines) == 0 {
		return nil
	}
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, s := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(s))
		}
	}
	return widths
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", width-utf8.RuneCountInString(s))
}

// prettyRows draws a table with lines around the cells, and nothing for one without rows.
type prettyRows struct {
	w     io.Writer
	lines [][]string // the header is the first
}

func (t *prettyRows) row(cells []any) error {
	t.lines = append(t.lines, texts(cells))
	return nil
}

func (t *prettyRows) end() error {
	if len(t.lines) == 1 {
		return nil
	}
	widths := columnWidths(t.lines)
	rule := func(left, middle, right string) string {
		parts := make([]string, len(widths))
		for i, n := range widths {
			parts[i] = strings.Repeat("─", n+2)
		}
		return left + strings.Join(parts, middle) + right + "\n"
	}
	var b bytes.Buffer
	b.WriteString(rule("┌", "┬", "┐"))
	for n, line := range t.lines {
		if n > 0 {
			b.WriteString(rule("├", "┼", "┤"))
		}
		for i, s := range line {
			b.WriteString("│ " + pad(s, widths[i]) + " ")
		}
		b.WriteString("│\n")
	}
	b.WriteString(rule("└", "┴", "┘"))
	_, err := t.w.Write(b.Bytes())
	return err
}

// jsonRows writes each row as an object on a line of its own, its fields in the order of the columns.
type jsonRows struct {
	w                   io.Writer
	columns             []string
	open, between, shut string
	n                   int
}

func (t *jsonRows) row(cells []any) error {
	var b bytes.Buffer
	b.WriteString(t.before())
	b.WriteByte('{')
	for i, v := range cells {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := field(&b, t.columns[i], v); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	_, err := t.w.Write(b.Bytes())
	return err
}

// before is what stands before the next row.
func (t *jsonRows) before() string {
	if t.n++; t.n == 1 {
		return t.open
	}
	return t.between
}

func (t *jsonRows) end() error {
	text := "\n" + t.shut
	if t.n == 0 {
		text = t.open + t.shut
	}
	_, err := io.WriteString(t.w, text)
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

// csvRows writes a header, whatever comes, and the rows.
type csvRows struct {
	w       *csv.Writer
	columns []string // nil: written
}

func (t *csvRows) row(cells []any) error {
	if err := t.header(); err != nil {
		return err
	}
	s := make([]string, len(cells))
	for i, v := range cells {
		s[i] = cell(v)
	}
	return t.w.Write(s)
}

func (t *csvRows) header() error {
	columns := t.columns
	if columns == nil {
		return nil
	}
	t.columns = nil
	return t.w.Write(columns)
}

func (t *csvRows) end() error {
	if err := t.header(); err != nil {
		return err
	}
	t.w.Flush()
	return t.w.Error()
}

// isJSON reports whether a machine is to read the output.
func (o *options) isJSON() bool { return o.format == formatJSON || o.format == formatJSONStream }

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
