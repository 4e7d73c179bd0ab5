package alarm

import "sync"

// A Report is a node's word on its own alarms. Its JSON form travels between nodes.
type Report struct {
	// Instance tells the processes of one node apart, Version the reports of one
	// process: of two reports of one process the one with the greater version counts.
	Instance, Version uint64
	Raised            Set
}

// A Board holds the last report of each node. Its methods may be called from any goroutine.
type Board struct {
	mu      sync.Mutex
	reports map[string]Report
}

// Put takes the report of a node, unless a later one is here already. It returns
// whether that changed the alarms of the node.
func (b *Board) Put(node string, r Report) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	before, known := b.reports[node]
	if known && before.Instance == r.Instance && before.Version > r.Version {
		return false
	}
	if b.reports == nil {
		b.reports = make(map[string]Report)
	}
	b.reports[node] = r
	return before.Raised != r.Raised
}

// Keep drops the reports of all nodes that keep refuses: a node that is gone holds
// no alarm. It returns the nodes with an alarm that were dropped.
func (b *Board) Keep(keep func(node string) bool) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var dropped []string
	for node, r := range b.reports {
		if keep(node) {
			continue
		}
		delete(b.reports, node)
		if r.Raised != 0 {
			dropped = append(dropped, node)
		}
	}
	return dropped
}

// Raised returns the alarms of each node that has any.
func (b *Board) Raised() map[string]Set {
	b.mu.Lock()
	defer b.mu.Unlock()
	raised := make(map[string]Set)
	for node, r := range b.reports {
		if r.Raised != 0 {
			raised[node] = r.Raised
		}
	}
	return raised
}

// All is the union of the alarms of all nodes.
func (b *Board) All() Set {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all Set
	for _, r := range b.reports {
		all |= r.Raised
	}
	return all
}
