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
)

// damages are ways in which a broken disk may change the files of a node.
var damages = []struct {
	name string
	glob string // of the file in the data directory; the largest counts
	how  func(t *testing.T, path string)
}{
	{"a byte in the log", "cluster/wal/*.wal", flipByte},
	{"the log cut", "cluster/wal/*.wal", cutFile},
	{"the log gone", "cluster/wal/*.wal", removeFile},
	{"the list of the log cut", "cluster/wal/wal-meta.db", cutFile},
	{"term and vote cut", "cluster/stable.db", cutFile},
	{"a byte in the formation", "cluster/formation.json", flipByte},
	{"a byte in a snapshot", "messages/snapshots/*/state.bin", flipByte},
	{"a snapshot cut", "messages/snapshots/*/state.bin", cutFile},
	{"a byte in what a snapshot is of", "messages/snapshots/*/meta.json", flipByte},
	{"a file of messages cut", "messages/*.seg", cutFile},
	{"a file of messages gone", "messages/*.seg", removeFile},
	{"the id gone", "node-id", removeFile},
}

// flipByte changes a byte in the middle of what is in use.
func flipByte(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := len(b)
	for used > 0 && b[used-1] == 0 {
		used--
	}
	at := used/4 + rand.IntN(used/4)
	b[at] ^= 1 << rand.IntN(3)
	t.Logf("%s: byte %d of %d", path, at, used)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func cutFile(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err == nil {
		err = os.Truncate(path, info.Size()/2)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func removeFile(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func largest(t *testing.T, dir, glob string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, glob))
	if err != nil {
		t.Fatal(err)
	}
	best, size := "", int64(-1)
	for _, path := range all {
		if info, err := os.Stat(path); err == nil && info.Size() > size {
			best, size = path, info.Size()
		}
	}
	if best == "" {
		t.Fatalf("%s holds no %s", dir, glob)
	}
	return best
}

// TestDamagedFiles damages each kind of file of a stopped node. verify names it, the node does not
// start and says what to do, and what it says works.
func TestDamagedFiles(t *testing.T) {
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
	for _, d := range damages {
		before, err := victim.info()
		if err != nil {
			t.Fatal(err)
		}
		victim.stop(t)
		if out, err := warren(victim.bin, "verify", "--data-dir", victim.dir); err != nil {
			t.Fatalf("%s: before: %v, %s", d.name, err, out)
		}
		path := largest(t, victim.dir, d.glob)
		d.how(t, path)
		name := strings.TrimPrefix(path, victim.dir)
		out, err := warren(victim.bin, "verify", "--data-dir", victim.dir)
		if err == nil || !strings.Contains(out, "damaged  ") || !strings.Contains(out, "warren reset") || !strings.Contains(out, name) {
			t.Errorf("%s: verify does not tell: %v, %s", d.name, err, out)
		}
		wantNoStart(t, victim, d.name, name)
		out, err = warren(victim.bin, "reset", "--data-dir", victim.dir, "--delete")
		if err != nil {
			t.Fatalf("%s: reset: %v, %s", d.name, err, out)
		}
		victim.start(t)
		victim.waitReady(t)
		forget(t, c.node(0), before.NodeID)
		eventually(t, d.name+": three voters", func() error { return voters(c.node(0), 3) })
		eventually(t, d.name+": it has a snapshot", func() error {
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
	c := startClusterWith(t, 3, options{args: []string{"--snapshot-bytes", "1MiB", "--message-memory", "1MiB"}})
	ch := open(t, c.node(0))
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	const queue, count = "kept", 8000
	declareNamedDurable(t, ch, queue)
	publishNumbered(t, ch, queue, count)
	victim := c.node(2)
	// What is behind its newest snapshot is in memory after a restart, the rest is on disk alone.
	eventually(t, "a snapshot of some messages", func() error {
		if victim.logged(t, "snapshot taken") < 2 {
			return fmt.Errorf("none yet")
		}
		return nil
	})
	victim.stop(t)
	victim.start(t)
	victim.waitReady(t)
	err := filepath.WalkDir(filepath.Join(victim.dir, "messages"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".seg") {
			overwrite(t, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	// A node reads what goes to its own clients. The connection may end before consume-ok.
	if deliveries, err := open(t, victim).Consume(queue, "", false, false, false, false, nil); err == nil {
		for d := range deliveries { // until it ends
			if n := numberOf(d); n < 1 || n > count || string(d.Body) != string(pattern(1000)) {
				t.Fatalf("message %d came with %d bytes of something else", n, len(d.Body))
			}
		}
	}
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
