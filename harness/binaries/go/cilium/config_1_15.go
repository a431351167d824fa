//go:build cilium1.15 && !cilium1.16

package main

import (
	"github.com/cilium/cilium/pkg/hive/cell"
	"github.com/cilium/cilium/pkg/k8s"
)

// operatorConfig is what the constructors of Kubernetes resources ask for.
var operatorConfig = []cell.Cell{cell.Config(k8s.DefaultConfig)}
