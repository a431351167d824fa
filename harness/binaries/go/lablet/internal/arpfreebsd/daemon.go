package arpfreebsd

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"lblab/lablet/internal/arp"
	"lblab/lablet/internal/clock"
	"lblab/lablet/internal/commands"
)

const (
	linkWithin = 10 * time.Second // for an interface to be there with an address: the lab makes them meanwhile
	lookEvery  = 5 * time.Millisecond
)

// output writes the log: FreeBSD's own lines, and events as JSON.
type output struct {
	sync.Mutex
	to io.Writer
}

func (o *output) line(text string) {
	o.Lock()
	defer o.Unlock()
	fmt.Fprintln(o.to, text)
}

func (o *output) event(device string, event Event) {
	text, err := json.Marshal(struct {
		Event
		Interface string `json:"interface"`
	}{event, device})
	if err != nil {
		panic(err) // plain data
	}
	o.line(string(text))
}

// Main runs "lablet arp-freebsd".
func Main(ctx context.Context, arguments []string) error {
	f := flag.NewFlagSet("lablet arp-freebsd", flag.ContinueOnError)
	business := map[string][]netip.Prefix{}
	var order []string
	f.Func("on", "DEVICE=PREFIX[,PREFIX...]: an interface, and the addresses whose ARP is FreeBSD's there; repeatable", func(text string) error {
		device, list, _ := strings.Cut(text, "=")
		for _, each := range strings.Split(list, ",") {
			prefix, err := netip.ParsePrefix(each)
			if err != nil || !prefix.Addr().Is4() {
				return fmt.Errorf("%q is no prefix of IPv4", each)
			}
			business[device] = append(business[device], prefix)
		}
		order = append(order, device)
		return nil
	})
	except := map[netip.Addr]bool{}
	f.Func("except", "ADDRESS[,ADDRESS...]: addresses that are left to the kernel, as those of the nodes", func(text string) error {
		for _, each := range strings.Split(text, ",") {
			address, err := netip.ParseAddr(each)
			if err != nil {
				return err
			}
			except[address] = true
		}
		return nil
	})
	scale := f.Float64("time-scale", 1, "factor on FreeBSD's seconds: with 0.02 an entry lives 24 s")
	control := f.String("control", "", "path of a UNIX socket that answers state and delete")
	if err := f.Parse(arguments); err != nil {
		return err
	}
	if len(order) == 0 || f.NArg() > 0 {
		return errors.New("give at least one --on DEVICE=PREFIX, and no other arguments")
	}
	if *scale <= 0 {
		return errors.New("--time-scale is above 0")
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	d := &daemon{scale: *scale}
	out := &output{to: os.Stdout}
	for _, device := range order {
		link, err := waitLink(ctx, device, domain{business[device], except}, Defaults(*scale), out)
		if err != nil {
			return err
		}
		d.links = append(d.links, link)
	}
	return d.run(ctx, *control)
}

// waitLink opens a link as soon as the interface is there with an address.
func waitLink(ctx context.Context, device string, business domain, timers Timers, out *output) (*link, error) {
	deadline := time.Now().Add(linkWithin)
	for {
		link, err := openLink(device, business, timers, out)
		if err == nil || time.Now().After(deadline) {
			return link, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(lookEvery):
		}
	}
}

type daemon struct {
	scale float64
	links []*link
}

func (d *daemon) run(ctx context.Context, control string) error {
	stop := make(chan struct{})
	failed := make(chan error, len(d.links))
	for _, each := range d.links {
		go each.tick(stop)
		go func() { failed <- each.read() }()
	}
	if control != "" {
		listener, err := commands.Listen(control)
		if err != nil {
			return err
		}
		defer listener.Close()
		go commands.Serve(listener, d.execute)
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	close(stop)
	return err
}

// Entry is an entry as the control socket shows it.
type Entry struct {
	Interface string   `json:"interface"`
	State     State    `json:"state"`
	MAC       *arp.MAC `json:"mac"`
	Heard     int64    `json:"heard_ns"` // when an ARP packet was heard last; 0 while incomplete
	Asked     int      `json:"asked"`
	Held      int      `json:"held"`
}

func (d *daemon) execute(words []string) any {
	switch {
	case words[0] == "state" && len(words) == 1:
		return d.state()
	case words[0] == "delete" && len(words) == 2:
		return d.delete(words[1])
	}
	return commands.Failed("%q is not state or delete ADDRESS|all", strings.Join(words, " "))
}

func (d *daemon) state() any {
	entries, counters := map[netip.Addr]Entry{}, map[netip.Addr]Counters{}
	failed := 0
	for _, link := range d.links {
		link.Lock()
		failed += link.failed
		for address, e := range link.table.entries {
			shown := Entry{Interface: link.wire.device.Name, State: e.state, Heard: e.heard, Asked: e.asked, Held: len(e.held)}
			if e.state != Incomplete {
				mac := e.mac
				shown.MAC = &mac
			}
			entries[address] = shown
		}
		for address, c := range link.table.counters {
			copied := *c
			copied.Heard, copied.Replies = cloned(c.Heard), cloned(c.Replies)
			counters[address] = copied
		}
		link.Unlock()
	}
	return map[string]any{
		"now_ns": clock.Now(), "time_scale": d.scale, "entries": entries, "counters": counters, "refused": failed,
	}
}

func cloned(of map[arp.MAC]int) map[arp.MAC]int {
	result := make(map[arp.MAC]int, len(of))
	for mac, number := range of {
		result[mac] = number
	}
	return result
}

func (d *daemon) delete(which string) any {
	address, err := netip.ParseAddr(which)
	if err != nil && which != "all" {
		return commands.Failed("%q is no address", which)
	}
	deleted := 0
	for _, link := range d.links {
		link.Lock()
		for _, known := range link.table.Addresses() {
			if (which == "all" || known == address) && link.table.Delete(known) {
				deleted++
			}
		}
		link.Unlock()
	}
	return map[string]any{"deleted": deleted, "now_ns": clock.Now()}
}
