//go:build !(linux || darwin || freebsd)

package alarm

import (
	"errors"
	"fmt"
)

// DiskFree cannot be told on this system.
func DiskFree(dir string) (int64, error) {
	return 0, fmt.Errorf("free space of %s: %w", dir, errors.ErrUnsupported)
}
