package settings

import (
	"cmp"
	"fmt"
	"strings"
)

const docIntro = `# Settings

<!-- Made by "make gen" from cmd/warren/internal/settings/table.go. Do not edit. -->

` + "`warren serve`" + ` takes each setting as a flag, as an environment variable or from a
file. A flag wins over a variable, a variable over the file, the file over the
default. With no settings at all it is a working single node.

The file is named by ` + "`--config FILE` or `WARREN_CONFIG`" + `; none is read otherwise. It holds
` + "`key = value`" + ` lines. Lines that begin with ` + "`#`" + ` and empty lines are passed over, a value
ends at a blank and ` + "`#`" + `, and a value in single quotes is taken as it stands. An unknown
key, a key that is set twice and a bad value are errors that name the line; the node
does not start. A ` + "`WARREN_*`" + ` variable that is no setting is logged as a warning.

The file is read again on SIGHUP (` + "`systemctl reload warren`) and by `warrenctl reload`" + `: the column "reload" says which settings count
at once then, or for connections that come; the log, and the command, name those that have changed and wait for a restart. A file with
an error changes nothing. Flags and variables go on to win over it.

Sizes are bytes, or have a unit: kB, MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB (powers
of 1024). Durations always have a unit: ms, s, m, h.
`

// Markdown returns the page docs/settings.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString(docIntro)
	group := ""
	for _, s := range table {
		if s.Group != group {
			group = s.Group
			fmt.Fprintf(&b, "\n## %s\n\n| flag | variable | key | default | reload | meaning |\n|---|---|---|---|---|---|\n", group)
		}
		fmt.Fprintf(&b, "| `--%s %s` | %s | `%s` | %s | %s | %s |\n",
			s.Flag, s.Arg, s.variables(), s.Key(), code(s.Default), cmp.Or(s.Reload, "restart"), s.Meaning)
	}
	return b.String()
}

func (s *Setting) variables() string {
	if s.Fallback == "" {
		return code(s.Env())
	}
	return code(s.Env()) + ", else " + code(s.Fallback)
}

func code(s string) string {
	if s == "" {
		return "empty"
	}
	return "`" + s + "`"
}
