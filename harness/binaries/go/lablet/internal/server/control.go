package server

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"lblab/lablet/internal/clock"
)

func (s *Server) serveControl(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		go s.serveCommands(connection)
	}
}

// serveCommands answers every line with one line of JSON; after "packets" only arrivals follow.
func (s *Server) serveCommands(connection net.Conn) {
	defer connection.Close()
	lines := bufio.NewScanner(connection)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 0 {
			continue
		}
		if words[0] == "packets" {
			if flow, err := flowArgument(words[1:]); err == nil {
				s.streamArrivals(connection, flow)
				return
			}
		}
		text, err := json.Marshal(s.execute(words[0], words[1:]))
		if err != nil {
			panic(err) // strings and numbers only
		}
		if _, err := connection.Write(append(text, '\n')); err != nil {
			return
		}
		if words[0] == "stop" {
			s.stop()
			return
		}
	}
}

type failure struct {
	Error string `json:"error"`
}

func (s *Server) execute(command string, arguments []string) any {
	switch command {
	case "ready":
		return map[string]any{
			"ready": !s.unready.Load(), "node": s.Node, "pod": s.Pod, "instance": hex(s.Instance), "now_ns": clock.Now(),
		}
	case "unready":
		if len(arguments) != 1 || arguments[0] != "on" && arguments[0] != "off" {
			return failure{"unready on|off"}
		}
		s.unready.Store(arguments[0] == "on")
		return map[string]any{"ready": !s.unready.Load(), "now_ns": clock.Now()}
	case "peers":
		return map[string]any{"peers": s.ledger.sources(), "now_ns": clock.Now()}
	case "log":
		flow, err := flowArgument(arguments)
		if err != nil {
			return failure{err.Error()}
		}
		return map[string]any{
			"flows": s.ledger.accounts(flow), "instance": hex(s.Instance), "node": s.Node, "pod": s.Pod, "now_ns": clock.Now(),
		}
	case "stall":
		length, err := time.ParseDuration(strings.Join(arguments, " "))
		if err != nil || length <= 0 {
			return failure{"stall DURATION"}
		}
		return map[string]any{"stalled_ns": int64(length), "now_ns": s.stall(length)}
	case "stop":
		return map[string]any{"stopping": true, "now_ns": clock.Now()}
	}
	return failure{fmt.Sprintf("%q is not ready, unready, peers, log, packets, stall or stop", command)}
}

// streamArrivals writes one line per probe packet until the reader goes away:
// [session, flow, sequence, sent, received, replied, peer, duplicate]. When lines had to be dropped for a slow reader, a
// line {"dropped": n} says how many so far.
func (s *Server) streamArrivals(connection net.Conn, flow int) {
	follower := s.ledger.follow(flow)
	defer s.ledger.unfollow(follower)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_, _ = connection.Read(make([]byte, 1)) // returns when the reader has gone
	}()
	writer := bufio.NewWriter(connection)
	fmt.Fprintf(writer, "{\"following\":%d,\"now_ns\":%d}\n", flow, clock.Now())
	if writer.Flush() != nil {
		return
	}
	var reported uint64
	for {
		select {
		case <-closed:
			return
		case a := <-follower.arrivals:
			duplicate := 0
			if a.duplicate {
				duplicate = 1
			}
			fmt.Fprintf(writer, "[\"%s\",%d,%d,%d,%d,%d,\"%s\",%d]\n", hex(a.session), a.flow, a.sequence, a.sent, a.received, a.replied, a.peer, duplicate)
		}
		if len(follower.arrivals) > 0 {
			continue
		}
		if dropped := s.ledger.dropped(follower); dropped != reported {
			reported = dropped
			fmt.Fprintf(writer, "{\"dropped\":%d}\n", dropped)
		}
		if writer.Flush() != nil {
			return
		}
	}
}

// flowArgument reads an optional flow number; none, or "all", is -1.
func flowArgument(arguments []string) (int, error) {
	if len(arguments) == 0 || arguments[0] == "all" {
		return -1, nil
	}
	flow, err := strconv.ParseUint(arguments[0], 10, 16)
	if err != nil || len(arguments) > 1 {
		return 0, fmt.Errorf("%q is not a flow number", strings.Join(arguments, " "))
	}
	return int(flow), nil
}

func hex(number uint64) string { return fmt.Sprintf("%016x", number) }
