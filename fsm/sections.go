package fsm

import (
	"bytes"

	"warren/fsm/internal/stream"
)

// A section is a part of a snapshot that stands behind the others with a tag and its
// length, so that the format can grow: state that came later gets a section of its own.
type section struct {
	tag uint64
	// write writes the section as the machine is captured; nothing when there is nothing to say.
	write func(*Machine, *stream.Writer)
	// read reads what write wrote, after all that stands before it. It need not look for
	// bytes left over.
	read func(*loader, *stream.Reader)
}

// sections are all that there are, by tag. Tags are never used again for something
// else, and are taken from the numbers of the kinds of command.
var sections = []section{
	{22, writeVersion, readVersion},
	{tagPolicies, writePolicies, readPolicies},
	{50, writeAccess, readAccess},
}

// captureSections encodes all sections, and the end behind them.
func (m *Machine) captureSections() []byte {
	var all, one bytes.Buffer
	w := stream.NewWriter(&all)
	for i := range sections {
		one.Reset()
		inner := stream.NewWriter(&one)
		sections[i].write(m, inner)
		w.Fail(inner.Flush())
		if one.Len() > 0 {
			w.Uint(sections[i].tag)
			w.Bytes(one.Bytes())
		}
	}
	w.Uint(0)
	w.Fail(w.Flush())
	return all.Bytes()
}

// readSections reads the sections that there are, up to the end.
func (l *loader) readSections() {
	var before uint64
	for tag := l.r.Uint(); tag != 0 && l.r.Err() == nil; tag = l.r.Uint() {
		b := l.r.Bytes()
		i := 0
		for i < len(sections) && sections[i].tag != tag {
			i++
		}
		if i == len(sections) || tag <= before || len(b) == 0 {
			l.r.Fail("section %d is unknown, empty or in the wrong place", tag)
			return
		}
		before = tag
		in := stream.NewReader(bytes.NewReader(b))
		sections[i].read(l, in)
		if err := in.End(); err != nil {
			l.r.Fail("section %d: %v", tag, err)
		}
	}
}

func writeVersion(m *Machine, w *stream.Writer) {
	if m.version != firstVersion {
		w.Uint(m.version)
	}
}

func readVersion(l *loader, r *stream.Reader) {
	l.version = r.Bounded(Version)
	if l.version <= firstVersion {
		r.Fail("machine version %d", l.version)
	}
}
