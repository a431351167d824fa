//go:build !cilium1.16

package main

import (
	"github.com/cilium/cilium/daemon/k8s"
	"github.com/cilium/cilium/pkg/bgpv1"
	"github.com/cilium/cilium/pkg/hive/cell"
	"github.com/cilium/cilium/pkg/hive/job"
	"github.com/cilium/cilium/pkg/k8s/client"
	"github.com/cilium/cilium/pkg/metrics"
	"github.com/cilium/cilium/pkg/node/types"
	"github.com/cilium/cilium/pkg/option"
)

// agent gives the cells of the agent that its BGP control plane is made of.
func agent(node string) []cell.Cell {
	types.SetName(node)
	cells := []cell.Cell{
		client.Cell,
		k8s.ResourcesCell,
		job.Cell,
		metrics.Cell,
		cell.Provide(func() *option.DaemonConfig { return option.Config }),
	}
	return append(append(cells, agentMore...), bgpv1.Cell)
}
