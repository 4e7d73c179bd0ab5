package alarm

import (
	"fmt"
	"os"
)

// MemoryUsed returns the bytes of memory that this process alone keeps resident.
//
// It is that, and not the heap that is alive, because it is what the system
// counts before it kills a process; and without pages of mapped files (boltdb maps
// its own), because the system takes those back when it needs them.
func MemoryUsed() (int64, error) {
	const statm = "/proc/self/statm"
	text, err := os.ReadFile(statm)
	if err != nil {
		return 0, fmt.Errorf("resident memory: %w", err)
	}
	pages, ok := residentPages(string(text))
	if !ok {
		return 0, fmt.Errorf("resident memory: %s says %q", statm, text)
	}
	return pages * int64(os.Getpagesize()), nil
}
