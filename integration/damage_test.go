package integration

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/damage"
)

// TestDamagedFiles damages each kind of file of a stopped node. verify names it, the node does not
// start and says what to do, and what it says works.
func TestDamagedFiles(t *testing.T) {
	t.Parallel()
	c := startClusterWith(t, 3, options{args: []string{"--snapshot-bytes", "1MiB"}})
	ch := open(t, c.node(0))
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	const queue, count = "kept", 3000
	declareNamedDurable(t, ch, queue)
	publishNumbered(t, ch, queue, count)
	victim := c.node(2)
	eventually(t, "a snapshot", func() error {
		info, err := victim.info()
		if err == nil && info.SnapshotIndex == 0 {
			err = fmt.Errorf("none yet")
		}
		return err
	})
	random := rand.New(rand.NewPCG(uint64(os.Getpid()), 0))
	for _, d := range damage.Kinds {
		if d.Late {
			continue // see TestDamagedWhileRunning
		}
		before, err := victim.info()
		if err != nil {
			t.Fatal(err)
		}
		victim.stop(t)
		if out, err := warren(victim.bin, "verify", "--data-dir", victim.dir); err != nil {
			t.Fatalf("%s: before: %v, %s", d.Name, err, out)
		}
		path, err := d.Do(victim.dir, random)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(path, victim.dir)
		out, err := warren(victim.bin, "verify", "--data-dir", victim.dir)
		if err == nil || !strings.Contains(out, "damaged  ") || !strings.Contains(out, "warren reset") || !strings.Contains(out, name) {
			t.Errorf("%s: verify does not tell: %v, %s", d.Name, err, out)
		}
		wantNoStart(t, victim, d.Name, name)
		out, err = warren(victim.bin, "reset", "--data-dir", victim.dir, "--delete")
		if err != nil {
			t.Fatalf("%s: reset: %v, %s", d.Name, err, out)
		}
		victim.start(t)
		victim.waitReady(t)
		forget(t, c.node(0), before.NodeID)
		eventually(t, d.Name+": three voters", func() error { return voters(c.node(0), 3) })
		eventually(t, d.Name+": it has a snapshot", func() error {
			info, err := victim.info()
			if err == nil && info.SnapshotIndex == 0 {
				err = fmt.Errorf("none")
			}
			return err
		})
	}
	there := open(t, victim)
	wantDepth(t, there, queue, count)
	wantNumbered(t, there, queue, 1, count)
}

// wantNoStart wants a node to end with an error that names the file and the way out.
func wantNoStart(t *testing.T, n *node, what, file string) {
	t.Helper()
	before := n.logged(t, "warren reset")
	n.start(t)
	err := waitFor(patience, func() error {
		if n.running() {
			return fmt.Errorf("it runs")
		}
		return nil
	})
	log := n.logTail()
	named := strings.Contains(log, file) || strings.Contains(log, filepath.Dir(file)+": ") // a file that is gone, by its directory
	if err != nil || n.proc.Err() == nil || n.logged(t, "warren reset") == before || !named {
		n.kill(t)
		t.Errorf("%s: the node started, or does not tell why not: %v, %v\n%s", what, err, n.proc.Err(), log)
	}
	if strings.Contains(log, "panic") || strings.Contains(log, "goroutine ") {
		t.Errorf("%s: a panic:\n%s", what, log)
	}
}

// forget removes the former self of a node.
func forget(t *testing.T, helper *node, id string) {
	t.Helper()
	eventually(t, "the former node is forgotten", func() error {
		out, err := helper.tryCtl("forget_cluster_node", id)
		if err != nil && !strings.Contains(out, "unknown") && !strings.Contains(out, "no such") {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

// publishNumbered publishes so many numbered messages, and waits until all are confirmed.
func publishNumbered(t *testing.T, ch *amqp.Channel, queue string, count int) {
	t.Helper()
	all := make([]*amqp.DeferredConfirmation, count)
	for i := range all {
		d, err := ch.PublishWithDeferredConfirm("", queue, false, false, numbered(i+1, 1000))
		if err != nil {
			t.Fatal(err)
		}
		all[i] = d
	}
	for _, d := range all {
		if !d.Wait() {
			t.Fatal("a message was refused")
		}
	}
}

// wantNumbered drains a queue of numbered messages.
func wantNumbered(t *testing.T, ch *amqp.Channel, queue string, from, to int) {
	t.Helper()
	deliveries, err := ch.Consume(queue, "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := from; i <= to; i++ {
		if d := receive(t, "delivery", deliveries); numberOf(d) != i || string(d.Body) != string(pattern(1000)) {
			t.Fatalf("message %d came as %d, %d bytes", i, numberOf(d), len(d.Body))
		}
	}
}

// TestDamagedWhileRunning: messages on disk go bad under a running node. It stops when it needs
// them and says why; consumers get none of them, and the others serve them.
func TestDamagedWhileRunning(t *testing.T) {
	t.Parallel()
	c := startClusterWith(t, 3, options{args: []string{"--snapshot-bytes", "1MiB", "--message-memory", "1MiB"}})
	ch := open(t, c.node(0))
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	const queue, count = "kept", 8000
	declareNamedDurable(t, ch, queue)
	publishNumbered(t, ch, queue, count)
	victim := c.node(2)
	spill(t, victim)
	err := filepath.WalkDir(filepath.Join(victim.dir, "messages"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".seg") {
			overwrite(t, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	wantOnlyNumbered(t, victim, queue, count)
	eventually(t, "the node stops", func() error {
		if victim.running() {
			return fmt.Errorf("it runs")
		}
		return nil
	})
	eventually(t, "the others have all messages", func() error {
		if ready, consumers := depth(t, open(t, c.node(0)), queue); ready != count || consumers != 0 {
			return fmt.Errorf("%d messages, %d consumers", ready, consumers)
		}
		return nil
	})
	wantNumbered(t, open(t, c.node(0)), queue, 1, count)
	log := victim.logTail()
	if victim.proc.Err() == nil || !strings.Contains(log, "does not match its checksum") || !strings.Contains(log, "warren reset") || strings.Contains(log, "goroutine ") {
		t.Errorf("it ended with %v:\n%s", victim.proc.Err(), log)
	}
}

// spill has a node hold messages on disk alone: those of its newest snapshot, after a restart. Those behind it are in memory.
func spill(t *testing.T, n *node) {
	t.Helper()
	eventually(t, "a snapshot of some messages", func() error {
		if n.logged(t, "snapshot taken") < 2 {
			return fmt.Errorf("none yet")
		}
		return nil
	})
	n.stop(t)
	n.start(t)
	n.waitReady(t)
}

// wantOnlyNumbered consumes from a node that cannot read its messages until the connection ends, and wants nothing but messages of
// publishNumbered. A node reads what goes to its own clients. The connection may end before consume-ok.
func wantOnlyNumbered(t *testing.T, n *node, queue string, count int) {
	t.Helper()
	deliveries, err := open(t, n).Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		return
	}
	for d := range deliveries {
		if i := numberOf(d); i < 1 || i > count || string(d.Body) != string(pattern(1000)) {
			t.Fatalf("message %d came with %d bytes of something else", i, len(d.Body))
		}
	}
}

// overwrite changes bytes of a file all over, in place.
func overwrite(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // what was written is there
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	for at := int64(100); at < info.Size(); at += 1000 {
		if _, err := f.WriteAt([]byte("bad"), at); err != nil {
			t.Fatal(err)
		}
	}
}
