package alarm

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestReason(t *testing.T) {
	for s, want := range map[Set]string{
		0: "", Memory: "low on memory", Disk: "low on disk", Memory | Disk: "low on memory & disk",
	} {
		if got := s.Reason(); got != want {
			t.Errorf("%d: %q, want %q", s, got, want)
		}
	}
}

// A machine whose memory and disk are what the test says.
type machine struct {
	used, free atomic.Int64
	broken     atomic.Bool
	collected  atomic.Int64
	measured   atomic.Int64
	changes    chan Set
}

func run(t *testing.T, cfg Config, used, free int64, f func(*machine, *Monitor)) {
	synctest.Test(t, func(t *testing.T) {
		k := &machine{changes: make(chan Set, 100)}
		k.used.Store(used)
		k.free.Store(free)
		get := func(v *atomic.Int64) func() (int64, error) {
			return func() (int64, error) {
				k.measured.Add(1)
				if k.broken.Load() {
					return 0, errors.New("broken")
				}
				return v.Load(), nil
			}
		}
		cfg.MemoryUsed, cfg.DiskFree = get(&k.used), get(&k.free)
		cfg.Collect = func() { k.collected.Add(1) }
		cfg.Changed = func(s State) { k.changes <- s.Raised }
		cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
		m := NewMonitor(cfg)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { m.Run(ctx); close(ended) }()
		f(k, m)
		cancel()
		<-ended
		if len(k.changes) > 0 {
			t.Errorf("changed without cause to %v", <-k.changes)
		}
	})
}

// quiet fails when the alarms change within a while.
func (k *machine) quiet(t *testing.T) {
	t.Helper()
	select {
	case s := <-k.changes:
		t.Errorf("alarms changed to %v", s)
	case <-time.After(time.Minute):
	}
}

func TestMonitorRaisesAndClears(t *testing.T) {
	run(t, Config{MemoryLimit: 1000, DiskLimit: 1000}, 500, 5000, func(k *machine, m *Monitor) {
		k.used.Store(1000) // as much as is allowed
		k.quiet(t)
		k.used.Store(1001)
		if s := <-k.changes; s != Memory {
			t.Errorf("raised %v", s)
		}
		k.free.Store(999)
		if s := <-k.changes; s != Memory|Disk {
			t.Errorf("raised %v", s)
		}
		// Not far enough from the limits.
		k.used.Store(960)
		k.free.Store(1040)
		k.quiet(t)
		k.used.Store(950)
		if s := <-k.changes; s != Disk {
			t.Errorf("left %v", s)
		}
		k.free.Store(1050)
		if s := <-k.changes; s != 0 {
			t.Errorf("left %v", s)
		}
		if s := m.State(); s.MemoryUsed != 950 || s.DiskFree != 1050 || s.Raised != 0 {
			t.Errorf("state %+v", s)
		}
	})
}

// What flutters about a limit raises the alarm once.
func TestMonitorDoesNotFlap(t *testing.T) {
	run(t, Config{MemoryLimit: 1000}, 500, 0, func(k *machine, m *Monitor) {
		k.used.Store(1001)
		<-k.changes
		for i := range 1000 {
			k.used.Store(1000 + int64(i%2)*20 - 10)
			time.Sleep(50 * time.Millisecond)
		}
		k.quiet(t)
	})
}

// A node that starts low on something knows it before anybody could publish.
func TestMonitorStartsRaised(t *testing.T) {
	run(t, Config{DiskLimit: 1000}, 0, 10, func(k *machine, m *Monitor) {
		if s := m.State(); s.Raised != Disk {
			t.Errorf("state %+v", s)
		}
		if s := <-k.changes; s != Disk {
			t.Errorf("raised %v", s)
		}
	})
}

func TestMonitorWithoutLimits(t *testing.T) {
	run(t, Config{}, math.MaxInt64, 0, func(k *machine, _ *Monitor) { k.quiet(t) })
}

// What cannot be measured leaves the alarms alone.
func TestMonitorKeepsAlarmWhenBroken(t *testing.T) {
	run(t, Config{MemoryLimit: 1000, DiskLimit: 1000}, 2000, 2000, func(k *machine, m *Monitor) {
		<-k.changes
		k.broken.Store(true)
		k.used.Store(0)
		k.quiet(t)
		if s := m.State(); s.MemoryUsed != 2000 {
			t.Errorf("state %+v", s)
		}
		k.broken.Store(false)
		if s := <-k.changes; s != 0 {
			t.Errorf("left %v", s)
		}
	})
}

// Near a limit it measures more often; garbage is only collected while memory is low.
func TestMonitorPace(t *testing.T) {
	count := func(used, free int64) (measured, collected int64) {
		run(t, Config{MemoryLimit: 1000, DiskLimit: 10 << 30}, used, free, func(k *machine, _ *Monitor) {
			time.Sleep(time.Minute)
			measured, collected = k.measured.Load()/2, k.collected.Load()
			for len(k.changes) > 0 {
				<-k.changes
			}
		})
		return measured, collected
	}
	for _, c := range []struct {
		name             string
		used, free       int64
		least, most      int64
		collectedAtLeast int64
		collectedAtMost  int64
	}{
		{"far", 100, 1 << 40, 55, 65, 0, 0},
		{"near the memory's", 900, 1 << 40, 500, 650, 0, 0},
		{"near the disk's", 100, 10<<30 + 1<<20, 500, 650, 0, 0},
		{"above", 5000, 1 << 40, 55, 65, 10, 31},
	} {
		measured, collected := count(c.used, c.free)
		if measured < c.least || measured > c.most || collected < c.collectedAtLeast || collected > c.collectedAtMost {
			t.Errorf("%s: measured %d times in a minute, collected %d times", c.name, measured, collected)
		}
	}
}

func TestBoard(t *testing.T) {
	var b Board
	if !b.Put("a", Report{1, 1, Memory}) || !b.Put("b", Report{1, 1, Disk}) || b.Put("c", Report{1, 1, 0}) {
		t.Error("wrong changes")
	}
	if got := b.All(); got != Memory|Disk {
		t.Errorf("all: %v", got)
	}
	if b.Put("a", Report{1, 0, 0}) || b.All() != Memory|Disk {
		t.Error("an old report counted")
	}
	if !b.Put("a", Report{2, 0, 0}) || b.All() != Disk {
		t.Error("the report of a new process did not count")
	}
	if got := b.Raised(); len(got) != 1 || got["b"] != Disk {
		t.Errorf("raised: %v", got)
	}
	if got := b.Keep(func(node string) bool { return node == "a" }); !slices.Equal(got, []string{"b"}) || b.All() != 0 {
		t.Errorf("dropped %v, left %v", got, b.All())
	}
	if !b.Put("b", Report{1, 1, Disk}) {
		t.Error("a node that was dropped may not come back with its report")
	}
}

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

func TestAvailable(t *testing.T) {
	const gib = 1 << 30
	meminfo := file("MemTotal:        8388608 kB\nMemFree:  1 kB\n")
	for _, c := range []struct {
		name string
		root fstest.MapFS
		want int64
	}{
		{"nothing", fstest.MapFS{}, 0},
		{"no group", fstest.MapFS{"proc/meminfo": meminfo}, 8 * gib},
		{"no number", fstest.MapFS{"proc/meminfo": file("MemTotal: many kB\n")}, 0},
		{"v2", fstest.MapFS{"proc/meminfo": meminfo, "proc/self/cgroup": file("0::/a/b\n"),
			"sys/fs/cgroup/a/b/memory.max": file("max\n"), "sys/fs/cgroup/a/memory.max": file("2147483648\n")}, 2 * gib},
		{"v2, container", fstest.MapFS{"proc/meminfo": meminfo, "proc/self/cgroup": file("0::/\n"),
			"sys/fs/cgroup/memory.max": file("1073741824\n")}, gib},
		{"v2, path outside", fstest.MapFS{"proc/meminfo": meminfo, "proc/self/cgroup": file("0::/../x\n"),
			"sys/fs/cgroup/memory.max": file("1073741824\n")}, gib},
		{"v1", fstest.MapFS{"proc/meminfo": meminfo, "proc/self/cgroup": file("5:cpu:/x\n4:memory,hugetlb:/docker/x\n0::/\n"),
			"sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": file("3221225472\n")}, 3 * gib},
		{"v1, no limit", fstest.MapFS{"proc/meminfo": meminfo, "proc/self/cgroup": file("4:memory:/x\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712\n")}, 8 * gib},
	} {
		if got := Available(c.root); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func FuzzAvailable(f *testing.F) {
	f.Add("MemTotal: 1 kB\n", "0::/a\n4:memory:/b\n", "5\n")
	f.Fuzz(func(t *testing.T, meminfo, cgroup, limit string) {
		root := fstest.MapFS{"proc/meminfo": file(meminfo), "proc/self/cgroup": file(cgroup), "sys/fs/cgroup/memory.max": file(limit)}
		if got := Available(root); got < 0 {
			t.Errorf("%d bytes", got)
		}
		if pages, ok := residentPages(limit); ok && pages < 0 {
			t.Errorf("%d pages", pages)
		}
	})
}

func TestResidentPages(t *testing.T) {
	if pages, ok := residentPages("100 50 20 1 0 2 0\n"); !ok || pages != 30 {
		t.Errorf("%d, %v", pages, ok)
	}
	for _, text := range []string{"", "1 2", "a b c", "100 20 50 1"} {
		if pages, ok := residentPages(text); ok {
			t.Errorf("%q gives %d", text, pages)
		}
	}
}

// The measurements of this machine make sense.
func TestMeasure(t *testing.T) {
	before, err := MemoryUsed()
	if err != nil || before <= 0 {
		t.Fatal(before, err)
	}
	const size = 64 << 20
	taken := []byte(strings.Repeat("x", size))
	after, err := MemoryUsed()
	if err != nil || after < before+size/2 {
		t.Errorf("%d bytes used, %d after taking %d: %v", before, after, size, err)
	}
	_ = taken[0]
	if free, err := DiskFree(t.TempDir()); err != nil || free <= 0 {
		t.Error(free, err)
	}
	if free, err := DiskFree("/does/not/exist"); err == nil {
		t.Errorf("%d bytes free where nothing is", free)
	}
	if Available(os.DirFS("/")) <= 0 {
		t.Error("no memory")
	}
}

func TestGuideCollector(t *testing.T) {
	if debug.SetMemoryLimit(-1) != math.MaxInt64 {
		t.Skip("GOMEMLIMIT is set")
	}
	undo := GuideCollector(10 << 30)
	if got := debug.SetMemoryLimit(-1); got != 9<<30 {
		t.Errorf("limit %d", got)
	}
	GuideCollector(20 << 30)() // the second of two in a process leaves the first alone
	if got := debug.SetMemoryLimit(-1); got != 9<<30 {
		t.Errorf("limit %d", got)
	}
	undo()
	GuideCollector(0)()
	if got := debug.SetMemoryLimit(-1); got != math.MaxInt64 {
		t.Errorf("limit %d", got)
	}
}
