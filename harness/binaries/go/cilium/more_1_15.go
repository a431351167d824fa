//go:build cilium1.15 && !cilium1.16

package main

import (
	"github.com/cilium/cilium/pkg/hive/cell"
	"github.com/cilium/cilium/pkg/k8s"
)

// agentMore and operatorMore are what a version needs besides the cells that 1.14 and 1.15 have in common.
var (
	agentMore    []cell.Cell
	operatorMore = []cell.Cell{cell.Config(k8s.DefaultConfig)}
)
