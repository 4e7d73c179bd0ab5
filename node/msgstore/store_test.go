package msgstore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"warren/fsm/command"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A rig is a store, and a stand-in for a machine: records by number, of which
// checkpoints keep the list.
type rig struct {
	t     *testing.T
	cfg   Config
	s     *Store
	live  map[int]command.Record
	next  int
	index uint64
}

// newRig returns a rig with files in a directory, or in fs when it is not nil.
func newRig(t *testing.T, fs FS, segmentBytes int64) *rig {
	t.Helper()
	r := &rig{t: t, live: make(map[int]command.Record), cfg: Config{
		Dir: t.TempDir(), SegmentBytes: segmentBytes, Logger: slog.New(slog.DiscardHandler), FS: fs,
	}}
	if mem, ok := fs.(*memFS); ok {
		r.cfg.Snapshots = mem.disk.Snapshots()
	}
	r.open()
	t.Cleanup(func() {
		if r.s != nil {
			if err := r.s.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return r
}

func (r *rig) open() {
	r.t.Helper()
	s, err := Open(r.cfg)
	r.must(err)
	r.s = s
}

// payload is what record number n holds.
func payload(n int) []byte { return bytes.Repeat(fmt.Appendf(nil, "%d ", n), n%200) }

func (r *rig) sink() *Sink {
	r.t.Helper()
	r.index++
	sink, err := r.s.Create(raft.SnapshotVersionMax, r.index, 1, raft.Configuration{}, 1, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return sink.(*Sink)
}

// checkpoint stores n new records, moves those that are stale, and lists all that are live.
func (r *rig) checkpoint(n int) error {
	sink := r.sink()
	w := sink.Begin()
	live := make(map[int]command.Record)
	var added, replaced []command.Record
	save := func() error {
		for number, record := range r.live {
			if w.Stale(record) {
				b, err := w.Read(record)
				if err != nil {
					return err
				}
				fresh, err := w.Store(b)
				if err != nil {
					return err
				}
				added, replaced, record = append(added, fresh), append(replaced, record), fresh
			}
			live[number] = record
		}
		for i := range n {
			record, err := w.Store(payload(r.next + i))
			if err != nil {
				return err
			}
			added = append(added, record)
			live[r.next+i] = record
		}
		for number, record := range live {
			if err := w.Refer(record); err != nil {
				return err
			}
			if _, err := fmt.Fprintln(w, number); err != nil {
				return err
			}
		}
		return sink.Close()
	}
	if err := save(); err != nil {
		for _, record := range added {
			r.s.Drop(record)
		}
		return errors.Join(err, sink.Cancel())
	}
	for _, record := range replaced {
		r.s.Drop(record)
	}
	r.live, r.next = live, r.next+n
	return r.s.Collect()
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) drop(number int) {
	r.s.Drop(r.live[number])
	delete(r.live, number)
}

// restart loads the newest snapshot as a machine does. It returns the records of it.
func (r *rig) restart() {
	r.t.Helper()
	r.open()
	r.must(r.load())
	r.must(r.s.Collect())
}

func (r *rig) load() error {
	list, err := r.s.List()
	if err != nil {
		return err
	}
	r.live = make(map[int]command.Record)
	if len(list) == 0 {
		return nil
	}
	_, rc, err := r.s.Open(list[0].ID)
	if err != nil {
		return err
	}
	defer rc.Close()
	in, err := rc.(*Snapshot).Local()
	if err != nil {
		return err
	}
	text, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		var number int
		if _, err := fmt.Sscanln(line, &number); err != nil {
			return err
		}
		record, err := in.Next()
		if err != nil {
			return err
		}
		r.s.Hold(record)
		r.live[number] = record
	}
	if _, err := in.Next(); err == nil {
		return errors.New("a record is left over")
	}
	return nil
}

// check reads all records and compares what is counted.
func (r *rig) check() {
	r.t.Helper()
	var bytesLive int64
	for number, record := range r.live {
		if number%2 == 0 {
			r.s.Ahead(record)
		}
		b, err := r.s.Read(record)
		if err != nil {
			r.t.Fatal(err)
		}
		if !bytes.Equal(b, payload(number)) {
			r.t.Fatalf("record %d has other bytes", number)
		}
		bytesLive += length(record)
	}
	if _, live := r.s.Usage(); live != bytesLive {
		r.t.Fatalf("%d bytes are in use, %d are counted", bytesLive, live)
	}
}

// TestLongLife stores and drops for a long time: the files stay in proportion to
// what is in use, and go when nothing is.
func TestLongLife(t *testing.T) {
	const segment = 20_000
	r := newRig(t, newMemFS(1), segment)
	random := rand.New(rand.NewPCG(1, 1))
	for round := range 200 {
		r.must(r.checkpoint(random.IntN(100)))
		for number := range r.live {
			if number%50 != 0 && random.IntN(3) == 0 || random.IntN(100) == 0 {
				r.drop(number)
			}
		}
		if round%20 == 19 {
			r.must(r.s.Close())
			live := len(r.live)
			r.restart()
			if len(r.live) < live {
				t.Fatalf("%d records after a restart, %d before", len(r.live), live)
			}
		}
		r.check()
		r.must(r.checkpoint(0))
		if total, live := r.s.Usage(); total > 3*live+3*segment || r.s.Wasteful() {
			t.Fatalf("%d bytes on disk, %d in use", total, live)
		}
	}
	for number := range r.live {
		r.drop(number)
	}
	r.must(r.checkpoint(0))
	if total, _ := r.s.Usage(); total != 0 {
		t.Errorf("%d bytes on disk for nothing", total)
	}
	if names, err := r.s.fs.List(); err != nil || len(names) != 0 {
		t.Errorf("files %v are left, %v", names, err)
	}
}

// TestFaults makes each operation of the disk fail in its turn, crashes, and starts
// again: what the last snapshot that succeeded names is there, whole.
func TestFaults(t *testing.T) {
	for failAt := 1; ; failAt++ {
		for seed := range uint64(4) {
			fs := newMemFS(seed)
			r := newRig(t, fs, 3000)
			fs.failAt, fs.forever = failAt, seed == 1
			random := rand.New(rand.NewPCG(uint64(failAt), 2))
			snapshots := make(map[uint64][]int) // live numbers by index
			failures := 0
			for range 12 {
				if r.checkpoint(20) != nil {
					failures++
				}
				snapshots[r.index] = nil
				for number := range r.live {
					snapshots[r.index] = append(snapshots[r.index], number)
				}
				for number := range r.live {
					if random.IntN(2) == 0 {
						r.drop(number)
					}
				}
			}
			list, err := r.s.List()
			r.must(err)
			r.must(r.s.Close())
			fs.crash()
			r.cfg.Snapshots = fs.disk.Snapshots()
			r.restart()
			r.check()
			if len(list) > 0 && len(r.live) != len(snapshots[list[0].Index]) {
				t.Fatalf("fault %d, seed %d: %d records, the snapshot of %d had %d", failAt, seed, len(r.live), list[0].Index, len(snapshots[list[0].Index]))
			}
			r.must(r.checkpoint(10))
			r.check()
			if failures == 0 {
				return
			}
		}
	}
}

// TestTornTail leaves half a record at the end of a segment: it harms nothing.
func TestTornTail(t *testing.T) {
	r := newRig(t, nil, 1<<20)
	r.must(r.checkpoint(50))
	record := r.live[7]
	r.must(r.s.Close())
	path := filepath.Join(r.cfg.Dir, segmentName(record.Segment))
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	r.must(err)
	_, err = f.Write([]byte{0, 0, 1, 0, 1, 2})
	r.must(errors.Join(err, f.Close()))
	r.must(os.WriteFile(filepath.Join(r.cfg.Dir, segmentName(99)), []byte("WARR"), 0o600))
	unfinished := filepath.Join(r.cfg.Dir, "snapshots", "1-2-3.tmp")
	r.must(os.Mkdir(unfinished, 0o700))
	r.restart()
	r.check()
	r.must(r.checkpoint(10))
	r.check()
	for _, path := range []string{filepath.Join(r.cfg.Dir, segmentName(99)), unfinished} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s, which a crash left, is still there", path)
		}
	}
}

// TestDamage changes files in ways that no crash does: the error names the file.
func TestDamage(t *testing.T) {
	change := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 4
		return b
	}
	for name, test := range map[string]struct {
		damage func([]byte) []byte
		want   error
		late   bool // it is seen when a record is read
	}{
		"magic":     {func(b []byte) []byte { return change(b, 2) }, ErrDamaged, false},
		"version":   {func(b []byte) []byte { return change(b, len(segmentMagic)) }, ErrDamaged, false},
		"cut":       {func(b []byte) []byte { return b[:len(b)-1] }, ErrDamaged, false},
		"empty":     {func([]byte) []byte { return nil }, ErrDamaged, false},
		"record":    {func(b []byte) []byte { return change(b, len(b)-5) }, ErrDamaged, true},
		"checksum":  {func(b []byte) []byte { return change(b, segmentHead+5) }, ErrDamaged, true},
		"removed":   {nil, ErrDamaged, false},
		"untouched": {bytes.Clone, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil, 1<<20)
			r.next = 150
			r.must(r.checkpoint(1))
			segment := r.live[150].Segment
			r.must(r.s.Close())
			path := filepath.Join(r.cfg.Dir, segmentName(segment))
			data, err := os.ReadFile(path)
			r.must(err)
			if test.damage == nil {
				r.must(os.Remove(path))
			} else {
				r.must(os.WriteFile(path, test.damage(data), 0o600))
			}
			r.s = nil
			s, err := Open(r.cfg)
			if err == nil {
				r.s = s
				err = r.load()
			}
			if test.late && err == nil {
				_, err = r.s.Read(r.live[150])
			}
			if !errors.Is(err, test.want) || err != nil && !strings.Contains(err.Error(), segmentName(segment)) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestInstall sends snapshots to another store while both go on.
func TestInstall(t *testing.T) {
	a, b := newRig(t, nil, 10_000), newRig(t, nil, 7_000)
	a.must(a.checkpoint(300))
	b.must(b.checkpoint(100)) // which goes
	for round := range 3 {
		list, err := a.s.List()
		a.must(err)
		meta, stream, err := a.s.Open(list[0].ID)
		a.must(err)
		want := len(a.live)
		// The sender drops all and takes a snapshot while it sends.
		for number := range a.live {
			a.drop(number)
		}
		a.must(a.checkpoint(100 * round))
		sink := b.sink()
		n, err := io.Copy(sink, stream)
		a.must(errors.Join(err, stream.Close()))
		if n != meta.Size {
			t.Fatalf("%d bytes were sent, %d were announced", n, meta.Size)
		}
		b.must(sink.Close())
		b.must(b.s.Collect()) // of a checkpoint of its own
		for number := range b.live {
			b.drop(number)
		}
		b.must(b.load())
		b.must(b.s.Collect())
		b.check()
		if len(b.live) != want {
			t.Fatalf("%d records came of %d", len(b.live), want)
		}
		a.must(a.checkpoint(200))
		a.check()
	}
	b.must(b.s.Close())
	b.restart()
	b.check()
}

// TestInstallDamaged changes and cuts a stream everywhere: none is taken, and
// nothing is left of it.
func TestInstallDamaged(t *testing.T) {
	a, b := newRig(t, newMemFS(1), 10_000), newRig(t, newMemFS(1), 10_000)
	a.must(a.checkpoint(5))
	list, err := a.s.List()
	a.must(err)
	_, stream, err := a.s.Open(list[0].ID)
	a.must(err)
	good, err := io.ReadAll(stream)
	a.must(errors.Join(err, stream.Close()))
	b.must(b.checkpoint(1))
	try := func(data []byte) error {
		sink := b.sink()
		for len(data) > 0 { // in small writes
			n := min(len(data), 7)
			if _, err := sink.Write(data[:n]); err != nil {
				return errors.Join(err, sink.Cancel())
			}
			data = data[n:]
		}
		return sink.Close()
	}
	for i := range good {
		changed := bytes.Clone(good)
		changed[i] ^= 1
		if try(changed) == nil {
			t.Errorf("byte %d was changed, and nobody saw it", i)
		}
		if try(good[:i]) == nil {
			t.Errorf("cut at %d, and nobody saw it", i)
		}
	}
	if try(append(bytes.Clone(good), 0)) == nil {
		t.Error("a byte more, and nobody saw it")
	}
	b.check()
	b.must(b.checkpoint(0))
	if total, live := b.s.Usage(); total > live+20_000 {
		t.Errorf("%d bytes on disk, %d in use", total, live)
	}
	b.must(try(good))
}

func FuzzSnapshot(f *testing.F) {
	for _, magic := range []string{localMagic, streamMagic} {
		var b bytes.Buffer
		w := newBlockWriter(&b, magic)
		w.bytes([]byte("some bytes"))
		if magic == localMagic {
			w.refer(command.Record{Segment: 1, Offset: 2, Size: 3})
		} else {
			w.record([]byte("a record"))
		}
		if err := w.end(); err != nil {
			f.Fatal(err)
		}
		f.Add(magic == localMagic, b.Bytes())
	}
	f.Fuzz(func(t *testing.T, local bool, data []byte) {
		magic := streamMagic
		if local {
			magic = localMagic
		}
		r, err := newBlockReader(bytes.NewReader(data), magic, "fuzz")
		if err != nil {
			return
		}
		var out bytes.Buffer
		w := newBlockWriter(&out, magic)
		for {
			b, err := r.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return
			}
			switch b.kind {
			case blockBytes:
				w.framed(blockBytes, b.data)
			case blockRecord:
				w.record(b.data)
			default:
				w.refer(b.record)
			}
		}
		if err := w.end(); err != nil || !bytes.Equal(out.Bytes(), data) {
			t.Fatalf("what was read is written otherwise, %v", err)
		}
	})
}
