package node

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"lblab/node-agent/internal/kube"
)

// Keeper keeps this node's Node object and Lease.
type Keeper struct {
	client  *kube.Client
	config  Config
	host    host
	changed func(*v1.Node) // told of every state of the Node seen
}

// NewKeeper makes a keeper. changed is called, from one goroutine, with every state of the Node that the API
// server shows; folder is any folder on the disk whose size the Node reports.
func NewKeeper(client *kube.Client, config Config, folder string, changed func(*v1.Node)) *Keeper {
	return &Keeper{client: client, config: config, host: probeHost(config.Name, folder), changed: changed}
}

// Run registers the Node, then renews the Lease and reports the status until ctx ends. As with the kubelet, a Node
// that someone deletes later stays deleted until the agent is started again.
func (k *Keeper) Run(ctx context.Context) {
	begin := time.Now()
	var node *v1.Node
	err := kube.Insist(ctx, "register the node", func(ctx context.Context) (err error) {
		node, err = k.register(ctx)
		return err
	})
	if err != nil {
		return
	}
	slog.Info("node registered", "node", node.Name, "took", time.Since(begin))
	k.changed(node)

	var tasks sync.WaitGroup
	tasks.Go(func() { k.renewLease(ctx, owner(node)) })
	tasks.Go(func() { k.reportStatus(ctx) })
	tasks.Go(func() {
		kube.Follow(ctx, k.client, "/api/v1/nodes", "metadata.name="+k.config.Name, kube.Handler[v1.Node]{
			Replace: func(nodes []v1.Node) {
				for i := range nodes {
					k.changed(&nodes[i])
				}
			},
			Change: func(kind watch.EventType, node v1.Node) {
				if kind == watch.Deleted {
					slog.Warn("the Node object was deleted; it comes back when the agent is restarted, as with the kubelet")
					return
				}
				k.changed(&node)
			},
		})
	})
	tasks.Wait()
}

// register creates the Node, or brings an existing one in line with the command line.
func (k *Keeper) register(ctx context.Context) (*v1.Node, error) {
	var node v1.Node
	err := k.client.Create(ctx, "/api/v1/nodes", desired(k.config, k.host, metav1.Now()), &node)
	if kube.IsAlreadyExists(err) {
		return k.adopt(ctx)
	}
	if err != nil {
		return nil, err
	}
	if rest, changed := withoutStartupTaints(node.Spec.Taints); changed {
		// The resourceVersion makes this fail when someone else changed the taints meanwhile: the node lifecycle
		// controller, which then has done it already.
		patch := map[string]any{
			"metadata": map[string]any{"resourceVersion": node.ResourceVersion},
			"spec":     map[string]any{"taints": rest},
		}
		if err := k.client.Patch(ctx, k.config.path(), kube.MergePatch, patch, nil); err != nil && !kube.IsConflict(err) {
			slog.Warn("the not-ready taint is left to the node lifecycle controller", "error", err)
		}
	}
	return &node, nil
}

// adopt gives an existing Node the labels, pod CIDRs and status that this agent was told.
func (k *Keeper) adopt(ctx context.Context) (*v1.Node, error) {
	var node v1.Node
	if err := k.client.Get(ctx, k.config.path(), &node); err != nil {
		return nil, err
	}
	patch := map[string]any{"metadata": map[string]any{"labels": labels(k.config)}}
	if cidrs := k.config.podCIDRs(); len(cidrs) > 0 {
		if len(node.Spec.PodCIDRs) == 0 {
			patch["spec"] = map[string]any{"podCIDR": cidrs[0], "podCIDRs": cidrs}
		} else if !slices.Equal(node.Spec.PodCIDRs, cidrs) {
			slog.Error("the Node has other pod CIDRs than the command line, and the API lets nobody change them",
				"node", node.Spec.PodCIDRs, "flag", cidrs)
		}
	}
	if !contains(node.Labels, labels(k.config)) || patch["spec"] != nil {
		if err := k.client.Patch(ctx, k.config.path(), kube.MergePatch, patch, nil); err != nil {
			return nil, err
		}
	}
	return k.sendStatus(ctx, &node)
}

func contains(all, wanted map[string]string) bool {
	return maps.Equal(all, merged(all, wanted))
}

func merged(a, b map[string]string) map[string]string {
	sum := maps.Clone(a)
	if sum == nil {
		sum = map[string]string{}
	}
	maps.Copy(sum, b)
	return sum
}

// reportStatus reads the Node's status as often as the kubelet does, and sends it when it is not what it should be or
// has not been sent for a long time.
func (k *Keeper) reportStatus(ctx context.Context) {
	sent := time.Now()
	for {
		kube.Pause(ctx, k.config.RenewInterval())
		err := kube.Insist(ctx, "report the node's status", func(ctx context.Context) error {
			var node v1.Node
			if err := k.client.Get(ctx, k.config.path(), &node); err != nil {
				if kube.IsNotFound(err) {
					return nil // deleted; see Run
				}
				return err
			}
			wanted := status(k.config, k.host, node.Status.Conditions, metav1.Now())
			if !statusDiffers(wanted, node.Status) && time.Since(sent) < reportInterval {
				return nil
			}
			_, err := k.sendStatus(ctx, &node)
			if err == nil {
				sent = time.Now()
			}
			return err
		})
		if err != nil {
			return
		}
	}
}

func (k *Keeper) sendStatus(ctx context.Context, observed *v1.Node) (*v1.Node, error) {
	var node v1.Node
	patch := statusPatch(status(k.config, k.host, observed.Status.Conditions, metav1.Now()))
	err := k.client.Patch(ctx, k.config.path()+"/status", kube.StrategicMergePatch, patch, &node)
	if err != nil {
		return nil, err
	}
	return &node, nil
}
