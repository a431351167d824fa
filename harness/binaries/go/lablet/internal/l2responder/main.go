// Package l2responder answers ARP for the addresses that Cilium's L2 announcer gives a node, in place of Cilium's BPF
// program and its maps.
//
// The agent programs it over a UNIX socket, one JSON line each way; it goes on without the agent, as BPF does, until the
// agent has given no sign of life for longer than the lease.
package l2responder

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lblab/lablet/internal/arp"
	"lblab/lablet/internal/clock"
)

// Main runs "lablet l2-responder".
func Main(ctx context.Context, arguments []string) error {
	f := flag.NewFlagSet("lablet l2-responder", flag.ContinueOnError)
	path := f.String("socket", "", "the UNIX socket on which it is programmed")
	maxLiveness := f.Duration("max-liveness", 15*time.Second, "answer no more when the agent has been silent for longer: the lease duration")
	if err := f.Parse(arguments); err != nil {
		return err
	}
	if *path == "" || *maxLiveness <= 0 {
		return errors.New("--socket and a positive --max-liveness are needed")
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ports, err := openWire()
	if err != nil {
		return err
	}
	if err := os.Remove(*path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	listener, err := net.Listen("unix", *path)
	if err != nil {
		return err
	}
	r := newResponder(*maxLiveness, ports, clock.Now, newLog(os.Stderr))
	failed := make(chan error, 2)
	go func() { failed <- ports.serve(r.hear) }()
	go func() { failed <- r.serveControl(listener) }()
	select {
	case <-ctx.Done():
		return listener.Close()
	case err := <-failed:
		return err
	}
}

// ethernet is what a responder needs of the node's interfaces.
type ethernet interface {
	// hardwareAddress is an interface's own address, and its name.
	hardwareAddress(ifIndex int) (arp.MAC, string, error)
	// send puts a frame on the wire; a link that is down loses it.
	send(frame []byte, ifIndex int)
}

type responder struct {
	table *table
	ports ethernet
	now   func() int64
	log   *slog.Logger

	lock    sync.Mutex
	silence *time.Timer // fires when the agent has been silent for too long
	quiet   bool        // and has fired
}

func newResponder(maxLiveness time.Duration, ports ethernet, now func() int64, log *slog.Logger) *responder {
	return &responder{table: newTable(maxLiveness), ports: ports, now: now, log: log, quiet: true}
}

// hear answers a frame that came in at an interface, if it is for this node to answer.
func (r *responder) hear(frame []byte, ifIndex int) {
	if answer, ok := r.table.answer(frame, ifIndex, r.now()); ok {
		r.ports.send(answer, ifIndex)
	}
}

type request struct {
	Op string `json:"op"`
	key
	Gratuitous string `json:"gratuitous"`
	AtNS       int64  `json:"at_ns"`
}

type reply struct {
	Error     string   `json:"error,omitempty"`
	Entries   []key    `json:"entries,omitempty"`
	Responses []uint64 `json:"responses,omitempty"`
	AliveNS   int64    `json:"alive_ns,omitempty"`
	// Answers is whether it answers at all: the agent has been heard of within the lease.
	Answers bool `json:"answers"`
}

// serveControl takes connections until the listener is closed.
func (r *responder) serveControl(listener net.Listener) error {
	for {
		connection, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go r.converse(connection)
	}
}

func (r *responder) converse(connection net.Conn) {
	defer connection.Close()
	lines, out := bufio.NewScanner(connection), json.NewEncoder(connection)
	for lines.Scan() {
		var asked request
		answer, err := reply{}, json.Unmarshal(lines.Bytes(), &asked)
		if err == nil {
			answer, err = r.do(asked)
		}
		if err != nil {
			answer = reply{Error: err.Error()}
		}
		if out.Encode(answer) != nil {
			return // it does not want to know any more
		}
	}
}

func (r *responder) do(asked request) (reply, error) {
	switch asked.Op {
	case "list":
		entries, responses := r.table.list()
		return reply{
			Entries: entries, Responses: responses, AliveNS: r.table.heard(), Answers: !r.table.silent(r.now()),
		}, nil
	case "create":
		return reply{}, r.create(asked)
	case "delete":
		if err := r.table.delete(asked.key); err != nil {
			return reply{}, err
		}
		r.log.Info("ARP is answered no more", "ip", asked.IP, "ifindex", asked.IfIndex)
		return reply{}, nil
	case "alive":
		r.table.alive(asked.AtNS)
		r.expectNext()
		return reply{}, nil
	}
	return reply{}, fmt.Errorf("unknown op %q", asked.Op)
}

// create adds an entry and, if it is new, sends one gratuitous ARP: Cilium's reconciler sends it before it writes the map
// (pkg/datapath/l2responder, garpOnNewEntry).
func (r *responder) create(asked request) error {
	operation, ok := map[string]uint16{"request": arp.Request, "reply": arp.Reply}[asked.Gratuitous]
	if !ok || !asked.IP.Is4() {
		return fmt.Errorf("an entry has an IPv4 address and a gratuitous request or reply, not %q and %q", asked.IP, asked.Gratuitous)
	}
	own, device, err := r.ports.hardwareAddress(asked.IfIndex)
	if err != nil {
		return err
	}
	if r.table.create(asked.key, own) {
		r.ports.send(arp.Announcing(operation, own, asked.IP).Append(nil), asked.IfIndex)
		r.log.Info("ARP is answered, and one gratuitous ARP sent", "ip", asked.IP, "device", device, "operation", asked.Gratuitous)
	}
	return nil
}

// expectNext says so when the agent falls silent for too long, and when it is heard of again.
func (r *responder) expectNext() {
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.quiet {
		r.quiet = false
		r.log.Info("ARP may be answered: the agent is heard of")
	}
	left := time.Duration(r.table.heard()-r.now()) + r.table.maxLiveness + time.Millisecond // longer, not as long
	if r.silence == nil {
		r.silence = time.AfterFunc(left, r.fallSilent)
		return
	}
	r.silence.Reset(left)
}

func (r *responder) fallSilent() {
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.quiet || !r.table.silent(r.now()) {
		return // it was heard of in the meantime
	}
	r.quiet = true
	r.log.Warn("No ARP is answered: the agent has been silent for longer than the lease", "lease", r.table.maxLiveness)
}

// newLog writes lines, each with the wall clock and, as now_ns, CLOCK_MONOTONIC.
func newLog(to io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, attribute slog.Attr) slog.Attr {
			if len(groups) > 0 || attribute.Key != slog.TimeKey || attribute.Value.Kind() != slog.KindTime {
				return attribute // of the group below, too
			}
			var now unix.Timespec
			if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
				return attribute
			}
			wall := slog.String(slog.TimeKey, attribute.Value.Time().Format("2006-01-02T15:04:05.000000Z07:00"))
			return slog.Attr{Value: slog.GroupValue(wall, slog.Int64("now_ns", now.Nano()))}
		},
	}))
}
