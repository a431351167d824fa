package pods

import "time"

const (
	firstBackOff = 10 * time.Second  // containerBackOffPeriod, pkg/kubelet/kubelet.go
	maxBackOff   = 300 * time.Second // MaxContainerBackOff, pkg/kubelet/apis/config/v1beta1/defaults.go
)

// backOff delays the restarts of a pod's container as the kubelet does (doBackOff in
// pkg/kubelet/kuberuntime/kuberuntime_manager.go with client-go's flowcontrol.Backoff): the first restart is
// immediate, the second comes 10 s after the container ended, each later one after twice the time, up to 300 s;
// a container that then runs for more than 600 s starts afresh.
type backOff struct {
	Delay   time.Duration `json:"delay"`   // of the next restart
	Updated time.Time     `json:"updated"` // last restart
}

func (b backOff) expired(ended time.Time) bool {
	return b.Delay == 0 || ended.Sub(b.Updated) > 2*maxBackOff
}

// wait is how long after its end, at the given time, the container is to be started again.
func (b backOff) wait(ended time.Time) time.Duration {
	if b.expired(ended) {
		return 0
	}
	return b.Delay
}

// restarted returns the back-off after a restart at the given time of a container that ended at another.
func (b backOff) restarted(ended, now time.Time) backOff {
	if b.expired(ended) {
		return backOff{Delay: firstBackOff, Updated: now}
	}
	return backOff{Delay: min(2*b.Delay, maxBackOff), Updated: now}
}
