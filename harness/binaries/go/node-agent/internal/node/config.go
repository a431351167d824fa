// Package node registers this node with the API server and keeps its heartbeats, as the kubelet does.
package node

import (
	"net/netip"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// KubeletVersion is what the Node says runs it; it must be seen at once that it is not the kubelet.
const KubeletVersion = "v1.34.4-lblab-node-agent"

// DefaultLeaseDuration is the kubelet's nodeLeaseDurationSeconds (pkg/kubelet/apis/config/v1beta1/defaults.go).
const DefaultLeaseDuration = 40 * time.Second

const (
	// renewFraction of the lease duration is the renew interval (nodeLeaseRenewIntervalFraction, pkg/kubelet/kubelet.go):
	// 10 s of 40 s, which is also the kubelet's nodeStatusUpdateFrequency.
	renewFraction = 0.25
	// reportInterval is the kubelet's nodeStatusReportFrequency: an unchanged status is sent this often.
	reportInterval = 5 * time.Minute
	// maxPods is the kubelet's default.
	maxPods = 110
)

// Config is what this node is, as the command line says.
type Config struct {
	Name          string
	Addresses     []netip.Addr   // InternalIP addresses, the primary family first
	PodCIDRs      []netip.Prefix // at most one of each family, in the order of Addresses
	Labels        map[string]string
	LeaseDuration time.Duration
}

// RenewInterval is the time between two renewals of the Lease, and between two looks at the Node's status.
func (c Config) RenewInterval() time.Duration {
	return time.Duration(renewFraction * float64(c.LeaseDuration))
}

func (c Config) path() string { return "/api/v1/nodes/" + c.Name }

// podCIDRs returns the pod CIDRs as spec.podCIDRs wants them.
func (c Config) podCIDRs() []string {
	texts := make([]string, 0, len(c.PodCIDRs))
	for _, cidr := range c.PodCIDRs {
		texts = append(texts, cidr.String())
	}
	return texts
}

// owner refers to the Node as owner of the objects that go away with it.
func owner(node *v1.Node) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID}
}
