package cluster_test

import (
	"testing"

	"warren/cluster"
	ct "warren/cluster/clustertest"
)

// TestFounderThatHasOnlyVoted: a founder that gave its vote before it wrote the first configuration gets that from
// the leader. Until then its log is empty, and it may be started again.
func TestFounderThatHasOnlyVoted(t *testing.T) {
	net := ct.NewNetwork()
	cfg := memConfig(net, 0, 3)
	cfg.DataDir = t.TempDir()
	if err := cluster.FoundVoted(cfg.DataDir, cfg.ID, []string{"n0", "n1", "n2"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		n, err := ct.TryOpen(t, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if last := n.Stats().LastLogIndex; last != 0 {
			t.Fatalf("its log has %d entries", last)
		}
		n.Kill()
	}
}
