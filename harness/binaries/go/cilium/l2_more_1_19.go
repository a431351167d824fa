//go:build cilium1.19

package main

import "github.com/cilium/hive/cell"

// gratuitous is the operation of the ARP frame for a new entry: since 1.19 a request (pkg/datapath/gneigh, Send).
const gratuitous = "request"

// layer2More is what the announcer needs besides the cells of BGP: nothing, a table is known once it is made.
var layer2More []cell.Cell
