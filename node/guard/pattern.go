package guard

import (
	"regexp"
	"time"

	"github.com/dlclark/regexp2"
)

// patternTime bounds the time that a pattern may take which Go's own package cannot
// match: such can take for ever.
const patternTime = 50 * time.Millisecond

// A pattern is a regular expression of a permission. RabbitMQ's are Perl's; those that
// RE2 can do take linear time, and the few others (with lookaround or backreferences) are
// matched by backtracking.
type pattern struct {
	fast *regexp.Regexp
	slow *regexp2.Regexp
}

// compile makes a pattern. An empty one fits only the empty name, as in RabbitMQ.
func compile(text string) (*pattern, error) {
	if text == "" {
		text = "^$"
	}
	fast, err := regexp.Compile(text)
	if err == nil {
		return &pattern{fast: fast}, nil
	}
	slow, slowErr := regexp2.Compile(text, regexp2.None)
	if slowErr != nil {
		return nil, err
	}
	slow.MatchTimeout = patternTime
	return &pattern{slow: slow}, nil
}

// fits reports whether the pattern is found in the name. One that takes too long does not fit.
func (p *pattern) fits(name string) bool {
	if p.fast != nil {
		return p.fast.MatchString(name)
	}
	ok, err := p.slow.MatchString(name)
	return ok && err == nil
}
