// Package server is a pod's server: it answers HTTP, TCP and UDP on every address of its network namespace and says who
// answered and from where the client seemed to come.
package server

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"lblab/lablet/internal/clock"
	"lblab/lablet/internal/commands"
	"lblab/lablet/internal/game"
)

// Server is one pod.
type Server struct {
	Node, Pod string
	Addresses []netip.Addr
	Instance  uint64 // tells two processes behind the same name apart
	unready   atomic.Bool
	stopping  atomic.Bool
	ledger    ledger
	world     game.World
	stop      context.CancelFunc
}

// Identity is what a client is told about who answered.
type Identity struct {
	Node   string `json:"node"`
	Pod    string `json:"pod"`
	PodIP  string `json:"podIP"`
	Client string `json:"client"` // source address and port as seen by the server
	Port   int    `json:"port"`   // the server's port
	Now    int64  `json:"now_ns"` // CLOCK_MONOTONIC
}

// A port is one --listen option.
type port struct {
	network string // tcp or udp
	number  int
}

// Main runs "lablet serve".
func Main(ctx context.Context, arguments []string) error {
	options := flag.NewFlagSet("lablet serve", flag.ContinueOnError)
	node := options.String("node", "", "name of the node that the pod runs on")
	pod := options.String("pod", "", "the pod as NAMESPACE/NAME")
	podIP := options.String("pod-ip", "", "the pod's addresses, separated by commas")
	control := options.String("control", "", "UNIX socket for ready, unready, peers, log, packets, stall and stop")
	drain := options.Duration("drain", 0, "after SIGTERM go on answering for this long")
	var ports []port
	options.Func("listen", "tcp/PORT or udp/PORT; may be repeated", func(text string) error {
		listen, err := parsePort(text)
		ports = append(ports, listen)
		return err
	})
	if err := options.Parse(arguments); err != nil {
		return err
	}
	if *node == "" || *pod == "" || len(ports) == 0 {
		return errors.New("--node, --pod and at least one --listen are needed")
	}
	server := &Server{Node: *node, Pod: *pod, Instance: rand.Uint64()}
	for _, text := range strings.FieldsFunc(*podIP, func(r rune) bool { return r == ',' }) {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("--pod-ip: %w", err)
		}
		server.Addresses = append(server.Addresses, address)
	}
	return server.run(ctx, ports, *control, *drain)
}

// run serves until it is stopped or terminated.
func (s *Server) run(ctx context.Context, ports []port, control string, drain time.Duration) error {
	terminated := make(chan os.Signal, 2)
	signal.Notify(terminated, syscall.SIGTERM, syscall.SIGINT)
	stopped, err := s.start(ctx, ports, control)
	if err != nil {
		return err
	}
	defer s.stop()
	select {
	case <-stopped.Done():
		return nil
	case <-terminated:
	}
	if drain > 0 {
		select {
		case <-stopped.Done():
		case <-terminated: // a second signal ends the draining
		case <-time.After(drain):
		}
	}
	return nil
}

// start binds everything; the server ends with the context that is returned, and that ends with ctx or stop.
func (s *Server) start(ctx context.Context, ports []port, control string) (context.Context, error) {
	ctx, s.stop = context.WithCancel(ctx)
	for _, listen := range ports {
		if err := s.listen(ctx, listen); err != nil {
			s.stop()
			return nil, err
		}
	}
	if control == "" {
		return ctx, nil
	}
	listener, err := commands.Listen(control) // last, so that the socket's presence says that the ports answer
	if err != nil {
		s.stop()
		return nil, err
	}
	context.AfterFunc(ctx, func() { listener.Close() })
	go s.serveControl(listener)
	return ctx, nil
}

// Start is a server within another program, until ctx ends; listen is as for the command line ("tcp/80").
func Start(ctx context.Context, server *Server, control string, listen ...string) error {
	var ports []port
	for _, text := range listen {
		p, err := parsePort(text)
		if err != nil {
			return err
		}
		ports = append(ports, p)
	}
	_, err := server.start(ctx, ports, control)
	return err
}

// listen binds one port in both families; a namespace without IPv6 (or without IPv4) is served in the other one.
func (s *Server) listen(ctx context.Context, p port) error {
	var absent []error
	for _, ipv6 := range []bool{false, true} {
		bind := s.listenTCP
		if p.network == "udp" {
			bind = s.listenUDP
		}
		if err := bind(ctx, p.number, ipv6); err != nil {
			err = fmt.Errorf("%s port %d: %w", p.network, p.number, err)
			if !absentFamily(err) {
				return err
			}
			absent = append(absent, err)
		}
	}
	if len(absent) == 2 {
		return errors.Join(absent...)
	}
	return nil
}

func (s *Server) listenTCP(ctx context.Context, number int, ipv6 bool) error {
	network := "tcp4"
	if ipv6 {
		network = "tcp6"
	}
	listener, err := net.Listen(network, ":"+strconv.Itoa(number))
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { listener.Close() })
	go s.serveStreams(ctx, listener)
	return nil
}

func (s *Server) listenUDP(ctx context.Context, number int, ipv6 bool) error {
	socket, err := listenDatagrams(number, ipv6)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() {
		s.stopping.Store(true)
		socket.close()
	})
	go s.serveDatagrams(socket)
	return nil
}

// absentFamily says whether the namespace lacks the address family, as with net.ipv6.conf.all.disable_ipv6.
func absentFamily(err error) bool {
	return errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL)
}

func parsePort(text string) (port, error) {
	network, number, _ := strings.Cut(text, "/")
	value, err := strconv.ParseUint(number, 10, 16)
	if network != "tcp" && network != "udp" || err != nil || value == 0 {
		return port{}, fmt.Errorf("%q is not tcp/PORT or udp/PORT", text)
	}
	return port{network, int(value)}, nil
}

// identify says who answers a client; podIP is the pod's address of the client's family.
func (s *Server) identify(client netip.AddrPort, localPort int) []byte {
	client = netip.AddrPortFrom(client.Addr().Unmap(), client.Port())
	identity := Identity{Node: s.Node, Pod: s.Pod, Client: client.String(), Port: localPort, Now: clock.Now()}
	for _, address := range s.Addresses {
		if identity.PodIP == "" || address.Is4() == client.Addr().Is4() {
			identity.PodIP = address.String()
		}
		if address.Is4() == client.Addr().Is4() {
			break
		}
	}
	text, err := json.Marshal(identity)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return text
}
