// Package hist is a histogram of durations with a bounded relative error, in the
// manner of HdrHistogram: within each power of two the values fall into 128
// buckets of equal width. It holds counts only and keeps no order of events.
package hist

import (
	"math"
	"math/bits"
	"time"
)

const (
	subBits    = 7 // 128 buckets a power of two: a value is off by at most 1/256
	subBuckets = 1 << subBits
	maxBits    = 40 // values from 2^40 ns (18 minutes) on share the last bucket
	buckets    = (maxBits - subBits + 1) * subBuckets
)

// A Histogram counts durations. The zero value is empty and ready; it takes
// memory with the first value. It is not safe for concurrent use.
type Histogram struct {
	counts  []uint64
	count   uint64
	low, up int // buckets in use are counts[low:up]
	max     int64
}

// bucket returns the index of the bucket of v, v >= 0.
func bucket(v int64) int {
	if v < subBuckets {
		return int(v)
	}
	shift := bits.Len64(uint64(v)) - subBits - 1
	return min(shift*subBuckets+int(v>>shift), buckets-1)
}

// middle returns the value in the middle of a bucket.
func middle(i int) int64 {
	if i < 2*subBuckets {
		return int64(i)
	}
	shift := i/subBuckets - 1
	return int64(i-shift*subBuckets)<<shift + 1<<(shift-1)
}

// Add counts a duration; a negative one, as of a clock that was set back, counts as 0.
func (h *Histogram) Add(d time.Duration) { h.AddN(d, 1) }

// AddN counts a duration n times.
func (h *Histogram) AddN(d time.Duration, n uint64) {
	if n == 0 {
		return
	}
	if h.counts == nil {
		h.counts = make([]uint64, buckets)
	}
	v := max(int64(d), 0)
	i := bucket(v)
	h.counts[i] += n
	h.grow(i, i+1)
	h.count += n
	h.max = max(h.max, v)
}

func (h *Histogram) grow(low, up int) {
	if h.count == 0 {
		h.low, h.up = low, up
		return
	}
	h.low, h.up = min(h.low, low), max(h.up, up)
}

// Count returns how many durations were counted.
func (h *Histogram) Count() uint64 { return h.count }

// Max returns the greatest duration, exactly.
func (h *Histogram) Max() time.Duration { return time.Duration(h.max) }

// Merge adds all that o counted.
func (h *Histogram) Merge(o *Histogram) {
	if o.count == 0 {
		return
	}
	if h.counts == nil {
		h.counts = make([]uint64, buckets)
	}
	for i := o.low; i < o.up; i++ {
		h.counts[i] += o.counts[i]
	}
	h.grow(o.low, o.up)
	h.count += o.count
	h.max = max(h.max, o.max)
}

// Reset forgets all and keeps the memory.
func (h *Histogram) Reset() {
	if h.count > 0 {
		clear(h.counts[h.low:h.up])
	}
	h.count, h.low, h.up, h.max = 0, 0, 0, 0
}

// Percentile returns the duration that p percent of the durations do not exceed,
// 0 < p <= 100, with the error of a bucket; 0 when nothing was counted.
func (h *Histogram) Percentile(p float64) time.Duration {
	if h.count == 0 {
		return 0
	}
	// 99.9% of 20,000 is 19,980, not the 19,980.000000000004 of floating point.
	rank := uint64(math.Ceil(p*float64(h.count)/100 - 1e-6))
	rank = min(max(rank, 1), h.count)
	var seen uint64
	for i := h.low; i < h.up; i++ {
		seen += h.counts[i]
		if seen >= rank {
			return time.Duration(min(middle(i), h.max))
		}
	}
	return h.Max()
}
