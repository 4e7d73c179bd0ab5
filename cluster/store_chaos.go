//go:build chaos

package cluster

// Servers that integration/chaos runs keep little log, so that a node that was away for some seconds gets a
// snapshot, in small files, so that they often begin a new one. No server that is shipped is built with this tag.
func init() { trailingBytes, walSegment = 128<<10, 2<<20 }
