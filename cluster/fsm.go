package cluster

import (
	"io"

	"github.com/hashicorp/raft"
)

// machine stands between hashicorp/raft and the state machine: it tells of what
// is committed as soon as this node knows, of new configurations, and hands on
// commands only.
type machine struct {
	fsm       raft.FSM
	batch     raft.BatchingFSM // nil when fsm is none
	committed func(index, term uint64)
	config    func(raft.Configuration)
}

func newMachine(fsm raft.FSM, committed func(index, term uint64), config func(raft.Configuration)) *machine {
	b, _ := fsm.(raft.BatchingFSM)
	return &machine{fsm: fsm, batch: b, committed: committed, config: config}
}

func (m *machine) Apply(l *raft.Log) any { return m.ApplyBatch([]*raft.Log{l})[0] }

func (m *machine) ApplyBatch(logs []*raft.Log) []any {
	last := logs[len(logs)-1]
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

func (m *machine) Snapshot() (raft.FSMSnapshot, error) { return m.fsm.Snapshot() }
func (m *machine) Restore(r io.ReadCloser) error       { return m.fsm.Restore(r) }
