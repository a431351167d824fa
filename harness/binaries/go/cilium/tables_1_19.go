//go:build cilium1.19 && !cilium1.20

package main

import "github.com/cilium/cilium/daemon/k8s"

// kubernetesTables are the tables of namespaces and pods that the reflectors of services read.
var kubernetesTables = k8s.TablesCell
