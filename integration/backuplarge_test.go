package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/proc"
)

// largeMemory is more than any process may need of resident memory for a backup or its restore, however large it is.
const largeMemory = 900 << 20

// TestLargeBackup takes a backup of WARREN_BACKUP_MB megabytes of messages on three nodes, makes a new cluster of three of it, and reads every
// message there. No process needs memory by the size: nodes, while they are filled, send, restore, catch up and are drained, and the program that restores.
func TestLargeBackup(t *testing.T) {
	t.Parallel()
	const size = 64 << 10
	count := setNumber(t, "WARREN_BACKUP_MB", 48) << 20 / size
	c := startCluster(t, 3)
	begin := time.Now()
	step := func(what string, c *cluster) {
		t.Helper()
		var peaks []string
		for _, n := range c.nodes {
			if !n.running() {
				continue
			}
			peak, err := n.peakMemory()
			if err != nil {
				t.Fatal(err)
			}
			peaks = append(peaks, fmt.Sprintf("%s %d MiB", n.name, peak>>20))
			if peak > largeMemory {
				t.Errorf("%s: %s needed %d MiB of memory", what, n.name, peak>>20)
			}
			resetPeak(t, n)
		}
		t.Logf("%s: %v, at its most %v", what, time.Since(begin).Round(time.Second/10), peaks)
		begin = time.Now()
	}
	ch := open(t, c.node(0))
	const queue = "large"
	declareNamedDurable(t, ch, queue)
	fillNumbered(t, ch, queue, count, size)
	step(fmt.Sprintf("%d messages of 64 KiB published", count), c)

	file := filepath.Join(t.TempDir(), "cluster.backup")
	c.others(c.leader(t))[0].ctl(t, "backup", file)
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() < int64(count)*size {
		t.Errorf("a backup of %d bytes for %d messages of %d", info.Size(), count, size)
	}
	step(fmt.Sprintf("a backup of %d MiB", info.Size()>>20), c)
	c.end(false, t.Logf)

	again, err := newCluster(executable(t, "warren"), executable(t, "warrenctl"), 3, options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { again.end(t.Failed(), t.Logf) })
	cmd := exec.Command(again.node(0).bin, "restore", file, "--data-dir", again.node(0).dir)
	cmd.Env = proc.WithoutSettings(os.Environ())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("restore: %v\n%s", err, out)
	}
	if most := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10; most > largeMemory {
		t.Errorf("warren restore needed %d MiB of memory", most>>20)
	} else {
		t.Logf("warren restore: at its most %d MiB", most>>20)
	}
	again.node(0).start(t)
	again.node(0).waitReady(t)
	step("restored, and one node of it started", again)
	for _, n := range again.nodes[1:] {
		n.start(t)
	}
	// They get the whole backup before they serve anybody, at 4 MiB a second if must be.
	if err := waitFor(patience+time.Duration(count*size>>22)*time.Second, func() error {
		return errors.Join(voters(again.node(0), 3), again.node(1).tryClient(), again.node(2).tryClient())
	}); err != nil {
		t.Fatalf("two more do not catch up: %v", err)
	}
	step("two more have caught up", again)

	there := open(t, again.node(2))
	wantDepth(t, there, queue, count)
	deliveries, err := there.Consume(queue, "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := pattern(size)
	for i := range count {
		if d := receive(t, "delivery", deliveries); numberOf(d) != i+1 || !bytes.Equal(d.Body, want) {
			t.Fatalf("message %d came as %d, %d bytes", i+1, numberOf(d), len(d.Body))
		}
	}
	step("all messages read from a node that caught up", again)
}

// fillNumbered publishes numbered messages, of which few wait for their confirms at a time.
func fillNumbered(t *testing.T, ch *amqp.Channel, queue string, count, size int) {
	t.Helper()
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	const window = 128
	var under []*amqp.DeferredConfirmation
	for i := range count + window {
		if len(under) == window || i >= count {
			if len(under) == 0 {
				return
			}
			if !receiveConfirm(t, under[0]) {
				t.Fatal("refused")
			}
			under = under[1:]
		}
		if i >= count {
			continue
		}
		d, err := ch.PublishWithDeferredConfirm("", queue, false, false, numbered(i+1, size))
		if err != nil {
			t.Fatal(err)
		}
		under = append(under, d)
	}
}
