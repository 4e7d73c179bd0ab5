// Command gen writes docs/settings.md, the page of all settings, to the file
// that its argument names. "make gen" runs it through go generate.
package main

import (
	"fmt"
	"os"

	"warren/cmd/warren/internal/settings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gen FILE")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], []byte(settings.Markdown()), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}
