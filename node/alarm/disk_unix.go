//go:build linux || darwin || freebsd

package alarm

import (
	"fmt"
	"math"
	"syscall"
)

// DiskFree returns how many bytes a process that is not root may still write to
// the file system of a directory.
func DiskFree(dir string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	if s.Bavail > 0 && uint64(s.Bavail) > math.MaxInt64/uint64(s.Bsize) {
		return math.MaxInt64, nil
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}
