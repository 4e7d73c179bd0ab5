package clustertest

import (
	"net"
	"sync"
	"testing"
)

var (
	portMu sync.Mutex
	given  = make(map[string]bool)
)

// FreeAddr returns a loopback address whose number is free for streams and
// packets, and not given out before.
func FreeAddr(tb testing.TB) string {
	tb.Helper()
	portMu.Lock()
	defer portMu.Unlock()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		addr := l.Addr().String()
		u, err := net.ListenPacket("udp", addr)
		_ = l.Close() // it was only asked for its number
		if err != nil {
			continue
		}
		_ = u.Close() // likewise
		if !given[addr] {
			given[addr] = true
			return addr
		}
	}
	tb.Fatal("no free port")
	return ""
}
