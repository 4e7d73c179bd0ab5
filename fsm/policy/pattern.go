package policy

import (
	"regexp"
	"strings"
)

// A pattern is a regular expression as RE2 has it: matching takes time in proportion to the
// name, whoever wrote the pattern, which Perl's expressions of RabbitMQ do not promise. Of
// what those have beyond, lookaheads at the start are understood, as in ^(?!amq\.).*, which
// many policies have.
type pattern struct {
	main    *regexp.Regexp
	ahead   []*regexp.Regexp // have to fit too
	unahead []*regexp.Regexp // must not fit
}

func (p *pattern) fits(name string) bool {
	for _, re := range p.unahead {
		if re.MatchString(name) {
			return false
		}
	}
	for _, re := range p.ahead {
		if !re.MatchString(name) {
			return false
		}
	}
	return p.main.MatchString(name)
}

func compile(text string) (pattern, bool) {
	main, err := regexp.Compile(text)
	if err == nil {
		return pattern{main: main}, true
	}
	return compileAhead(text)
}

// compileAhead compiles a pattern that begins with ^ and lookaheads. Where a further
// alternative stands beside them it gives up, as they do not belong to that.
func compileAhead(text string) (p pattern, ok bool) {
	rest, anchored := strings.CutPrefix(text, "^")
	if !anchored || strings.Contains(text, `\Q`) {
		return p, false
	}
	for strings.HasPrefix(rest, "(?!") || strings.HasPrefix(rest, "(?=") {
		end, _ := scan(rest)
		if end < 0 {
			return p, false
		}
		re, err := regexp.Compile("^(?:" + rest[len("(?!"):end] + ")")
		if err != nil {
			return p, false
		}
		if rest[2] == '!' {
			p.unahead = append(p.unahead, re)
		} else {
			p.ahead = append(p.ahead, re)
		}
		rest = rest[end+1:]
		if rest != "" && strings.ContainsRune("*+?{", rune(rest[0])) {
			return p, false
		}
	}
	if _, alternatives := scan(rest); alternatives {
		return p, false
	}
	var err error
	p.main, err = regexp.Compile("^" + rest)
	return p, err == nil
}

// scan returns where the group ends that s starts with, -1 when it does not, and whether
// a | stands outside of all groups.
func scan(s string) (end int, alternatives bool) {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '[':
			i = classEnd(s, i)
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 && s[0] == '(' && end == 0 {
				end = i
			}
		case '|':
			alternatives = alternatives || depth == 0
		}
	}
	if end == 0 {
		end = -1
	}
	return end, alternatives
}

// classEnd returns where the character class ends that begins at i.
func classEnd(s string, i int) int {
	i++
	if i < len(s) && s[i] == '^' {
		i++
	}
	for first := true; i < len(s); i, first = i+1, false {
		switch {
		case s[i] == '\\':
			i++
		case strings.HasPrefix(s[i:], "[:"):
			if n := strings.Index(s[i:], ":]"); n > 0 {
				i += n + 1
			}
		case s[i] == ']' && !first:
			return i
		}
	}
	return i
}
