package cluster

import "context"

// SetTrailingBytes changes how much log stays behind a snapshot, and returns what
// changes it back.
func SetTrailingBytes(n int) func() {
	old := trailingBytes
	trailingBytes = n
	return func() { trailingBytes = old }
}

// Coordinate lets a node try to found a cluster of the given nodes now, whatever
// it sees. addrs are where they are, by id.
func (c *Cluster) Coordinate(ctx context.Context, nodes []string, addrs map[string]string) {
	for id, a := range addrs {
		if id != c.cfg.ID {
			c.book.learn(id, entry{Addr: a})
		}
	}
	c.coordinate(ctx, nodes)
}
