package pods

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"

	"lblab/node-agent/internal/control"
	"lblab/node-agent/internal/probe"
	"lblab/node-agent/internal/proc"
)

const (
	// slowStart is how long a server may take to answer before its pod is published as running but not ready.
	slowStart = 200 * time.Millisecond
	// neverAnswers is how long a server may take before the agent stops asking it.
	neverAnswers = 30 * time.Second
)

// watch learns from the process that was just started or adopted whether it serves, and then probes it; ready is what
// the pod counts as until then.
func (w *worker) watch(ctx context.Context, pod *v1.Pod, ready bool) {
	ctx, w.stopProbes = context.WithCancel(ctx)
	process := w.process
	w.serving, w.probed = ready, map[string]bool{}
	actions := w.actions(pod)
	for name := range actions {
		w.probed[name] = ready
	}
	publishes := time.AfterFunc(slowStart, func() { w.post(func() { w.publish(false) }) })
	go func() {
		asking, cancel := context.WithTimeout(ctx, neverAnswers)
		defer cancel()
		serving, err := control.Lablet{Path: w.folder.control()}.WaitUp(asking)
		publishes.Stop()
		w.post(func() {
			if w.process != process {
				return
			}
			if err != nil {
				w.events.Pod(pod, v1.EventTypeWarning, "Unhealthy", "%v", err)
			}
			w.serving = serving
			w.publish(false)
			for i := range pod.Spec.Containers {
				if action := actions[pod.Spec.Containers[i].Name]; action != nil {
					w.probe(ctx, process, pod, &pod.Spec.Containers[i], action)
				}
			}
		})
	}()
}

// actions returns what probes the containers that have a readiness probe. A container whose probe cannot be run has
// none and follows its server's own word (an Event told so when the pod was started); one whose probe is wrong has
// nil and is never ready.
func (w *worker) actions(pod *v1.Pod) map[string]probe.Action {
	address := w.HostAddresses[0]
	if !w.record.HostNetwork {
		address = w.record.Addresses[0]
	}
	actions := map[string]probe.Action{}
	for i := range pod.Spec.Containers {
		container := &pod.Spec.Containers[i]
		if container.ReadinessProbe == nil {
			continue
		}
		action, err := probe.NewAction(container, address.String())
		if err != nil {
			w.events.Pod(pod, v1.EventTypeWarning, "Unhealthy", "Readiness probe: %v", err)
		}
		if action != nil || err != nil {
			actions[container.Name] = action
		}
	}
	return actions
}

// probe probes one container until ctx ends.
func (w *worker) probe(ctx context.Context, process *proc.Process, pod *v1.Pod, container *v1.Container, action probe.Action) {
	threshold := probe.NewThreshold(container.ReadinessProbe, w.probed[container.Name])
	go probe.Run(ctx, container.ReadinessProbe, action, w.record.Started, func(failure error) {
		w.post(func() {
			if w.process != process || !threshold.Observe(failure == nil) {
				return
			}
			if failure != nil {
				w.events.Pod(pod, v1.EventTypeWarning, "Unhealthy", "Readiness probe failed: %v", failure)
			}
			w.probed[container.Name] = threshold.Ready
			w.publish(false)
		})
	})
}
