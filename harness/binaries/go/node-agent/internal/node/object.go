package node

import (
	"maps"
	"runtime"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// desired is the Node as it is created: the kubelet's own labels, the given ones, and its whole status, so that the
// Node is Ready from its first moment.
func desired(c Config, h host, now metav1.Time) *v1.Node {
	cidrs := c.podCIDRs()
	node := &v1.Node{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Node"},
		ObjectMeta: metav1.ObjectMeta{Name: c.Name, Labels: labels(c)},
		Spec:       v1.NodeSpec{PodCIDRs: cidrs},
		Status:     status(c, h, nil, now),
	}
	if len(cidrs) > 0 {
		node.Spec.PodCIDR = cidrs[0]
	}
	return node
}

// labels are the labels that the kubelet gives its Node and those of the command line.
func labels(c Config) map[string]string {
	all := map[string]string{
		v1.LabelHostname: c.Name, v1.LabelOSStable: runtime.GOOS, v1.LabelArchStable: runtime.GOARCH,
		"beta.kubernetes.io/os": runtime.GOOS, "beta.kubernetes.io/arch": runtime.GOARCH,
	}
	maps.Copy(all, c.Labels)
	return all
}

// status is the Node's status now; conditions that do not change keep the transition time they have in known.
func status(c Config, h host, known []v1.NodeCondition, now metav1.Time) v1.NodeStatus {
	return v1.NodeStatus{
		Capacity: h.resources(), Allocatable: h.resources(), NodeInfo: h.info(),
		Addresses: addresses(c), Conditions: conditions(known, now),
	}
}

func addresses(c Config) []v1.NodeAddress {
	var all []v1.NodeAddress
	for _, address := range c.Addresses {
		all = append(all, v1.NodeAddress{Type: v1.NodeInternalIP, Address: address.String()})
	}
	return append(all, v1.NodeAddress{Type: v1.NodeHostName, Address: c.Name})
}

// conditions says, with the kubelet's reasons, that all is well: an agent that runs has nothing to complain of.
func conditions(known []v1.NodeCondition, now metav1.Time) []v1.NodeCondition {
	all := []v1.NodeCondition{
		{Type: v1.NodeNetworkUnavailable, Status: v1.ConditionFalse, Reason: "NodeAgentIsUp", Message: "pod routes are set by lblab"},
		{Type: v1.NodeMemoryPressure, Status: v1.ConditionFalse, Reason: "KubeletHasSufficientMemory", Message: "not measured by lblab"},
		{Type: v1.NodeDiskPressure, Status: v1.ConditionFalse, Reason: "KubeletHasNoDiskPressure", Message: "not measured by lblab"},
		{Type: v1.NodePIDPressure, Status: v1.ConditionFalse, Reason: "KubeletHasSufficientPID", Message: "not measured by lblab"},
		{Type: v1.NodeReady, Status: v1.ConditionTrue, Reason: "KubeletReady", Message: "lblab's node agent is posting ready status"},
	}
	for i := range all {
		all[i].LastHeartbeatTime, all[i].LastTransitionTime = now, now
		at := slices.IndexFunc(known, func(k v1.NodeCondition) bool { return k.Type == all[i].Type })
		if at >= 0 && known[at].Status == all[i].Status {
			all[i].LastTransitionTime = known[at].LastTransitionTime
		}
	}
	return all
}

// statusDiffers tells whether observed lacks something of wanted: the node lifecycle controller sets conditions to
// Unknown when heartbeats stop, and only a fresh report takes that back. Heartbeat times do not count.
func statusDiffers(wanted, observed v1.NodeStatus) bool {
	for _, condition := range wanted.Conditions {
		at := slices.IndexFunc(observed.Conditions, func(o v1.NodeCondition) bool { return o.Type == condition.Type })
		if at < 0 || observed.Conditions[at].Status != condition.Status {
			return true
		}
	}
	return !slices.Equal(wanted.Addresses, observed.Addresses) || wanted.NodeInfo != observed.NodeInfo ||
		!equality.Semantic.DeepEqual(wanted.Capacity, observed.Capacity)
}

// statusPatch is a strategic merge patch of a Node's status. Addresses merge by type, of which there may be two
// alike (dual stack), so they are replaced as a whole, as the kubelet does.
func statusPatch(s v1.NodeStatus) map[string]any {
	replaced := []any{map[string]string{"$patch": "replace"}}
	for _, address := range s.Addresses {
		replaced = append(replaced, address)
	}
	return map[string]any{"status": map[string]any{
		"addresses": replaced, "conditions": s.Conditions, "capacity": s.Capacity, "allocatable": s.Allocatable,
		"nodeInfo": s.NodeInfo,
	}}
}

// withoutStartupTaints returns the taints that remain when those that say "not initialised yet" are gone, and
// whether there were any. The API server taints every new Node as not ready (plugin/pkg/admission/nodetaint), and
// the node lifecycle controller takes that back, but here it may start later than the first Pod wants a node.
func withoutStartupTaints(taints []v1.Taint) (rest []v1.Taint, changed bool) {
	rest = slices.DeleteFunc(slices.Clone(taints), func(taint v1.Taint) bool {
		return taint.Key == v1.TaintNodeNotReady && taint.Effect == v1.TaintEffectNoSchedule ||
			taint.Key == "node.cloudprovider.kubernetes.io/uninitialized"
	})
	return rest, len(rest) != len(taints)
}
