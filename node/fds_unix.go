//go:build linux || darwin || freebsd

package node

import (
	"os"
	"syscall"
)

// fileDescriptors returns how many files and sockets the process has open, and how many it may
// have; 0 for what the system does not tell.
func fileDescriptors() (used, most int) {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		most = int(min(uint64(limit.Cur), 1<<31-1))
	}
	dir, err := os.Open("/dev/fd") // on Linux it leads to /proc/self/fd
	if err != nil {
		return 0, most
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return 0, most
	}
	return len(names) - 1, most // without that of the directory
}
