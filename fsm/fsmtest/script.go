package fsmtest

import (
	"bytes"
	"fmt"
	"strings"

	"warren/fsm"
	"warren/fsm/command"
)

// A Script runs text scripts against a machine. A script is made of blocks, parted
// by empty lines. Lines that start with # are comments. The lines above ---- are
// one log entry, a command a line (or one of the words below); the lines under it
// are what came of it:
//
//	n1 declare q durable conn=2
//	n1 publish "" q hello
//	----
//	ok q messages=0 consumers=0
//	ok
//
// A line starts with the node that proposes the entry, "-" for an entry without
// epoch; "NODE open" opens an epoch. "NODE commit" takes the lines that follow up to
// "end". A first line "with leader=E stamp=MS epoch=E sequence=N" sets parts of the
// entry's header. "dump" prints the state, and "restore" goes on with a machine
// restored from a snapshot.
type Script struct {
	m         *fsm.Machine
	out       fsm.Output
	epochs    map[string]uint64 // by node, also when they are over
	sequences map[uint64]uint64 // last one applied, by epoch
}

// NewScript returns a runner with a new machine.
func NewScript() *Script {
	s := &Script{m: fsm.New(nil), epochs: make(map[string]uint64), sequences: make(map[uint64]uint64)}
	return s
}

// Run runs a whole script and returns it with its outputs replaced by what came.
func (s *Script) Run(text string) (string, error) {
	var result []string
	for number, block := range strings.Split(strings.TrimSpace(text), "\n\n") {
		input, _, _ := strings.Cut(block, "\n----")
		output, err := s.block(input)
		if err != nil {
			return "", fmt.Errorf("block %d: %w\n%s", number+1, err, input)
		}
		if output != "" || len(commandLines(input)) > 0 {
			input += "\n----\n" + strings.TrimRight(output, "\n")
		}
		result = append(result, strings.TrimRight(input, "\n"))
	}
	return strings.Join(result, "\n\n") + "\n", nil
}

func commandLines(input string) []string {
	var lines []string
	for l := range strings.SplitSeq(input, "\n") {
		l = strings.TrimSpace(l)
		if l != "" && !strings.HasPrefix(l, "#") {
			lines = append(lines, l)
		}
	}
	return lines
}

func (s *Script) block(input string) (string, error) {
	lines := commandLines(input)
	switch {
	case len(lines) == 0:
		return "", nil
	case lines[0] == "dump":
		return Dump(s.m), nil
	case lines[0] == "restore":
		return "ok", s.restore()
	}
	header, lines, err := s.header(lines)
	if err != nil {
		return "", err
	}
	batch, err := s.batch(header, lines)
	if err != nil {
		return "", err
	}
	return s.apply(batch)
}

// header makes the header of an entry, of which the first line may set parts.
func (s *Script) header(lines []string) (command.Header, []string, error) {
	first := strings.Fields(lines[0])[0]
	with, err := parseLine("with")
	if first == "with" {
		with, err = parseLine(lines[0])
		lines = lines[1:]
	}
	if err != nil || len(lines) == 0 {
		return command.Header{}, nil, fmt.Errorf("an entry without commands: %w", err)
	}
	node := strings.Fields(lines[0])[0]
	var h command.Header
	if node != "-" && strings.Fields(lines[0])[1] != "open" {
		h.Epoch = s.epochs[node]
	}
	h.Epoch = with.option("epoch", h.Epoch)
	if h.Epoch != 0 {
		h.Sequence = s.sequences[h.Epoch] + 1
	}
	h.Sequence = with.option("sequence", h.Sequence)
	h.Stamp = int64(with.option("stamp", uint64(s.m.Now())))
	h.LeaderEpoch = with.option("leader", 0)
	return h, lines, with.err
}

func (s *Script) batch(h command.Header, lines []string) ([]byte, error) {
	batch := command.NewBatch(nil, h.Epoch, h.Sequence)
	command.Stamp(batch, h.Stamp, h.LeaderEpoch)
	node := strings.Fields(lines[0])[0]
	for len(lines) > 0 {
		l, err := parseLine(lines[0])
		if err != nil {
			return nil, err
		}
		lines = lines[1:]
		if l.words[0] != node {
			return nil, fmt.Errorf("%q does not start with %s: an entry is one node's", l.words, node)
		}
		if len(l.words) == 2 && l.words[1] == "commit" {
			commit := &command.Commit{VHost: l.vhost(), Channel: l.channel()}
			if lines, err = s.commit(commit, lines); err != nil {
				return nil, err
			}
			batch = command.AppendToBatch(batch, commit)
			continue
		}
		cmd, err := l.command()
		if err != nil {
			return nil, err
		}
		batch = command.AppendToBatch(batch, cmd)
	}
	return batch, nil
}

// commit takes the commands up to "end" into a commit.
func (s *Script) commit(c *command.Commit, lines []string) ([]string, error) {
	for i, text := range lines {
		if text == "end" {
			return lines[i+1:], nil
		}
		l, err := parseLine(text)
		if err != nil {
			return nil, err
		}
		cmd, err := l.command()
		if err != nil {
			return nil, err
		}
		c.Commands = command.AppendCommand(c.Commands, cmd)
	}
	return nil, fmt.Errorf("commit without end")
}

// apply applies an entry, and checks the machine and its snapshot.
func (s *Script) apply(batch []byte) (string, error) {
	meta := fsm.Meta{Index: s.m.Index() + 1, Term: 1}
	if err := s.m.Apply(meta, batch, &s.out); err != nil {
		return "", err
	}
	if s.out.Verdict == fsm.Applied {
		s.sequences[s.out.Header.Epoch] = s.out.Header.Sequence
	}
	for i := range s.out.Effects {
		if e := &s.out.Effects[i]; e.Kind == command.EffectEpochOpened {
			s.epochs[e.Node] = e.To.Epoch
		}
	}
	if err := CheckMachine(s.m, nil); err != nil {
		return "", err
	}
	return Format(&s.out), nil
}

// restore replaces the machine by one restored from its snapshot.
func (s *Script) restore() error {
	m, err := Copy(s.m)
	if err != nil {
		return err
	}
	s.m = m
	return CheckMachine(m, nil)
}

// Copy returns a machine restored from a snapshot of m, which must be in the same state.
func Copy(m *fsm.Machine) (*fsm.Machine, error) {
	var b bytes.Buffer
	snapshot := m.Capture()
	defer snapshot.Release()
	if _, err := snapshot.WriteTo(&b); err != nil {
		return nil, err
	}
	restored := fsm.New(nil)
	if err := restored.Restore(&b); err != nil {
		return nil, err
	}
	if m.Hash() != restored.Hash() || m.StateHash() != restored.StateHash() {
		return nil, fmt.Errorf("the restored machine is in another state:\n%s\nand not\n%s", Dump(restored), Dump(m))
	}
	return restored, nil
}

// CheckMachine checks the invariants of a machine and that it holds the records
// that it should, and no others. records is nil when the machine has no disk.
func CheckMachine(m *fsm.Machine, records *Records) error {
	n, err := m.Check()
	if err != nil {
		return err
	}
	if records != nil && n != records.Live() {
		return fmt.Errorf("the machine refers to %d records and %d are in use", n, records.Live())
	}
	return nil
}
