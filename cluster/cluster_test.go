package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"warren/cluster"
	ct "warren/cluster/clustertest"
)

// TestMain looks for goroutines that were left behind. memberlist's end some time
// after it was shut down: a probe waits for its answer.
func TestMain(m *testing.M) {
	code := m.Run()
	end := time.Now().Add(ct.Deadline)
	for code == 0 {
		err := goleak.Find()
		if err == nil {
			break
		}
		if time.Now().After(end) {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func hasAll(n *ct.Node, from, to uint64) func() bool {
	return func() bool {
		seen := make(map[uint64]bool)
		for _, e := range n.Machine.Entries() {
			seen[ct.Number(e.Data)] = true
		}
		for i := from; i < to; i++ {
			if !seen[i] {
				return false
			}
		}
		return true
	}
}

// wantSame compares what all nodes applied, once they have as much as the first.
func wantSame(t *testing.T, nodes ...*ct.Node) {
	t.Helper()
	want := nodes[0].Machine.Entries()
	for _, n := range nodes[1:] {
		ct.Eventually(t, "entries on "+n.Config.ID, func() bool { return len(n.Machine.Entries()) >= len(want) })
		got := n.Machine.Entries()[:len(want)]
		for i := range want {
			if want[i].Index != got[i].Index || string(want[i].Data) != string(got[i].Data) {
				t.Fatalf("entry %d on %s is not the one on %s", want[i].Index, n.Config.ID, nodes[0].Config.ID)
			}
		}
	}
}

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
	ct.Eventually(t, "replay", hasAll(n, 0, 10))
}

func TestBoltLogStore(t *testing.T) {
	n := ct.Open(t, cluster.Config{ID: "only", LogStore: cluster.LogStoreBoltDB})
	ct.WaitLeader(t, n)
	ct.Put(t, n, ct.Batch(1, 100))
	n.Stop()
	// The directory remembers its store, whatever the settings say now.
	n = n.Restart(func(c *cluster.Config) { c.LogStore = cluster.LogStoreWAL })
	ct.Eventually(t, "replay", hasAll(n, 1, 2))
}

func TestThreeNodesApplyTheSame(t *testing.T) {
	nodes := ct.LoopbackCluster(t, 3)
	leader := ct.WaitLeader(t, nodes...)
	for i := range 30 {
		ct.Put(t, nodes[i%3], ct.Batch(uint64(i), 1000))
	}
	for _, n := range nodes {
		ct.Eventually(t, "all entries on "+n.Config.ID, hasAll(n, 0, 30))
	}
	wantSame(t, nodes...)
	for _, m := range leader.Members() {
		if !m.Member || !m.Voter || !m.Alive || m.Addr == "" || m.Name == "" {
			t.Errorf("member is not as it should be: %+v", m)
		}
	}
	leader.Stop()
	rest := ct.Followers(nodes, leader)
	ct.WaitLeader(t, rest...)
	ct.Put(t, rest[0], ct.Batch(1000, 10))
}

// TestOrder proposes from all nodes at once, many in flight, and proposes again
// whatever was not committed, while leadership moves. What each node sent must
// stand in the log in order, repeats aside.
func TestOrder(t *testing.T) {
	nodes := patientCluster(t)
	const each = 400
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() { proposeInOrder(t, n, uint64(i+1)<<32, each) })
	}
	for i := range 4 {
		ct.Eventually(t, "batches in flight", func() bool { return accepted(nodes[0], 1<<32) > i*each/5 })
		leader := ct.WaitLeader(t, nodes...)
		if err := leader.TransferLeadership(t.Context(), ""); err != nil {
			t.Logf("transfer: %v", err)
		}
	}
	wg.Wait()
	for _, n := range nodes {
		for i := range nodes {
			base := uint64(i+1) << 32
			ct.Eventually(t, "all batches in order on "+n.Config.ID, func() bool { return accepted(n, base) == each })
		}
	}
	wantSame(t, nodes...)
}

// patientCluster starts three nodes for which nobody waits for a batch with every third number.
func patientCluster(t *testing.T) []*ct.Node {
	addrs := []string{ct.FreeAddr(t), ct.FreeAddr(t), ct.FreeAddr(t)}
	var nodes []*ct.Node
	for i, a := range addrs {
		nodes = append(nodes, ct.Open(t, cluster.Config{
			ID: fmt.Sprintf("n%d", i), BindAddr: a, Join: addrs, Expect: 3,
			Patient: func(b []byte) bool { return ct.Number(b)%3 == 1 },
		}))
	}
	ct.WaitLeader(t, nodes...)
	return nodes
}

// TestPatientBatches checks that a batch that may wait for company goes without it too, and before what comes
// after it.
func TestPatientBatches(t *testing.T) {
	nodes := patientCluster(t)
	next := uint64(0)
	for _, n := range nodes {
		for range 20 {
			ct.Put(t, n, ct.Batch(next+1, 100)) // alone
			first, second := make(chan cluster.Answer, 1), make(chan cluster.Answer, 1)
			n.Propose(ct.Batch(next+4, 100), func(a cluster.Answer) { first <- a })
			n.Propose(ct.Batch(next+5, 100), func(a cluster.Answer) { second <- a })
			if a, b := <-first, <-second; a != cluster.Committed || b != cluster.Committed {
				t.Fatalf("%v and %v in answer to two batches", a, b)
			}
			next += 6
		}
	}
	applied(t, nodes[0], ct.Batch(next-1, 100))
	before := -1
	for _, e := range nodes[0].Machine.Entries() {
		if n := int(ct.Number(e.Data)); n <= before {
			t.Fatalf("batch %d stands behind batch %d", n, before)
		} else {
			before = n
		}
	}
}

// accepted returns how many batches of the sender the machine holds as a state
// machine counts them: in order, passing over repeats and refusing gaps.
func accepted(n *ct.Node, base uint64) int {
	next := base
	for _, e := range n.Machine.Entries() {
		if ct.Number(e.Data) == next {
			next++
		}
	}
	return int(next - base)
}

// proposeInOrder is a proposer with a window, which starts again at the first
// batch that it has not seen applied whenever one was not committed.
func proposeInOrder(t *testing.T, n *ct.Node, base uint64, count int) {
	const window = 8
	for next := 0; next < count; next = accepted(n, base) {
		round := min(window, count-next)
		results := make([]cluster.Answer, round)
		var wg sync.WaitGroup
		for i := range round {
			wg.Add(1)
			n.Propose(ct.Batch(base+uint64(next+i), 500), func(a cluster.Answer) {
				results[i] = a
				wg.Done()
			})
		}
		wg.Wait()
		if !slices.ContainsFunc(results, func(a cluster.Answer) bool { return a != cluster.Committed }) {
			ct.Eventually(t, "own batches applied", func() bool { return accepted(n, base) >= next+round })
		}
	}
}

func TestPrepareRunsInOrderOnTheLeaderOnly(t *testing.T) {
	var mu sync.Mutex
	stamp := uint64(0)
	addrs := []string{ct.FreeAddr(t), ct.FreeAddr(t), ct.FreeAddr(t)}
	var nodes []*ct.Node
	for i, a := range addrs {
		nodes = append(nodes, ct.Open(t, cluster.Config{
			ID: fmt.Sprintf("n%d", i), BindAddr: a, Join: addrs, Expect: 3,
			Prepare: func(b []byte) {
				mu.Lock()
				defer mu.Unlock()
				stamp++
				copy(b, ct.Batch(stamp, 8))
			},
		}))
	}
	ct.WaitLeader(t, nodes...)
	for i := range 50 {
		ct.Put(t, nodes[i%3], make([]byte, 100)) // handed over, so one each
	}
	for _, n := range nodes {
		ct.Eventually(t, "50 entries", func() bool { return len(n.Machine.Entries()) >= 50 })
		last := uint64(0)
		for _, e := range n.Machine.Entries() {
			if ct.Number(e.Data) <= last {
				t.Fatalf("stamp %d follows %d", ct.Number(e.Data), last)
			}
			last = ct.Number(e.Data)
		}
	}
}

// TestLeaderKill ends the leader's process, as far as the others can tell, and
// prints how long it is until a survivor's batch is committed.
func TestLeaderKill(t *testing.T) {
	nodes := ct.LoopbackCluster(t, 3)
	for round := range 5 {
		leader := ct.WaitLeader(t, nodes...)
		rest := ct.Followers(nodes, leader)
		ct.Put(t, rest[0], ct.Batch(uint64(round), 100))
		settled(t, nodes)
		began := time.Now()
		go leader.Kill()
		ct.Eventually(t, "another leader", func() bool {
			l := rest[0].Leader()
			return l.Known && l.ID != leader.Config.ID
		})
		ct.Put(t, rest[0], ct.Batch(uint64(100+round), 100))
		t.Logf("round %d: first commit %v after the leader was killed", round, time.Since(began).Round(100*time.Microsecond))
		ct.WaitLeader(t, rest...)
		leader.Kill() // waits until it is really down
		back := leader.Restart(nil)
		nodes[slices.Index(nodes, leader)] = back
		ct.Eventually(t, "caught up", hasAll(back, uint64(100+round), uint64(101+round)))
	}
	ct.WaitLeader(t, nodes...)
	wantSame(t, nodes...)
}

// settled waits until all links between the nodes are up, so that evidence of a
// broken one is there when it breaks.
func settled(t *testing.T, nodes []*ct.Node) {
	t.Helper()
	ct.Eventually(t, "links", func() bool {
		for _, n := range nodes {
			for _, m := range n.Members() {
				if !m.Alive || !m.Member {
					return false
				}
			}
			for _, o := range nodes {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				_, err := n.Call(ctx, o.Config.ID, "nothing", nil)
				cancel()
				if !errors.Is(err, cluster.ErrNoMethod) {
					return false
				}
			}
		}
		return true
	})
}

func TestDownIsToldOnTheLeader(t *testing.T) {
	nodes := ct.LoopbackCluster(t, 3)
	leader := ct.WaitLeader(t, nodes...)
	settled(t, nodes)
	rest := ct.Followers(nodes, leader)
	rest[0].Kill()
	ct.Eventually(t, "OnDown", func() bool { return slices.Contains(leader.Downs(), rest[0].Config.ID) })
	if len(rest[1].Downs()) > 0 {
		t.Error("a follower was told")
	}
	if slices.Contains(leader.Downs(), rest[1].Config.ID) {
		t.Error("a living node was told of")
	}
}

func TestReturnWithAnotherAddress(t *testing.T) {
	nodes := ct.LoopbackCluster(t, 3)
	leader := ct.WaitLeader(t, nodes...)
	rest := ct.Followers(nodes, leader)
	rest[0].Stop()
	ct.Put(t, leader, ct.Batch(1, 10))
	addr := ct.FreeAddr(t)
	back := rest[0].Restart(func(c *cluster.Config) { c.BindAddr = addr; c.Join = []string{leader.Addr()} })
	ct.Eventually(t, "replay", hasAll(back, 1, 2))
	ct.Eventually(t, "new address", func() bool {
		for _, m := range leader.Members() {
			if m.ID == back.Config.ID {
				return m.Addr == addr && m.Alive
			}
		}
		return false
	})
	// All at once, without anybody in sight at the addresses to join.
	rest[1].Stop()
	back.Stop()
	ct.Eventually(t, "no leader", func() bool { return !leader.IsLeader() })
	back = back.Restart(nil)
	ct.WaitLeader(t, leader, back)
	ct.Put(t, back, ct.Batch(2, 10))
}

func TestWipedNodeJoinsAsANewOne(t *testing.T) {
	nodes := ct.LoopbackCluster(t, 3)
	leader := ct.WaitLeader(t, nodes...)
	settled(t, nodes)
	gone, other := ct.Followers(nodes, leader)[0], ct.Followers(nodes, leader)[1]
	if err := leader.Remove(t.Context(), gone.Config.ID); !errors.Is(err, cluster.ErrNodeRunning) {
		t.Fatalf("removing a running node: %v", err)
	}
	gone.Kill()
	ct.Put(t, leader, ct.Batch(1, 10))
	wiped := ct.Open(t, cluster.Config{
		ID: "wiped", Name: gone.Config.Name, BindAddr: gone.Addr(), Join: gone.Config.Join, Expect: 3,
	})
	ct.Eventually(t, "the log on the new node", hasAll(wiped, 1, 2))
	voters := func() (ids []string) {
		for _, m := range leader.Members() {
			if m.Voter {
				ids = append(ids, m.ID)
			}
		}
		return ids
	}
	ct.Eventually(t, "a vote for the new node", func() bool { return slices.Contains(voters(), "wiped") })
	if err := other.Remove(t.Context(), "nobody"); !errors.Is(err, cluster.ErrNoSuchNode) {
		t.Errorf("removing nobody: %v", err)
	}
	// By name, from a follower: the dead one of the two is meant.
	ct.Eventually(t, "removal", func() bool {
		err := other.Remove(t.Context(), gone.Config.Name)
		return err == nil || errors.Is(err, cluster.ErrNodeRunning) && !slices.Contains(voters(), gone.Config.ID)
	})
	if slices.Contains(voters(), gone.Config.ID) {
		t.Fatalf("still a member: %v", voters())
	}
	ct.Eventually(t, "OnDown for the removed node", func() bool { return slices.Contains(leader.Downs(), gone.Config.ID) })
	ct.Put(t, wiped, ct.Batch(2, 10))
}

func TestRemoveKeepsAQuorum(t *testing.T) {
	nodes := ct.LoopbackCluster(t, 3)
	leader := ct.WaitLeader(t, nodes...)
	settled(t, nodes)
	if err := leader.Remove(t.Context(), leader.Config.ID); !errors.Is(err, cluster.ErrRemoveSelf) {
		t.Errorf("removing oneself: %v", err)
	}
	for _, n := range ct.Followers(nodes, leader) {
		n.Kill()
	}
	var err error
	ct.Eventually(t, "the leader sees that they are gone", func() bool {
		err = leader.Remove(t.Context(), ct.Followers(nodes, leader)[0].Config.ID)
		return !errors.Is(err, cluster.ErrNodeRunning)
	})
	if !errors.Is(err, cluster.ErrQuorum) && !errors.Is(err, cluster.ErrNoLeader) {
		t.Errorf("removing what a quorum needs: %v", err)
	}
}

func TestRemovedNodeKnows(t *testing.T) {
	nodes := ct.LoopbackCluster(t, 3)
	leader := ct.WaitLeader(t, nodes...)
	settled(t, nodes)
	gone := ct.Followers(nodes, leader)[0]
	gone.Stop()
	ct.Eventually(t, "removal", func() bool { return leader.Remove(t.Context(), gone.Config.ID) == nil })
	back := gone.Restart(nil)
	ct.Eventually(t, "the removed node says so", func() bool {
		return back.Stats().Waiting != "" && !back.Leader().Known && containsWord(back.Stats().Waiting, "removed")
	})
	ct.Put(t, leader, ct.Batch(1, 10)) // and disturbs nobody
}

func containsWord(s, word string) bool {
	for i := 0; i+len(word) <= len(s); i++ {
		if s[i:i+len(word)] == word {
			return true
		}
	}
	return false
}

func TestLaggingFollowerGetsASnapshot(t *testing.T) {
	const n, trailing = 3, 1 << 20
	net, nodes := ct.NewNetwork(), make([]*ct.Node, n)
	for i := range nodes {
		cfg := memConfig(net, i, n)
		cfg.TrailingBytes = trailing
		nodes[i] = ct.Open(t, cfg)
	}
	leader := ct.WaitLeader(t, nodes...)
	lag := ct.Followers(nodes, leader)[0]
	ct.Put(t, lag, ct.Batch(0, 10))
	lag.Kill()
	// More log than is left behind a snapshot.
	const count, size = 4 * trailing / (100 << 10), 100 << 10
	for i := range count {
		ct.Put(t, leader, ct.Batch(uint64(i+1), size))
	}
	for _, n := range nodes {
		if n == lag {
			continue
		}
		ct.Eventually(t, "all entries", hasAll(n, 0, count+1))
		if err := n.Snapshot(); err != nil {
			t.Fatal(err)
		}
		if err := n.Snapshot(); err != nil {
			t.Fatalf("second snapshot with nothing new: %v", err)
		}
		if n.Stats().SnapshotIndex == 0 {
			t.Fatal("no snapshot is there")
		}
	}
	lag = lag.Restart(nil)
	ct.Eventually(t, "catching up", hasAll(lag, 0, count+1))
	if lag.Machine.Restores() == 0 {
		t.Fatal("the follower caught up without a snapshot: the log was not shortened")
	}
	ct.Put(t, lag, ct.Batch(count+1, 10))
	wantSame(t, leader, lag)
	lag.Stop()
	lag = lag.Restart(nil)
	ct.Eventually(t, "its own snapshot", hasAll(lag, 0, count+2))
}

func TestMaxVoters(t *testing.T) {
	timing := ct.FastTiming()
	first := ct.Open(t, cluster.Config{ID: "n0", Timing: timing, MaxVoters: 3})
	ct.WaitLeader(t, first)
	nodes := []*ct.Node{first}
	for i := range 4 {
		nodes = append(nodes, ct.Open(t, cluster.Config{
			ID: fmt.Sprintf("n%d", i+1), Join: []string{first.Addr()}, MaxVoters: 3,
		}))
	}
	count := func() (members, voters int) {
		for _, m := range first.Members() {
			if m.Member {
				members++
			}
			if m.Voter {
				voters++
			}
		}
		return members, voters
	}
	ct.Eventually(t, "five members, three voters", func() bool {
		m, v := count()
		return m == 5 && v == 3
	})
	ct.Put(t, nodes[4], ct.Batch(1, 10))
	for _, n := range nodes {
		ct.Eventually(t, "entry on "+n.Config.ID, hasAll(n, 1, 2))
	}
}

func TestDeadVoterIsRemovedAfterItsGrace(t *testing.T) {
	timing := ct.FastTiming()
	timing.VoterGrace = 500 * time.Millisecond
	first := ct.Open(t, cluster.Config{ID: "n0", Timing: timing})
	var nodes []*ct.Node
	for i := range 2 {
		nodes = append(nodes, ct.Open(t, cluster.Config{ID: fmt.Sprintf("n%d", i+1), Join: []string{first.Addr()}, Timing: timing}))
	}
	voters := func() (n int) {
		for _, m := range first.Members() {
			if m.Voter {
				n++
			}
		}
		return n
	}
	ct.Eventually(t, "three voters", func() bool { return voters() == 3 })
	nodes[0].Kill()
	ct.Eventually(t, "two voters", func() bool { return voters() == 2 })
	nodes[1].Kill()
	ct.Eventually(t, "no leader", func() bool { return !first.IsLeader() })
	if voters() != 2 {
		t.Fatal("removed below a quorum")
	}
}

// TestLeaderOfTwoKeepsTheOther: a leader that has lost the only other voter has no
// quorum, long before it steps down. It must not make itself one by removing the other.
func TestLeaderOfTwoKeepsTheOther(t *testing.T) {
	timing := ct.FastTiming()
	timing.Heartbeat, timing.VoterGrace = 3*time.Second, time.Millisecond
	first := ct.Open(t, cluster.Config{ID: "n0", Timing: timing})
	other := ct.Open(t, cluster.Config{ID: "n1", Join: []string{first.Addr()}, Timing: timing})
	voters := func() (n int) {
		for _, m := range first.Members() {
			if m.Voter {
				n++
			}
		}
		return n
	}
	ct.Eventually(t, "two voters", func() bool { return voters() == 2 })
	other.Kill()
	ct.Eventually(t, "no leader", func() bool { return !first.IsLeader() || voters() < 2 })
	if voters() != 2 {
		t.Fatal("removed below a quorum")
	}
}

func TestCalls(t *testing.T) {
	addrs := []string{ct.FreeAddr(t), ct.FreeAddr(t)}
	var nodes []*ct.Node
	for i, a := range addrs {
		nodes = append(nodes, ct.Open(t, cluster.Config{
			ID: fmt.Sprintf("n%d", i), BindAddr: a, Join: addrs, Expect: 2,
			Handlers: map[string]cluster.Handler{
				"echo": func(_ context.Context, from string, p []byte) ([]byte, error) {
					return append([]byte(from+":"), p...), nil
				},
				"fail": func(context.Context, string, []byte) ([]byte, error) { return nil, errors.New("no luck") },
				"hang": func(ctx context.Context, _ string, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() },
			},
		}))
	}
	ct.WaitLeader(t, nodes...)
	settled(t, nodes)
	ctx := t.Context()
	if b, err := nodes[0].Call(ctx, "n1", "echo", []byte("hi")); err != nil || string(b) != "n0:hi" {
		t.Errorf("echo: %q, %v", b, err)
	}
	if b, err := nodes[0].Call(ctx, "n0", "echo", []byte("me")); err != nil || string(b) != "n0:me" {
		t.Errorf("echo to oneself: %q, %v", b, err)
	}
	var remote *cluster.RemoteError
	if _, err := nodes[0].Call(ctx, "n1", "fail", nil); !errors.As(err, &remote) || remote.Message != "no luck" {
		t.Errorf("fail: %v", err)
	}
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := nodes[0].Call(short, "n1", "hang", nil); err == nil {
		t.Error("a call that hangs came back")
	}
	if _, err := nodes[0].Call(ctx, "nobody", "echo", nil); !errors.Is(err, cluster.ErrUnreachable) {
		t.Errorf("call to nobody: %v", err)
	}
	big := make([]byte, 5<<20)
	if b, err := nodes[0].Call(ctx, "n1", "echo", big); err != nil || len(b) != len(big)+3 {
		t.Errorf("big echo: %d bytes, %v", len(b), err)
	}
}

func TestLargeBatches(t *testing.T) {
	nodes := ct.LoopbackCluster(t, 3)
	leader := ct.WaitLeader(t, nodes...)
	follower := ct.Followers(nodes, leader)[0]
	large := 24 << 20
	if raceEnabled {
		large = 4 << 20 // the race detector looks at every byte
	}
	for i, size := range []int{1 << 20, large / 2, large} {
		ct.Put(t, follower, ct.Batch(uint64(i), size))
	}
	for _, n := range nodes {
		ct.Eventually(t, "large entries on "+n.Config.ID, hasAll(n, 0, 3))
	}
	refused := make(chan cluster.Answer, 1)
	leader.Propose(make([]byte, cluster.MaxBatch+1), func(a cluster.Answer) { refused <- a })
	if a := <-refused; a != cluster.Refused {
		t.Errorf("a batch that is too large: %v", a)
	}
}

func TestNoQuorumNoCommit(t *testing.T) {
	nodes := ct.LoopbackCluster(t, 3)
	leader := ct.WaitLeader(t, nodes...)
	rest := ct.Followers(nodes, leader)
	rest[0].Kill()
	rest[1].Kill()
	answer := make(chan cluster.Answer, 1)
	leader.Propose(ct.Batch(7, 10), func(a cluster.Answer) { answer <- a })
	if a := <-answer; a == cluster.Committed {
		t.Fatal("committed without a quorum")
	}
	rest[0] = rest[0].Restart(nil)
	ct.WaitLeader(t, leader, rest[0])
	ct.Put(t, rest[0], ct.Batch(8, 10))
}

// TestFollowersLearnOfCommitsAtOnce turns Raft's own notice off, and prints how
// long it takes until both followers have applied a single entry.
func TestFollowersLearnOfCommitsAtOnce(t *testing.T) {
	timing := ct.FastTiming()
	timing.Commit = time.Hour
	addrs := []string{ct.FreeAddr(t), ct.FreeAddr(t), ct.FreeAddr(t)}
	var nodes []*ct.Node
	for i, a := range addrs {
		nodes = append(nodes, ct.Open(t, cluster.Config{
			ID: fmt.Sprintf("n%d", i), BindAddr: a, Join: addrs, Expect: 3, Timing: timing,
		}))
	}
	leader := ct.WaitLeader(t, nodes...)
	rest := ct.Followers(nodes, leader)
	var onLeader, onBoth []time.Duration
	for i := range 100 {
		b := ct.Batch(uint64(i), 1000)
		began := time.Now()
		ct.Put(t, leader, b)
		onLeader = append(onLeader, time.Since(began))
		for _, n := range rest {
			applied(t, n, b)
		}
		onBoth = append(onBoth, time.Since(began))
	}
	slices.Sort(onLeader)
	slices.Sort(onBoth)
	t.Logf("applied on the leader: p50 %v, p99 %v; on both followers: p50 %v, p99 %v",
		onLeader[50], onLeader[99], onBoth[50], onBoth[99])
}

// applied waits until a node has applied a batch.
func applied(t *testing.T, n *ct.Node, batch []byte) {
	t.Helper()
	end := time.After(ct.Deadline)
	for {
		changed := n.Machine.Changed()
		if _, ok := n.Machine.Find(batch); ok {
			return
		}
		select {
		case <-changed:
		case <-end:
			t.Fatalf("%s has not applied a batch", n.Config.ID)
		}
	}
}

func TestAllKilledAtOnce(t *testing.T) {
	nodes := ct.LoopbackCluster(t, 3)
	ct.WaitLeader(t, nodes...)
	for i := range 20 {
		ct.Put(t, nodes[i%3], ct.Batch(uint64(i), 1000))
	}
	var wg sync.WaitGroup
	for _, n := range nodes {
		wg.Go(n.Kill)
	}
	wg.Wait()
	for i, n := range nodes {
		nodes[i] = n.Restart(func(c *cluster.Config) { c.Join = nil; c.Expect = 0 })
	}
	ct.WaitLeader(t, nodes...)
	for _, n := range nodes {
		ct.Eventually(t, "the log on "+n.Config.ID, hasAll(n, 0, 20))
	}
	wantSame(t, nodes...)
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	n := ct.Open(t, cluster.Config{ID: "a", DataDir: dir})
	ct.WaitLeader(t, n)
	n.Stop()
	for name, cfg := range map[string]cluster.Config{
		"another node's directory": {ID: "b", DataDir: dir},
		"no id":                    {},
		"bad id":                   {ID: "a b"},
		"unknown log store":        {ID: "a", LogStore: "paper"},
		"nobody to expect":         {ID: "a", Expect: 3},
		"bad join address":         {ID: "a", Join: []string{"nowhere"}},
		"tags too long":            {ID: "a", Tags: map[string]string{"x": string(make([]byte, 600))}},
		"bad address to bind":      {ID: "c", BindAddr: "256.0.0.1:1"},
	} {
		if n, err := ct.TryOpen(t, cfg); err == nil {
			n.Kill()
			t.Errorf("%s: opened", name)
		}
	}
	if err := os.RemoveAll(dir + "/wal"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(dir + "/stable.db"); err != nil {
		t.Fatal(err)
	}
	if _, err := ct.TryOpen(t, cluster.Config{ID: "a", DataDir: dir}); err == nil {
		t.Error("a member without its log was opened")
	}
}
