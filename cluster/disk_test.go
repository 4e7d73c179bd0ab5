package cluster_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/hashicorp/raft"

	"warren/cluster"
	ct "warren/cluster/clustertest"
)

// disks are the disks of the logs of a test's nodes. They can stand still, and fail:
// then what they were told to write is lost, as after a loss of power.
type disks struct {
	mu      sync.Mutex
	changed *sync.Cond
	held    map[string]bool
	broken  map[string]bool
}

func newDisks(t *testing.T) *disks {
	d := &disks{held: make(map[string]bool), broken: make(map[string]bool)}
	d.changed = sync.NewCond(&d.mu)
	t.Cleanup(cluster.WrapLog(func(id string, inner raft.LogStore) raft.LogStore {
		return &disk{LogStore: inner, d: d, id: id}
	}))
	return d
}

func (d *disks) set(m map[string]bool, id string, on bool) {
	d.mu.Lock()
	m[id] = on
	d.mu.Unlock()
	d.changed.Broadcast()
}

func (d *disks) hold(id string)    { d.set(d.held, id, true) }
func (d *disks) release(id string) { d.set(d.held, id, false) }
func (d *disks) fail(id string)    { d.set(d.broken, id, true) }
func (d *disks) repair(id string)  { d.set(d.broken, id, false); d.release(id) }

type disk struct {
	raft.LogStore
	d  *disks
	id string
}

var errLost = errors.New("disk is broken")

func (s *disk) IsMonotonic() bool { return true }

func (s *disk) StoreLogs(logs []*raft.Log) error {
	s.d.mu.Lock()
	for s.d.held[s.id] && !s.d.broken[s.id] {
		s.d.changed.Wait()
	}
	broken := s.d.broken[s.id]
	s.d.mu.Unlock()
	if broken {
		return errLost
	}
	return s.LogStore.StoreLogs(logs)
}

// memCluster opens n nodes on a network of their own.
func memCluster(t *testing.T, n int, change func(*cluster.Config)) (*ct.Network, []*ct.Node) {
	net := ct.NewNetwork()
	nodes := make([]*ct.Node, n)
	for i := range nodes {
		cfg := memConfig(net, i, n)
		if change != nil {
			change(&cfg)
		}
		nodes[i] = ct.Open(t, cfg)
	}
	wantOneCluster(t, nodes)
	return net, nodes
}

func host(n *ct.Node) []string { return []string{n.Addr()[:len(n.Addr())-len(":7900")]} }

// propose lets the leader append a batch, and waits until the follower has it and
// Raft calls it committed.
func propose(t *testing.T, leader, follower *ct.Node, number uint64, answers chan cluster.Answer) (index uint64) {
	t.Helper()
	before := leader.Stats().LastLogIndex
	leader.Propose(ct.Batch(number, 16), func(a cluster.Answer) { answers <- a })
	ct.Eventually(t, "a batch on one follower", func() bool {
		s := leader.Stats()
		return s.LastLogIndex > before && s.CommitIndex == s.LastLogIndex && follower.Stats().LastLogIndex == s.LastLogIndex
	})
	return before + 1
}

// TestNothingIsSeenBeforeItIsOnTheLeadersDisk: an entry is on one follower's disk
// and in the leader's memory. Raft calls it committed, and nobody hears of it. Then the
// leader loses it, and the follower is cut off. The third node has never heard of it.
func TestNothingIsSeenBeforeItIsOnTheLeadersDisk(t *testing.T) {
	d := newDisks(t)
	failed := make(chan error, 3)
	net, nodes := memCluster(t, 3, func(c *cluster.Config) { c.OnFail = func(err error) { failed <- err } })
	leader := ct.WaitLeader(t, nodes...)
	near, far := ct.Followers(nodes, leader)[0], ct.Followers(nodes, leader)[1]
	ct.Put(t, leader, ct.Batch(1, 16))
	for _, n := range nodes {
		ct.Eventually(t, "the first batch", hasAll(n, 1, 2))
	}
	far.Kill()
	d.hold(leader.Config.ID)

	// The second and the third tell the follower of a commit, if anything does.
	answers := make(chan cluster.Answer, 3)
	index := propose(t, leader, near, 2, answers)
	propose(t, leader, near, 3, answers)
	propose(t, leader, near, 4, answers)
	if got := near.Stats().CommitIndex; got >= index {
		t.Errorf("the follower believes that entry %d is committed, up to %d", index, got)
	}
	for _, n := range []*ct.Node{leader, near} {
		if _, seen := n.Machine.Find(ct.Batch(2, 16)); seen {
			t.Errorf("%s has applied what is not on the leader's disk", n.Config.ID)
		}
	}
	if len(answers) > 0 {
		t.Fatalf("answered: %v", <-answers)
	}
	d.fail(leader.Config.ID)
	for range 3 {
		if a := <-answers; a == cluster.Committed {
			t.Error("confirmed what was lost")
		}
	}
	if err := <-failed; !errors.Is(err, errLost) {
		t.Errorf("OnFail was told: %v", err)
	}
	if err := leader.Snapshot(); err == nil && leader.Stats().SnapshotIndex >= index {
		t.Error("a snapshot claims what was not applied")
	}
	leader.KillFailed(errLost)

	// The other two know nothing of it, and overwrite it.
	net.Partition(host(near), append(host(leader), host(far)...))
	d.repair(leader.Config.ID)
	leader, far = leader.Restart(nil), far.Restart(nil)
	ct.WaitLeader(t, leader, far)
	ct.Put(t, far, ct.Batch(5, 16))
	net.Heal()
	ct.WaitLeader(t, leader, near, far)
	ct.Put(t, near, ct.Batch(6, 16))
	ct.Eventually(t, "the last batch", hasAll(near, 5, 7))
	wantSame(t, near, far, leader)
	if _, seen := near.Machine.Find(ct.Batch(2, 16)); seen {
		t.Error("the lost entry is back")
	}
}

// TestLeaderWithASlowDisk: what its followers have, all are told when the leader's
// disk has it.
func TestLeaderWithASlowDisk(t *testing.T) {
	d := newDisks(t)
	_, nodes := memCluster(t, 3, nil)
	leader := ct.WaitLeader(t, nodes...)
	ct.Put(t, leader, ct.Batch(1, 16))
	d.hold(leader.Config.ID)
	answers := make(chan cluster.Answer, 2)
	propose(t, leader, ct.Followers(nodes, leader)[0], 2, answers)
	propose(t, leader, ct.Followers(nodes, leader)[1], 3, answers)
	if len(answers) > 0 {
		t.Fatalf("answered: %v", <-answers)
	}
	d.release(leader.Config.ID)
	for range 2 {
		if a := <-answers; a != cluster.Committed {
			t.Errorf("answer: %v", a)
		}
	}
	for _, n := range nodes {
		ct.Eventually(t, "all batches on "+n.Config.ID, hasAll(n, 1, 4))
	}
	wantSame(t, nodes...)
}

// TestLeadersLoseTheirLastWrites: while all nodes propose, one leader after another
// loses what its disk was busy with, and comes back. Nothing that was confirmed is lost.
func TestLeadersLoseTheirLastWrites(t *testing.T) {
	d := newDisks(t)
	_, nodes := memCluster(t, 3, nil)
	number := uint64(0)
	var mu sync.Mutex
	var confirmed []uint64
	for round := range rounds(t, 4) {
		leader := ct.WaitLeader(t, nodes...)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for _, n := range nodes {
			number++
			base := number << 32
			wg.Go(func() {
				proposeUntil(n, base, stop, func(b uint64) {
					mu.Lock()
					confirmed = append(confirmed, b)
					mu.Unlock()
				})
			})
		}
		for i := range 1 + rand.N(3) {
			seen := len(leader.Machine.Entries())
			ct.Eventually(t, "progress", func() bool { return len(leader.Machine.Entries()) > seen+10*i })
		}
		d.hold(leader.Config.ID)
		last := leader.Stats().LastLogIndex
		ct.Eventually(t, "writes in progress, or another leader", func() bool {
			s := leader.Stats()
			return s.LastLogIndex > last+1 || s.State != "Leader"
		})
		d.fail(leader.Config.ID)
		ct.Eventually(t, "another leader", func() bool { return !leader.IsLeader() })
		close(stop)
		leader.KillFailed(errLost)
		wg.Wait()
		d.repair(leader.Config.ID)
		nodes[slices.Index(nodes, leader)] = leader.Restart(nil)
		ct.WaitLeader(t, nodes...)
		ct.Put(t, nodes[0], ct.Batch(uint64(round), 16))
	}
	ct.WaitLeader(t, nodes...)
	ct.Put(t, nodes[0], ct.Batch(100, 16))
	ct.Eventually(t, "the last batch", hasAll(nodes[0], 100, 101))
	wantSame(t, nodes...)
	there := make(map[uint64]bool)
	for _, e := range nodes[0].Machine.Entries() {
		there[ct.Number(e.Data)] = true
	}
	if len(confirmed) == 0 {
		t.Error("nothing was confirmed")
	}
	for _, b := range confirmed {
		if !there[b] {
			t.Errorf("batch %x was confirmed and is lost", b)
		}
	}
}

// proposeUntil proposes batch after batch, a few at a time, and tells which were confirmed.
func proposeUntil(n *ct.Node, base uint64, stop chan struct{}, confirmed func(uint64)) {
	window := make(chan struct{}, 4)
	for {
		select {
		case <-stop:
			for range cap(window) {
				window <- struct{}{}
			}
			return
		case window <- struct{}{}:
		}
		base++
		b := base
		n.Propose(ct.Batch(b, 100), func(a cluster.Answer) {
			if a == cluster.Committed {
				confirmed(b)
			}
			<-window
		})
	}
}
