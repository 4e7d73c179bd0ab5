package cluster

import (
	"io"
	"slices"

	"github.com/hashicorp/raft"
)

// machine stands between hashicorp/raft and the state machine: it holds back what
// is not on this node's disk yet, tells of what is committed as soon as this node
// knows, of new configurations, and hands on commands only.
type machine struct {
	fsm       raft.FSM
	batch     raft.BatchingFSM         // nil when fsm is none
	onDisk    func(index uint64) error // waits until the log is on disk up to index, see logStore
	committed func(index, term uint64)
	config    func(raft.Configuration)
	failed    error // of onDisk: the state stays where it is
}

func newMachine(fsm raft.FSM, onDisk func(uint64) error, committed func(index, term uint64), config func(raft.Configuration)) *machine {
	b, _ := fsm.(raft.BatchingFSM)
	return &machine{fsm: fsm, batch: b, onDisk: onDisk, committed: committed, config: config}
}

// notApplied answers entries that Raft calls committed though they never came to
// the disk of the leader that it counted.
type notApplied struct{ err error }

func (m *machine) Apply(l *raft.Log) any { return m.ApplyBatch([]*raft.Log{l})[0] }

func (m *machine) ApplyBatch(logs []*raft.Log) []any {
	last := logs[len(logs)-1]
	if m.failed == nil {
		m.failed = m.onDisk(last.Index)
	}
	if m.failed != nil {
		return slices.Repeat([]any{notApplied{m.failed}}, len(logs))
	}
	m.committed(last.Index, last.Term) // before the work: followers need not wait for it
	answers := make([]any, len(logs))
	for at := 0; at < len(logs); {
		if logs[at].Type != raft.LogCommand {
			if logs[at].Type == raft.LogConfiguration {
				m.config(raft.DecodeConfiguration(logs[at].Data))
			}
			at++
			continue
		}
		end := at + 1
		for end < len(logs) && logs[end].Type == raft.LogCommand {
			end++
		}
		m.commands(logs[at:end], answers[at:end])
		at = end
	}
	return answers
}

func (m *machine) commands(logs []*raft.Log, answers []any) {
	if m.batch != nil {
		copy(answers, m.batch.ApplyBatch(logs))
		return
	}
	for i, l := range logs {
		answers[i] = m.fsm.Apply(l)
	}
}

// Snapshot implements raft.FSM. Raft would give it the index of the last entry
// that it handed over, so there is none after entries that were not applied.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	if m.failed != nil {
		return nil, m.failed
	}
	return m.fsm.Snapshot()
}

func (m *machine) Restore(r io.ReadCloser) error { return m.fsm.Restore(r) }
