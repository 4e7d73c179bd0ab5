package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A volume is a small file system of its own, in a file, on which one node has its data. It is made and
// removed by the test, and needs the rights to mount.
type volume struct {
	dir, file string
	backing   string // directory of file: a tmpfs of its own, or empty
	frozen    bool
}

// newVolume mounts a file system of so many bytes at the data directory of a node that was not started.
// backing, when not 0, is how many bytes the disk below it really has: writes above fail with an error of
// input and output, which the file system does not expect.
func newVolume(t *testing.T, n *node, bytes, backing int64) *volume {
	t.Helper()
	if os.Getuid() != 0 {
		missing(t, "mounting needs root")
	}
	v := &volume{dir: n.dir, file: filepath.Join(t.TempDir(), n.name+".img")}
	if backing > 0 {
		v.backing = t.TempDir()
		command(t, "mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", backing), "tmpfs", v.backing)
		v.file = filepath.Join(v.backing, n.name+".img")
	}
	t.Cleanup(func() { v.end(t) })
	f, err := os.Create(v.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(bytes), f.Close(), os.MkdirAll(v.dir, 0o750)); err != nil {
		t.Fatal(err)
	}
	command(t, "mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", v.file)
	out, err := exec.Command("mount", "-o", "loop,errors=remount-ro", v.file, v.dir).CombinedOutput()
	if err != nil {
		missing(t, "no loop mounts here: %v, %s", err, out)
	}
	return v
}

func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			missing(t, "%s is not installed", name)
		}
		t.Fatalf("%s %s: %v, %s", name, strings.Join(args, " "), err, out)
	}
}

// freeze makes all writes wait; thaw lets them go on.
func (v *volume) freeze(t *testing.T) {
	t.Helper()
	v.frozen = true
	command(t, "fsfreeze", "-f", v.dir)
}

func (v *volume) thaw(t *testing.T) {
	t.Helper()
	command(t, "fsfreeze", "-u", v.dir)
	v.frozen = false
}

// end unmounts it, once nobody uses it any more: it comes before the end of the cluster, whose
// processes it waits for.
func (v *volume) end(t *testing.T) {
	if v.frozen {
		_ = exec.Command("fsfreeze", "-u", v.dir).Run() // it may be thawed
	}
	for _, dir := range []string{v.dir, v.backing} {
		if dir == "" {
			continue
		}
		if err := waitFor(patience, func() error {
			err := syscall.Unmount(dir, 0)
			if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOENT) {
				return nil // it is not mounted
			}
			return err
		}); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	}
}

// volumeCluster is a cluster of three of which the first has its data on a volume.
func volumeCluster(t *testing.T, bytes, backing int64, args ...string) (c *cluster, v *volume) {
	t.Helper()
	c = mountedCluster(t, args, func(n *node) { v = newVolume(t, n, bytes, backing) }, func() {
		if v.frozen {
			v.thaw(t)
		}
	})
	return c, v
}

// mountedCluster is a cluster of three of which the first has its data on something that mount makes, and removes when the
// test ends: heal is called before, and the node has ended.
func mountedCluster(t *testing.T, args []string, mount func(*node), heal func()) *cluster {
	t.Helper()
	skipWithPeer(t)
	c, err := newCluster(executable(t, "warren"), executable(t, "warrenctl"), 3, options{args: args})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.end(t.Failed(), t.Logf) })
	mount(c.node(0))
	t.Cleanup(func() {
		heal()
		if err := c.node(0).endProcess(syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	})
	for _, n := range c.nodes {
		n.start(t)
	}
	c.waitReady(t)
	return c
}

// lead makes a node lead.
func (c *cluster) lead(t *testing.T, n *node) {
	t.Helper()
	eventually(t, n.name+" leads", func() error {
		now, err := c.findLeader()
		if err != nil || now == n {
			return err
		}
		// A leader that stops hands over to one of the others, and comes back.
		now.stop(t)
		now.start(t)
		now.waitReady(t)
		return fmt.Errorf("%s leads", now.name)
	})
}

// wantGoesOn wants confirms on the nodes but one, all the time, and tells the longest silence.
func wantGoesOn(t *testing.T, flows []*flow, homes map[*flow][2]*node, not *node, what string) time.Duration {
	t.Helper()
	var others []*flow
	for _, f := range flows {
		if homes[f][0] != not && homes[f][1] != not {
			others = append(others, f)
		}
	}
	progress(t, others, 1000)
	return reportSilence(t, flows, homes, not, what)
}

// TestDiskStandsStill: the disk of the leader stands still without an error. It hands leadership over; with
// the disk back it goes on as if nothing had been, and with the disk of a follower nobody is slowed.
//
// row: 1.6 any node
func TestDiskStandsStill(t *testing.T) {
	t.Parallel()
	c, v := volumeCluster(t, 512<<20, 0)
	for _, role := range []string{"leader", "follower"} {
		stalled := c.node(0)
		if role == "leader" {
			c.lead(t, stalled)
		}
		flows := startFlows(t, c)
		homes := homesOf(flows)
		progress(t, flows, 200)
		reportSilence(t, flows, homes, stalled, role+": before")
		v.freeze(t)
		wantGoesOn(t, flows, homes, stalled, "the disk of the "+role+" stands still")
		eventually(t, "another one leads", func() error {
			for _, n := range c.nodes[1:] {
				if info, err := n.info(); err != nil || info.Leader == stalled.name || info.Leader == "" {
					return fmt.Errorf("%s: %q leads, %w", n.name, info.Leader, err)
				}
			}
			return nil
		})
		if !stalled.running() {
			t.Fatalf("%s ended: %v\n%s", stalled.name, stalled.proc.Err(), stalled.logTail())
		}
		v.thaw(t)
		stalled.waitReady(t)
		progress(t, flows, 200)
		for _, f := range flows {
			f.finish(t)
			for _, err := range f.check(loss{}) {
				t.Errorf("%s: from %s to %s: %v", role, homes[f][0].name, homes[f][1].name, err)
			}
		}
	}
}

// TestDiskStaysAway: a disk that does not come back ends its node, which says why, and lets its clients go. What
// was confirmed is there when it starts again.
func TestDiskStaysAway(t *testing.T) {
	t.Parallel()
	c, v := volumeCluster(t, 512<<20, 0, "--disk-stall-timeout", "4s", "--shutdown-timeout", "3s")
	stalled := c.node(0)
	flows := startFlows(t, c)
	homes := homesOf(flows)
	progress(t, flows, 200)
	idle := dial(t, stalled)
	closed := idle.NotifyClose(make(chan *amqp.Error, 1))
	v.freeze(t)
	receive(t, "end of a connection to the node whose disk is away", closed)
	wantGoesOn(t, flows, homes, stalled, "the disk is away")
	eventually(t, "it says why", func() error {
		if stalled.logged(t, "the disk has not answered for") == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	v.thaw(t) // a thread that waits for its disk cannot be ended by anybody
	eventually(t, "the process ends", func() error {
		if stalled.running() {
			return errors.New("it runs")
		}
		return nil
	})
	if stalled.proc.Err() == nil || strings.Contains(stalled.logTail(), "goroutine ") {
		t.Errorf("it ended with %v\n%s", stalled.proc.Err(), stalled.logTail())
	}
	stalled.start(t)
	stalled.waitReady(t)
	progress(t, flows, 100)
	judge(t, flows, homes, stalled)
}

// TestDiskFull: publishers are blocked before the disk is full. When it is full all the same, the node ends and
// says why, the others go on, and once there is space it comes back with all that was confirmed.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	c, v := volumeCluster(t, 320<<20, 0, "--disk-free-limit", "60MB", "--snapshot-bytes", "8MiB", "--segment-bytes", "4MiB")
	full := c.node(0)
	ch := open(t, c.node(1))
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	const queue = "kept"
	declareNamedDurable(t, ch, queue)
	publishNumbered(t, ch, queue, 1000)

	// Something else takes the room: the alarm of one node blocks the publishers of all.
	filler := filepath.Join(v.dir, "filler")
	fill(t, v.dir, filler, 40<<20)
	conn := dial(t, c.node(2))
	blocked := conn.NotifyBlocked(make(chan amqp.Blocking, 2))
	publish(t, channel(t, conn), queue, "blocks")
	if b := receive(t, "connection.blocked", blocked); !b.Active || !strings.Contains(b.Reason, "disk") {
		t.Errorf("blocked: %+v", b)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if b := receive(t, "connection.unblocked", blocked); b.Active {
		t.Errorf("unblocked: %+v", b)
	}
	wantDepth(t, ch, queue, 1001)

	// Too fast for the alarm: without one, as the room goes while messages are on their way.
	flows := startFlows(t, c)
	homes := homesOf(flows)
	progress(t, flows, 200)
	fill(t, v.dir, filler, 0)
	eventually(t, "the node whose disk is full ends", func() error {
		if full.running() {
			// Declarations are not blocked by an alarm: the log grows until it has to get a new file.
			const some = 20
			for i := range some {
				if _, err := ch.QueueDeclare("x-"+strings.Repeat("x", 200), true, false, false, i < some-1, bigTable()); err != nil {
					return err
				}
			}
			return errors.New("it runs")
		}
		return nil
	})
	log := full.logTail()
	if full.proc.Err() == nil || !strings.Contains(log, "no space left on device") || strings.Contains(log, "goroutine ") {
		t.Errorf("it ended with %v\n%s", full.proc.Err(), log)
	}
	progress(t, flows, 500)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	full.start(t)
	full.waitReady(t)
	progress(t, flows, 100)
	judge(t, flows, homes, full)
	wantDepth(t, open(t, full), queue, 1001)
}

// fill takes the space of a file system but for so many bytes.
func fill(t *testing.T, dir, file string, left int64) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // what was written is there
	block := make([]byte, 1<<20)
	for size := len(block); size >= 4096; {
		var s syscall.Statfs_t
		if err := syscall.Statfs(dir, &s); err != nil {
			t.Fatal(err)
		}
		if int64(s.Bavail)*s.Bsize <= left {
			return
		}
		if _, err := f.Write(block[:size]); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// bigTable are arguments that take room in the log.
func bigTable() amqp.Table { return amqp.Table{"x-note": strings.Repeat("n", 120_000)} }

// TestDiskBreaks: writes fail in the middle, as on a disk that breaks. The node ends and says so; the
// others go on without it, and with another disk it joins again.
func TestDiskBreaks(t *testing.T) {
	t.Parallel()
	c, v := volumeCluster(t, 512<<20, 160<<20, "--disk-free-limit", "0", "--snapshot-bytes", "4MiB")
	broken := c.node(0)
	flows := startFlows(t, c)
	homes := homesOf(flows)
	progress(t, flows, 200)
	before, err := broken.info()
	if err != nil {
		t.Fatal(err)
	}
	ch := open(t, c.node(1))
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	declareNamedDurable(t, ch, "large")
	eventually(t, "the node whose disk breaks ends", func() error {
		if !broken.running() {
			return nil
		}
		confirmed(t, ch, "", "large", amqp.Publishing{DeliveryMode: amqp.Persistent, Body: pattern(1 << 20)})
		return errors.New("it runs")
	})
	log := broken.logTail()
	// What a device under the file system fails with comes through, and is not the file system's own lack of room.
	told := strings.Contains(log, "input/output error") || strings.Contains(log, "read-only file system") ||
		strings.Contains(log, "no space left on device")
	if broken.proc.Err() == nil || !told || strings.Contains(log, "goroutine ") {
		t.Errorf("it ended with %v\n%s", broken.proc.Err(), log)
	}
	progress(t, flows, 500)
	v.end(t) // the other disk is that of the test's directory
	broken.start(t)
	broken.waitReady(t)
	forget(t, c.node(1), before.NodeID)
	progress(t, flows, 100)
	judge(t, flows, homes, broken)
}
