package clustertest

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// TestCrashLosesWhatIsNotSynced: what was written before is there, what is under way is there or not, and
// what the old process writes afterwards is not.
func TestCrashLosesWhatIsNotSynced(t *testing.T) {
	happened := map[bool]int{}
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			d := NewDisk(rand.New(rand.NewPCG(seed, 1)), func() time.Duration { return time.Millisecond })
			store := func(index uint64) {
				if err := d.StoreLog(&raft.Log{Index: index, Data: []byte{byte(index)}}); err != nil {
					t.Error(err)
				}
			}
			store(1)
			f, err := d.Create("a")
			if err != nil {
				t.Fatal(err)
			}
			d.SyncNames()
			if _, err := io.WriteString(f, "safe"); err != nil {
				t.Fatal(err)
			}
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(f, "torn"); err != nil {
				t.Fatal(err)
			}
			if _, err := d.Create("b"); err != nil {
				t.Fatal(err)
			}
			go store(2)
			synctest.Wait() // it is under way
			next := d.Crash()
			time.Sleep(time.Second)
			store(3)

			last, err := next.LastIndex()
			if err != nil || last < 1 || last > 2 {
				t.Errorf("the log ends with %d, %v", last, err)
			}
			happened[last == 2]++
			if _, err := next.Open("b"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a file that nobody made safe is there: %v", err)
			}
			g, err := next.Open("a")
			if err != nil {
				t.Fatal(err)
			}
			if size, err := g.Size(); err != nil || size < 4 || size > 8 {
				t.Errorf("%d bytes are left, %v", size, err)
			}
			if old, err := d.LastIndex(); err != nil || old != 3 {
				t.Errorf("the old process reads a log that ends with %d, %v", old, err)
			}
		})
	}
	if happened[true] == 0 || happened[false] == 0 {
		t.Errorf("what was under way: %v", happened)
	}
}

// TestDiskLog: the log has no holes, and is cut at either end.
func TestDiskLog(t *testing.T) {
	d := NewDisk(rand.New(rand.NewPCG(1, 1)), nil)
	for i := uint64(5); i < 10; i++ {
		if err := d.StoreLog(&raft.Log{Index: i}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.StoreLog(&raft.Log{Index: 11}); !errors.Is(err, errHole) {
		t.Errorf("a hole: %v", err)
	}
	want := func(first, last uint64) {
		t.Helper()
		a, _ := d.FirstIndex() // it never fails
		b, _ := d.LastIndex()
		if a != first || b != last {
			t.Errorf("the log is from %d to %d, want %d to %d", a, b, first, last)
		}
	}
	want(5, 9)
	cut := func(lo, hi uint64) {
		if err := d.DeleteRange(lo, hi); err != nil {
			t.Fatal(err)
		}
	}
	cut(1, 6)
	want(7, 9)
	cut(9, 9)
	want(7, 8)
	cut(7, 8)
	want(0, 0)
}

// TestOneWayAndCrash: a cut of one direction holds back what goes that way only; a host that has crashed is refused, and its
// process reaches nobody.
func TestOneWayAndCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork()
		a, b := n.Host("10.0.0.1"), n.Host("10.0.0.2")
		l, err := b.Listen("10.0.0.2:1")
		if err != nil {
			t.Fatal(err)
		}
		here, err := a.Dial(t.Context(), "10.0.0.2:1")
		if err != nil {
			t.Fatal(err)
		}
		there, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		n.Cut("10.0.0.1", "10.0.0.2")
		for _, c := range []io.Writer{here, there} {
			if _, err := c.Write([]byte{1}); err != nil {
				t.Fatal(err)
			}
		}
		var buf [1]byte
		if _, err := here.Read(buf[:]); err != nil {
			t.Errorf("the direction that is not cut: %v", err)
		}
		if err := there.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if k, err := there.Read(buf[:]); err == nil {
			t.Errorf("%d bytes came through a cut", k)
		}
		n.Heal()
		b.Crash()
		if k, err := here.Read(buf[:]); !errors.Is(err, io.EOF) {
			t.Errorf("%d bytes of a host that has crashed: %v", k, err)
		}
		if _, err := a.Dial(t.Context(), "10.0.0.2:1"); err == nil {
			t.Error("a host that has crashed was connected to")
		}
		if _, err := b.Dial(t.Context(), "10.0.0.1:1"); !errors.Is(err, errDown) {
			t.Errorf("the process of a host that has crashed connects: %v", err)
		}
		if _, err := n.Host("10.0.0.2").Listen("10.0.0.2:1"); err != nil {
			t.Errorf("the next process cannot have the address: %v", err)
		}
	})
}
