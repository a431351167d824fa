// Package stats holds the distribution of a duration in little memory and without allocation.
package stats

import (
	"math/bits"
)

const (
	fine    = 4 // bits of precision in a power of two: buckets are at most 1/16 wide
	buckets = (64 - fine) << fine
)

// Histogram counts durations in buckets that are at most 6.25 % wide. Its zero value is empty.
type Histogram struct {
	counts [buckets]uint32
	total  uint64
	max    int64
}

// Add counts a duration in nanoseconds; a negative one counts as zero.
func (h *Histogram) Add(duration int64) {
	duration = max(duration, 0)
	h.counts[bucket(uint64(duration))]++
	h.total++
	h.max = max(h.max, duration)
}

// Quantile is an upper bound of the q-quantile (0 < q <= 1), at most 6.25 % above it.
func (h *Histogram) Quantile(q float64) int64 {
	rank := max(uint64(q*float64(h.total)+0.5), 1)
	var below uint64
	for i, count := range h.counts {
		if below += uint64(count); below >= rank {
			return min(upper(i), h.max)
		}
	}
	return h.max
}

// Max is the longest duration in nanoseconds.
func (h *Histogram) Max() int64 { return h.max }

func bucket(value uint64) int {
	if value < 1<<fine {
		return int(value)
	}
	shift := bits.Len64(value) - 1 - fine
	return (shift+1)<<fine | int(value>>shift)&(1<<fine-1)
}

func upper(i int) int64 {
	if i < 1<<fine {
		return int64(i)
	}
	shift := i>>fine - 1
	return int64((uint64(1<<fine|i&(1<<fine-1))+1)<<shift - 1)
}
