package announce

import (
	"context"
	"errors"
	"flag"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"lblab/lablet/internal/arp"
	"lblab/lablet/internal/clock"
	"lblab/lablet/internal/commands"
)

// Main runs "lablet announce".
func Main(ctx context.Context, arguments []string) error {
	f := flag.NewFlagSet("lablet announce", flag.ContinueOnError)
	device := f.String("iface", "eth0", "the interface")
	node := f.String("node", "", "the node's name, as it counts in an election")
	scale := f.Float64("time-scale", 1, "factor on the times of the gratuitous ARP")
	control := f.String("control", "", "path of a UNIX socket that takes commands: "+usage)
	if err := f.Parse(arguments); err != nil {
		return err
	}
	if *control == "" || *scale <= 0 || f.NArg() > 0 {
		return errors.New("give --control PATH, a --time-scale above 0, and no other arguments")
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	socket, err := arp.Open(*device)
	if err != nil {
		return err
	}
	listener, err := commands.Listen(*control)
	if err != nil {
		return err
	}
	defer listener.Close()
	responder := New(*node, socket.MAC, *scale, socket, os.Stdout)
	go commands.Serve(listener, responder.execute)
	failed := make(chan error, 1)
	go func() {
		for {
			frame, err := socket.Read()
			if err != nil {
				failed <- err
				return
			}
			responder.Heard(frame)
		}
	}()
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

const usage = "announce|quiet|withdraw|mute|unmute ADDRESS, delay ADDRESS DURATION, stall EVERY FOR, elect NODE,... ADDRESS,..., state"

func (r *Responder) execute(words []string) any {
	if !r.carryOut(words[0], words[1:]) {
		return commands.Failed("%q is not %s", strings.Join(words, " "), usage)
	}
	if words[0] == "state" {
		return r.State()
	}
	return map[string]any{"now_ns": clock.Now()}
}

func (r *Responder) carryOut(command string, words []string) bool {
	switch {
	case command == "state":
		return len(words) == 0
	case command == "stall" && len(words) == 2:
		every, first := time.ParseDuration(words[0])
		length, second := time.ParseDuration(words[1])
		if first != nil || second != nil {
			return false
		}
		r.Stall(every, length)
		return true
	case command == "elect" && len(words) == 2:
		addresses, ok := parseAll(strings.Split(words[1], ","))
		if ok {
			r.Elect(strings.Split(words[0], ","), addresses)
		}
		return ok
	}
	addresses, ok := parseAll(words[:min(1, len(words))])
	if !ok || len(addresses) != 1 {
		return false
	}
	return r.one(command, addresses[0], words[1:])
}

func (r *Responder) one(command string, address netip.Addr, rest []string) bool {
	if command == "delay" && len(rest) == 1 {
		by, err := time.ParseDuration(rest[0])
		if err == nil {
			r.Delay(address, by)
		}
		return err == nil
	}
	if len(rest) > 0 {
		return false
	}
	switch command {
	case "announce", "quiet":
		r.Announce(address, command == "quiet")
	case "withdraw":
		r.Withdraw(address)
	case "mute", "unmute":
		r.Mute(address, command == "mute")
	default:
		return false
	}
	return true
}

func parseAll(texts []string) ([]netip.Addr, bool) {
	var found []netip.Addr
	for _, text := range texts {
		address, err := netip.ParseAddr(text)
		if err != nil || !address.Is4() {
			return nil, false
		}
		found = append(found, address)
	}
	return found, true
}
