package fsm_test

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"warren/fsm"
	"warren/fsm/command"
	"warren/fsm/fsmtest"
)

// writeOld writes what a machine of this version leaves behind into testdata/NAME.
// To be run once for a version of the format, before it changes.
var writeOld = flag.String("write-old", "", "directory in testdata to write log and snapshots of this version to")

// oldEntries is the number of log entries of a fixture; its snapshots were taken in the middle.
const oldEntries = 600

// An oldRun is a log, and snapshots of both forms that were taken of it, as an
// earlier version wrote them:
//
//	log       entries: length (4 bytes), bytes; their indexes are 1, 2, 3 …
//	messages  the snapshot with all messages, of the entry in the middle
//	records   the snapshot that refers to records, of the same entry
//	data      the records, in the order in which it refers to them: length (4 bytes), bytes
//	hashes    what the rolling hash was in the middle and at the end
type oldRun struct {
	log, data         [][]byte
	messages, records []byte
	middle, end       uint64
}

func (o *oldRun) write(dir string) error {
	files := map[string][]byte{
		"log": join(o.log), "data": join(o.data), "messages": o.messages, "records": o.records,
		"hashes": fmt.Appendf(nil, "%d %d\n", o.middle, o.end),
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func readOldRun(t *testing.T, dir string) *oldRun {
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	o := &oldRun{log: split(read("log")), data: split(read("data")), messages: read("messages"), records: read("records")}
	if _, err := fmt.Sscan(string(read("hashes")), &o.middle, &o.end); err != nil {
		t.Fatal(err)
	}
	return o
}

func join(all [][]byte) (b []byte) {
	for _, one := range all {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(one))), one...)
	}
	return b
}

func split(b []byte) (all [][]byte) {
	for len(b) > 0 {
		n := binary.BigEndian.Uint32(b)
		all = append(all, b[4:4+n])
		b = b[4+n:]
	}
	return all
}

// TestWriteOld writes the fixture of the present version when it is asked to.
func TestWriteOld(t *testing.T) {
	if *writeOld == "" {
		return
	}
	var o oldRun
	g := fsmtest.NewGenerator(237)
	records := new(fsmtest.Records)
	m := fsm.New(records)
	saved := &fsmtest.Saved{Records: records}
	var out fsm.Output
	for i := range oldEntries {
		batch := g.Next()
		o.log = append(o.log, bytes.Clone(batch))
		if err := m.Apply(fsm.Meta{Index: uint64(i + 1), Term: 1}, batch, &out); err != nil {
			t.Fatal(err)
		}
		g.Saw(&out)
		if i+1 == oldEntries/2 {
			o.messages, o.middle = snapshotOf(t, m), m.Hash()
			if err := m.Capture().Save(saved); err != nil {
				t.Fatal(err)
			}
		}
	}
	o.end, o.records = m.Hash(), saved.Bytes()
	for _, r := range saved.Refs {
		b, err := records.Read(r)
		if err != nil {
			t.Fatal(err)
		}
		o.data = append(o.data, b)
	}
	if err := o.write(filepath.Join("testdata", *writeOld)); err != nil {
		t.Fatal(err)
	}
}

// TestReadOld replays the logs of earlier versions, and restores and loads their snapshots:
// each way gives the hashes that were written down then, and the same state.
//
// row: 1.6 mixed versions
func TestReadOld(t *testing.T) {
	dirs, err := filepath.Glob("testdata/v*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			o := readOldRun(t, dir)
			replayed := fsm.New(nil)
			o.apply(t, replayed, 0, len(o.log)/2)
			restored := fsm.New(nil)
			if err := restored.Restore(bytes.NewReader(o.messages)); err != nil {
				t.Fatal(err)
			}
			records := new(fsmtest.Records)
			loaded := fsm.New(records)
			if err := loaded.Load(o.reader(t, records)); err != nil {
				t.Fatal(err)
			}
			same := func(when string, hash uint64) {
				t.Helper()
				for _, m := range []*fsm.Machine{replayed, restored, loaded} {
					if _, err := m.Check(); err != nil {
						t.Error(when, err)
					}
					if m.Hash() != hash || m.StateHash() != replayed.StateHash() {
						t.Errorf("%s: hash %d and not %d, or another state:\n%s\nand not\n%s",
							when, m.Hash(), hash, fsmtest.Dump(m), fsmtest.Dump(replayed))
					}
				}
			}
			same("at the snapshot", o.middle)
			if all := loaded.Totals(); all.Ready == 0 || all.Unacked == 0 || all.Consumers == 0 || records.Live() == 0 {
				t.Errorf("the fixture lacks something: %+v", all)
			}
			for _, m := range []*fsm.Machine{replayed, restored, loaded} {
				o.apply(t, m, len(o.log)/2, len(o.log))
			}
			same("at the end", o.end)
		})
	}
}

func (o *oldRun) apply(t *testing.T, m *fsm.Machine, from, to int) {
	var out fsm.Output
	for i := from; i < to; i++ {
		if err := m.Apply(fsm.Meta{Index: uint64(i + 1), Term: 1}, o.log[i], &out); err != nil {
			t.Fatal(err)
		}
	}
}

// reader stores the records anew and returns the snapshot that refers to them.
func (o *oldRun) reader(t *testing.T, records *fsmtest.Records) command.RecordReader {
	saved := &fsmtest.Saved{Records: records}
	for _, b := range o.data {
		r, err := saved.Store(b)
		if err != nil {
			t.Fatal(err)
		}
		records.Drop(r) // the machine holds it when it has loaded
		saved.Refs = append(saved.Refs, r)
	}
	saved.Write(o.records)
	return saved.Reader()
}
