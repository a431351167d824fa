//go:build cilium1.18 && !cilium1.19

package main

import (
	"github.com/cilium/hive/cell"
	"github.com/cilium/statedb"

	"github.com/cilium/cilium/pkg/datapath/tables"
)

// gratuitous is the operation of the ARP frame for a new entry (pkg/datapath/garp, Send).
const gratuitous = "reply"

// layer2More makes the announcer's table known.
var layer2More = []cell.Cell{
	cell.Invoke(statedb.RegisterTable[*tables.L2AnnounceEntry]),
}
