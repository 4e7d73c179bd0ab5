package node

import (
	"os"
	"path/filepath"

	"warren/cluster"
	"warren/node/msgstore"
)

// A Finding is what Verify has to say of one file.
type Finding struct {
	Path  string
	Bytes int64 // that were read
	Err   error // nil: sound
}

// Verify reads all files of a data directory whose node does not run, compares checksums and what
// belongs together, and reports on each. It changes nothing but what a start would: what a crash left half
// written goes.
func Verify(dir string, report func(Finding)) {
	path := filepath.Join(dir, nodeIDFile)
	err := checkRestored(dir)
	if err == nil {
		_, err = readIdentity(dir)
	}
	report(Finding{Path: path, Err: err})
	var newest uint64
	if _, err := os.Stat(filepath.Join(dir, messagesDir)); err == nil {
		newest = msgstore.Verify(filepath.Join(dir, messagesDir), func(f msgstore.Finding) { report(Finding(f)) })
	}
	cluster.Verify(filepath.Join(dir, clusterDir), newest, func(f cluster.Finding) { report(Finding(f)) })
}
