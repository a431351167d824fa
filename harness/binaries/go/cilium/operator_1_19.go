//go:build cilium1.19

package main

import (
	"github.com/cilium/hive/cell"
	"k8s.io/client-go/tools/cache"

	"github.com/cilium/cilium/operator/pkg/bgp"
	"github.com/cilium/cilium/operator/pkg/lbipam"
	"github.com/cilium/cilium/pkg/k8s"
	"github.com/cilium/cilium/pkg/k8s/apis"
	v2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	"github.com/cilium/cilium/pkg/k8s/client"
	"github.com/cilium/cilium/pkg/k8s/utils"
	"github.com/cilium/cilium/pkg/metrics"
	"github.com/cilium/cilium/pkg/option"
)

// operator gives the cells of the operator that BGP and its addresses need.
func operator() []cell.Cell {
	return []cell.Cell{
		client.Cell,
		metrics.Cell,
		cell.Config(k8s.DefaultConfig),
		cell.Provide(
			func() *option.DaemonConfig { return option.Config },
			k8s.DefaultServiceWatchConfig,
			k8s.ServiceResource,
			k8s.CiliumNodeResource,
			watch[*v2.CiliumLoadBalancerIPPool](func(cs client.Clientset) cache.ListerWatcher {
				return utils.ListerWatcherFromTyped(cs.CiliumV2().CiliumLoadBalancerIPPools())
			}),
			watch[*v2.CiliumBGPClusterConfig](func(cs client.Clientset) cache.ListerWatcher {
				return utils.ListerWatcherFromTyped(cs.CiliumV2().CiliumBGPClusterConfigs())
			}),
			watch[*v2.CiliumBGPNodeConfigOverride](func(cs client.Clientset) cache.ListerWatcher {
				return utils.ListerWatcherFromTyped(cs.CiliumV2().CiliumBGPNodeConfigOverrides())
			}),
			watch[*v2.CiliumBGPNodeConfig](func(cs client.Clientset) cache.ListerWatcher {
				return utils.ListerWatcherFromTyped(cs.CiliumV2().CiliumBGPNodeConfigs())
			}),
			watch[*v2.CiliumBGPPeerConfig](func(cs client.Clientset) cache.ListerWatcher {
				return utils.ListerWatcherFromTyped(cs.CiliumV2().CiliumBGPPeerConfigs())
			}),
			watch[*v2.CiliumBGPAdvertisement](func(cs client.Clientset) cache.ListerWatcher {
				return utils.ListerWatcherFromTyped(cs.CiliumV2().CiliumBGPAdvertisements())
			}),
		),
		lbipam.Cell,
		bgp.Cell,
	}
}

// definitions gives the cells that register this version's CRDs.
func definitions() []cell.Cell {
	return []cell.Cell{
		client.Cell,
		metrics.Cell,
		cell.Provide(func() *option.DaemonConfig { return option.Config }),
		apis.RegisterCRDsCell,
	}
}
