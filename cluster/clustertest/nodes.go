// Package clustertest runs clusters within one process for tests: helpers that
// open nodes on loopback ports or on an in-memory network with faults, and a state
// machine that remembers what it applied.
package clustertest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"warren/cluster"
)

// Entry is one applied batch.
type Entry struct {
	Index uint64
	Data  []byte
}

// Machine is a state machine that keeps every batch that it applied.
type Machine struct {
	mu       sync.Mutex
	entries  []Entry
	restores int
	changed  chan struct{}
}

// NewMachine returns an empty machine.
func NewMachine() *Machine { return &Machine{changed: make(chan struct{})} }

var _ raft.BatchingFSM = (*Machine)(nil)

// Apply implements raft.FSM.
func (m *Machine) Apply(l *raft.Log) any { return m.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch implements raft.BatchingFSM.
func (m *Machine) ApplyBatch(logs []*raft.Log) []any {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range logs {
		m.entries = append(m.entries, Entry{Index: l.Index, Data: l.Data})
	}
	close(m.changed)
	m.changed = make(chan struct{})
	return make([]any, len(logs))
}

// Entries returns what was applied so far.
func (m *Machine) Entries() []Entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.entries)
}

// Restores returns how often a snapshot was restored.
func (m *Machine) Restores() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.restores
}

// Changed returns a channel that closes at the next change.
func (m *Machine) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

// Find returns the first applied entry with the data.
func (m *Machine) Find(data []byte) (Entry, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.entries {
		if bytes.Equal(e.Data, data) {
			return e, true
		}
	}
	return Entry{}, false
}

// Snapshot implements raft.FSM.
func (m *Machine) Snapshot() (raft.FSMSnapshot, error) {
	return snapshot(m.Entries()), nil
}

// Restore implements raft.FSM.
func (m *Machine) Restore(r io.ReadCloser) error {
	var entries []Entry
	for in := bufio.NewReader(r); ; {
		var head [16]byte
		if _, err := io.ReadFull(in, head[:]); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		e := Entry{Index: binary.BigEndian.Uint64(head[:]), Data: make([]byte, binary.BigEndian.Uint64(head[8:]))}
		if _, err := io.ReadFull(in, e.Data); err != nil {
			return err
		}
		entries = append(entries, e)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries = entries
	m.restores++
	close(m.changed)
	m.changed = make(chan struct{})
	return nil
}

type snapshot []Entry

func (s snapshot) Persist(sink raft.SnapshotSink) error {
	for _, e := range s {
		head := binary.BigEndian.AppendUint64(nil, e.Index)
		head = binary.BigEndian.AppendUint64(head, uint64(len(e.Data)))
		for _, b := range [][]byte{head, e.Data} {
			if _, err := sink.Write(b); err != nil {
				return errors.Join(err, sink.Cancel())
			}
		}
	}
	return sink.Close()
}

func (s snapshot) Release() {}

// FastTiming suits tests on one machine: nothing waits long, and a busy machine
// still does not elect by itself all the time.
func FastTiming() cluster.Timing {
	return cluster.Timing{
		Heartbeat: 500 * time.Millisecond, Ping: 50 * time.Millisecond, LinkTimeout: 2 * time.Second,
		Dial: time.Second, Retry: 50 * time.Millisecond, GoneGrace: 300 * time.Millisecond, NodeGrace: 3 * time.Second,
	}
}

// Node is one node of a test.
type Node struct {
	*cluster.Cluster
	Config  cluster.Config
	Machine *Machine

	tb      testing.TB
	mu      sync.Mutex
	leaders []cluster.Leader
	downs   []string
	stopped bool
}

// Leaders returns what OnLeader was told.
func (n *Node) Leaders() []cluster.Leader {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.leaders)
}

// Downs returns what OnDown was told.
func (n *Node) Downs() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.downs)
}

// Open opens a node and stops it when the test ends. Its config needs an ID and
// an address; what is missing gets a default: a directory that ends with the
// test, fast timing, a new machine.
func Open(tb testing.TB, cfg cluster.Config) *Node {
	tb.Helper()
	n, err := TryOpen(tb, cfg)
	if err != nil {
		tb.Fatalf("open %s: %v", cfg.ID, err)
	}
	return n
}

// TryOpen is Open for a node that may not open.
func TryOpen(tb testing.TB, cfg cluster.Config) (*Node, error) {
	tb.Helper()
	n := &Node{tb: tb}
	if cfg.DataDir == "" {
		cfg.DataDir = filepath.Join(tb.TempDir(), cfg.ID)
	}
	if cfg.BindAddr == "" {
		cfg.BindAddr = "127.0.0.1:0"
	}
	if cfg.Timing == (cluster.Timing{}) {
		cfg.Timing = FastTiming()
	}
	if cfg.Logger == nil {
		cfg.Logger = Logger(tb)
	}
	n.Machine = NewMachine()
	cfg.FSM = n.Machine
	n.Config = cfg
	cfg.OnLeader = func(l cluster.Leader) {
		n.mu.Lock()
		n.leaders = append(n.leaders, l)
		n.mu.Unlock()
	}
	cfg.OnDown = func(id string) {
		n.mu.Lock()
		n.downs = append(n.downs, id)
		n.mu.Unlock()
	}
	c, err := cluster.Open(cfg)
	if err != nil {
		return nil, err
	}
	n.Cluster = c
	tb.Cleanup(func() { n.Kill() })
	return n, nil
}

// Kill ends the node as a crash would look to the others.
func (n *Node) Kill() {
	n.mu.Lock()
	stopped := n.stopped
	n.stopped = true
	n.mu.Unlock()
	if stopped {
		return
	}
	if err := n.Cluster.Kill(); err != nil {
		n.tb.Errorf("kill %s: %v", n.Config.ID, err)
	}
}

// KillFailed is Kill for a node whose log failed with the error.
func (n *Node) KillFailed(want error) {
	n.mu.Lock()
	n.stopped = true
	n.mu.Unlock()
	if err := n.Cluster.Kill(); !errors.Is(err, want) {
		n.tb.Errorf("kill %s: %v, want %v", n.Config.ID, err, want)
	}
}

// End is Kill for a node that may have failed, however it ends.
func (n *Node) End() {
	n.mu.Lock()
	n.stopped = true
	n.mu.Unlock()
	if err := n.Cluster.Kill(); err != nil {
		n.tb.Logf("kill %s: %v", n.Config.ID, err)
	}
}

// Stop shuts the node down in order.
func (n *Node) Stop() {
	n.mu.Lock()
	n.stopped = true
	n.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := n.Shutdown(ctx); err != nil {
		n.tb.Errorf("shut down %s: %v", n.Config.ID, err)
	}
}

// Restart opens a node again that was stopped or killed, at the same address
// unless change says otherwise.
func (n *Node) Restart(change func(*cluster.Config)) *Node {
	n.tb.Helper()
	cfg := n.Config
	cfg.BindAddr = n.Addr()
	if change != nil {
		change(&cfg)
	}
	return Open(n.tb, cfg)
}

// Logger writes warnings to the test's log; WARREN_TEST_LOG=debug writes all.
func Logger(tb testing.TB) *slog.Logger {
	level := slog.LevelError
	if os.Getenv("WARREN_TEST_LOG") == "debug" {
		level = slog.LevelDebug
	} else if os.Getenv("WARREN_TEST_LOG") == "info" {
		level = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

// Deadline is how long Eventually waits. It is for machines that are very busy;
// nothing that works comes near it.
const Deadline = 60 * time.Second

// Eventually waits until the condition holds, and fails the test when it does not
// in good time.
func Eventually(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	end := time.Now().Add(Deadline)
	for !holds() {
		if time.Now().After(end) {
			tb.Fatalf("did not come: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// LoopbackCluster opens n nodes on loopback ports that all list each other, and
// waits until they have a leader.
func LoopbackCluster(tb testing.TB, n int) []*Node {
	tb.Helper()
	addrs := make([]string, n)
	for i := range addrs {
		addrs[i] = FreeAddr(tb)
	}
	nodes := make([]*Node, n)
	for i := range nodes {
		nodes[i] = Open(tb, cluster.Config{
			ID: fmt.Sprintf("n%d", i+1), Name: fmt.Sprintf("node%d", i+1), BindAddr: addrs[i], Join: addrs, Expect: n,
		})
	}
	WaitLeader(tb, nodes...)
	return nodes
}

// WaitLeader waits until all nodes follow the same leader, one of them, and
// returns it.
func WaitLeader(tb testing.TB, nodes ...*Node) *Node {
	tb.Helper()
	var leader *Node
	Eventually(tb, "one leader for all", func() bool {
		leader = nil
		var first cluster.Leader
		for i, n := range nodes {
			l := n.Leader()
			if i == 0 {
				first = l
			}
			if !l.Known || l.ID != first.ID || l.Term != first.Term {
				return false
			}
			if l.Self {
				leader = n
			}
		}
		return leader != nil
	})
	return leader
}

// Followers returns the nodes that are not the one given.
func Followers(nodes []*Node, leader *Node) []*Node {
	return slices.DeleteFunc(slices.Clone(nodes), func(n *Node) bool { return n == leader })
}

// Put proposes until the batch is committed, as a proposer does.
func Put(tb testing.TB, n *Node, batch []byte) {
	tb.Helper()
	end := time.Now().Add(Deadline)
	for {
		answer := make(chan cluster.Answer, 1)
		n.Propose(slices.Clone(batch), func(a cluster.Answer) { answer <- a })
		if <-answer == cluster.Committed {
			return
		}
		if time.Now().After(end) {
			tb.Fatalf("batch was not committed through %s", n.Config.ID)
		}
	}
}

// Batch is a batch of a number, padded to size.
func Batch(number uint64, size int) []byte {
	b := make([]byte, max(size, 8))
	binary.BigEndian.PutUint64(b, number)
	return b
}

// Number is the inverse of Batch.
func Number(batch []byte) uint64 { return binary.BigEndian.Uint64(batch) }
