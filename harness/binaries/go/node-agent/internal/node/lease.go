package node

import (
	"context"

	coordination "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"lblab/node-agent/internal/kube"
)

const leases = "/apis/coordination.k8s.io/v1/namespaces/" + v1.NamespaceNodeLease + "/leases"

// renewLease writes the Lease at every RenewInterval until ctx ends; the node lifecycle controller calls the Node
// unreachable when it has not been renewed for the controller's grace period.
func (k *Keeper) renewLease(ctx context.Context, owner metav1.OwnerReference) {
	for ctx.Err() == nil {
		_ = kube.Insist(ctx, "renew the node lease", func(ctx context.Context) error {
			lease := lease(k.config, owner, metav1.NowMicro())
			patch := map[string]any{"spec": lease.Spec}
			err := k.client.Patch(ctx, leases+"/"+lease.Name, kube.MergePatch, patch, nil)
			if kube.IsNotFound(err) { // also while the API server has not made the namespace yet
				err = k.client.Create(ctx, leases, lease, nil)
			}
			return err
		})
		kube.Pause(ctx, k.config.RenewInterval())
	}
}

func lease(c Config, owner metav1.OwnerReference, now metav1.MicroTime) *coordination.Lease {
	seconds := int32(c.LeaseDuration.Seconds())
	return &coordination.Lease{
		TypeMeta: metav1.TypeMeta{APIVersion: "coordination.k8s.io/v1", Kind: "Lease"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: v1.NamespaceNodeLease, Name: c.Name, OwnerReferences: []metav1.OwnerReference{owner},
		},
		Spec: coordination.LeaseSpec{HolderIdentity: &c.Name, LeaseDurationSeconds: &seconds, RenewTime: &now},
	}
}
