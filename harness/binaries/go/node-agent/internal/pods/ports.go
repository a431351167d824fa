package pods

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// listenPorts returns what the pod's server listens on, as its --listen options want it: every TCP and UDP
// containerPort, and tcp/80 for a pod that declares none.
func listenPorts(pod *v1.Pod) []string {
	var ports []string
	seen := map[string]bool{}
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			if port.Protocol == v1.ProtocolSCTP {
				continue // named as not supported
			}
			protocol := strings.ToLower(string(port.Protocol))
			if protocol == "" {
				protocol = "tcp" // the API's default
			}
			text := fmt.Sprintf("%s/%d", protocol, port.ContainerPort)
			if !seen[text] {
				seen[text] = true
				ports = append(ports, text)
			}
		}
	}
	if len(ports) == 0 {
		return []string{"tcp/80"}
	}
	return ports
}
