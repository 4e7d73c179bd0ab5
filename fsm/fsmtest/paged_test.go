package fsmtest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"

	"warren/fsm"
	"warren/fsm/command"
)

// A paged machine is one whose messages leave memory, whose snapshots fail, and which
// is replaced by one loaded from a snapshot, at moments that a seed decides.
type paged struct {
	r       *rand.Rand
	m       *fsm.Machine
	records *Records
	out     fsm.Output
	s       *fsm.Snapshot // captured and not saved yet
	due     int           // entries until it is saved
	saved   *Saved        // the last one that came to an end
	entries []entry       // since the capture of s, then since that of saved
	since   int           // how many of entries are older than s
	loads   int
	serves  string            // the node whose clients it serves, "" for all
	nodes   map[uint64]string // by epoch
	unread  int               // deliveries whose message was not read
}

func newPaged(seed uint64) *paged {
	p := &paged{r: rand.New(rand.NewPCG(seed, 2)), records: new(Records), nodes: make(map[uint64]string)}
	p.records.Stale = func(r command.Record) bool { return r.Segment%7 == seed%7 }
	p.m = fsm.New(p.records)
	if seed%3 != 0 {
		p.serves = "n1"
		p.m.Serve(p.serves)
	}
	return p
}

// apply applies an entry, which must give the output want and those effects, and does what
// chance has it do.
func (p *paged) apply(meta fsm.Meta, batch []byte, want string, effects []command.Effect) error {
	if p.r.IntN(2) == 0 {
		p.m.Evict()
	}
	if err := p.m.Apply(meta, batch, &p.out); err != nil {
		return err
	}
	if err := p.fill(effects); err != nil {
		return err
	}
	if got := Format(&p.out); got != want {
		return fmt.Errorf("the paged machine gives\n%s\nand not\n%s", got, want)
	}
	p.entries = append(p.entries, entry{meta, batch})
	if err := p.chance(); err != nil {
		return err
	}
	return CheckMachine(p.m, p.records)
}

// fill completes deliveries to clients of other nodes with messages that were not read.
func (p *paged) fill(all []command.Effect) error {
	for i := range p.out.Effects {
		e := &p.out.Effects[i]
		if e.Kind == command.EffectEpochOpened {
			p.nodes[e.To.Epoch] = e.Node
		}
		if e.Kind != command.EffectDeliver || e.Message != nil {
			continue
		}
		if p.serves == "" || p.nodes[e.To.Epoch] == p.serves || i >= len(all) || all[i].Message == nil {
			return fmt.Errorf("delivery %d to epoch %d has no message", i, e.To.Epoch)
		}
		if int(e.Size) != len(all[i].Message.Body) {
			return fmt.Errorf("delivery %d tells of %d bytes, the message has %d", i, e.Size, len(all[i].Message.Body))
		}
		p.unread++
		e.Message = all[i].Message
	}
	return nil
}

func (p *paged) chance() error {
	switch p.r.IntN(30) {
	case 0:
		p.m.SetLimit(int64(p.r.IntN(3)-1) * 500)
	case 1:
		if p.saved != nil && p.s == nil {
			return p.reload()
		}
	case 2, 3, 4, 5:
		if p.s == nil {
			p.s, p.due, p.since = p.m.Capture(), p.r.IntN(10), len(p.entries)
		}
	}
	if p.s == nil {
		return nil
	}
	if p.due--; p.due > 0 {
		return nil
	}
	return p.save()
}

// save saves what was captured, or fails to, in the middle or at the end.
func (p *paged) save() error {
	saved := &Saved{Records: p.records}
	failed := errors.New("disk is full")
	how := p.r.IntN(6)
	if how == 0 {
		p.records.Fail = failed
	}
	err := p.s.Save(saved)
	p.records.Fail = nil
	switch {
	case err != nil && !errors.Is(err, failed):
		return err
	case err != nil || how == 1:
		p.m.Abandon(p.s)
	default:
		p.saved = saved
		p.entries = p.entries[p.since:]
		p.m.Stored(p.s)
	}
	p.s.Release()
	p.s = nil
	return nil
}

// reload does what a restart does: it loads the last snapshot and applies what came since.
func (p *paged) reload() error {
	p.loads++
	var before bytes.Buffer
	snapshot := p.m.Capture()
	defer snapshot.Release()
	if _, err := snapshot.WriteTo(&before); err != nil {
		return err
	}
	if err := p.m.Load(p.saved.Reader()); err != nil {
		return err
	}
	if err := CheckMachine(p.m, p.records); err != nil {
		return fmt.Errorf("loaded machine: %w", err)
	}
	for _, e := range p.entries {
		if err := p.m.Apply(e.meta, e.batch, &p.out); err != nil {
			return err
		}
	}
	var after bytes.Buffer
	again := p.m.Capture()
	defer again.Release()
	if _, err := again.WriteTo(&after); err != nil {
		return err
	}
	if !bytes.Equal(before.Bytes(), after.Bytes()) {
		return fmt.Errorf("the machine loaded from a snapshot is in another state")
	}
	return nil
}
