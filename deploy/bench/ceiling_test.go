package bench

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
)

const (
	members = 3
	entry   = 256 << 10 // bytes, about what a loaded broker's batches have
	window  = 8         // entries under way
)

// BenchmarkRaftCeiling commits entries of 256 KiB in three nodes of hashicorp/raft
// with the broker's log store, in one process over loopback, with no broker: its
// MB/s is what the bodies of messages can reach at most. BENCH_DATA names a
// directory on the disk to be measured.
func BenchmarkRaftCeiling(b *testing.B) { commit(b, entry, window) }

// BenchmarkRaftCommit commits small entries one after the other: its p50-ms is the
// least that anything waits which has to cross the log on this disk.
func BenchmarkRaftCommit(b *testing.B) { commit(b, 512, 1) }

// commit commits entries of size bytes, at most under of them at a time.
func commit(b *testing.B, size, under int) {
	leader := startCluster(b)
	payload := make([]byte, size)
	pending := make([]raft.ApplyFuture, under)
	sent := make([]time.Time, under)
	var took []time.Duration
	wait := func(i int) {
		if pending[i] == nil {
			return
		}
		if err := pending[i].Error(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(sent[i]))
	}
	b.SetBytes(int64(size))
	b.ResetTimer()
	for n := range b.N {
		i := n % under
		wait(i)
		pending[i], sent[i] = leader.Apply(payload, 0), time.Now()
	}
	for i := range under {
		wait((b.N + i) % under)
	}
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1e3, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1e3, "p99-ms")
}

// startCluster returns the leader of a new cluster, which ends with the benchmark.
func startCluster(b *testing.B) *raft.Raft {
	b.Helper()
	dir, err := os.MkdirTemp(os.Getenv("BENCH_DATA"), "ceiling-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			b.Error(err)
		}
	})
	var nodes []*raft.Raft
	var servers []raft.Server
	for i := range members {
		r, server := startNode(b, filepath.Join(dir, fmt.Sprint(i)), fmt.Sprint("node", i))
		nodes, servers = append(nodes, r), append(servers, server)
	}
	if err := nodes[0].BootstrapCluster(raft.Configuration{Servers: servers}).Error(); err != nil {
		b.Fatal(err)
	}
	for {
		for _, r := range nodes {
			if r.State() == raft.Leader && r.Barrier(0).Error() == nil {
				return r
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func startNode(b *testing.B, dir, id string) (*raft.Raft, raft.Server) {
	b.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	store, err := wal.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	transport, err := raft.NewTCPTransport("127.0.0.1:0", nil, 2, 10*time.Second, io.Discard)
	if err != nil {
		b.Fatal(err)
	}
	cfg := raft.DefaultConfig()
	cfg.LocalID = raft.ServerID(id)
	cfg.LogOutput = io.Discard
	// Counted in entries: a few of this size are enough for one request.
	cfg.MaxAppendEntries = window
	cfg.SnapshotThreshold = 1 << 40
	r, err := raft.NewRaft(cfg, sink{}, store, store, raft.NewDiscardSnapshotStore(), transport)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := r.Shutdown().Error(); err != nil {
			b.Error(err)
		}
		if err := transport.Close(); err != nil {
			b.Error(err)
		}
		if err := store.Close(); err != nil {
			b.Error(err)
		}
	})
	return r, raft.Server{ID: cfg.LocalID, Address: transport.LocalAddr()}
}

// sink is a state machine without state.
type sink struct{}

func (sink) Apply(*raft.Log) any                 { return nil }
func (sink) ApplyBatch(logs []*raft.Log) []any   { return make([]any, len(logs)) }
func (sink) Snapshot() (raft.FSMSnapshot, error) { return sink{}, nil }
func (sink) Restore(from io.ReadCloser) error    { return from.Close() }
func (sink) Persist(to raft.SnapshotSink) error  { return to.Close() }
func (sink) Release()                            {}
