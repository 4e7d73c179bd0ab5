package fsmtest

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"warren/fsm"
	"warren/fsm/command"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "run only this seed of the random tests")
	runsFlag  = flag.Int("runs", 60, "number of random runs")
	stepsFlag = flag.Int("steps", 400, "log entries in a random run")
)

// What the runs have met between them: one run alone may miss some of it.
var (
	unread atomic.Int64 // deliveries to clients of other nodes for which nothing was read
	reads  atomic.Int64 // of records
	loads  atomic.Int64 // of snapshots into machines whose messages leave memory
)

// TestRandom applies random entries, checks the invariants after each, and that a
// replica restored at any cut gives the same outputs and ends in the same state.
func TestRandom(t *testing.T) {
	first, runs := uint64(1), *runsFlag
	if *seedFlag != 0 {
		first, runs = *seedFlag, 1
	}
	t.Cleanup(func() {
		if runs <= 10 || *stepsFlag <= 200 {
			return
		}
		if unread.Load() == 0 {
			t.Error("every message that went to clients of other nodes was read")
		}
		if reads.Load() < int64(runs) || loads.Load() < int64(runs) {
			t.Errorf("%d runs read %d records and loaded %d snapshots", runs, reads.Load(), loads.Load())
		}
	})
	for seed := first; seed < first+uint64(runs); seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			if err := newRun(seed).all(*stepsFlag); err != nil {
				t.Fatalf("replay with -run TestRandom -seed %d: %v", seed, err)
			}
		})
	}
}

// A run is one random run: a machine, and replicas restored from it.
type run struct {
	seed     uint64
	g        *Generator
	cuts     *rand.Rand // when to take snapshots; apart from the generator's
	m        *fsm.Machine
	paged    *paged
	out      fsm.Output
	index    uint64
	ordinals map[command.Owner]uint64
	replicas []*replica
	pending  []*pending
}

type replica struct {
	m   *fsm.Machine
	out fsm.Output
	cut uint64
}

// pending is a snapshot that was captured and is written some entries later, as
// a node does in the background.
type pending struct {
	s       *fsm.Snapshot
	due     uint64
	entries []entry // that came since the capture
}

type entry struct {
	meta  fsm.Meta
	batch []byte
}

func newRun(seed uint64) *run {
	r := &run{seed: seed, g: NewGenerator(seed), cuts: rand.New(rand.NewPCG(seed, 1)), m: fsm.New(nil)}
	r.paged = newPaged(seed)
	r.ordinals = make(map[command.Owner]uint64)
	return r
}

func (r *run) all(steps int) error {
	for range steps {
		if err := r.step(); err != nil {
			return fmt.Errorf("entry %d: %w", r.index, err)
		}
	}
	for _, other := range r.replicas {
		if err := sameState(r.m, other.m); err != nil {
			return fmt.Errorf("replica cut at %d: %w", other.cut, err)
		}
	}
	if err := sameState(r.m, r.paged.m); err != nil {
		return fmt.Errorf("paged machine: %w", err)
	}
	unread.Add(int64(r.paged.unread))
	reads.Add(int64(r.paged.records.Reads))
	loads.Add(int64(r.paged.loads))
	if len(r.replicas) == 0 && steps > 200 {
		return fmt.Errorf("no replica was made")
	}
	return nil
}

func (r *run) step() error {
	batch := r.g.Next()
	r.index += 1 + uint64(r.cuts.IntN(2)) // Raft's own entries take indexes too
	meta := fsm.Meta{Index: r.index, Term: 1}
	if err := r.m.Apply(meta, batch, &r.out); err != nil {
		return err
	}
	r.g.Saw(&r.out)
	if err := r.checkOutput(batch); err != nil {
		return err
	}
	if err := CheckMachine(r.m, nil); err != nil {
		return err
	}
	if err := r.follow(meta, batch); err != nil {
		return err
	}
	return r.cut()
}

// checkOutput checks that effects stand in the order of their commands and that
// the ordinals of each channel are 1, 2, 3 ….
func (r *run) checkOutput(batch []byte) error {
	_, rest, err := command.ReadHeader(batch)
	if err != nil {
		return err
	}
	effects := r.out.Effects
	for ; len(effects) > 0 && effects[0].Command < 0; effects = effects[1:] { // of time, not of a command
		if e := &effects[0]; e.Kind == command.EffectDeliver && e.Ordinal != 0 {
			if err := r.nextOrdinal(e.To, e.Ordinal); err != nil {
				return err
			}
		}
	}
	for i := range r.out.Results {
		kind, payload, next, err := command.Next(rest)
		if err != nil {
			return err
		}
		rest = next
		cmd := command.New(kind)
		if err := command.Decode(payload, cmd); err != nil {
			return err
		}
		r.forgetOrdinals(cmd)
		if get, ok := cmd.(*command.Get); ok && r.out.Results[i].Ordinal != 0 {
			owner := command.Owner{Epoch: r.out.Header.Epoch, Channel: get.Channel}
			if err := r.nextOrdinal(owner, r.out.Results[i].Ordinal); err != nil {
				return err
			}
		}
		for ; len(effects) > 0 && effects[0].Command == i; effects = effects[1:] {
			e := &effects[0]
			if e.Kind != command.EffectDeliver || e.Ordinal == 0 {
				continue
			}
			if err := r.nextOrdinal(e.To, e.Ordinal); err != nil {
				return err
			}
		}
	}
	if len(effects) > 0 {
		return fmt.Errorf("%d effects belong to no command", len(effects))
	}
	return nil
}

func (r *run) nextOrdinal(owner command.Owner, ordinal uint64) error {
	r.ordinals[owner]++
	if r.ordinals[owner] != ordinal {
		return fmt.Errorf("channel %v gets ordinal %d and not %d", owner, ordinal, r.ordinals[owner])
	}
	return nil
}

// forgetOrdinals starts anew for channels that a command closes.
func (r *run) forgetOrdinals(cmd command.Command) {
	for owner := range r.ordinals {
		if owner.Epoch != r.out.Header.Epoch {
			continue
		}
		switch c := cmd.(type) {
		case *command.ChannelClose:
			if owner.Channel == c.Channel {
				delete(r.ordinals, owner)
			}
		case *command.ConnectionClose:
			if owner.Conn == c.Conn {
				delete(r.ordinals, owner)
			}
		}
	}
}

// follow applies the entry to all replicas and compares what comes.
func (r *run) follow(meta fsm.Meta, batch []byte) error {
	want := Format(&r.out)
	if err := r.paged.apply(meta, batch, want, r.out.Effects); err != nil {
		return err
	}
	if r.m.Hash() != r.paged.m.Hash() {
		return fmt.Errorf("the paged machine has another hash")
	}
	for _, other := range r.replicas {
		if err := other.m.Apply(meta, batch, &other.out); err != nil {
			return err
		}
		if got := Format(&other.out); got != want {
			return fmt.Errorf("replica cut at %d gives\n%s\nand not\n%s", other.cut, got, want)
		}
		if other.m.Hash() != r.m.Hash() {
			return fmt.Errorf("replica cut at %d has another hash", other.cut)
		}
	}
	for _, p := range r.pending {
		p.entries = append(p.entries, entry{meta, batch})
	}
	return nil
}

// cut captures now and then, and writes what was captured some entries ago.
func (r *run) cut() error {
	if r.cuts.IntN(25) == 0 {
		r.pending = append(r.pending, &pending{s: r.m.Capture(), due: r.index + uint64(r.cuts.IntN(30))})
	}
	var left []*pending
	for _, p := range r.pending {
		if p.due > r.index {
			left = append(left, p)
			continue
		}
		if err := r.revive(p); err != nil {
			return fmt.Errorf("snapshot of entry %d: %w", p.s.Index(), err)
		}
	}
	r.pending = left
	return nil
}

// revive makes a replica of a pending snapshot and feeds it what came since.
func (r *run) revive(p *pending) error {
	var b bytes.Buffer
	if _, err := p.s.WriteTo(&b); err != nil {
		return err
	}
	other := &replica{m: fsm.New(nil), cut: p.s.Index()}
	p.s.Release()
	if err := other.m.Restore(&b); err != nil {
		return err
	}
	for _, e := range p.entries {
		if err := other.m.Apply(e.meta, e.batch, &other.out); err != nil {
			return err
		}
	}
	if err := sameState(r.m, other.m); err != nil {
		return err
	}
	r.replicas = append(r.replicas, other)
	if len(r.replicas) > 4 {
		r.replicas = r.replicas[1:]
	}
	return CheckMachine(other.m, nil)
}

func sameState(a, b *fsm.Machine) error {
	if a.Hash() == b.Hash() && a.StateHash() == b.StateHash() {
		return nil
	}
	return fmt.Errorf("is in another state:\n%s\nand not\n%s", Dump(b), Dump(a))
}
