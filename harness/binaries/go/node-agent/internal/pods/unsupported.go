package pods

import (
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// replaced says which images the pod's server stands for.
func replaced(pod *v1.Pod) string {
	var texts []string
	for _, container := range pod.Spec.Containers {
		texts = append(texts, fmt.Sprintf("container %s (image %s)", container.Name, container.Image))
	}
	return strings.Join(texts, ", ")
}

// unsupported names everything in the pod's spec that lblab does not do, so that nothing is passed over in
// silence. The service account token, which the API server mounts into every pod, is left out.
func unsupported(pod *v1.Pod) []string {
	var found []string
	note := func(present bool, format string, args ...any) {
		if present {
			found = append(found, fmt.Sprintf(format, args...))
		}
	}
	for _, container := range pod.Spec.InitContainers {
		note(true, "init container %s (not run)", container.Name)
	}
	for _, container := range pod.Spec.Containers {
		name := container.Name
		note(len(container.Command)+len(container.Args) > 0, "command and args of container %s", name)
		note(len(container.Env)+len(container.EnvFrom) > 0, "environment of container %s", name)
		note(container.LivenessProbe != nil, "livenessProbe of container %s", name)
		note(container.StartupProbe != nil, "startupProbe of container %s", name)
		note(container.RestartPolicy != nil, "restartPolicy of container %s", name)
		if probe := container.ReadinessProbe; probe != nil {
			note(probe.HTTPGet == nil && probe.TCPSocket == nil, "readinessProbe of container %s that is neither httpGet nor tcpSocket (taken as success)", name)
		}
		if hooks := container.Lifecycle; hooks != nil {
			note(hooks.PostStart != nil, "postStart hook of container %s", name)
			note(hooks.PreStop != nil && hooks.PreStop.Sleep == nil, "preStop hook of container %s other than sleep", name)
		}
		for _, port := range container.Ports {
			note(port.HostPort != 0 && !pod.Spec.HostNetwork, "hostPort %d", port.HostPort)
			note(port.Protocol == v1.ProtocolSCTP, "SCTP port %d", port.ContainerPort)
		}
	}
	for _, volume := range pod.Spec.Volumes {
		note(!strings.HasPrefix(volume.Name, "kube-api-access-"), "volume %s", volume.Name)
	}
	note(len(pod.Spec.EphemeralContainers) > 0, "ephemeral containers")
	note(pod.Spec.HostPID || pod.Spec.HostIPC, "hostPID and hostIPC")
	note(pod.Spec.DNSConfig != nil || len(pod.Spec.HostAliases) > 0, "dnsConfig and hostAliases")
	note(pod.Spec.ActiveDeadlineSeconds != nil, "activeDeadlineSeconds")
	return found
}

// isJobs tells whether the pod is a Job's, which waits for an end that never comes.
func isJobs(pod *v1.Pod) bool {
	return slices.ContainsFunc(pod.OwnerReferences, func(owner metav1.OwnerReference) bool { return owner.Kind == "Job" })
}
