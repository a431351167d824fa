//go:build cilium1.16 && !cilium1.18

package main

import (
	"github.com/cilium/hive/cell"
	"github.com/cilium/statedb"

	"github.com/cilium/cilium/pkg/datapath/linux"
	"github.com/cilium/cilium/pkg/datapath/tables"
	"github.com/cilium/cilium/pkg/l2announcer"
)

// gratuitous is the operation of the ARP frame for a new entry (pkg/datapath/garp, send).
const gratuitous = "reply"

// layer2More is what the announcer needs besides the cells of BGP: the node's devices, the table made known, and somebody
// who wants the announcer, as the daemon does.
var layer2More = []cell.Cell{
	linux.DevicesControllerCell,
	cell.Invoke(statedb.RegisterTable[*tables.L2AnnounceEntry]),
	cell.Invoke(func(*l2announcer.L2Announcer) {}),
}
