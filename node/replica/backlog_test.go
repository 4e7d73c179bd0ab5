package replica

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"warren/fsm"
	"warren/fsm/command"
	"warren/node/msgstore"
)

// TestBacklog queues messages of 1 KiB, takes a snapshot after each 64 MiB of log,
// as a node does, restarts, copies the node to another one, and drains both. Memory must not grow with
// the backlog, and what a snapshot writes must follow from what is new.
// WARREN_BACKLOG is the number of messages, 60,000 without it; their numbers are logged.
func TestBacklog(t *testing.T) {
	messages := 60_000
	snapshotBytes := int64(8 << 20)
	if v := os.Getenv("WARREN_BACKLOG"); v != "" {
		var err error
		if messages, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
		snapshotBytes = 64 << 20
	}
	b := newBacklog(t, t.TempDir(), snapshotBytes)
	b.open()
	b.do(&command.QueueDeclare{VHost: "/", Name: "q", Durable: true})
	b.fill(messages)
	b.report("filled")
	limit := uint64(b.memory + 3*snapshotBytes + 64<<20)
	if b.peak > limit {
		t.Errorf("%d MiB of heap with %d messages, more than %d", b.peak>>20, messages, limit>>20)
	}

	other := newBacklog(t, t.TempDir(), snapshotBytes)
	other.receive(b)
	b.restart()
	for _, each := range []*backlog{b, other} {
		each.drain(messages)
		each.snapshot()
		if total, live := each.disk.Usage(); total > 1<<20 || live != 0 {
			t.Errorf("%d bytes on disk after the drain, %d in use", total, live)
		}
		if each.peak > limit {
			t.Errorf("%d MiB of heap at the drain", each.peak>>20)
		}
	}
}

// backlog is a node's replica and message store without Raft.
type backlog struct {
	t             *testing.T
	dir           string
	snapshotBytes int64
	memory        int64

	disk     *msgstore.Store
	r        *Replica
	index    uint64
	epoch    uint64
	sequence uint64
	pause    bool
	tail     []*raft.Log // since the last snapshot was captured

	peak      uint64 // heap, after a collection
	captures  []time.Duration
	persists  []time.Duration
	persisted []int64
	next      uint64 // number of the message that comes next
}

func newBacklog(t *testing.T, dir string, snapshotBytes int64) *backlog {
	return &backlog{t: t, dir: dir, snapshotBytes: snapshotBytes, memory: snapshotBytes}
}

func (b *backlog) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *backlog) start() {
	var err error
	b.disk, err = msgstore.Open(msgstore.Config{Dir: b.dir, Logger: slog.New(slog.DiscardHandler)})
	b.must(err)
	disk := b.disk
	b.t.Cleanup(func() {
		if b.disk == disk {
			b.must(disk.Close())
		}
	})
	b.r = New(Config{Disk: disk, MessageMemory: b.memory, Applied: b.applied, Restored: func(*fsm.Machine) {}})
}

func (b *backlog) open() {
	b.start()
	b.apply(command.AppendToBatch(command.NewBatch(nil, 0, 0), &command.EpochOpen{Node: "n", Name: "n", Nonce: 1}))
	b.epoch = b.index
}

func (b *backlog) apply(batch []byte) {
	b.index++
	log := &raft.Log{Index: b.index, Term: 1, Type: raft.LogCommand, Data: batch}
	b.tail = append(b.tail, log)
	b.r.Apply(log)
	if b.r.BytesSinceSnapshot() >= b.snapshotBytes {
		b.snapshot()
	}
}

func (b *backlog) do(commands ...command.Command) {
	b.sequence++
	batch := command.NewBatch(nil, b.epoch, b.sequence)
	for _, c := range commands {
		batch = command.AppendToBatch(batch, c)
	}
	b.apply(batch)
}

// applied checks that messages come in order.
func (b *backlog) applied(out *fsm.Output) {
	for i := range out.Results {
		if out.Results[i].Err != nil {
			b.t.Fatal(out.Results[i].Err)
		}
	}
	if b.pause {
		return
	}
	for i := range out.Effects {
		m := out.Effects[i].Message
		if m == nil {
			continue
		}
		if n := binary.BigEndian.Uint64(m.Body); n != b.next || len(m.Body) != 1024 {
			b.t.Fatalf("message %d comes instead of %d", n, b.next)
		}
		b.next++
	}
}

func (b *backlog) snapshot() {
	start := time.Now()
	s, err := b.r.Snapshot()
	b.must(err)
	b.captures = append(b.captures, time.Since(start))
	b.tail = nil
	start = time.Now()
	total, _ := b.disk.Usage()
	sink, err := b.disk.Create(raft.SnapshotVersionMax, b.index, 1, raft.Configuration{}, 1, nil)
	b.must(err)
	b.must(s.Persist(sink))
	s.Release()
	after, _ := b.disk.Usage()
	b.persists = append(b.persists, time.Since(start))
	b.persisted = append(b.persisted, after-total)
	b.look()
}

// look measures the heap. It does not with a large number of messages, so that the
// resident memory is what it is without help.
func (b *backlog) look() {
	if b.snapshotBytes > 8<<20 {
		return
	}
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	b.peak = max(b.peak, stats.HeapAlloc)
}

func (b *backlog) fill(messages int) {
	start := time.Now()
	p := &command.Publish{VHost: []byte("/"), Key: []byte("q"), Properties: []byte{0, 0}, Body: make([]byte, 1024)}
	for n := 0; n < messages; {
		b.sequence++
		batch := command.NewBatch(nil, b.epoch, b.sequence)
		for ; n < messages && len(batch) < 512<<10; n++ {
			binary.BigEndian.PutUint64(p.Body, uint64(n))
			batch = command.AppendToBatch(batch, p)
		}
		b.apply(batch)
	}
	b.t.Logf("%d messages queued in %v", messages, time.Since(start).Round(time.Millisecond))
}

// receive gets the newest snapshot of another node, and the log behind it.
func (b *backlog) receive(from *backlog) {
	b.start()
	list, err := from.disk.List()
	b.must(err)
	start := time.Now()
	meta, stream, err := from.disk.Open(list[0].ID)
	b.must(err)
	sink, err := b.disk.Create(raft.SnapshotVersionMax, meta.Index, 1, raft.Configuration{}, 1, nil)
	b.must(err)
	n, err := io.Copy(sink, stream)
	b.must(errors.Join(err, stream.Close(), sink.Close()))
	if n != meta.Size {
		b.t.Errorf("the stream has %d bytes and was to have %d", n, meta.Size)
	}
	took := time.Since(start)
	b.index, b.epoch, b.sequence = from.index, from.epoch, from.sequence
	b.tail = slices.Clone(from.tail)
	b.restore()
	b.t.Logf("%d MiB sent to another node in %v", n>>20, took.Round(time.Millisecond))
	b.look()
}

func (b *backlog) restart() {
	b.must(b.disk.Close())
	b.r = nil
	start := time.Now()
	b.start()
	b.restore()
	b.t.Logf("restarted in %v", time.Since(start).Round(time.Millisecond))
}

func (b *backlog) restore() {
	list, err := b.disk.List()
	b.must(err)
	_, rc, err := b.disk.Open(list[0].ID)
	b.must(err)
	b.must(b.r.Restore(rc))
	b.pause = true
	for _, l := range b.tail {
		b.r.Apply(l)
	}
	b.pause = false
}

func (b *backlog) drain(messages int) {
	start := time.Now()
	b.peak = 0
	ch := command.Channel{Conn: 1, Number: 1}
	const window = 1000
	b.do(&command.Consume{VHost: "/", Channel: ch, Queue: "q", Tag: "t", Prefetch: window, Limit: 1 << 62})
	for acked := uint64(0); acked < uint64(messages); {
		to := min(acked+window/2, b.next)
		b.do(&command.Settle{Channel: ch, From: acked + 1, To: to})
		acked = to
		if b.index%1000 == 0 {
			b.look()
		}
	}
	if b.next != uint64(messages) {
		b.t.Errorf("%d messages came of %d", b.next, messages)
	}
	b.report(fmt.Sprintf("drained in %v", time.Since(start).Round(time.Millisecond)))
}

func (b *backlog) report(what string) {
	total, live := b.disk.Usage()
	b.t.Logf("%s: heap in use after a collection %d MiB at most, resident %d MiB, %d MiB at most; on disk %d MiB, in use %d MiB", what,
		b.peak>>20, status("VmRSS")>>10, status("VmHWM")>>10, total>>20, live>>20)
	if n := len(b.captures); n > 0 {
		b.t.Logf("%d snapshots: capture first %v, last %v, longest %v; write first %v (%d MiB), last %v (%d MiB), longest %v", n,
			b.captures[0], b.captures[n-1], slices.Max(b.captures),
			b.persists[0], b.persisted[0]>>20, b.persists[n-1], b.persisted[n-1]>>20, slices.Max(b.persists))
	}
}

// status returns a field of /proc/self/status in KiB, 0 where there is none.
func status(field string) int {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			if err == nil {
				return n
			}
		}
	}
	return 0
}
