package cluster_test

import (
	"testing"
	"time"

	"warren/cluster"
	ct "warren/cluster/clustertest"
)

// TestFollowersLearnOfCommitsEarly: with three voters an entry is committed when it is on
// the disks of the leader and one follower. The follower applies it although the leader hears
// of that later.
func TestFollowersLearnOfCommitsEarly(t *testing.T) {
	net, nodes := memCluster(t, 3, nil)
	leader := ct.WaitLeader(t, nodes...)
	home := host(leader)[0]
	net.Delay(func(_, to string) time.Duration {
		if to == home {
			return 20 * time.Millisecond
		}
		return 0
	})
	near := ct.Followers(nodes, leader)[0]
	early := 0
	for number := uint64(2); number < 60 && early < 5; number++ {
		batch, answers := ct.Batch(number, 16), make(chan cluster.Answer, 1)
		leader.Propose(batch, func(a cluster.Answer) { answers <- a })
		ct.Eventually(t, "the batch on a follower", func() bool { _, has := near.Machine.Find(batch); return has })
		if _, has := leader.Machine.Find(batch); !has {
			early++
		}
		if a := <-answers; a != cluster.Committed {
			t.Fatalf("answer: %v", a)
		}
	}
	if early < 5 {
		t.Errorf("the follower was first %d times", early)
	}
	net.Delay(nil)
	ct.Eventually(t, "all the same", func() bool { return len(near.Machine.Entries()) == len(leader.Machine.Entries()) })
	wantSame(t, nodes...)
}

// TestTwoOfFiveAreNoMajority: a leader of five and one follower have an entry, and nobody
// else ever. The follower must not apply it: the others choose a leader without it.
func TestTwoOfFiveAreNoMajority(t *testing.T) {
	net, nodes := memCluster(t, 5, nil)
	leader := ct.WaitLeader(t, nodes...)
	near, far := ct.Followers(nodes, leader)[0], ct.Followers(nodes, leader)[1:]
	var others []string
	for _, n := range far {
		others = append(others, host(n)...)
	}
	net.Partition(append(host(leader), host(near)...), others)
	index := leader.Stats().LastLogIndex + 1
	lost := ct.Batch(2, 16)
	answers := make(chan cluster.Answer, 1)
	leader.Propose(lost, func(a cluster.Answer) { answers <- a })
	ct.Eventually(t, "the batch on the follower's disk", func() bool { return near.Stats().LastLogIndex >= index })
	ct.Put(t, ct.WaitLeader(t, far...), ct.Batch(3, 16))
	if a := <-answers; a == cluster.Committed {
		t.Error("confirmed by two of five")
	}
	net.Heal()
	for _, n := range nodes {
		ct.Eventually(t, "what the others did", func() bool { _, has := n.Machine.Find(ct.Batch(3, 16)); return has })
		if _, has := n.Machine.Find(lost); has {
			t.Errorf("%s has applied what two of five had", n.Config.ID)
		}
	}
	wantSame(t, nodes...)
}

// TestWhoHasNoVoteMakesNoMajority: of three voters only the leader has an entry, and so has a
// node without a vote. That node must not apply it: the other two choose a leader without it.
func TestWhoHasNoVoteMakesNoMajority(t *testing.T) {
	net, nodes := memCluster(t, 3, func(c *cluster.Config) { c.MaxVoters = 3 })
	leader := ct.WaitLeader(t, nodes...)
	var others []string
	for _, n := range ct.Followers(nodes, leader) {
		others = append(others, host(n)...)
	}
	cfg := memConfig(net, 3, 3)
	cfg.MaxVoters = 3
	guest := ct.Open(t, cfg)
	nodes = append(nodes, guest)
	ct.Put(t, leader, ct.Batch(1, 16))
	ct.Eventually(t, "an entry on the node without a vote", hasAll(guest, 1, 2))

	net.Partition(append(host(leader), host(guest)...), others)
	lost := ct.Batch(2, 16)
	index := leader.Stats().LastLogIndex + 1
	answers := make(chan cluster.Answer, 1)
	leader.Propose(lost, func(a cluster.Answer) { answers <- a })
	ct.Eventually(t, "the batch on its disk", func() bool { return guest.Stats().LastLogIndex >= index })
	if a := <-answers; a == cluster.Committed {
		t.Error("confirmed by one of three")
	}
	if got := guest.Stats().CommitIndex; got >= index {
		t.Errorf("it believes that entry %d is committed, up to %d", index, got)
	}
	if _, has := guest.Machine.Find(lost); has {
		t.Error("it has applied what one of three voters had")
	}
	net.Heal()
	ct.Put(t, ct.WaitLeader(t, nodes...), ct.Batch(3, 16))
	ct.Eventually(t, "the next batch on it", func() bool { _, has := guest.Machine.Find(ct.Batch(3, 16)); return has })
	wantSame(t, nodes...)
}
