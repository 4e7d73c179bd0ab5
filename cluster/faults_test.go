package cluster_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"warren/cluster"
	ct "warren/cluster/clustertest"
)

func ip(i int) string   { return fmt.Sprintf("10.0.0.%d", i+1) }
func addr(i int) string { return ip(i) + ":7900" }

func hosts(n int) (addrs []string) {
	for i := range n {
		addrs = append(addrs, addr(i))
	}
	return addrs
}

func memConfig(net *ct.Network, i, n int) cluster.Config {
	return cluster.Config{
		ID: fmt.Sprintf("n%d", i), BindAddr: addr(i), Network: net.Host(ip(i)), Join: hosts(n), Expect: n,
	}
}

// rounds is how often the formation tests run; WARREN_ROUNDS asks for more.
func rounds(t *testing.T, usual int) int {
	if s := os.Getenv("WARREN_ROUNDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return usual
}

// wantOneCluster waits until all nodes follow one leader, and checks that they
// are of one cluster that all of them are members of.
func wantOneCluster(t *testing.T, nodes []*ct.Node) {
	t.Helper()
	ids := func() map[string]int {
		seen := make(map[string]int)
		for _, n := range nodes {
			seen[n.Stats().ClusterID]++
		}
		return seen
	}
	ct.Eventually(t, "one cluster id", func() bool {
		seen := ids()
		if len(seen) > 1 && seen[""] == 0 {
			t.Fatalf("more than one cluster was born: %v", seen)
		}
		return len(seen) == 1 && seen[""] == 0
	})
	leader := ct.WaitLeader(t, nodes...)
	ct.Eventually(t, "all to vote", func() bool {
		voters := 0
		for _, m := range leader.Members() {
			if m.Voter {
				voters++
			}
		}
		return voters == len(nodes)
	})
	ct.Put(t, nodes[0], ct.Batch(1, 16))
	for _, n := range nodes {
		ct.Eventually(t, "an entry on "+n.Config.ID, hasAll(n, 1, 2))
	}
}

// TestFormation starts nodes in any order, at any moment, on a slow network.
func TestFormation(t *testing.T) {
	for round := range rounds(t, 6) {
		t.Run(strconv.Itoa(round), func(t *testing.T) {
			n := []int{3, 3, 5, 2}[round%4]
			net := ct.NewNetwork()
			net.Delay(ct.RandomDelay(time.Duration(1+round%3*10) * time.Millisecond))
			net.Drop(func(string, string) bool { return rand.N(10) == 0 })
			nodes := make([]*ct.Node, n)
			var wg sync.WaitGroup
			for _, i := range rand.Perm(n) {
				wg.Go(func() {
					time.Sleep(rand.N(300 * time.Millisecond)) // the order is the point
					nodes[i] = ct.Open(t, memConfig(net, i, n))
				})
			}
			wg.Wait()
			wantOneCluster(t, nodes)
		})
	}
}

// TestFormationWithCrashes kills and restarts nodes, and cuts the network, while
// they form a cluster.
func TestFormationWithCrashes(t *testing.T) {
	const n = 3
	for round := range rounds(t, 6) {
		t.Run(strconv.Itoa(round), func(t *testing.T) {
			net := ct.NewNetwork()
			net.Delay(ct.RandomDelay(5 * time.Millisecond))
			nodes := make([]*ct.Node, n)
			var wg sync.WaitGroup
			for i := range n {
				wg.Go(func() {
					cfg := memConfig(net, i, n)
					node := ct.Open(t, cfg)
					for range rand.N(4) {
						time.Sleep(rand.N(150 * time.Millisecond)) // any moment of the formation
						node.Kill()
						node = node.Restart(nil)
					}
					nodes[i] = node
				})
			}
			wg.Go(func() {
				for range 3 {
					time.Sleep(rand.N(100 * time.Millisecond)) // likewise
					lone := rand.N(n)
					net.Partition([]string{ip(lone)}, []string{ip((lone + 1) % n), ip((lone + 2) % n)})
					time.Sleep(rand.N(200 * time.Millisecond)) // likewise
					net.Heal()
				}
			})
			wg.Wait()
			wantOneCluster(t, nodes)
		})
	}
}

// TestTwoNodesOfThreeFormNothing: a cluster is not born before all are there.
func TestTwoNodesOfThreeFormNothing(t *testing.T) {
	net := ct.NewNetwork()
	nodes := []*ct.Node{ct.Open(t, memConfig(net, 0, 3)), ct.Open(t, memConfig(net, 1, 3))}
	for _, n := range nodes {
		ct.Eventually(t, "a word on what it waits for", func() bool { return containsWord(n.Stats().Waiting, "sees 2") })
		if id := n.Stats().ClusterID; id != "" {
			t.Fatalf("%s is of cluster %s", n.Config.ID, id)
		}
	}
	nodes = append(nodes, ct.Open(t, memConfig(net, 2, 3)))
	wantOneCluster(t, nodes)
}

// TestTwoCoordinators: two of three nodes do not see each other, and both want to
// found a cluster of two with the third.
func TestTwoCoordinators(t *testing.T) {
	for round := range rounds(t, 3) {
		t.Run(strconv.Itoa(round), func(t *testing.T) {
			net := ct.NewNetwork()
			net.Partition([]string{ip(0)}, []string{ip(1)})
			nodes := make([]*ct.Node, 3)
			var wg sync.WaitGroup
			for i := range nodes {
				wg.Go(func() {
					time.Sleep(rand.N(50 * time.Millisecond)) // the order is the point
					cfg := memConfig(net, i, 3)
					cfg.Expect = 2
					nodes[i] = ct.Open(t, cfg)
				})
			}
			wg.Wait()
			ct.Eventually(t, "a cluster of two", func() bool { return nodes[2].Stats().ClusterID != "" })
			net.Heal()
			wantOneCluster(t, nodes)
		})
	}
}

// TestOnePromise: two coordinators want the same third node at the same time, again
// and again. One of them gets it, and the other founds nothing.
func TestOnePromise(t *testing.T) {
	for round := range rounds(t, 10) {
		t.Run(strconv.Itoa(round), func(t *testing.T) {
			net := ct.NewNetwork()
			net.Delay(ct.RandomDelay(3 * time.Millisecond))
			addrs := make(map[string]string)
			nodes := make([]*ct.Node, 3)
			for i := range nodes {
				cfg := memConfig(net, i, 3)
				cfg.Expect, cfg.Join = 2, []string{"10.9.9.9:1"} // gossip shows them nobody
				cfg.Timing = ct.FastTiming()
				cfg.Timing.Retry = time.Millisecond // the backoff of coordinators, here
				nodes[i] = ct.Open(t, cfg)
				addrs[cfg.ID] = addr(i)
			}
			belongs := func(i int) bool { return nodes[i].Stats().ClusterID != "" }
			var wg sync.WaitGroup
			for i := range 2 {
				wg.Go(func() {
					for !belongs(0) && !belongs(1) {
						nodes[i].Coordinate(t.Context(), []string{nodes[i].Config.ID, nodes[2].Config.ID}, addrs)
					}
				})
			}
			wg.Wait()
			ct.Eventually(t, "the third node to hear", func() bool { return belongs(2) })
			if belongs(0) && belongs(1) {
				t.Fatal("two clusters were born with the same node")
			}
		})
	}
}

// TestPartitionedLeader: the majority goes on, the minority commits nothing, and
// after the partition all agree.
func TestPartitionedLeader(t *testing.T) {
	const n = 3
	net := ct.NewNetwork()
	var nodes []*ct.Node
	for i := range n {
		nodes = append(nodes, ct.Open(t, memConfig(net, i, n)))
	}
	wantOneCluster(t, nodes)
	old := ct.WaitLeader(t, nodes...)
	rest := ct.Followers(nodes, old)
	hostOf := func(n *ct.Node) string { return n.Addr()[:len(n.Addr())-len(":7900")] }
	net.Partition([]string{hostOf(old)}, []string{hostOf(rest[0]), hostOf(rest[1])})

	lost := make(chan cluster.Answer, 1)
	old.Propose(ct.Batch(666, 16), func(a cluster.Answer) { lost <- a })
	if a := <-lost; a == cluster.Committed {
		t.Fatal("the minority committed")
	}
	now := ct.WaitLeader(t, rest...)
	if now == old {
		t.Fatal("the old leader is followed")
	}
	ct.Put(t, rest[0], ct.Batch(2, 16))
	ct.Eventually(t, "OnDown for the silent node", func() bool {
		for _, id := range now.Downs() {
			if id == old.Config.ID {
				return true
			}
		}
		return false
	})
	if len(old.Downs()) > 0 {
		t.Error("the minority judged")
	}
	net.Heal()
	ct.WaitLeader(t, nodes...)
	ct.Put(t, old, ct.Batch(3, 16))
	wantSame(t, nodes...)
	if _, there := old.Machine.Find(ct.Batch(666, 16)); there {
		t.Error("what the minority was given came through")
	}
}
