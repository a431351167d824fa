package probe

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
)

func TestReadinessChangesOnlyAfterAsManyResultsInARow(t *testing.T) {
	threshold := NewThreshold(&v1.Probe{SuccessThreshold: 2, FailureThreshold: 3}, false)
	const s, f = true, false
	results := []bool{s, f, s, s, f, f, s, f, f, f, s, s}
	wanted := []bool{f, f, f, s, s, s, s, s, s, f, f, s}
	for i, result := range results {
		before := threshold.Ready
		changed := threshold.Observe(result)
		if threshold.Ready != wanted[i] || changed != (before != wanted[i]) {
			t.Errorf("after %v: ready %v, changed %v; want ready %v", results[:i+1], threshold.Ready, changed, wanted[i])
		}
	}
}

func TestAFailureBelowTheThresholdKeepsAnAdoptedContainerReady(t *testing.T) {
	threshold := NewThreshold(&v1.Probe{FailureThreshold: 2}, true)
	if threshold.Observe(false) || !threshold.Ready {
		t.Error("one failure of two made it unready")
	}
	if !threshold.Observe(false) || threshold.Ready {
		t.Error("two failures did not make it unready")
	}
}

func TestFirstProbeIsAtAWholePeriod(t *testing.T) {
	for _, c := range []struct{ delay, period, want int32 }{{0, 10, 0}, {1, 10, 10}, {10, 10, 10}, {5, 2, 6}, {3, 1, 3}, {3, 0, 3}} {
		got := FirstDelay(&v1.Probe{InitialDelaySeconds: c.delay, PeriodSeconds: c.period})
		if got != time.Duration(c.want)*time.Second {
			t.Errorf("initialDelaySeconds %d, periodSeconds %d: %s, want %d s", c.delay, c.period, got, c.want)
		}
	}
}
