//go:build chaos

package cluster

// Servers that integration/chaos runs keep little log, so that a node that was away for some seconds gets a
// snapshot. No server that is shipped is built with this tag.
func init() { trailingBytes = 128 << 10 }
