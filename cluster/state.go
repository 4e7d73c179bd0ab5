package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// Files of the data directory.
const (
	formationFile = "formation.json"
	addressesFile = "addresses.json"
)

// stateVersion is the version of the file that savedState is kept in.
const stateVersion = 1

// savedState is what a node must not forget about the birth of its cluster. See
// DESIGN.md, "Formation".
type savedState struct {
	Version  int    `json:"version"`
	Node     string `json:"node"` // whose data directory this is
	Boot     uint64 `json:"boot"` // how often the node was started
	LogStore string `json:"log_store"`

	// Cluster is the cluster that the node belongs to. Once set it never changes.
	Cluster string `json:"cluster,omitempty"`
	// Voters is the first configuration, when this node takes part in it. It is
	// kept so that a bootstrap that was cut short is done again.
	Voters []string `json:"voters,omitempty"`
	// Bootstrapped tells that Raft got the first configuration.
	Bootstrapped bool `json:"bootstrapped,omitempty"`
	// Removed tells that the cluster removed this node.
	Removed bool `json:"removed,omitempty"`

	// Promise is the one cluster that the node would help to found.
	Promise *attempt `json:"promise,omitempty"`
	// Attempt is the cluster that the node tries to found as coordinator. While
	// it is there it is also the node's own promise. None: every earlier one was aborted.
	Attempt *attempt `json:"attempt,omitempty"`

	// Checksum is that of the file with an empty one in its place; see checksum. Files of
	// older versions have none.
	Checksum string `json:"checksum"`
}

// attempt is one attempt to found a cluster.
type attempt struct {
	Cluster     string   `json:"cluster"`
	Coordinator string   `json:"coordinator"`
	Nodes       []string `json:"nodes"` // sorted; the coordinator is among them
}

// stateFile keeps savedState on disk.
type stateFile struct {
	path  string // for errors
	files smallFiles

	mu  sync.Mutex
	now savedState
}

// errForeign is a data directory of another node or of another version.
var errForeign = errors.New("data directory does not fit")

func openState(dir string, files smallFiles, node, logStore string) (*stateFile, error) {
	f := &stateFile{path: filepath.Join(dir, formationFile), files: files}
	b, err := files.ReadFile(formationFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.now = savedState{Version: stateVersion, Node: node, LogStore: logStore}
	case err != nil:
		return nil, fmt.Errorf("formation state: %w", err)
	default:
		if err := json.Unmarshal(b, &f.now); err != nil {
			return nil, damaged(f.path, "%v", err)
		}
		if err := f.now.checkFile(b); err != nil {
			return nil, damaged(f.path, "%w", err)
		}
		if f.now.Version != stateVersion {
			return nil, fmt.Errorf("%w: %s has version %d, this program writes %d", errForeign, f.path, f.now.Version, stateVersion)
		}
		if f.now.Node != node {
			return nil, fmt.Errorf("%w: %s belongs to node %s, this is %s", errForeign, f.path, f.now.Node, node)
		}
	}
	return f, f.update(func(s *savedState) { s.Boot++ })
}

// checkFounded makes sure that the state is there when a directory holds anything that comes after it: a node that
// took part in a cluster and does not know is not to begin anew under its id. snapshot is the index of the newest one, 0: none.
func checkFounded(dir string, files smallFiles, snapshot uint64) error {
	if _, err := files.ReadFile(formationFile); !errors.Is(err, fs.ErrNotExist) {
		return nil // openState tells of an error
	}
	path := filepath.Join(dir, formationFile)
	if snapshot > 0 {
		return damaged(path, "it is gone, and there is a snapshot of entry %d", snapshot)
	}
	if _, system := files.(directory); !system {
		return nil
	}
	for _, name := range []string{stableFile, walDir, boltLog} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return damaged(path, "it is gone, and %s is there", name)
		}
	}
	return nil
}

// get returns a copy.
func (f *stateFile) get() savedState {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now.clone()
}

func (s savedState) clone() savedState {
	s.Voters = slices.Clone(s.Voters)
	s.Promise, s.Attempt = s.Promise.clone(), s.Attempt.clone()
	return s
}

func (a *attempt) clone() *attempt {
	if a == nil {
		return nil
	}
	return &attempt{Cluster: a.Cluster, Coordinator: a.Coordinator, Nodes: slices.Clone(a.Nodes)}
}

// update changes the state and writes it before it returns. After an error the
// state is as it was.
func (f *stateFile) update(change func(*savedState)) error {
	return f.try(func(s *savedState) error { change(s); return nil })
}

// try is update for a change that may find that it cannot be made.
func (f *stateFile) try(change func(*savedState) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := f.now.clone()
	if err := change(&next); err != nil {
		return err
	}
	next.Checksum = ""
	b, err := json.MarshalIndent(next, "", "  ")
	if err != nil {
		return fmt.Errorf("formation state: %w", err)
	}
	b = append(b, '\n')
	if err := f.files.WriteFile(formationFile, withChecksum(b, "", checksum(b))); err != nil {
		return fmt.Errorf("formation state: %w", err)
	}
	f.now = next
	return nil
}

// checkFile compares a file with the checksum that was read from it. One that has none is of an older
// version, so it has no field that this one does not know.
func (s *savedState) checkFile(b []byte) error {
	if s.Checksum == "" {
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		return d.Decode(new(savedState))
	}
	if checksum(withChecksum(b, s.Checksum, "")) != s.Checksum {
		return errors.New("its checksum does not match")
	}
	return nil
}

// checksum is the CRC-32C of a file of JSON whose own checksum is empty, in hexadecimal.
func checksum(b []byte) string { return fmt.Sprintf("%08x", crc32.Checksum(b, castagnoli)) }

// withChecksum puts a checksum in the place of another one.
func withChecksum(b []byte, before, after string) []byte {
	const field = `"checksum": "%s"`
	return bytes.Replace(b, fmt.Appendf(nil, field, before), fmt.Appendf(nil, field, after), 1)
}
