package pods

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Image is the server that runs in place of every container.
const Image = "lblab/lablet"

// lastRun is how a pod's process ended.
type lastRun struct {
	Code     int       `json:"code"`
	Known    bool      `json:"known"` // false when an earlier agent was its parent
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
}

// observed is what the agent knows of a pod, and all that its status is made of.
type observed struct {
	Addresses     []netip.Addr
	HostAddresses []netip.Addr
	PodStarted    time.Time
	Running       bool
	Started       time.Time       // of the running process
	Ready         map[string]bool // by container; only while running
	Restarts      int
	Last          *lastRun
	Waiting       string // reason while not running: ContainerCreating, CrashLoopBackOff, ...
	Message       string // explains Waiting
	Finished      bool   // will not be started again
}

// podStatus is the status of a pod in the kubelet's terms. Conditions that stay as they are keep the transition time
// that they have in known.
func podStatus(pod *v1.Pod, o observed, known []v1.PodCondition, now time.Time) v1.PodStatus {
	status := v1.PodStatus{
		ObservedGeneration: pod.Generation, Phase: phase(o), QOSClass: pod.Status.QOSClass,
		StartTime: &metav1.Time{Time: o.PodStarted},
	}
	for _, address := range o.Addresses {
		status.PodIPs = append(status.PodIPs, v1.PodIP{IP: address.String()})
	}
	if len(status.PodIPs) > 0 {
		status.PodIP = status.PodIPs[0].IP
	}
	for _, address := range o.HostAddresses {
		status.HostIPs = append(status.HostIPs, v1.HostIP{IP: address.String()})
	}
	if len(status.HostIPs) > 0 {
		status.HostIP = status.HostIPs[0].IP
	}
	for _, container := range pod.Spec.Containers {
		status.ContainerStatuses = append(status.ContainerStatuses, containerStatus(pod, container, o))
	}
	for _, container := range pod.Spec.InitContainers {
		status.InitContainerStatuses = append(status.InitContainerStatuses, initStatus(pod, container, o))
	}
	status.Conditions = podConditions(pod, o, known, now)
	return status
}

func phase(o observed) v1.PodPhase {
	switch {
	case o.Finished && o.Last != nil && o.Last.Code == 0:
		return v1.PodSucceeded
	case o.Finished:
		return v1.PodFailed
	case o.Running || o.Last != nil:
		return v1.PodRunning // also between two runs of its containers
	}
	return v1.PodPending
}

func containerStatus(pod *v1.Pod, container v1.Container, o observed) v1.ContainerStatus {
	status := v1.ContainerStatus{
		Name: container.Name, Image: fmt.Sprintf("%s (in place of %s)", Image, container.Image), ImageID: Image,
		RestartCount: int32(o.Restarts), Ready: o.Running && o.Ready[container.Name], Started: &o.Running,
	}
	var ended *v1.ContainerStateTerminated
	if o.Last != nil {
		ended = terminated(*o.Last)
		ended.ContainerID = containerID(pod, container, max(o.Restarts-1, 0))
	}
	switch {
	case o.Running:
		status.ContainerID = containerID(pod, container, o.Restarts)
		status.State.Running = &v1.ContainerStateRunning{StartedAt: metav1.NewTime(o.Started)}
		status.LastTerminationState.Terminated = ended
	case o.Waiting != "":
		status.State.Waiting = &v1.ContainerStateWaiting{Reason: o.Waiting, Message: o.Message}
		status.LastTerminationState.Terminated = ended
	case ended != nil:
		ended.ContainerID = containerID(pod, container, o.Restarts)
		status.ContainerID = ended.ContainerID
		status.State.Terminated = ended
	default:
		status.State.Waiting = &v1.ContainerStateWaiting{Reason: "ContainerCreating"}
	}
	return status
}

// containerID tells the runs of a container apart, as a runtime's IDs do.
func containerID(pod *v1.Pod, container v1.Container, restarts int) string {
	return fmt.Sprintf("lblab://%s-%s-%d", pod.UID, container.Name, restarts)
}

func terminated(last lastRun) *v1.ContainerStateTerminated {
	state := &v1.ContainerStateTerminated{
		ExitCode: int32(last.Code), Reason: "Completed",
		StartedAt: metav1.NewTime(last.Started), FinishedAt: metav1.NewTime(last.Finished),
	}
	switch {
	case !last.Known:
		state.Reason = "ContainerStatusUnknown"
	case last.Code != 0:
		state.Reason = "Error"
	}
	return state
}

// initStatus reports an init container, which is not run (an Event says so), as done: otherwise the pod would look
// as if it still waited for it.
func initStatus(pod *v1.Pod, container v1.Container, o observed) v1.ContainerStatus {
	at := metav1.NewTime(o.PodStarted)
	return v1.ContainerStatus{
		Name: container.Name, Image: "not run by lblab (in place of " + container.Image + ")", ImageID: Image, Ready: true,
		State: v1.ContainerState{Terminated: &v1.ContainerStateTerminated{
			Reason: "Completed", Message: "not run by lblab", StartedAt: at, FinishedAt: at,
			ContainerID: containerID(pod, container, 0),
		}},
	}
}

func podConditions(pod *v1.Pod, o observed, known []v1.PodCondition, now time.Time) []v1.PodCondition {
	containersReady := o.Running
	for _, container := range pod.Spec.Containers {
		containersReady = containersReady && o.Ready[container.Name]
	}
	ready, reason := containersReady, "ContainersNotReady"
	if containersReady {
		for _, gate := range pod.Spec.ReadinessGates {
			if !isTrue(pod.Status.Conditions, gate.ConditionType) {
				ready, reason = false, "ReadinessGatesNotReady"
			}
		}
	}
	conditions := []v1.PodCondition{
		condition(v1.PodReadyToStartContainers, len(o.Addresses) > 0 && !o.Finished, ""),
		condition(v1.PodInitialized, true, ""),
		condition(v1.PodReady, ready, reason),
		condition(v1.ContainersReady, containersReady, "ContainersNotReady"),
		condition(v1.PodScheduled, true, ""),
	}
	for i := range conditions {
		conditions[i].ObservedGeneration = pod.Generation
		conditions[i].LastTransitionTime = metav1.NewTime(now)
		at := slices.IndexFunc(known, func(k v1.PodCondition) bool { return k.Type == conditions[i].Type })
		if at >= 0 && known[at].Status == conditions[i].Status {
			conditions[i].LastTransitionTime = known[at].LastTransitionTime
		}
	}
	return conditions
}

func condition(kind v1.PodConditionType, value bool, otherwise string) v1.PodCondition {
	if value {
		return v1.PodCondition{Type: kind, Status: v1.ConditionTrue}
	}
	return v1.PodCondition{Type: kind, Status: v1.ConditionFalse, Reason: otherwise}
}

func isTrue(conditions []v1.PodCondition, kind v1.PodConditionType) bool {
	return slices.ContainsFunc(conditions, func(c v1.PodCondition) bool {
		return c.Type == kind && c.Status == v1.ConditionTrue
	})
}

// contradicts tells whether the status that the API server shows says otherwise than the agent's: the node
// lifecycle controller marks the pods of a node without heartbeats as not ready, and only the agent takes that back.
func contradicts(shown, own v1.PodStatus) bool {
	if shown.Phase != own.Phase {
		return true
	}
	for _, condition := range own.Conditions {
		if isTrue(shown.Conditions, condition.Type) != (condition.Status == v1.ConditionTrue) {
			return true
		}
	}
	return false
}
