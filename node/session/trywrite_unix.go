//go:build unix

package session

import (
	"net"
	"syscall"
)

// rawConn returns the system's connection below conn, nil when that is no plain socket.
func rawConn(conn net.Conn) syscall.RawConn {
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		if raw, err := conn.(syscall.Conn).SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}

// tryWrite writes what the socket takes without waiting, and returns how much that was. What
// goes wrong shows again in the ordinary write that follows when something is left.
func (k *socket) tryWrite(p []byte) (n int) {
	_ = k.raw.Write(func(fd uintptr) bool {
		n, _ = syscall.Write(int(fd), p)
		return true
	})
	return max(n, 0)
}
