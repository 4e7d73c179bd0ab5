package cluster

import (
	"fmt"
	"os"
	"path/filepath"
)

// A Seed is what a data directory needs beside a snapshot so that its node, once
// started, is a cluster of one that others may join. The configuration of the
// snapshot has to name that node as the only voter.
type Seed struct {
	DataDir  string // empty, or not there yet
	Node     string // id
	LogStore string // LogStoreWAL (also when empty) or LogStoreBoltDB
	Term     uint64 // of the snapshot; the log goes on in higher ones
}

// Write writes it. It returns the id of the new cluster.
func (s Seed) Write() (clusterID string, err error) {
	if err := checkID(s.Node); err != nil {
		return "", err
	}
	if s.LogStore == "" {
		s.LogStore = LogStoreWAL
	}
	if err := os.MkdirAll(s.DataDir, 0o700); err != nil {
		return "", fmt.Errorf("data directory: %w", err)
	}
	stable, err := openStable(filepath.Join(s.DataDir, stableFile))
	if err != nil {
		return "", fmt.Errorf("open stable store: %w", err)
	}
	err = stable.SetUint64(keyCurrentTerm, s.Term)
	if cerr := stable.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return "", fmt.Errorf("write term: %w", err)
	}
	state, err := openState(s.DataDir, directory(s.DataDir), s.Node, s.LogStore)
	if err != nil {
		return "", err
	}
	clusterID = newClusterID()
	return clusterID, state.update(func(now *savedState) {
		now.Cluster, now.Voters, now.Bootstrapped = clusterID, []string{s.Node}, true
	})
}
