//go:build cilium1.16

package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/cilium/hive/cell"
	"github.com/cilium/hive/job"
	"github.com/cilium/statedb"

	"github.com/cilium/cilium/pkg/datapath/agentliveness"
	"github.com/cilium/cilium/pkg/datapath/tables"
	"github.com/cilium/cilium/pkg/l2announcer"
	"github.com/cilium/cilium/pkg/maps/configmap"
)

const (
	// fullEvery is how often everything is compared again (pkg/datapath/l2responder, run).
	fullEvery = 5 * time.Minute
	// againAfter is how long a responder that does not answer is left alone.
	againAfter = 200 * time.Millisecond
)

// layer2 gives the cells of the agent that announce by ARP: Cilium's own announcer, which takes leases and fills the
// table of addresses, and its own sign of life. What they program is a stand-in: see responder.
func layer2(socket string) ([]cell.Cell, error) {
	if socket == "" {
		return nil, errors.New("--l2-responder is missing")
	}
	at := &responder{path: socket}
	cells := []cell.Cell{
		agentliveness.Cell,
		cell.Provide(func() configmap.Map { return at }),
		l2announcer.Cell,
		cell.Module(
			"l2-responder-stand-in",
			"Hands the announced addresses to a process in place of a BPF map",
			cell.Provide(tables.NewL2AnnounceTable, statedb.RWTable[*tables.L2AnnounceEntry].ToTable),
			cell.Invoke(func(group job.Group, log *slog.Logger, db *statedb.DB, table statedb.Table[*tables.L2AnnounceEntry]) {
				group.Add(job.OneShot("l2-responder-stand-in", func(ctx context.Context, _ cell.Health) error {
					return follow(ctx, log, db, table, at)
				}))
			}),
		),
	}
	return append(cells, layer2More...), nil
}

// follow keeps the responder in step with the table of announced addresses. At its start it takes out what an agent
// before this one has left there, as Cilium's reconciler does; when it ends it leaves everything as it is: a BPF map
// outlives the agent.
func follow(
	ctx context.Context, log *slog.Logger, db *statedb.DB, table statedb.Table[*tables.L2AnnounceEntry], at *responder,
) error {
	full := time.NewTicker(fullEvery)
	defer full.Stop()
	failing := false
	for {
		entries, changed := announced(db, table)
		var again <-chan time.Time
		err := reconcile(entries, at)
		if err != nil {
			again = time.After(againAfter)
		}
		if (err != nil) != failing {
			failing = err != nil
			log.Warn("The L2 responder's state has changed", "failing", failing, "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-full.C:
		case <-again:
		}
	}
}

// reconcile makes the responder answer for exactly these entries. Only IPv4: there is no stand-in for the responder's
// NDP, which Cilium has since 1.19.
func reconcile(entries []*tables.L2AnnounceEntry, at *responder) error {
	present, err := at.list()
	if err != nil {
		return err
	}
	wanted := map[entry]bool{}
	var failed error
	for _, each := range entries {
		if !each.IP.Is4() {
			continue
		}
		device, err := net.InterfaceByName(each.NetworkInterface)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		wanted[entry{each.IP, device.Index}] = true
	}
	for _, each := range present {
		if !wanted[each] {
			failed = errors.Join(failed, at.delete(each))
		}
		delete(wanted, each)
	}
	for each := range wanted {
		failed = errors.Join(failed, at.create(each))
	}
	return failed
}
