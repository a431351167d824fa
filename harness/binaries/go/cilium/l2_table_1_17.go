//go:build cilium1.17

package main

import (
	"github.com/cilium/statedb"

	"github.com/cilium/cilium/pkg/datapath/tables"
)

// announced gives what the announcer wants to be answered for, and a channel that is closed when that changes.
func announced(db *statedb.DB, table statedb.Table[*tables.L2AnnounceEntry]) ([]*tables.L2AnnounceEntry, <-chan struct{}) {
	all, changed := table.AllWatch(db.ReadTxn())
	return statedb.Collect(all), changed
}
