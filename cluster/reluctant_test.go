package cluster_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"warren/cluster"
	ct "warren/cluster/clustertest"
)

// A node that is reluctant is passed over by the leader, refuses leadership that is given to it by name, and is not
// elected when the leader dies.
func TestReluctantNodeDoesNotLead(t *testing.T) {
	nodes := ct.LoopbackCluster(t, 3)
	leader := ct.WaitLeader(t, nodes...)
	rest := ct.Followers(nodes, leader)
	slices.SortFunc(rest, func(a, b *ct.Node) int { return compare(a.Config.ID, b.Config.ID) })
	reluctant, willing := rest[0], rest[1] // the first is who would stand first
	settled(t, nodes)

	reluctant.SetReluctant(true)
	// By gossip or not, the node itself refuses.
	if err := leader.TransferLeadership(t.Context(), reluctant.Config.ID); err == nil {
		t.Fatal("a reluctant node took leadership")
	}
	ct.Eventually(t, "all know", func() bool {
		for _, n := range nodes {
			for _, m := range n.Members() {
				if m.Reluctant != (m.ID == reluctant.Config.ID) {
					return false
				}
			}
		}
		return true
	})
	if err := willing.TransferLeadership(t.Context(), reluctant.Config.ID); !errors.Is(err, cluster.ErrReluctant) {
		t.Fatalf("a reluctant node was asked by name: %v", err)
	}
	if err := leader.TransferLeadership(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if now := ct.WaitLeader(t, nodes...); now != willing {
		t.Fatalf("%s leads", now.Config.ID)
	}
	willing.Kill()
	// On a busy machine the reluctant one may have had to lead for a moment.
	ct.Eventually(t, "the other one leads after the leader's death", leader.IsLeader)
	ct.WaitLeader(t, leader, reluctant)
	ct.Put(t, reluctant, ct.Batch(1, 10))
}

func compare(a, b string) int {
	if a < b {
		return -1
	}
	return 1
}

// Where a reluctant node is the only one that can lead, it does; and gives leadership back when
// another can. When it wants to lead again it may.
func TestReluctantNodeLeadsWhenNobodyElseCan(t *testing.T) {
	nodes := ct.LoopbackCluster(t, 3)
	leader := ct.WaitLeader(t, nodes...)
	rest := ct.Followers(nodes, leader)
	other, third := rest[0], rest[1]
	// What is committed without the third is in the log of these two only.
	third.Stop()
	for i := range 20 {
		ct.Put(t, leader, ct.Batch(uint64(i), 10))
	}
	ct.Eventually(t, "entries", hasAll(other, 0, 20))
	other.SetReluctant(true)
	leader.Kill()
	// It is cut off from the one that would lead, so only it and the third are left, who lacks entries.
	third = third.Restart(nil)
	if now := ct.WaitLeader(t, other, third); now != third {
		// It led for as long as the third had to catch up.
		ct.Eventually(t, "the reluctant leader gives way", func() bool { return third.IsLeader() })
	}
	ct.Put(t, third, ct.Batch(100, 10))
	ct.Eventually(t, "all entries", hasAll(third, 0, 20))
	other.SetReluctant(false)
	ct.Eventually(t, "the others know", func() bool {
		return !slices.ContainsFunc(third.Members(), func(m cluster.Member) bool { return m.Reluctant })
	})
	if err := third.TransferLeadership(t.Context(), other.Config.ID); err != nil {
		t.Fatal(err)
	}
	if now := ct.WaitLeader(t, other, third); now != other {
		t.Fatalf("%s leads", now.Config.ID)
	}
}

// A leader whose others are all reluctant goes on, and nobody is without a leader for it.
func TestAllReluctant(t *testing.T) {
	nodes := ct.LoopbackCluster(t, 3)
	leader := ct.WaitLeader(t, nodes...)
	settled(t, nodes)
	for _, n := range nodes {
		n.SetReluctant(true)
	}
	ct.Put(t, leader, ct.Batch(1, 10))
	leader.Kill()
	began := time.Now()
	ct.WaitLeader(t, ct.Followers(nodes, leader)...)
	t.Logf("a leader after %v", time.Since(began))
	ct.Put(t, ct.Followers(nodes, leader)[0], ct.Batch(2, 10))
}

// A node whose log is behind is not elected, so a reluctant one that is ahead of it does not wait for it when the leader
// dies; and when it leads, it does not hand over before the other one has caught up: until then nobody could write.
func TestReluctantAhead(t *testing.T) {
	disks := newDisks(t)
	nodes := ct.LoopbackCluster(t, 3)
	leader := ct.WaitLeader(t, nodes...)
	rest := ct.Followers(nodes, leader)
	reluctant, behind := rest[0], rest[1]
	settled(t, nodes)
	reluctant.SetReluctant(true)
	ct.Eventually(t, "beside one with the same log it waits", func() bool { return reluctant.Rank(leader.Config.ID) >= 3 })
	ct.Eventually(t, "one with all of the log may lead", func() bool { return leader.MayFollow(behind.Config.ID) })

	disks.hold(behind.Config.ID)
	var all sync.WaitGroup
	for i := range uint64(30) {
		all.Go(func() {
			for j := range uint64(10) {
				ct.Put(t, leader, ct.Batch(10*i+j, 10))
			}
		})
	}
	all.Wait()
	ct.Eventually(t, "beside one that lacks entries it does not wait", func() bool { return reluctant.Rank(leader.Config.ID) == 0 })
	if leader.MayFollow(behind.Config.ID) {
		t.Error("it would hand over to one that lacks 300 entries")
	}
	leader.SetReluctant(true) // only the one that is behind is left
	ct.Put(t, leader, ct.Batch(1000, 10))
	disks.release(behind.Config.ID)
	ct.Eventually(t, "the last one leads when it has caught up", behind.IsLeader)
}
