//go:build !cilium1.15

package main

import "github.com/cilium/cilium/pkg/hive/cell"

// operatorConfig is what the constructors of Kubernetes resources ask for.
var operatorConfig []cell.Cell
