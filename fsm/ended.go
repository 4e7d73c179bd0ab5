package fsm

import (
	"slices"

	"warren/fsm/command"
	"warren/fsm/internal/stream"
)

// endedSince is the version of the machine from which on it remembers how far removed epochs had come.
const endedSince = 4

// maxEnded bounds what is remembered of removed epochs: one for each node, of so many nodes at most.
const maxEnded = 64

// An ended epoch was removed while its process may be alive. When that process learns of it by a snapshot, the sequence
// tells it which of its batches were applied before.
type ended struct {
	number   uint64
	node     string
	nonce    uint64
	sequence uint64 // of its last batch applied; final, as all later ones are fenced
	refused  uint64 // as of a live one
}

// note takes note of a publish that is refused, rejected by a full queue, or returned. A node that did not see the
// answers, as a snapshot took their place, can take all behind the last such batch for plainly done.
func (m *Machine) note(e *epoch, r *command.Result) {
	if m.version >= endedSince && (r.Err != nil || r.Rejected || r.Message != nil) {
		e.refused = e.sequence
	}
}

func writeRefused(m *Machine, w *stream.Writer) {
	m.eachEpoch(func(e *epoch) {
		if e.refused > 0 {
			w.Uint(e.number)
			w.Uint(e.refused)
		}
	})
}

func readRefused(l *loader, r *stream.Reader) {
	before := uint64(0)
	for r.More() {
		number, refused := r.Uint(), r.Uint()
		e := l.state.epochs[number]
		if r.Err() != nil {
			return
		}
		if e == nil || number <= before || refused == 0 || refused > e.sequence {
			r.Fail("batch %d of epoch %d cannot have been refused", refused, number)
			return
		}
		before, e.refused = number, refused
	}
}

// endEpoch ends an epoch whose node has not said that it is over, and remembers how far it had come; nil is fine.
func (m *Machine) endEpoch(e *epoch) {
	if e == nil {
		return
	}
	if m.version >= endedSince {
		m.forgetEnded(func(old ended) bool { return old.node == e.node })
		if len(m.ended) == maxEnded {
			m.ended = slices.Delete(m.ended, 0, 1)
		}
		m.ended = append(m.ended, ended{e.number, e.node, e.nonce, e.sequence, e.refused})
	}
	m.removeEpoch(e)
}

// returned takes the opening of an epoch: with another nonce, its node knows that the one before is over, or is
// another process. With the same one it may have been asked for before the end, and come late.
func (m *Machine) returned(c *command.EpochOpen) {
	m.forgetEnded(func(old ended) bool { return old.node == c.Node && old.nonce != c.Nonce })
}

func (m *Machine) forgetEnded(which func(ended) bool) { m.ended = slices.DeleteFunc(m.ended, which) }

// Ended returns the removed epochs of which it is known how far they had come, in the order of their removal.
func (m *Machine) Ended() []EpochInfo {
	var all []EpochInfo
	for _, e := range m.ended {
		all = append(all, EpochInfo{Epoch: e.number, Node: e.node, Sequence: e.sequence, Refused: e.refused})
	}
	return all
}

func writeEnded(m *Machine, w *stream.Writer) {
	if len(m.ended) == 0 {
		return
	}
	w.Uint(uint64(len(m.ended)))
	for _, e := range m.ended {
		w.Uint(e.number)
		w.String(e.node)
		w.Uint(e.nonce)
		w.Uint(e.sequence)
		w.Uint(e.refused)
	}
}

func readEnded(l *loader, r *stream.Reader) {
	n := r.Bounded(maxEnded)
	for range n {
		e := ended{r.Uint(), r.String(), r.Uint(), r.Uint(), r.Uint()}
		if r.Err() != nil {
			return
		}
		if err := l.state.checkEnded(e); err != "" {
			r.Fail("ended epoch %d of %s %s", e.number, e.node, err)
			return
		}
		l.state.ended = append(l.state.ended, e)
	}
	if n == 0 {
		r.Fail("no ended epochs")
	}
}

// checkEnded says what is wrong with an ended epoch behind those that there are; empty when nothing is.
func (s *state) checkEnded(e ended) string {
	if e.number == 0 || e.number > s.index || s.epochs[e.number] != nil || e.refused > e.sequence {
		return "cannot be, or lives"
	}
	for _, other := range s.ended {
		if other.node == e.node {
			return "is not the only one of its node"
		}
	}
	for _, number := range sortedKeys(s.epochs) {
		if now := s.epochs[number]; now.node == e.node && now.nonce != e.nonce {
			return "is remembered though its node has gone on"
		}
	}
	return ""
}
