package cluster_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"warren/cluster"
	ct "warren/cluster/clustertest"
)

// TestPartsGone: a file that says what a node has promised is gone as a whole, and the rest is there.
func TestPartsGone(t *testing.T) {
	for _, file := range []string{"stable.db", "formation.json"} {
		dir := t.TempDir()
		n := ct.Open(t, cluster.Config{ID: "a", DataDir: dir})
		ct.WaitLeader(t, n)
		n.Kill()
		path := filepath.Join(dir, file)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the first try does not hide it
			n, err := ct.TryOpen(t, cluster.Config{ID: "a", DataDir: dir})
			if err == nil {
				n.Kill()
			}
			if !errors.Is(err, cluster.ErrDamaged) || !strings.Contains(err.Error(), path) {
				t.Errorf("without %s: %v", file, err)
			}
			told := false
			cluster.Verify(dir, 0, func(f cluster.Finding) {
				told = told || f.Err != nil && strings.Contains(f.Err.Error(), path)
			})
			if !told {
				t.Errorf("verify does not tell that %s is gone", file)
			}
		}
	}
}
