package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// entry is what is known of a node.
type entry struct {
	Addr    string            `json:"addr"`
	Name    string            `json:"name,omitempty"`
	Boot    uint64            `json:"boot"`
	Cluster string            `json:"-"` // as it said of itself last
	Expect  int               `json:"-"`
	Tags    map[string]string `json:"tags,omitempty"`

	Reluctant bool `json:"-"` // to lead
}

// book maps node ids to addresses. A node that says of itself where it can be
// reached is believed when it was started at least as often as the last source
// knew: so an old address that still travels by gossip never replaces a new one.
type book struct {
	path  string // for errors
	files smallFiles

	mu    sync.Mutex
	nodes map[string]entry
	dirty bool
	saved []string // ids that the file has: who is kept may change without an address
}

func openBook(dir string, files smallFiles) (*book, error) {
	b := &book{path: filepath.Join(dir, addressesFile), files: files, nodes: make(map[string]entry)}
	raw, err := files.ReadFile(addressesFile)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return nil, fmt.Errorf("address book: %w", err)
	}
	if err := json.Unmarshal(raw, &b.nodes); err != nil {
		return nil, fmt.Errorf("address book %s is damaged (it may be deleted): %w", b.path, err)
	}
	return b, nil
}

// Alone reports whether a data directory of this package knows of no other node than the one named, as
// far as its files can be read: it has no address of one, and has neither joined a cluster nor founded one with others.
func Alone(dir, node string) bool {
	if b, err := openBook(dir, directory(dir)); err == nil {
		for id := range b.nodes {
			if id != node {
				return false
			}
		}
	}
	var s savedState
	raw, err := os.ReadFile(filepath.Join(dir, formationFile))
	if err != nil || json.Unmarshal(raw, &s) != nil {
		return true
	}
	joined := s.Cluster != "" && len(s.Voters) == 0
	return !joined && !slices.ContainsFunc(s.Voters, func(id string) bool { return id != node })
}

// learn takes what a node's greeting or gossip says of it. Empty fields leave
// what is known.
func (b *book) learn(id string, e entry) {
	if id == "" || e.Addr == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	old, known := b.nodes[id]
	if known && e.Boot < old.Boot {
		return
	}
	next := old
	next.Addr, next.Boot = e.Addr, e.Boot
	if e.Name != "" {
		next.Name, next.Tags, next.Expect, next.Reluctant = e.Name, e.Tags, e.Expect, e.Reluctant
	}
	if e.Cluster != "" {
		next.Cluster = e.Cluster
	}
	if !known || old.Addr != next.Addr || old.Boot != next.Boot || old.Name != next.Name || !maps.Equal(old.Tags, next.Tags) {
		b.dirty = true
	}
	b.nodes[id] = next
}

func (b *book) get(id string) (entry, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.nodes[id]
	return e, ok
}

// addr returns where to dial the node.
func (b *book) addr(id string) (string, error) {
	e, ok := b.get(id)
	if !ok {
		return "", fmt.Errorf("%w: no address of node %s is known yet", ErrUnreachable, id)
	}
	return e.Addr, nil
}

// save writes the entries of the nodes that keep says yes to, when something
// changed, and forgets the others on disk.
func (b *book) save(keep func(id string) bool) error {
	b.mu.Lock()
	out := make(map[string]entry, len(b.nodes))
	for id, e := range b.nodes {
		if keep(id) {
			out[id] = e
		}
	}
	ids := slices.Sorted(maps.Keys(out))
	if !b.dirty && slices.Equal(ids, b.saved) {
		b.mu.Unlock()
		return nil
	}
	b.dirty, b.saved = false, ids
	b.mu.Unlock()
	raw, err := json.MarshalIndent(out, "", "  ")
	if err == nil {
		err = b.files.WriteFile(addressesFile, append(raw, '\n'))
	}
	if err != nil {
		b.mu.Lock()
		b.dirty = true
		b.mu.Unlock()
		return fmt.Errorf("address book: %w", err)
	}
	return nil
}
