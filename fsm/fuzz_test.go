package fsm_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc64"
	"io"
	"os"
	"testing"

	"warren/fsm"
	"warren/fsm/command"
	"warren/fsm/fsmtest"
	"warren/fsm/internal/stream"
)

// busyMachine returns a machine with something of everything, and its snapshot.
func busyMachine(tb testing.TB, seed uint64, entries int) (*fsm.Machine, []byte) {
	tb.Helper()
	g := fsmtest.NewGenerator(seed)
	m := fsm.New(nil)
	var out fsm.Output
	for i := range entries {
		if err := m.Apply(fsm.Meta{Index: uint64(i + 1), Term: 1}, g.Next(), &out); err != nil {
			tb.Fatal(err)
		}
		g.Saw(&out)
	}
	return m, snapshotOf(tb, m)
}

func snapshotOf(tb testing.TB, m *fsm.Machine) []byte {
	tb.Helper()
	s := m.Capture()
	defer s.Release()
	var b bytes.Buffer
	n, err := s.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		tb.Fatalf("wrote %d of %d bytes: %v", n, b.Len(), err)
	}
	return b.Bytes()
}

// TestRestoreRefusesDamage flips each byte of a snapshot and cuts it at each
// length: all are errors, and the machine stays as it was.
func TestRestoreRefusesDamage(t *testing.T) {
	_, snapshot := busyMachine(t, 3, 120)
	m := fsm.New(nil)
	before := m.StateHash()
	for i := range snapshot {
		damaged := bytes.Clone(snapshot)
		damaged[i] ^= 1 << (i % 8)
		if err := m.Restore(bytes.NewReader(damaged)); err == nil {
			t.Errorf("byte %d of %d was changed, and nobody saw it", i, len(snapshot))
		}
		if err := m.Restore(bytes.NewReader(snapshot[:i])); err == nil {
			t.Errorf("cut at %d of %d, and nobody saw it", i, len(snapshot))
		}
	}
	if m.StateHash() != before || m.Resident() != 0 {
		t.Errorf("a refused snapshot left something: %d bytes", m.Resident())
	}
}

// TestRestoreReplaces checks that the old state goes with its messages.
func TestRestoreReplaces(t *testing.T) {
	want, snapshot := busyMachine(t, 8, 300)
	m := fsm.New(nil)
	for range 3 {
		if err := m.Restore(bytes.NewReader(snapshot)); err != nil {
			t.Fatal(err)
		}
		if err := fsmtest.CheckMachine(m, nil); err != nil {
			t.Fatal(err)
		}
	}
	if m.StateHash() != want.StateHash() || m.Hash() != want.Hash() || m.Index() != want.Index() {
		t.Error("the restored machine is in another state")
	}
	if m.Resident() == 0 {
		t.Error("the test has no messages")
	}
	if !bytes.Equal(snapshotOf(t, m), snapshot) {
		t.Error("the same state gives other bytes")
	}
}

// FuzzRestore restores anything: an error, or a machine that keeps its invariants.
func FuzzRestore(f *testing.F) {
	for seed := range uint64(4) {
		_, snapshot := busyMachine(f, seed, 40)
		f.Add(snapshot)
	}
	old, err := os.ReadFile("testdata/v2/messages")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(old)
	f.Fuzz(func(t *testing.T, b []byte) {
		m := fsm.New(nil)
		if err := m.Restore(bytes.NewReader(b)); err != nil {
			if m.Resident() != 0 {
				t.Fatalf("a refused snapshot left %d bytes", m.Resident())
			}
			return
		}
		if !bytes.HasPrefix(b, snapshotOf(t, m)) && b[8] != 2 { // version 2 is read, and not written any more
			t.Fatal("a restored snapshot gives other bytes")
		}
	})
}

// FuzzRestoreSummed restores anything behind a checksum that is right, to get behind it.
func FuzzRestoreSummed(f *testing.F) {
	for seed := range uint64(4) {
		_, snapshot := busyMachine(f, seed, 40)
		f.Add(snapshot[:len(snapshot)-8])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := fsm.New(nil)
		if err := m.Restore(bytes.NewReader(withSum(b))); err == nil {
			// Whatever it is, using it must not fail.
			m.Totals()
			fsmtest.Dump(m)
			var out fsm.Output
			for _, e := range m.Epochs() {
				batch := command.NewBatch(nil, 0, 0)
				batch = command.AppendToBatch(batch, &command.EpochRemove{Epoch: e.Epoch})
				if err := m.Apply(fsm.Meta{Index: m.Index() + 1}, batch, &out); err != nil && m.Index() != ^uint64(0) {
					t.Fatal(err)
				}
			}
		}
	})
}

// FuzzApply applies anything: an error, or a machine that keeps its invariants.
func FuzzApply(f *testing.F) {
	g := fsmtest.NewGenerator(1)
	m := fsm.New(nil)
	var out fsm.Output
	for i := range 200 {
		batch := g.Next()
		f.Add(batch)
		if err := m.Apply(fsm.Meta{Index: uint64(i + 1), Term: 1}, batch, &out); err != nil {
			f.Fatal(err)
		}
		g.Saw(&out)
	}
	_, snapshot := busyMachine(f, 1, 100)
	f.Fuzz(func(t *testing.T, batch []byte) {
		m := fsm.New(nil)
		if err := m.Restore(bytes.NewReader(snapshot)); err != nil {
			t.Fatal(err)
		}
		if len(batch) >= 38 { // of an epoch that is there, and next in it
			for _, e := range m.Epochs() {
				command.SetSequence(batch, e.Epoch, e.Sequence+1)
			}
		}
		var out fsm.Output
		if err := m.Apply(fsm.Meta{Index: m.Index() + 1, Term: 1}, batch, &out); err != nil {
			return
		}
		if err := fsmtest.CheckMachine(m, nil); err != nil {
			t.Fatal(err)
		}
	})
}

// savedMachine returns a snapshot that refers to records, of a machine that holds messages.
func savedMachine(f *testing.F) (*fsmtest.Records, *fsmtest.Saved) {
	for seed := uint64(1); ; seed++ {
		g := fsmtest.NewGenerator(seed)
		records := new(fsmtest.Records)
		m := fsm.New(records)
		var out fsm.Output
		for i := range 150 {
			if err := m.Apply(fsm.Meta{Index: uint64(i + 1), Term: 1}, g.Next(), &out); err != nil {
				f.Fatal(err)
			}
			g.Saw(&out)
		}
		saved := &fsmtest.Saved{Records: records}
		if err := m.Capture().Save(saved); err != nil {
			f.Fatal(err)
		}
		if len(saved.Refs) > 1 {
			return records, saved
		}
	}
}

// FuzzLoad loads snapshots that refer to records: what is taken is sound, or says
// so when a message is read.
func FuzzLoad(f *testing.F) {
	records, saved := savedMachine(f)
	good := bytes.Clone(saved.Bytes())
	f.Add(good[:len(good)-8])
	f.Fuzz(func(t *testing.T, data []byte) {
		own := records.Clone()
		in := fsmtest.Saved{Refs: saved.Refs, Records: own}
		in.Write(withSum(data))
		before := own.Live()
		m := fsm.New(own)
		if err := m.Load(in.Reader()); err != nil {
			if own.Live() != before {
				t.Fatalf("a refused snapshot holds %d records more", own.Live()-before)
			}
			return
		}
		if err := fsmtest.CheckMachine(m, nil); err != nil {
			t.Fatal(err)
		}
		s := m.Capture()
		defer s.Release()
		if _, err := s.WriteTo(io.Discard); err != nil && m.StateHash() != 0 {
			t.Fatal(err)
		}
		if err := m.Restore(bytes.NewReader(withSum(data))); !errors.Is(err, fsm.ErrNotSnapshot) && !errors.Is(err, stream.ErrCorrupt) {
			t.Fatalf("a snapshot with records was taken for one with messages: %v", err)
		}
	})
}

// withSum appends the checksum that a snapshot ends with.
func withSum(b []byte) []byte {
	sum := crc64.Checksum(b, crc64.MakeTable(crc64.ECMA))
	return binary.BigEndian.AppendUint64(bytes.Clone(b), sum)
}
