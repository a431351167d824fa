package pods

import (
	"time"

	v1 "k8s.io/api/core/v1"
)

// minimumGracePeriod is the least time between SIGTERM and SIGKILL, minimumGracePeriodInSeconds in
// pkg/kubelet/kuberuntime/kuberuntime_manager.go.
const minimumGracePeriod = 2 * time.Second

// restarts tells whether a container that ended with the given exit code is started again.
func restarts(policy v1.RestartPolicy, code int) bool {
	switch policy {
	case v1.RestartPolicyNever:
		return false
	case v1.RestartPolicyOnFailure:
		return code != 0
	}
	return true
}

// finished tells whether the API says that the pod will never run again.
func finished(pod *v1.Pod) bool {
	return pod.Status.Phase == v1.PodFailed || pod.Status.Phase == v1.PodSucceeded
}

// gracePeriod is the time that the pod has to end by itself, counted from when its deletion was seen
// (setTerminationGracePeriod in pkg/kubelet/kuberuntime/kuberuntime_container.go).
func gracePeriod(pod *v1.Pod) time.Duration {
	switch {
	case pod.DeletionGracePeriodSeconds != nil:
		return time.Duration(*pod.DeletionGracePeriodSeconds) * time.Second
	case pod.Spec.TerminationGracePeriodSeconds != nil:
		return time.Duration(*pod.Spec.TerminationGracePeriodSeconds) * time.Second
	}
	return minimumGracePeriod
}

// preStopSleep is how long the pod's preStop sleep holds back SIGTERM: the longest of its containers', as one
// process stands for all of them, and no longer than the grace period.
func preStopSleep(pod *v1.Pod) time.Duration {
	var longest time.Duration
	for _, container := range pod.Spec.Containers {
		if hooks := container.Lifecycle; hooks != nil && hooks.PreStop != nil && hooks.PreStop.Sleep != nil {
			longest = max(longest, time.Duration(hooks.PreStop.Sleep.Seconds)*time.Second)
		}
	}
	return min(longest, gracePeriod(pod))
}
