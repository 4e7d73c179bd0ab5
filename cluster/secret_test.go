package cluster_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"warren/cluster"
	ct "warren/cluster/clustertest"
)

// logs keeps what nodes log.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) has(parts ...string) func() bool {
	return func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		for line := range strings.Lines(l.b.String()) {
			all := true
			for _, p := range parts {
				all = all && strings.Contains(line, p)
			}
			if all {
				return true
			}
		}
		return false
	}
}

func (l *logs) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

const oldSecret, newSecret = "the secret of a cluster", "another secret of a cluster"

// TestStrangersStayOut: a node with another secret, and one with none, sees no cluster
// and disturbs none; both sides say why.
func TestStrangersStayOut(t *testing.T) {
	var inside, outside logs
	net, nodes := memCluster(t, 3, func(c *cluster.Config) {
		c.Secrets = []string{oldSecret}
		c.Logger = inside.logger()
	})
	leader := ct.WaitLeader(t, nodes...)
	for name, c := range map[string]struct {
		secrets      []string
		told, logged string
	}{
		"another secret": {[]string{newSecret}, "wrong cluster secret", "wrong cluster secret"},
		"no secret":      {nil, "no cluster secret", "no cluster secret"},
	} {
		t.Run(name, func(t *testing.T) {
			stranger := ct.Open(t, cluster.Config{
				ID: "stranger", BindAddr: "10.0.0.9:7900", Join: hosts(3), Network: net.Host("10.0.0.9"),
				Secrets: c.secrets, Logger: outside.logger(),
			})
			ct.Eventually(t, "word from the stranger", outside.has("level=WARN", c.told))
			ct.Eventually(t, "word from the cluster", inside.has("level=WARN", c.logged))
			if id := stranger.Stats().ClusterID; id != "" {
				t.Errorf("the stranger is of cluster %s", id)
			}
			for _, m := range leader.Members() {
				if m.ID == "stranger" {
					t.Errorf("the stranger is known: %+v", m)
				}
			}
			stranger.Kill()
		})
	}
	ct.Put(t, nodes[0], ct.Batch(2, 16))
}

// TestChangeOfTheSecret takes a cluster from one secret to another, node by node, while
// it works.
func TestChangeOfTheSecret(t *testing.T) {
	_, nodes := memCluster(t, 3, func(c *cluster.Config) { c.Secrets = []string{oldSecret} })
	number := uint64(2)
	for _, s := range [][]string{{oldSecret, newSecret}, {newSecret, oldSecret}, {newSecret}} {
		for i := range nodes {
			nodes[i].Stop()
			nodes[i] = nodes[i].Restart(func(c *cluster.Config) { c.Secrets = s })
			ct.WaitLeader(t, nodes...)
			settled(t, nodes)
			ct.Put(t, nodes[i], ct.Batch(number, 16))
			number++
		}
	}
	for _, n := range nodes {
		ct.Eventually(t, "all batches on "+n.Config.ID, hasAll(n, 2, number))
	}
	wantSame(t, nodes...)
}
