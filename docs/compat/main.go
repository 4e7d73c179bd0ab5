// Compat writes docs/compatibility.md: what clients and operators of RabbitMQ rely on
// (rows.txt), and which tests show it here. A test says so in a comment of its own,
//
//	// row: 1.3 basic.qos; 1.1 error texts
//
// above the test function, or above a case of a table whose first field is its name.
// A comment that names no row is an error, so the list cannot go stale: "make lint"
// makes it anew and fails when that changes it.
package main

import (
	"bufio"
	_ "embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

//go:generate go run . ../..

//go:embed rows.txt
var rowsText string

// A row is one line of rows.txt, and the tests that show it.
type row struct {
	section, name, importance, about string
	tests                            []string
}

func (r *row) id() string { return r.section + " " + r.name }

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	if err := run(root); err != nil {
		fmt.Fprintln(os.Stderr, "compat:", err)
		os.Exit(1)
	}
}

func run(root string) error {
	rows, err := parseRows(rowsText)
	if err != nil {
		return err
	}
	if err := collect(os.DirFS(root), rows); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, "docs", "compatibility.md"), []byte(render(rows)), 0o644)
}

func parseRows(text string) ([]*row, error) {
	var rows []*row
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(line, " | ")
		if len(f) != 4 || !slices.Contains([]string{"must", "should", "nice"}, f[2]) {
			return nil, fmt.Errorf("rows.txt: %q is not SECTION | ROW | IMPORTANCE | TEXT", line)
		}
		r := &row{section: f[0], name: f[1], importance: f[2], about: f[3]}
		if seen[r.id()] {
			return nil, fmt.Errorf("rows.txt: %q is there twice", r.id())
		}
		seen[r.id()] = true
		rows = append(rows, r)
	}
	return rows, nil
}

// collect adds the tests of all files of a module to their rows.
func collect(module fs.FS, rows []*row) error {
	byID := map[string]*row{}
	for _, r := range rows {
		byID[r.id()] = r
	}
	return fs.WalkDir(module, ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || path == "docs/compat"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		return scan(module, path, byID)
	})
}

var (
	tag      = regexp.MustCompile(`^\s*// row: (.*)$`)
	comment  = regexp.MustCompile(`^\s*//`)
	function = regexp.MustCompile(`^func (Test\w+)\(`)
	entry    = regexp.MustCompile(`^\s*\{"([^"]+)",`)
)

// scan reads the comments of one file.
func scan(module fs.FS, path string, rows map[string]*row) error {
	f, err := module.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was read only
	var waiting []string             // rows whose test comes next
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if m := tag.FindStringSubmatch(line); m != nil {
			waiting = append(waiting, strings.Split(m[1], "; ")...)
			continue
		}
		if len(waiting) == 0 || comment.MatchString(line) {
			continue
		}
		test := ""
		if m := function.FindStringSubmatch(line); m != nil {
			test = "`" + m[1] + "`"
		} else if m := entry.FindStringSubmatch(line); m != nil {
			test = "\"" + m[1] + "\""
		} else {
			return fmt.Errorf("%s:%d: a comment with a row stands above no test", path, n)
		}
		for _, id := range waiting {
			r := rows[id]
			if r == nil {
				return fmt.Errorf("%s:%d: there is no row %q in docs/compat/rows.txt", path, n, id)
			}
			shown := fmt.Sprintf("%s in [%s](../%s)", test, filepath.Base(path), path)
			if !slices.Contains(r.tests, shown) {
				r.tests = append(r.tests, shown)
			}
		}
		waiting = nil
	}
	if len(waiting) > 0 {
		return fmt.Errorf("%s: a comment with a row stands above no test", path)
	}
	return lines.Err()
}

var titles = map[string]string{
	"1.1": "Connections", "1.2": "Channels, exchanges, queues", "1.3": "Publishing, consuming, confirms, transactions",
	"1.4": "Exchange types and headers", "1.5": "Arguments of queues", "1.6": "The cluster", "1.7": "Policies, limits, users, TLS",
	"1.8": "The HTTP API", "1.9": "Commands", "1.10": "Metrics", "1.11": "Moving messages",
}

// state is what the list says of a row.
func (r *row) state() string {
	switch {
	case len(r.tests) > 0:
		return "tested"
	case r.importance == "must":
		return "**missing**"
	}
	return "not there, or not tested"
}

func render(rows []*row) string {
	var b strings.Builder
	b.WriteString(`# Compatibility with RabbitMQ, row by row

<!-- Made by "make gen" from docs/compat/rows.txt and the comments "// row:" of the tests. Do not edit. -->

What an application or an operator relies on with RabbitMQ 4, how much, and the tests that show that it works
here. Where Warren differs on purpose, [differences.md](differences.md) says so and why.

`)
	tested, must, musts := 0, 0, 0
	for _, r := range rows {
		if len(r.tests) > 0 {
			tested++
		}
		if r.importance == "must" {
			musts++
			if len(r.tests) > 0 {
				must++
			}
		}
	}
	fmt.Fprintf(&b, "%d of %d rows have a test, and %d of the %d that must.\n", tested, len(rows), must, musts)
	section := ""
	for _, r := range rows {
		if r.section != section {
			section = r.section
			fmt.Fprintf(&b, "\n## %s %s\n\n| row | what | importance | state | shown by |\n|---|---|---|---|---|\n", section, titles[section])
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.name, r.about, r.importance, r.state(), strings.Join(r.tests, "; "))
	}
	return b.String()
}
