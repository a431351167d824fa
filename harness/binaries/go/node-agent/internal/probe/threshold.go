// Package probe runs readiness probes with the kubelet's timing and thresholds (pkg/kubelet/prober/worker.go).
package probe

import (
	"time"

	v1 "k8s.io/api/core/v1"
)

// Threshold turns single probe results into readiness: it changes only after as many equal results in a row as the
// probe's successThreshold or failureThreshold says.
type Threshold struct {
	Ready            bool
	success, failure int32
	last             bool
	run              int32
}

// NewThreshold starts with the given readiness: false for a new container, as the kubelet does.
func NewThreshold(probe *v1.Probe, ready bool) *Threshold {
	return &Threshold{Ready: ready, success: max(probe.SuccessThreshold, 1), failure: max(probe.FailureThreshold, 1)}
}

// Observe takes one result and tells whether readiness changed.
func (t *Threshold) Observe(success bool) bool {
	if t.run == 0 || t.last != success {
		t.last, t.run = success, 0
	}
	t.run++
	if success && t.run < t.success || !success && t.run < t.failure || t.Ready == success {
		return false
	}
	t.Ready = success
	return true
}

// period is the time between two probes; the API server sets its default, 10 s.
func period(probe *v1.Probe) time.Duration {
	return time.Duration(max(probe.PeriodSeconds, 1)) * time.Second
}

// FirstDelay is how long after the container's start it is first probed. The kubelet probes at the start and then
// every period, and skips what falls into initialDelaySeconds; so the delay is rounded up to whole periods.
func FirstDelay(probe *v1.Probe) time.Duration {
	delay := time.Duration(probe.InitialDelaySeconds) * time.Second
	periods := (delay + period(probe) - 1) / period(probe)
	return periods * period(probe)
}
