package node

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"warren/fsm"
	"warren/fsm/command"
)

// latencies are histograms of how long things take on this node. To put a time in one costs some 50 ns, and none
// is put there more often than once for each log entry, or once for each turn of a session's loop.
type latencies struct {
	commit, confirm, sync, apply, delivery prometheus.Histogram

	last atomic.Int64 // of commit, nanoseconds
}

// bounds go from 50 µs to 26 s, each double the last.
var bounds = prometheus.ExponentialBuckets(50e-6, 2, 20)

func newLatencies() *latencies {
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "warren", Name: name, Help: help, Buckets: bounds})
	}
	return &latencies{
		commit:  histogram("commit_seconds", "From the proposal of a log entry of this node to its being applied here"),
		confirm: histogram("confirm_seconds", "From a publish to its confirm, of one message of a channel at a time"),
		sync:    histogram("log_sync_seconds", "Bringing log entries to disk"),
		apply:   histogram("apply_seconds", "Applying one log entry to the state"),
		delivery: histogram("delivery_seconds", "From the leader's taking an entry into the log to handing its deliveries to consumers of this node, "+
			"by the clocks of both"),
	}
}

func (l *latencies) collectors() []prometheus.Collector {
	return []prometheus.Collector{l.commit, l.confirm, l.sync, l.apply, l.delivery}
}

// committed takes how long a log entry of this node took.
func (l *latencies) committed(d time.Duration) {
	l.last.Store(int64(d))
	l.commit.Observe(d.Seconds())
}

// lastCommit is how long the last log entry of this node took.
func (l *latencies) lastCommit() time.Duration { return time.Duration(l.last.Load()) }

func (l *latencies) observe(h prometheus.Histogram) func(time.Duration) {
	return func(d time.Duration) { h.Observe(d.Seconds()) }
}

// timeDeliveries times an entry that brings deliveries for consumers of this node. A queue that holds no backlog hands
// out a message in the entry that brings it, so this is most of the way from publisher to consumer.
func (n *Node) timeDeliveries(epoch uint64, out *fsm.Output) {
	for i := range out.Effects {
		if e := &out.Effects[i]; e.Kind == command.EffectDeliver && e.To.Epoch == epoch {
			n.metrics.delivery.Observe(max(0, time.Since(time.UnixMilli(out.Header.Stamp)).Seconds()))
			return
		}
	}
}

// allTraffic returns what all connections of this node have received and sent since it started: bytes and reads,
// bytes and writes.
func (n *Node) allTraffic() [4]uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := n.traffic
	for _, s := range n.sessions.All() {
		for i, sum := range s.Traffic() {
			all[i] += sum
		}
	}
	return all
}
