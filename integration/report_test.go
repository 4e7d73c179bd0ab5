package integration

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A report is what a test has measured, in Markdown: it goes to the test's log, and
// to the end of the file that WARREN_REPORT names.
type report struct {
	t    testing.TB
	file *os.File // nil: none
}

func newReport(t testing.TB, title string) *report {
	t.Helper()
	r := &report{t: t}
	if name := os.Getenv("WARREN_REPORT"); name != "" {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		})
		r.file = f
	}
	r.line("## %s\n", title)
	return r
}

func (r *report) line(format string, args ...any) {
	r.t.Helper()
	text := fmt.Sprintf(format, args...)
	r.t.Log(strings.TrimSuffix(text, "\n"))
	if r.file != nil {
		if _, err := fmt.Fprintln(r.file, text); err != nil {
			r.t.Fatal(err)
		}
	}
}

// row writes a row of a table.
func (r *report) row(cells ...any) {
	r.t.Helper()
	var b strings.Builder
	for _, c := range cells {
		fmt.Fprintf(&b, "| %v ", c)
	}
	r.line("%s|", b.String())
}

// setNumber is the number that an environment variable gives a test for a larger
// run, or the usual one.
func setNumber(t testing.TB, variable string, usual int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is not a number from 1", variable, text)
	}
	return n
}

// A diskUse is the bytes of the files of a node, in MiB in a report. Parts of files
// that are reserved and not written yet count.
type diskUse struct{ log, messages int64 }

func (d diskUse) String() string { return fmt.Sprintf("%d + %d", d.log>>20, d.messages>>20) }

// diskUse looks at the data directory, which may change meanwhile.
func (n *node) diskUse(t testing.TB) (use diskUse) {
	t.Helper()
	for dir, sum := range map[string]*int64{"cluster": &use.log, "messages": &use.messages} {
		err := filepath.WalkDir(filepath.Join(n.dir, dir), func(_ string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return ignoreGone(err)
			}
			info, err := d.Info()
			if err == nil {
				*sum += info.Size()
			}
			return ignoreGone(err)
		})
		if err != nil {
			t.Fatalf("disk use of %s: %v", n.name, err)
		}
	}
	return use
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// seconds writes a duration for a report.
func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// waitOutput waits, for as long as a large run may take, until the program has
// printed a line with part.
func (p *program) waitOutput(t testing.TB, part string) {
	t.Helper()
	const long = 30 * time.Minute
	err := waitFor(long, func() error {
		if p.count(part) > 0 {
			return nil
		}
		select {
		case <-p.done:
			t.Fatalf("%s ended (%v) and had not printed %q:\n%s", p.name, p.err, part, strings.Join(p.output(), "\n"))
		default:
		}
		return fmt.Errorf("no %q", part)
	})
	if err != nil {
		t.Fatal(err)
	}
}
