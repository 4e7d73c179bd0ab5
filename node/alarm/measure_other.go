//go:build !linux

package alarm

import "runtime/metrics"

// MemoryUsed returns the bytes of memory that this process holds of the system's,
// as Go's runtime counts them.
func MemoryUsed() (int64, error) {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64()), nil
}
