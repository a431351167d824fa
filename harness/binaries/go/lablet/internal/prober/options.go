// Package prober sends numbered packets, or opens connections, at a steady rate and records what becomes of each.
package prober

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lblab/lablet/internal/clock"
	"lblab/lablet/internal/records"
	"lblab/lablet/internal/wire"
)

// options are the parameters of a run; they stand in the header of its records.
type options struct {
	mode       string
	target     netip.AddrPort
	path       string
	rate       float64
	flows      int
	source     netip.Addr
	sourcePort int
	size       int
	replySize  int
	length     time.Duration
	late       time.Duration
	linger     time.Duration
	ownGap     time.Duration
	timeout    time.Duration
	reconnect  time.Duration
	session    uint64
	rejoin     time.Duration
	giveUp     time.Duration
}

// The limits of --rate and --flows: above them the sending thread would need more than a few percent of a core, and its
// own delays would no longer be small beside the interval.
const (
	maxRate  = 2000
	maxFlows = 256
	maxTotal = 20000 // packets per second over all flows
)

// Main runs "lablet probe".
func Main(ctx context.Context, arguments []string) error {
	o, out, stdin, err := parse(arguments)
	if err != nil {
		return err
	}
	writer, err := records.Open(out)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	hurry, hurried := context.WithCancel(context.Background())
	defer hurried()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		cancel(errors.New("signal"))
		<-signals
		hurried()
	}()
	if stdin {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			cancel(errors.New("stdin closed"))
		}()
	}
	if o.length > 0 {
		timer := time.AfterFunc(o.length, func() { cancel(errors.New("duration")) })
		defer timer.Stop()
	}
	run := map[string]func(context.Context, context.Context, *options, *records.Writer) error{
		"udp": probeUDP, "game": probeUDP, "tcp": probeTCP, "http": probeHTTP,
	}[o.mode]
	return errors.Join(run(ctx, hurry, o, writer), writer.Close())
}

func parse(arguments []string) (o *options, out string, stdin bool, err error) {
	o = &options{mode: "udp"}
	f := flag.NewFlagSet("lablet probe", flag.ContinueOnError)
	to := f.String("to", "", "ADDRESS:PORT of the service")
	tcp := f.Bool("tcp", false, "keep a connection open for each flow and send a line on it at the rate")
	game := f.Bool("game", false, "play: the server knows its players by address and sends updates at the rate, at its own ticks")
	f.DurationVar(&o.rejoin, "reconnect-after", 0, "with --game: greet the server anew when no input was acknowledged for so long; 0: never")
	f.DurationVar(&o.giveUp, "disconnect-after", time.Minute, "with --game: the connection is over when no input was acknowledged for so long, for the server, too")
	http := f.Bool("http", false, "open a new connection for each HTTP request")
	f.StringVar(&o.path, "path", "/", "path of the HTTP request")
	f.Float64Var(&o.rate, "rate", 1000, "packets, lines or requests per second and flow")
	f.IntVar(&o.flows, "flows", 1, "number of flows")
	source := f.String("source", "", "source address")
	f.IntVar(&o.sourcePort, "source-port", 0, "source port of flow 0, one more for each further flow; 0: any")
	f.IntVar(&o.size, "size", 100, "UDP payload of a request in bytes")
	f.IntVar(&o.replySize, "reply-size", 0, "wanted UDP payload of a reply in bytes; 0: as short as it can be")
	f.DurationVar(&o.length, "for", 0, "length of the run; 0: until SIGTERM")
	f.DurationVar(&o.late, "late", 2*time.Second, "a packet without a reply for so long is reported as unanswered; a later reply is still recorded")
	f.DurationVar(&o.linger, "linger", time.Second, "wait for replies at the end")
	f.DurationVar(&o.ownGap, "own-gap", time.Millisecond, "a packet sent so late after its slot is reported as the prober's own gap")
	f.DurationVar(&o.timeout, "timeout", 2*time.Second, "for a connection to be made, and for an HTTP answer")
	f.DurationVar(&o.reconnect, "reconnect", 100*time.Millisecond, "pause before a TCP connection is opened again")
	session := f.Uint64("session", 0, "number of the run in every packet; 0: random")
	f.StringVar(&out, "out", "", "file for the records; default standard output")
	f.BoolVar(&stdin, "stdin", false, "stop when standard input is closed")
	if err = f.Parse(arguments); err != nil {
		return nil, "", false, err
	}
	if *tcp {
		o.mode = "tcp"
	}
	if *http {
		o.mode = "http"
	}
	if *game {
		o.mode = "game"
	}
	if o.session = *session; o.session == 0 {
		o.session = rand.Uint64()
	}
	switch {
	case *tcp && *http, *game && (*tcp || *http):
		err = errors.New("--tcp, --http and --game exclude each other")
	case *game && o.size < wire.HelloSize:
		err = fmt.Errorf("--size must be at least %d with --game", wire.HelloSize)
	case o.rejoin < 0 || o.giveUp <= 0:
		err = errors.New("--reconnect-after may not be negative, and --disconnect-after must be positive")
	case o.rate <= 0 || o.rate > maxRate:
		err = fmt.Errorf("--rate must be above 0 and at most %d", maxRate)
	case o.flows < 1 || o.flows > maxFlows || float64(o.flows)*o.rate > maxTotal:
		err = fmt.Errorf("--flows must be 1 to %d, and flows times rate at most %d", maxFlows, maxTotal)
	case o.sourcePort < 0 || o.sourcePort+o.flows > 1<<16:
		err = errors.New("--source-port must leave room for a port per flow below 65536")
	case o.sourcePort > 0 && o.mode == "http":
		err = errors.New("--source-port is for flows; every HTTP request has a port of its own")
	case o.size < wire.Header || o.size > wire.MaxSize || o.replySize < 0 || o.replySize > wire.MaxSize:
		err = fmt.Errorf("--size must be %d to %d, --reply-size at most %d", wire.Header, wire.MaxSize, wire.MaxSize)
	case o.late <= 0 || o.linger < 0 || o.timeout <= 0 || o.length < 0 || o.reconnect <= 0 || o.ownGap <= 0:
		err = errors.New("durations must be positive")
	}
	if err != nil {
		return nil, "", false, err
	}
	if *source != "" {
		if o.source, err = netip.ParseAddr(*source); err != nil {
			return nil, "", false, fmt.Errorf("--source: %w", err)
		}
	}
	o.target, err = resolve(*to)
	return o, out, stdin, err
}

// resolve takes an address and port, or a name and port.
func resolve(to string) (netip.AddrPort, error) {
	if target, err := netip.ParseAddrPort(to); err == nil {
		return netip.AddrPortFrom(target.Addr().Unmap(), target.Port()), nil
	}
	address, err := net.ResolveUDPAddr("udp", to)
	if err != nil || to == "" || strings.HasPrefix(to, ":") {
		return netip.AddrPort{}, fmt.Errorf("--to %q is not ADDRESS:PORT", to)
	}
	target := address.AddrPort()
	return netip.AddrPortFrom(target.Addr().Unmap(), target.Port()), nil
}

// interval is the time between two packets of one flow.
func (o *options) interval() time.Duration { return time.Duration(float64(time.Second) / o.rate) }

// header is the first line of the records; stamps says where receive stamps come from.
func (o *options) header(sources []string, stamps, scheduler string) map[string]any {
	host, _ := os.Hostname()
	return map[string]any{
		"lblab": "probe", "version": 1, "mode": o.mode, "clock": "CLOCK_MONOTONIC", "unit": "ns",
		"to": o.target.String(), "rate": o.rate, "interval": o.interval(), "flows": o.flows, "sources": sources,
		"size": o.size, "reply_size": o.replySize, "session": fmt.Sprintf("%016x", o.session),
		"late": o.late, "own_gap": o.ownGap, "timeout": o.timeout, "started": clock.Now(),
		"receive_stamp": stamps, "scheduler": scheduler, "host": host, "pid": os.Getpid(),
	}
}

// end is the last line of the records.
func end(ctx context.Context, more map[string]any) map[string]any {
	var usage unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &usage) // cannot fail for the process itself
	more["at"] = clock.Now()
	more["stopped_by"] = context.Cause(ctx).Error()
	more["cpu"] = usage.Utime.Nano() + usage.Stime.Nano()
	more["max_rss_kb"] = usage.Maxrss
	return map[string]any{"end": more}
}
