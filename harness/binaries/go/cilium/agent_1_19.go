//go:build cilium1.19

package main

import (
	"github.com/cilium/hive/cell"
	"github.com/cilium/statedb"

	"github.com/cilium/cilium/daemon/k8s"
	"github.com/cilium/cilium/pkg/bgp"
	"github.com/cilium/cilium/pkg/datapath/linux"
	"github.com/cilium/cilium/pkg/datapath/tables"
	envoy "github.com/cilium/cilium/pkg/envoy/config"
	"github.com/cilium/cilium/pkg/k8s/client"
	"github.com/cilium/cilium/pkg/kpr"
	"github.com/cilium/cilium/pkg/lbipamconfig"
	"github.com/cilium/cilium/pkg/loadbalancer"
	"github.com/cilium/cilium/pkg/loadbalancer/reflectors"
	"github.com/cilium/cilium/pkg/loadbalancer/writer"
	"github.com/cilium/cilium/pkg/metrics"
	"github.com/cilium/cilium/pkg/node"
	"github.com/cilium/cilium/pkg/node/types"
	"github.com/cilium/cilium/pkg/nodeipamconfig"
	"github.com/cilium/cilium/pkg/option"
	"github.com/cilium/cilium/pkg/source"
	"github.com/cilium/cilium/pkg/svcrouteconfig"
)

func init() {
	defaults["kube-proxy-replacement"] = "true" // what the chart's BGP guides install
}

// agent gives the cells of the agent that its BGP control plane is made of. Since 1.19 it takes services from the
// tables of the load balancer, which reflectors fill from Kubernetes; the part that writes them to eBPF maps is left out.
func agent(name string) []cell.Cell {
	types.SetName(name)
	return []cell.Cell{
		client.Cell,
		k8s.ResourcesCell,
		kubernetesTables,
		metrics.Cell,
		linux.DevicesControllerCell, // routes and devices, for the automatic discovery of peers
		node.LocalNodeStoreTestCell, // upstream's name for a store that nothing else of the agent fills
		loadbalancer.ConfigCell,
		writer.Cell,
		reflectors.Cell,
		kpr.Cell,
		lbipamconfig.Cell,
		nodeipamconfig.Cell,
		cell.Config(envoy.SecretSyncConfig{}),
		cell.Provide(
			func() *option.DaemonConfig { return option.Config },
			source.NewSources,
			tables.NewNodeAddressTable,
			statedb.RWTable[tables.NodeAddress].ToTable,
		),
		svcrouteconfig.Cell,
		bgp.Cell,
	}
}
