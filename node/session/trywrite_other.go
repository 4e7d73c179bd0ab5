//go:build !unix

package session

import (
	"net"
	"syscall"
)

func rawConn(net.Conn) syscall.RawConn { return nil }

func (*socket) tryWrite([]byte) int { return 0 }
