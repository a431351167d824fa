//go:build !cilium1.16

package main

import (
	"github.com/cilium/cilium/operator/pkg/lbipam"
	"github.com/cilium/cilium/pkg/hive/cell"
	"github.com/cilium/cilium/pkg/hive/job"
	"github.com/cilium/cilium/pkg/k8s"
	"github.com/cilium/cilium/pkg/k8s/apis"
	"github.com/cilium/cilium/pkg/k8s/client"
	"github.com/cilium/cilium/pkg/metrics"
	"github.com/cilium/cilium/pkg/option"
)

// operator gives the cells of the operator that the addresses of services need; before 1.16 it has no part in BGP.
func operator() []cell.Cell {
	return append([]cell.Cell{
		client.Cell,
		job.Cell,
		metrics.Cell,
		cell.Provide(
			func() *option.DaemonConfig { return option.Config },
			k8s.ServiceResource,
			k8s.LBIPPoolsResource,
		),
		lbipam.Cell,
	}, operatorMore...)
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
