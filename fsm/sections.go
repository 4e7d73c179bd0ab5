package fsm

import (
	"bytes"

	"warren/fsm/internal/stream"
	"warren/fsm/queue"
)

// A section is a part of a snapshot that stands behind the others with a tag and its
// length, so that the format can grow: state that came later gets a section of its own.
type section struct {
	tag uint64
	// write writes the section as the machine is captured; nothing when there is nothing to say.
	write func(*Machine, *stream.Writer)
	// late makes the section, in any number of pieces, of what was captured, beside the
	// machine: for what there may be much of. It is nil where write is not.
	late func(*Snapshot, func(piece []byte))
	// read reads what write wrote, or a piece, after all that stands before it. It need not
	// look for bytes left over.
	read func(*loader, *stream.Reader)
}

// sections are all that there are, by tag. Tags are never used again for something
// else, and are taken from the numbers of the kinds of command.
var sections = []section{
	{tag: 1, write: writeRefused, read: readRefused},
	{tag: 2, write: writeEnded, read: readEnded},
	{tag: 22, write: writeVersion, read: readVersion},
	{tag: 23, write: writeUses, read: func(l *loader, r *stream.Reader) { l.parts.Uses(r) }},
	{tag: 24, late: lateDeadlines, read: func(l *loader, r *stream.Reader) { l.parts.Deadlines(r) }},
	{tag: 25, late: lateTries, read: func(l *loader, r *stream.Reader) { l.parts.Tries(r) }},
	{tag: 26, late: lateTimes, read: readTimes},
	{tag: 27, late: lateWaits, read: func(l *loader, r *stream.Reader) { l.parts.Waits(r) }},
	{tag: 30, late: lateCaches, read: (*loader).readCaches},
	{tag: 31, late: lateDelays, read: (*loader).readDelays},
	{tag: tagPolicies, write: writePolicies, read: readPolicies},
	{tag: 42, write: writeParameters, read: readParameters},
	{tag: 44, write: writeGlobals, read: readGlobals},
	{tag: 50, write: writeAccess, read: readAccess},
	{tag: 60, write: writeVHostMetadata, read: readVHostMetadata},
	{tag: 61, write: writeUserLimits, read: readUserLimits},
	{tag: 62, write: writeCounted, read: readCounted},
	{tag: 63, write: writeSeeded, read: readSeeded},
}

// captureSections encodes the sections that are made now, by their place in sections.
func (m *Machine) captureSections() [][]byte {
	all := make([][]byte, len(sections))
	for i := range sections {
		if sections[i].write == nil {
			continue
		}
		w := stream.NewBuffer(0)
		sections[i].write(m, w)
		all[i] = w.Buffered()
	}
	return all
}

// writeSections writes all sections, and the end behind them.
func (s *Snapshot) writeSections(w *stream.Writer) {
	for i := range sections {
		piece := func(b []byte) {
			if len(b) > 0 {
				w.Uint(sections[i].tag)
				w.Bytes(b)
			}
		}
		if sections[i].late != nil {
			sections[i].late(s, piece)
		} else {
			piece(s.sections[i])
		}
	}
	w.Uint(0)
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
		if i == len(sections) || tag < before || len(b) == 0 || tag == before && sections[i].late == nil {
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

// writeUses writes when queues were last used that go when they are not.
func writeUses(m *Machine, w *stream.Writer) {
	m.eachQueue(func(_ *vhost, q *queue.Queue) { q.WriteUse(w) })
}

// lateDeadlines writes when messages expire.
func lateDeadlines(s *Snapshot, piece func([]byte)) { queue.Deadlines(s.queues, piece) }

// lateTries writes what became of messages that were given out and came back.
func lateTries(s *Snapshot, piece func([]byte)) { queue.WriteTries(s.queues, piece) }

// lateWaits writes until when messages wait that came back.
func lateWaits(s *Snapshot, piece func([]byte)) { queue.WriteWaits(s.queues, piece) }

// writePiece gives what write writes as one piece of a section.
func writePiece(piece func([]byte), write func(*stream.Writer)) {
	w := stream.NewBuffer(0)
	write(w)
	piece(w.Buffered())
}
