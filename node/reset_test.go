package node

import (
	"os"
	"path/filepath"
	"testing"
)

// TestSetAsideCutShort: what made the node remember its votes is gone, and the rest could not be
// moved. The directory must not start as the same node.
func TestSetAsideCutShort(t *testing.T) {
	dir := t.TempDir()
	before, err := identity(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{messagesDir, clusterDir, restoringFile} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	// A directory cannot be moved into itself: the last step fails.
	if err := SetAside(dir, filepath.Join(dir, restoringFile, "old")); err == nil {
		t.Fatal("moved a directory into itself")
	}
	if now, err := identity(dir); err == nil && now == before {
		t.Error("its log is away, and it is the same node")
	}
	if err := SetAside(dir, filepath.Join(dir, "old")); err != nil {
		t.Errorf("done again: %v", err)
	}
}
