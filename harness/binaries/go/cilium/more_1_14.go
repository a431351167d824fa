//go:build !cilium1.15

package main

import (
	"context"

	"github.com/cilium/cilium/daemon/k8s"
	"github.com/cilium/cilium/pkg/hive/cell"
	kubernetes "github.com/cilium/cilium/pkg/k8s"
	"github.com/cilium/cilium/pkg/k8s/resource"
	"github.com/cilium/cilium/pkg/node"
	"github.com/cilium/cilium/pkg/source"
)

// agentMore and operatorMore are what a version needs besides the cells that 1.14 and 1.15 have in common. In 1.14 the
// BGP control plane asks a store of the agent, not the CiliumNode, for the node's address, which becomes the router ID.
var (
	agentMore = []cell.Cell{
		cell.Provide(func(nodes k8s.LocalNodeResource) node.LocalNodeInitializer { return fromKubernetes{nodes} }),
		node.LocalNodeStoreCell,
		cell.Invoke(func(*node.LocalNodeStore) {}),
	}
	operatorMore []cell.Cell
)

// fromKubernetes fills the store as the agent does: it waits for the Node object.
type fromKubernetes struct{ nodes k8s.LocalNodeResource }

func (f fromKubernetes) InitLocalNode(ctx context.Context, local *node.LocalNode) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for event := range f.nodes.Events(ctx) {
		event.Done(nil)
		if event.Kind == resource.Upsert {
			local.Node = *kubernetes.ParseNode(event.Object, source.Kubernetes)
			return nil
		}
	}
	return ctx.Err()
}
