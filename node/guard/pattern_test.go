package guard

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestPatternTime ends a pattern that would match for ever.
func TestPatternTime(t *testing.T) {
	p, err := compile(`^(?=(a+)+$)(a+)+$`)
	if err != nil || p.slow == nil {
		t.Fatalf("%+v, %v", p, err)
	}
	done := make(chan bool, 1)
	go func() { done <- p.fits(strings.Repeat("a", 250) + "b") }()
	select {
	case fits := <-done:
		if fits {
			t.Error("it fits")
		}
	case <-time.After(time.Minute):
		t.Fatal("it is still being matched")
	}
}

// FuzzPattern wants a pattern of a permission to fit what Go's own package says, where that can do it, and
// others not to panic, nor to take longer than they may.
func FuzzPattern(f *testing.F) {
	for _, text := range []string{"", ".*", "^(?!amq).*", `(a)\1`, `^(?=(a+)+$)`, "(?<n>a)(?(n)b|c)", "(", `\p{Foo}`, "a{2,1}", "[[:alpha:]-z]"} {
		f.Add(text, "amq.gen-1")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		if len(text) > 255 || len(name) > 255 {
			return
		}
		p, err := compile(text)
		if err != nil {
			return
		}
		began := time.Now()
		got := p.fits(name)
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%q takes %v with %q", text, took, name)
		}
		if own, err := regexp.Compile(text); err == nil && text != "" && got != own.MatchString(name) {
			t.Errorf("%q in %q: %v", text, name, got)
		}
	})
}
