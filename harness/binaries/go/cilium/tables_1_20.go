//go:build cilium1.20

package main

import "github.com/cilium/cilium/pkg/k8s/tables"

// kubernetesTables are the tables of namespaces and pods that the reflectors of services read.
var kubernetesTables = tables.TablesCell
