package settings

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// maxLine bounds a line of a file, in bytes.
const maxLine = 64 << 10

// An entry is one line of a file of settings.
type entry struct {
	line  int // from 1
	value string
}

// parseFile reads "key = value" lines as RabbitMQ's rabbitmq.conf has them:
// blank lines and lines that begin with # are passed over, blanks around key and
// value are dropped, and a value ends at " #". A value in single quotes is taken
// as it stands. Every error names the file and the line.
func parseFile(name string, r io.Reader) (map[*Setting]entry, error) {
	found := map[*Setting]entry{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		key, value, err := parseLine(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		if key == "" {
			continue
		}
		s := find(key)
		if s == nil {
			return nil, fmt.Errorf("%s:%d: unknown setting %q%s", name, n, key, suggest(key))
		}
		if before, twice := found[s]; twice {
			return nil, fmt.Errorf("%s:%d: %s was already set in line %d", name, n, key, before.line)
		}
		found[s] = entry{n, value}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return found, nil
}

// parseLine splits one line. The key is empty when the line says nothing.
func parseLine(line string) (key, value string, err error) {
	if !utf8.ValidString(line) || strings.ContainsRune(line, 0) {
		return "", "", fmt.Errorf("line is not text")
	}
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return "", "", nil
	}
	key, value, ok := strings.Cut(line, "=")
	if !ok {
		return "", "", fmt.Errorf("expected key = value, found no = (the line is not shown, it may have a password)")
	}
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	if key == "" {
		return "", "", fmt.Errorf("no key before =")
	}
	value, err = parseValue(value)
	return key, value, err
}

func parseValue(value string) (string, error) {
	if strings.HasPrefix(value, "'") {
		quoted, rest, closed := strings.Cut(value[1:], "'")
		rest = strings.TrimSpace(rest)
		if !closed || rest != "" && rest[0] != '#' {
			return "", fmt.Errorf("quotes do not match")
		}
		return quoted, nil
	}
	for i := range len(value) {
		if value[i] == '#' && (i == 0 || value[i-1] == ' ' || value[i-1] == '\t') {
			return strings.TrimSpace(value[:i]), nil
		}
	}
	return value, nil
}

// suggest names the key that was probably meant: same letters but for dots,
// dashes and case.
func suggest(key string) string {
	plain := strings.NewReplacer("-", "_", ".", "_").Replace(strings.ToLower(key))
	if s := find(plain); s != nil {
		return fmt.Sprintf(" (did you mean %s?)", s.Key())
	}
	return ""
}
