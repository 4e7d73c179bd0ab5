package cluster_test

import (
	"testing"
	"time"

	ct "warren/cluster/clustertest"
)

func silenceCluster(t *testing.T) (*ct.Network, []*ct.Node, *ct.Node) {
	t.Helper()
	net := ct.NewNetwork()
	var nodes []*ct.Node
	for i := range 3 {
		cfg := memConfig(net, i, 3)
		cfg.Timing = ct.FastTiming()
		cfg.Timing.LinkTimeout = time.Minute // no link says that the leader is gone
		nodes = append(nodes, ct.Open(t, cfg))
	}
	leader := ct.WaitLeader(t, nodes...)
	settled(t, nodes)
	return net, nodes, leader
}

// hostOf is the address of a node in the network of memory.
func hostOf(n *ct.Node) string { return n.Config.BindAddr[:len(n.Config.BindAddr)-len(":7900")] }

// TestSilentLeader: a leader that nobody hears is followed by one that most voters agreed on, before Raft's own
// timers, whose length is drawn, run out on both of the others. They may on a slow machine: then once more.
func TestSilentLeader(t *testing.T) {
	for round := 1; ; round++ {
		net, nodes, leader := silenceCluster(t)
		others := ct.Followers(nodes, leader)
		before := others[0].Stood() + others[1].Stood()
		net.Partition([]string{hostOf(leader)}, []string{hostOf(others[0]), hostOf(others[1])})
		ct.WaitLeader(t, others...)
		stood := others[0].Stood() + others[1].Stood() - before
		net.Heal()
		ct.Put(t, others[0], ct.Batch(1, 10))
		if stood == 1 {
			return
		}
		if round == 5 {
			t.Fatalf("%d stood for election because the leader was silent, in each of %d rounds", stood, round)
		}
	}
}

// TestSilentToOne: a node that does not hear the leader does not disturb it while another one does.
func TestSilentToOne(t *testing.T) {
	net, nodes, leader := silenceCluster(t)
	others := ct.Followers(nodes, leader)
	term := leader.Leader().Term
	net.Partition([]string{hostOf(leader)}, []string{hostOf(others[0])})
	heartbeat := leader.Config.Timing.Heartbeat
	for end := time.Now().Add(4 * heartbeat); time.Now().Before(end); {
		ct.Put(t, leader, ct.Batch(uint64(time.Now().UnixNano()), 10))
	}
	if n := others[0].Stood(); n != 0 {
		t.Errorf("the node that does not hear the leader stood for election %d times", n)
	}
	if l := leader.Leader(); l.Term != term || !l.Self {
		t.Errorf("the leader of term %d is now %+v", term, l)
	}
	net.Heal()
	ct.Eventually(t, "the node follows again", func() bool { return others[0].Leader().Known })
}
