package cluster_test

import (
	"testing"
	"time"

	"warren/cluster"
	ct "warren/cluster/clustertest"
)

// TestStalledDiskFailsWhoeverAnswers: the leader's disk stands still, nobody can take over, and one of those that
// it asks does not answer. That it waits for the answer is no reason to believe that it was frozen.
func TestStalledDiskFailsWhoeverAnswers(t *testing.T) {
	d := newDisks(t)
	failed := make(chan string, 3)
	net, nodes := memCluster(t, 3, func(c *cluster.Config) {
		c.Timing = ct.FastTiming()
		c.Timing.DiskStall, c.Timing.DiskFail = 400*time.Millisecond, 3*time.Second
		c.Timing.Dial, c.Timing.LinkTimeout = 10*time.Second, 5*time.Minute // it waits as long as it can
		id := c.ID
		c.OnFail = func(error) { failed <- id }
	})
	leader := ct.WaitLeader(t, nodes...)
	near, far := ct.Followers(nodes, leader)[0], ct.Followers(nodes, leader)[1]
	t.Cleanup(func() {
		for _, n := range []*ct.Node{leader, near} {
			d.repair(n.Config.ID)
			n.End()
		}
	})
	net.Partition(host(far), append(host(leader), host(near)...))
	d.hold(leader.Config.ID)
	d.hold(near.Config.ID)
	leader.Propose(ct.Batch(2, 16), func(cluster.Answer) {})
	seen := make(map[string]bool)
	ct.Eventually(t, "the end of the leader", func() bool {
		select {
		case id := <-failed:
			seen[id] = true
		default:
		}
		return seen[leader.Config.ID]
	})
}
