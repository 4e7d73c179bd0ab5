package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"warren/integration/faultdisk"
)

// faultyCluster is a cluster of three of which the first has its data on a disk that does what the test wants.
func faultyCluster(t *testing.T, args ...string) (c *cluster, d *faultdisk.Disk) {
	t.Helper()
	if os.Getuid() != 0 {
		missing(t, "mounting needs root")
	}
	c = mountedCluster(t, args, func(n *node) {
		var err error
		if d, err = faultdisk.Mount(n.dir, filepath.Join(t.TempDir(), n.name)); err != nil {
			missing(t, "no disk in user space here: %v", err)
		}
		t.Cleanup(func() {
			if err := d.Unmount(); err != nil {
				t.Error(err)
			}
		})
	}, func() { d.Heal() })
	return c, d
}

// TestSlowSyncs: each sync of one node takes more than a second. A leader hands over; after that, and with a follower, the
// others wait for none of them.
//
// row: 1.6 any node
func TestSlowSyncs(t *testing.T) {
	// The leader gives up a disk that takes a tenth of it, a node one that takes all of it.
	c, d := faultyCluster(t, "--disk-stall-timeout", "10s")
	slow := c.node(0)
	declareNamedDurable(t, open(t, slow), "plain")
	for _, role := range []string{"follower", "leader"} {
		c.lead(t, map[string]*node{"follower": c.node(1), "leader": slow}[role])
		flows := startFlows(t, c)
		homes := homesOf(flows)
		progress(t, flows, 200)
		reportSilence(t, flows, homes, slow, role+": before")
		d.Set(faultdisk.Trouble{SyncTakes: 1500 * time.Millisecond})
		if role == "leader" {
			eventually(t, "another one leads", func() error { return leadsNot(c.nodes[1:], slow) })
		}
		ch := open(t, c.node(1))
		if err := ch.Confirm(false); err != nil {
			t.Fatal(err)
		}
		const each = 30
		before := d.Met()
		for range each {
			confirmed(t, ch, "", "plain", amqp.Publishing{})
		}
		if waited := d.Met() - before; waited > each/2 {
			t.Errorf("%s: %d confirms, one after the other, beside %d slow syncs: they wait for them", role, each, waited)
		}
		reportSilence(t, flows, homes, slow, "slow "+role)
		if met := d.Heal(); met == 0 {
			t.Errorf("%s: no sync was slow", role)
		}
		slow.waitReady(t)
		progress(t, flows, 200)
		for _, f := range flows {
			f.finish(t)
			for _, err := range f.check(loss{}) {
				t.Errorf("%s: from %s to %s: %v", role, homes[f][0].name, homes[f][1].name, err)
			}
		}
	}
}

// leadsNot wants nodes to know a leader, and not this one.
func leadsNot(nodes []*node, not *node) error {
	for _, n := range nodes {
		if info, err := n.info(); err != nil || info.Leader == not.name || info.Leader == "" {
			return fmt.Errorf("%s: %q leads, %w", n.name, info.Leader, err)
		}
	}
	return nil
}

// TestDiskErrors: the disk of a node answers reads, and the sync that it begins with, by errors. The node stops, or does not
// start, and names the file; nobody is served anything wrong, the others go on, and the node comes back with its data when
// the disk is well.
//
// row: 1.6 confirm point
func TestDiskErrors(t *testing.T) {
	c, d := faultyCluster(t, "--snapshot-bytes", "1MiB", "--message-memory", "1MiB")
	victim, witness, behind := c.node(0), c.node(1), c.node(2)
	confirming := func() *amqp.Channel {
		t.Helper()
		ch := open(t, witness)
		if err := ch.Confirm(false); err != nil {
			t.Fatal(err)
		}
		return ch
	}
	ch := confirming()
	const queue, count = "kept", 6000
	declareNamedDurable(t, ch, queue)
	publishNumbered(t, ch, queue, count)
	only := func(suffix string) func(string) bool {
		return func(path string) bool { return strings.HasSuffix(path, suffix) }
	}
	// wantEnd wants the node to have ended by itself because of a file.
	wantEnd := func(what, file string) {
		t.Helper()
		eventually(t, what+": the node ends", func() error {
			if victim.running() {
				return errors.New("it runs")
			}
			return nil
		})
		log := victim.logTail()
		if victim.proc.Err() == nil || !strings.Contains(log, file) || !strings.Contains(log, "input/output error") || strings.Contains(log, "goroutine ") {
			t.Errorf("%s: it ended with %v\n%s", what, victim.proc.Err(), log)
		}
		if strings.Contains(log, "warren reset") {
			t.Errorf("%s: it tells to give up data that are there:\n%s", what, log)
		}
	}
	back := func(what string) {
		t.Helper()
		if met := d.Heal(); met == 0 {
			t.Errorf("%s: nothing met the error", what)
		}
		victim.start(t)
		victim.waitReady(t)
		wantDepth(t, open(t, victim), queue, count)
	}

	spill(t, victim)
	d.Set(faultdisk.Trouble{ReadErr: syscall.EIO, Only: only(".seg")})
	wantOnlyNumbered(t, victim, queue, count)
	wantEnd("messages", ".seg")
	back("messages")

	// A leader reads its log again for a node that was away.
	c.lead(t, victim) // which may start the witness anew
	ch = confirming()
	behind.stop(t)
	declareNamedDurable(t, ch, "large")
	for range 20 { // more than the leader keeps in memory
		confirmed(t, ch, "", "large", amqp.Publishing{DeliveryMode: amqp.Persistent, Body: pattern(1 << 20)})
	}
	d.Set(faultdisk.Trouble{ReadErr: syscall.EIO, Only: only(".wal")})
	behind.start(t)
	wantEnd("the log", "/wal")
	eventually(t, "the others go on", func() error { return leadsNot([]*node{witness, behind}, victim) })
	confirmed(t, ch, "", "large", amqp.Publishing{})
	victim.start(t)
	wantEnd("the log at the start", ".wal")
	back("the log")

	// What a process that was killed had written is synced before anybody hears of it.
	victim.kill(t)
	d.Set(faultdisk.Trouble{SyncErr: syscall.EIO, Only: only(".wal")})
	victim.start(t)
	wantEnd("syncs at the start", ".wal")
	if n := victim.logged(t, "sync what was there"); n != 1 {
		t.Errorf("it began without a sync of what was there:\n%s", victim.logTail())
	}
	back("syncs at the start")
	wantDepth(t, open(t, behind), "large", 21)
	wantNumbered(t, open(t, victim), queue, 1, count)
}
