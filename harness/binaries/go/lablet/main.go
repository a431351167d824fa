// Command lablet is lblab's own part of a lab: a pod's server, the prober that measures outages, a packet tap, a relay, and
// stand-ins: for a FreeBSD router's ARP, for an announcer, and for what answers ARP in Cilium's BPF program.
//
// It is one static program without configuration files, so the same file runs in a network namespace and, copied in,
// in any container.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"

	"lblab/lablet/internal/announce"
	"lblab/lablet/internal/arpfreebsd"
	"lblab/lablet/internal/forward"
	"lblab/lablet/internal/l2responder"
	"lblab/lablet/internal/prober"
	"lblab/lablet/internal/server"
	"lblab/lablet/internal/tap"
)

// A command is one of lablet's sub-commands; run gets the arguments after its name.
type command struct {
	name, summary string
	run           func(ctx context.Context, arguments []string) error
}

var commands = []command{
	{"serve", "answer HTTP, TCP and UDP as a pod and say who answered", server.Main},
	{"probe", "send numbered packets or requests at a steady rate and record what becomes of each", prober.Main},
	{"tap", "log the probe packets that pass an interface", tap.Main},
	{"l2-responder", "answer ARP for the addresses that Cilium's L2 announcer gives a node", l2responder.Main},
	{"forward", "accept on an inherited listening socket and relay to another address", forward.Main},
	{"arp-freebsd", "keep a router's ARP entries as FreeBSD does", arpfreebsd.Main},
	{"announce", "answer ARP for addresses as MetalLB's speaker does, with times that can be scaled", announce.Main},
}

// heapGrowth in percent makes the collector start at 1 MB instead of 4: a lab has many pods, and none needs more.
const heapGrowth = 25

func main() {
	debug.SetGCPercent(heapGrowth)
	if len(os.Args) < 2 {
		usage()
		os.Exit(2)
	}
	for _, command := range commands {
		if command.name != os.Args[1] {
			continue
		}
		err := command.run(context.Background(), os.Args[2:])
		switch {
		case err == nil, errors.Is(err, flag.ErrHelp):
			return
		default:
			fmt.Fprintf(os.Stderr, "lablet %s: %v\n", command.name, err)
			os.Exit(1)
		}
	}
	usage()
	os.Exit(2)
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: lablet COMMAND [OPTIONS]; lablet COMMAND -help lists the options")
	for _, command := range commands {
		fmt.Fprintf(os.Stderr, "  %-12s %s\n", command.name, command.summary)
	}
}
