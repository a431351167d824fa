package probe

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
)

// Run probes a container that started at the given time until ctx ends, and reports each result, nil for success.
func Run(ctx context.Context, probe *v1.Probe, action Action, started time.Time, report func(error)) {
	timer := time.NewTimer(time.Until(started.Add(FirstDelay(probe))))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		// The next probe is due a period after this one begins, however long it takes: a ticker, as in the kubelet.
		timer.Reset(period(probe))
		attempt, cancel := context.WithTimeout(ctx, time.Duration(max(probe.TimeoutSeconds, 1))*time.Second)
		err := action(attempt)
		cancel()
		if ctx.Err() != nil {
			return
		}
		report(err)
	}
}
