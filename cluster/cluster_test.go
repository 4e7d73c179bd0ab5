package cluster_test

import (
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"warren/cluster"
	ct "warren/cluster/clustertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAlone(t *testing.T) {
	n := ct.Open(t, cluster.Config{ID: "only"})
	ct.WaitLeader(t, n)
	for i := range 10 {
		ct.Put(t, n, ct.Batch(uint64(i), 100))
	}
	if got := len(n.Machine.Entries()); got != 10 {
		t.Fatalf("applied %d entries, want 10", got)
	}
	n.Stop()
	n = n.Restart(nil)
	ct.Eventually(t, "replay", func() bool { return len(n.Machine.Entries()) == 10 })
}

func TestThreeNodesApplyTheSame(t *testing.T) {
	nodes := ct.LoopbackCluster(t, 3)
	leader := ct.WaitLeader(t, nodes...)
	for i := range 30 {
		ct.Put(t, nodes[i%3], ct.Batch(uint64(i), 1000))
	}
	for _, n := range nodes {
		ct.Eventually(t, fmt.Sprint("all entries on ", n.Config.ID), func() bool { return len(n.Machine.Entries()) >= 30 })
	}
	leader.Stop()
	rest := ct.Followers(nodes, leader)
	ct.WaitLeader(t, rest...)
	ct.Put(t, rest[0], ct.Batch(1000, 10))
}
