package stats

import (
	"math/rand"
	"slices"
	"testing"
)

func TestQuantilesAreWithinABucket(t *testing.T) {
	random := rand.New(rand.NewSource(3))
	var h Histogram
	var values []int64
	for range 10000 {
		value := int64(random.ExpFloat64() * 1e6)
		values = append(values, value)
		h.Add(value)
	}
	slices.Sort(values)
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 1} {
		exact := values[max(int(q*10000+0.5)-1, 0)]
		if got := h.Quantile(q); got < exact || float64(got) > float64(exact)*1.0626+1 {
			t.Errorf("quantile %v is %d, exactly %d", q, got, exact)
		}
	}
	if h.Max() != values[len(values)-1] {
		t.Errorf("max %d", h.Max())
	}
}

func TestEveryDurationHasItsBucket(t *testing.T) {
	for _, value := range []uint64{0, 1, 15, 16, 17, 31, 32, 1000, 1 << 40, 1<<63 - 1} {
		i := bucket(value)
		if up := uint64(upper(i)); up < value || i > 0 && uint64(upper(i-1)) >= value {
			t.Errorf("%d is in bucket %d, up to %d", value, i, up)
		}
	}
	var empty Histogram
	empty.Add(-5)
	if empty.Quantile(0.5) != 0 {
		t.Error("negative duration")
	}
}
