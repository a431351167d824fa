package node

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	coordination "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"lblab/node-agent/internal/kubetest"
)

const nodes = "/api/v1/nodes"

var config = Config{
	Name:          "worker1",
	Addresses:     []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
	PodCIDRs:      []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24"), netip.MustParsePrefix("fd00:1::/64")},
	Labels:        map[string]string{"io.cilium/bgp": "worker"},
	LeaseDuration: time.Second,
}

func conditionOf(conditions []v1.NodeCondition, kind v1.NodeConditionType) v1.NodeCondition {
	at := slices.IndexFunc(conditions, func(c v1.NodeCondition) bool { return c.Type == kind })
	if at < 0 {
		return v1.NodeCondition{}
	}
	return conditions[at]
}

func TestNewNodeIsReadyFromTheStart(t *testing.T) {
	now := metav1.Now()
	node := desired(config, host{cpus: 2, memory: 1 << 30}, now)
	if node.Labels["kubernetes.io/hostname"] != "worker1" || node.Labels["io.cilium/bgp"] != "worker" {
		t.Errorf("labels %v", node.Labels)
	}
	if node.Spec.PodCIDR != "10.244.1.0/24" || !slices.Equal(node.Spec.PodCIDRs, []string{"10.244.1.0/24", "fd00:1::/64"}) {
		t.Errorf("spec %+v", node.Spec)
	}
	if conditionOf(node.Status.Conditions, v1.NodeReady).Status != v1.ConditionTrue {
		t.Error("not Ready")
	}
	if conditionOf(node.Status.Conditions, v1.NodeNetworkUnavailable).Status != v1.ConditionFalse {
		t.Error("network unavailable")
	}
	wanted := []v1.NodeAddress{
		{Type: v1.NodeInternalIP, Address: "192.0.2.1"}, {Type: v1.NodeInternalIP, Address: "2001:db8::1"},
		{Type: v1.NodeHostName, Address: "worker1"},
	}
	if !slices.Equal(node.Status.Addresses, wanted) {
		t.Errorf("addresses %v", node.Status.Addresses)
	}
}

func TestTransitionTimesStayUntilTheConditionChanges(t *testing.T) {
	before, now := metav1.NewTime(time.Unix(1000, 0)), metav1.NewTime(time.Unix(2000, 0))
	known := conditions(nil, before)
	known[0].Status = v1.ConditionUnknown
	for i, condition := range conditions(known, now) {
		wanted := before
		if i == 0 {
			wanted = now
		}
		if condition.LastTransitionTime != wanted || condition.LastHeartbeatTime != now {
			t.Errorf("%s: transition %v, heartbeat %v", condition.Type, condition.LastTransitionTime, condition.LastHeartbeatTime)
		}
	}
}

func TestStatusDiffersWhenTheControllerGaveTheNodeUp(t *testing.T) {
	wanted := status(config, host{}, nil, metav1.NewTime(time.Unix(2000, 0)))
	observed := status(config, host{}, nil, metav1.NewTime(time.Unix(1000, 0)))
	if statusDiffers(wanted, observed) {
		t.Error("times alone are a difference")
	}
	for i := range observed.Conditions {
		if observed.Conditions[i].Type == v1.NodeReady {
			observed.Conditions[i].Status = v1.ConditionUnknown
		}
	}
	if !statusDiffers(wanted, observed) {
		t.Error("Ready Unknown is no difference")
	}
}

func TestOnlyStartupTaintsAreRemoved(t *testing.T) {
	mine := v1.Taint{Key: "dedicated", Effect: v1.TaintEffectNoSchedule}
	evicting := v1.Taint{Key: v1.TaintNodeNotReady, Effect: v1.TaintEffectNoExecute}
	startup := v1.Taint{Key: v1.TaintNodeNotReady, Effect: v1.TaintEffectNoSchedule}
	rest, changed := withoutStartupTaints([]v1.Taint{mine, startup, evicting})
	if !changed || !slices.Equal(rest, []v1.Taint{mine, evicting}) {
		t.Errorf("rest %v", rest)
	}
	if _, changed := withoutStartupTaints([]v1.Taint{mine}); changed {
		t.Error("changed without a startup taint")
	}
}

// run runs a keeper until the test ends; it tells of the states of the Node that it sees.
func run(t *testing.T, server *kubetest.Server) (seen chan *v1.Node) {
	seen = make(chan *v1.Node, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		NewKeeper(server.Client(), config, "/", func(node *v1.Node) { seen <- node }).Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return seen
}

func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain for ", what)
		}
	}
}

func TestKeeperRegistersRenewsAndReportsLabels(t *testing.T) {
	server := kubetest.New(t, nodes)
	seen := run(t, server)
	var node v1.Node
	waitFor(t, "the Node", func() bool { return server.Read(nodes, "worker1", &node) })
	// The namespace of Leases comes later than the Node, as at every start of an API server.
	server.AddCollection(leases)
	var lease coordination.Lease
	waitFor(t, "the Lease", func() bool { return server.Read(leases, "worker1", &lease) })
	if *lease.Spec.LeaseDurationSeconds != 1 || *lease.Spec.HolderIdentity != "worker1" || lease.OwnerReferences[0].UID != node.UID {
		t.Errorf("lease %+v", lease)
	}
	first := lease.Spec.RenewTime.Time
	waitFor(t, "a renewal", func() bool {
		return server.Read(leases, "worker1", &lease) && lease.Spec.RenewTime.After(first)
	})
	if interval := lease.Spec.RenewTime.Sub(first); interval < 200*time.Millisecond || interval > 900*time.Millisecond {
		t.Errorf("renewed after %s, want a quarter of 1 s", interval)
	}
	node.Labels["new"] = "label"
	server.Put(nodes, node)
	waitFor(t, "the new label", func() bool { return (<-seen).Labels["new"] == "label" })
}

func TestKeeperTakesTheNodeBackFromUnknown(t *testing.T) {
	server := kubetest.New(t, nodes, leases)
	run(t, server)
	var node v1.Node
	waitFor(t, "the Node", func() bool { return server.Read(nodes, "worker1", &node) })
	for i := range node.Status.Conditions {
		node.Status.Conditions[i].Status = v1.ConditionUnknown
	}
	server.Put(nodes, node)
	waitFor(t, "Ready again", func() bool {
		return server.Read(nodes, "worker1", &node) && conditionOf(node.Status.Conditions, v1.NodeReady).Status == v1.ConditionTrue
	})
	if len(node.Status.Addresses) != 3 {
		t.Errorf("addresses %v", node.Status.Addresses)
	}
}

func TestKeeperAdoptsAnExistingNode(t *testing.T) {
	server := kubetest.New(t, nodes, leases)
	server.Put(nodes, v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker1", Labels: map[string]string{"kept": "yes"}}})
	run(t, server)
	var node v1.Node
	waitFor(t, "the Node's status", func() bool {
		return server.Read(nodes, "worker1", &node) && conditionOf(node.Status.Conditions, v1.NodeReady).Status == v1.ConditionTrue
	})
	if node.Labels["kept"] != "yes" || node.Labels["io.cilium/bgp"] != "worker" || node.Spec.PodCIDR != "10.244.1.0/24" {
		t.Errorf("labels %v, podCIDR %q", node.Labels, node.Spec.PodCIDR)
	}
}
