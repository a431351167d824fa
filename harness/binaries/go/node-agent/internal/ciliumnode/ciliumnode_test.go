package ciliumnode

import (
	"context"
	"encoding/json"
	"maps"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"lblab/node-agent/internal/kubetest"
)

func node(labels map[string]string) *v1.Node {
	return &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "worker1", UID: "node-uid", Labels: labels},
		Spec:       v1.NodeSpec{PodCIDRs: []string{"10.244.1.0/24"}},
		Status: v1.NodeStatus{Addresses: []v1.NodeAddress{
			{Type: v1.NodeInternalIP, Address: "192.0.2.1"}, {Type: v1.NodeHostName, Address: "worker1"},
		}},
	}
}

func decode(t *testing.T, text string) object {
	t.Helper()
	var o object
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestApplyIsWhatTheCiliumAgentWrites(t *testing.T) {
	o := object{}
	if !o.apply(node(map[string]string{"io.cilium/bgp": "worker"})) {
		t.Error("a new object did not count as changed")
	}
	wanted := decode(t, `{"apiVersion":"cilium.io/v2","kind":"CiliumNode",
		"metadata":{"name":"worker1","labels":{"io.cilium/bgp":"worker"},
			"ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"worker1","uid":"node-uid"}]},
		"spec":{"addresses":[{"type":"InternalIP","ip":"192.0.2.1"}],"bootid":"","ipam":{"podCIDRs":["10.244.1.0/24"]}}}`)
	got, _ := json.Marshal(clone(o))
	want, _ := json.Marshal(wanted)
	if string(got) != string(want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestApplyKeepsWhatIsNotItsOwnAndSeesNoChangeInIt(t *testing.T) {
	stored := decode(t, `{"apiVersion":"cilium.io/v2","kind":"CiliumNode",
		"metadata":{"name":"worker1","resourceVersion":"7","labels":{"old":"x"}},
		"spec":{"ipam":{"pools":{"requested":[]}},"encryption":{"key":3}},"status":{"ipam":{"used":{"a":{}}}}}`)
	if !stored.apply(node(nil)) {
		t.Error("labels that are gone were not a change")
	}
	spec := stored["spec"].(map[string]any)
	if spec["encryption"] == nil || spec["ipam"].(map[string]any)["pools"] == nil || stored["status"] == nil {
		t.Errorf("fields of others were lost: %v", stored)
	}
	if labels := stored["metadata"].(map[string]any)["labels"]; len(labels.(map[string]any)) != 0 {
		t.Errorf("labels %v, want none", labels)
	}
	if stored.apply(node(nil)) {
		t.Error("the same Node again was a change")
	}
}

// TestSyncerFollowsTheNode also starts before the kind is known, as in every lab.
func TestSyncerFollowsTheNode(t *testing.T) {
	server := kubetest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	syncer := NewSyncer(server.Client())
	go syncer.Run(ctx)
	syncer.Observe(node(map[string]string{"step": "1"}))
	waitFor(t, "an attempt", func() bool { return len(server.Writes()) > 0 })
	server.AddCollection(collection)
	hasStep := func(step string) func() bool {
		return func() bool {
			var o metav1.PartialObjectMetadata
			return server.Read(collection, "worker1", &o) && maps.Equal(o.Labels, map[string]string{"step": step})
		}
	}
	waitFor(t, "the CiliumNode", hasStep("1"))
	syncer.Observe(node(map[string]string{"step": "2"}))
	waitFor(t, "the new label", hasStep("2"))
}

func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain for ", what)
		}
	}
}
