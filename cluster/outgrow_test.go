package cluster_test

import (
	"testing"

	"warren/cluster"
	ct "warren/cluster/clustertest"
)

// TestSnapshotShorterThanTheLog: a leader that was cut off has more entries that nobody else has than the others have
// written since, and gets a snapshot when it is back. It goes on all the same.
func TestSnapshotShorterThanTheLog(t *testing.T) {
	net := ct.NewNetwork()
	nodes := make([]*ct.Node, 3)
	for i := range nodes {
		cfg := memConfig(net, i, 3)
		cfg.TrailingBytes = 1
		nodes[i] = ct.Open(t, cfg)
	}
	old := ct.WaitLeader(t, nodes...)
	ct.Put(t, old, ct.Batch(0, 100))
	var others []*ct.Node
	var cut []string
	var lone string
	for i, n := range nodes {
		if n == old {
			lone = ip(i)
			continue
		}
		others, cut = append(others, n), append(cut, ip(i))
	}
	net.Partition([]string{lone}, cut)
	for i := range 50 { // nobody else gets them
		old.Propose(ct.Batch(1000+uint64(i), 100), func(cluster.Answer) {})
	}
	leader := ct.WaitLeader(t, others...)
	for i := range 5 {
		ct.Put(t, leader, ct.Batch(1+uint64(i), 100))
	}
	if err := leader.Snapshot(); err != nil {
		t.Fatal(err)
	}
	net.Heal()
	ct.Put(t, leader, ct.Batch(6, 100))
	ct.Eventually(t, "the entries on the old leader", hasAll(old, 0, 7))
	wantSame(t, nodes...)
}

// TestSnapshotBeyondALeadersFirstEntry: where nothing but the first entry of a new leader stands behind the newest snapshot, as in
// a cluster that nobody uses, there is a later one all the same.
func TestSnapshotBeyondALeadersFirstEntry(t *testing.T) {
	n := ct.Open(t, memConfig(ct.NewNetwork(), 0, 1))
	ct.WaitLeader(t, n)
	ct.Put(t, n, ct.Batch(0, 100))
	if err := n.Snapshot(); err != nil {
		t.Fatal(err)
	}
	before, err := n.Snapshotted()
	if err != nil || before == 0 {
		t.Fatalf("snapshot of entry %d, %v", before, err)
	}
	n.Stop()
	n = n.Restart(nil)
	ct.WaitLeader(t, n)
	ct.Eventually(t, "the first entry of the leader", func() bool { return n.LastIndex() > before })
	if err := n.WriteBeyond(before); err != nil {
		t.Fatal(err)
	}
	if after, err := n.Snapshotted(); err != nil || after <= before {
		t.Errorf("the newest snapshot ends with entry %d, as before, %v", after, err)
	}
}
