package node

import (
	"fmt"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"

	"warren/node/alarm"
	"warren/node/management"
)

func TestBlockedReason(t *testing.T) {
	for _, c := range []struct {
		stalled bool
		low     alarm.Set
		want    string
	}{
		{false, 0, ""},
		{true, 0, "no quorum"},
		{false, alarm.Memory, "low on memory"},
		{false, alarm.Disk, "low on disk"},
		{false, alarm.Memory | alarm.Disk, "low on memory & disk"},
		{true, alarm.Disk, "low on disk, no quorum"},
		{true, alarm.Memory | alarm.Disk, "low on memory & disk, no quorum"},
	} {
		if got := blockedReason(c.stalled, c.low); got != c.want {
			t.Errorf("stalled %v, low on %v: %q, want %q", c.stalled, c.low.Resources(), got, c.want)
		}
	}
}

// TestKept lets clients make a node with little memory keep a message that comes in pieces.
func TestKept(t *testing.T) {
	cfg := Config{MaxMessageSize: 16 << 20}
	for memory, want := range map[int64]int64{0: 0, 8 << 20: 32 << 20, 1 << 40: 1 << 38} {
		if got := cfg.kept(memory); got != want {
			t.Errorf("%d of %d bytes may be kept, want %d", got, memory, want)
		}
	}
}

// within waits for a condition.
func within(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not in time: " + what)
		}
	}
}

// openAll starts a cluster of three nodes in this process.
func openAll(t *testing.T, edit func(i int, cfg *Config)) []*Node {
	t.Helper()
	var nodes []*Node
	var join []string
	for i := range 3 {
		cfg := testConfig(t.TempDir())
		cfg.NodeName = fmt.Sprintf("n%d", i+1)
		cfg.Expect = 3
		cfg.Join = join
		if i == 0 {
			cfg.Join = []string{"127.0.0.1:1"} // nobody: it waits for the others
		}
		edit(i, &cfg)
		n, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if n != nil {
				stop(t, n)
			}
		})
		join = append(join, n.cluster.Addr())
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		<-n.Ready()
	}
	return nodes
}

// One node's alarm blocks publishers on all, and clears when it is over; new
// connections are told at once; all of it shows.
func TestAlarmHoldsClusterWide(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, ignore) })
	nodes := openAll(t, func(i int, cfg *Config) {
		if i == 2 {
			cfg.DiskFreeLimit = 1 << 60
		}
	})
	for _, n := range nodes {
		within(t, "the alarm reaches "+n.cfg.NodeName, func() bool {
			n.mu.Lock()
			defer n.mu.Unlock()
			return n.low == alarm.Disk
		})
		info := broker{n}.Cluster(t.Context())
		if want := (management.Alarm{Node: "n3", Resource: "disk"}); len(info.Alarms) != 1 || info.Alarms[0] != want {
			t.Errorf("%s shows alarms %v, want %v", n.cfg.NodeName, info.Alarms, want)
		}
		stats := n.NodeStats(t.Context())
		if len(stats) != 3 {
			t.Errorf("%s has the numbers of %d nodes", n.cfg.NodeName, len(stats))
		}
		for id, s := range stats {
			if s.DiskFreeAlarm != (id == nodes[2].id) || s.MemoryAlarm || s.MemoryUsed <= 0 || s.MemoryLimit <= 0 || s.DiskFree <= 0 {
				t.Errorf("%s: stats of %s: %+v", n.cfg.NodeName, id, s)
			}
		}
	}
	blockings, confirms := make([]chan amqp.Blocking, 3), make([]*amqp.DeferredConfirmation, 3)
	for i, n := range nodes {
		conn, ch := dial(t, n)
		defer conn.Close()
		blockings[i] = conn.NotifyBlocked(make(chan amqp.Blocking, 4))
		if _, err := ch.QueueDeclare("q", true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		if err := ch.Confirm(false); err != nil {
			t.Fatal(err)
		}
		var err error
		if confirms[i], err = ch.PublishWithDeferredConfirm("", "q", false, false, amqp.Publishing{}); err != nil {
			t.Fatal(err)
		}
		if b := <-blockings[i]; !b.Active || b.Reason != "low on disk" {
			t.Errorf("%s told %+v", n.cfg.NodeName, b)
		}
		if confirms[i].Acked() {
			t.Errorf("%s confirmed while it was blocked", n.cfg.NodeName)
		}
	}
	nodes[2].alarms.raised(alarm.State{}) // as its monitor would
	for i, n := range nodes {
		if b := <-blockings[i]; b.Active {
			t.Errorf("%s told %+v", n.cfg.NodeName, b)
		}
		if !confirms[i].Wait() {
			t.Errorf("%s did not confirm", n.cfg.NodeName)
		}
	}
}

// A node that is gone holds no alarm.
func TestAlarmGoesWithItsNode(t *testing.T) {
	nodes := openAll(t, func(int, *Config) {})
	nodes[1].alarms.raised(alarm.State{Raised: alarm.Memory})
	low := func(n *Node) alarm.Set { n.mu.Lock(); defer n.mu.Unlock(); return n.low }
	within(t, "the alarm arrives", func() bool { return low(nodes[0]) == alarm.Memory && low(nodes[2]) == alarm.Memory })
	if err := nodes[1].cluster.Kill(); err != nil {
		t.Fatal(err)
	}
	within(t, "the alarm goes", func() bool { return low(nodes[0]) == 0 && low(nodes[2]) == 0 })
}
