package main

import "testing"

// TestEscape: names and payloads cannot tell a terminal what to do, nor leave their cell.
func TestEscape(t *testing.T) {
	for s, want := range map[string]string{
		"orders ü 🐇":      "orders ü 🐇",
		"a\tb\nc\\":       `a\011b\012c\\`,
		"\x1b[2J\x7f":     `\033[2J\177`,
		"\u009b2J\u0085é": `\2332J\205é`,
	} {
		if got := escape(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}
