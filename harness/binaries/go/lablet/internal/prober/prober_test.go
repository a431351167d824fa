package prober

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"lblab/lablet/internal/records"
	"lblab/lablet/internal/server"
)

// run is what a probe wrote: its header, the records by kind, and its end.
type run struct {
	header, end map[string]any
	records     map[string][][]any
}

func probe(t *testing.T, during func(), arguments ...string) run {
	t.Helper()
	o, _, _, err := parse(arguments)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	writer := records.NewWriter(&out)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	done := make(chan error)
	functions := map[string]func(context.Context, context.Context, *options, *records.Writer) error{
		"udp": probeUDP, "game": probeUDP, "tcp": probeTCP, "http": probeHTTP,
	}
	go func() { done <- functions[o.mode](ctx, context.Background(), o, writer) }()
	during()
	cancel(errors.New("test"))
	if err := errors.Join(<-done, writer.Close()); err != nil {
		t.Fatal(err)
	}
	result := run{records: map[string][][]any{}}
	lines := bufio.NewScanner(&out)
	for lines.Scan() {
		if lines.Bytes()[0] == '{' {
			var object map[string]any
			if err := json.Unmarshal(lines.Bytes(), &object); err != nil {
				t.Fatalf("%s: %v", lines.Text(), err)
			}
			if last, ok := object["end"].(map[string]any); ok {
				result.end = last
			} else {
				result.header = object
			}
			continue
		}
		var record []any
		if err := json.Unmarshal(lines.Bytes(), &record); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		kind := record[0].(string)
		result.records[kind] = append(result.records[kind], record[1:])
	}
	if result.header["mode"] != o.mode || result.end["stopped_by"] != "test" {
		t.Fatalf("header %v, end %v", result.header, result.end)
	}
	return result
}

// pod starts a server and returns its address and how to stop it.
func pod(t *testing.T, host string) (address string, stop func()) {
	t.Helper()
	free, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	free.Close()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	err = server.Start(ctx, &server.Server{Node: "w", Pod: "d/p", Instance: 42}, "", fmt.Sprintf("tcp/%d", port), fmt.Sprintf("udp/%d", port))
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort(host, fmt.Sprint(port)), cancel
}

func wait(length time.Duration) func() { return func() { time.Sleep(length) } }

func TestUDPAccountsForEveryPacket(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		address, _ := pod(t, host)
		got := probe(t, wait(300*time.Millisecond), "--to", address, "--rate", "100", "--flows", "3", "--size", "64", "--reply-size", "500")
		if len(got.records["n"]) != 0 || len(got.records["x"]) != 0 || len(got.records["r"]) < 30 {
			t.Fatalf("%d replies, %v unanswered, %v not sent", len(got.records["r"]), got.records["n"], got.records["x"])
		}
		next := map[float64]float64{}
		for _, r := range got.records["r"] {
			flow, sequence := r[0].(float64), r[1].(float64)
			if next[flow]++; sequence != next[flow] {
				t.Errorf("flow %v: number %v, expected %v", flow, sequence, next[flow])
			}
			for _, part := range r[3:6] { // up, turn, down
				if part := part.(float64); part < -1e6 || part > 1e9 {
					t.Errorf("stamps %v", r)
				}
			}
		}
		if len(next) != 3 || len(got.records["p"]) != 3 || len(got.records["b"]) != 1 || got.records["b"][0][2] != "w" {
			t.Errorf("flows %v, peers %v, backends %v", next, got.records["p"], got.records["b"])
		}
		for _, u := range got.records["u"][len(got.records["u"])-3:] { // the last account of each flow
			if u[5] != next[u[1].(float64)] || len(u[7].([]any)) != 0 {
				t.Errorf("the server's account %v", u)
			}
		}
	}
}

func TestUDPServerThatGoesIsSeenByItsErrors(t *testing.T) {
	address, stop := pod(t, "127.0.0.1")
	got := probe(t, func() {
		time.Sleep(100 * time.Millisecond)
		stop()
		time.Sleep(200 * time.Millisecond)
	}, "--to", address, "--rate", "50", "--linger", "50ms")
	if len(got.records["r"]) < 3 || len(got.records["n"]) < 3 || len(got.records["e"]) == 0 {
		t.Fatalf("%v", got.records)
	}
	refused := got.records["e"][0]
	lost := got.records["n"][0]
	if refused[3] != "ECONNREFUSED" || refused[4] != 3.0 || refused[6] != "127.0.0.1" || refused[2] != lost[1] {
		t.Errorf("error %v, first lost packet %v", refused, lost)
	}
	total := len(got.records["r"]) + len(got.records["n"])
	if got.end["sent"] != float64(total) {
		t.Errorf("%v sent, %d accounted for", got.end["sent"], total)
	}
}

func TestASocketThatCannotBeOpenedIsExplained(t *testing.T) {
	o, _, _, err := parse([]string{"--to", "255.255.255.255:9"}) // broadcast needs SO_BROADCAST
	if err != nil {
		t.Fatal(err)
	}
	writer := records.NewWriter(&bytes.Buffer{})
	if err := probeUDP(context.Background(), context.Background(), o, writer); err == nil || !strings.Contains(err.Error(), "255.255.255.255") {
		t.Errorf("%v", err)
	}
}

func TestTCPStaysConnectedAndConnectsAgain(t *testing.T) {
	address, stop := pod(t, "127.0.0.1")
	got := probe(t, wait(300*time.Millisecond), "--tcp", "--to", address, "--rate", "50", "--flows", "2")
	if len(got.records["r"]) < 10 || len(got.records["n"]) != 0 || got.end["sent"] != got.end["replies"] {
		t.Fatalf("%v %v", got.records, got.end)
	}
	events := got.records["t"]
	if len(events) != 4 || events[0][2] != "connected" || events[3][2] != "stopped" {
		t.Errorf("%v", events)
	}
	got = probe(t, func() {
		time.Sleep(100 * time.Millisecond)
		stop()
		time.Sleep(100 * time.Millisecond)
	}, "--tcp", "--to", address, "--rate", "50", "--reconnect", "20ms", "--linger", "50ms")
	var names []string
	for _, event := range got.records["t"] {
		names = append(names, event[2].(string))
	}
	if len(names) < 3 || names[0] != "connected" || names[1] != "closed" || names[2] != "refused" {
		t.Errorf("%v", names)
	}
}

func TestHTTPOutcomes(t *testing.T) {
	address, stop := pod(t, "127.0.0.1")
	got := probe(t, func() {
		time.Sleep(100 * time.Millisecond)
		stop()
		time.Sleep(100 * time.Millisecond)
	}, "--http", "--to", address, "--rate", "50")
	first, last := got.records["h"][0], got.records["h"][len(got.records["h"])-1]
	if first[5] != "ok" || first[6] != 200.0 || first[7] != 0.0 || first[8] == "" || first[3].(float64) <= 0 {
		t.Errorf("first request %v", first)
	}
	if last[5] != "refused" || last[3] != -1.0 || last[7] != -1.0 {
		t.Errorf("last request %v", last)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	got = probe(t, wait(50*time.Millisecond), "--http", "--to", silent.Addr().String(), "--rate", "20", "--timeout", "100ms")
	if h := got.records["h"][0]; h[5] != "timeout" || h[4].(float64) < 90e6 {
		t.Errorf("%v", h)
	}
}

func TestOptionsThatCannotWork(t *testing.T) {
	for _, arguments := range [][]string{
		{}, {"--to", "nowhere"}, {"--to", ":80"}, {"--to", "1.2.3.4:5", "--rate", "0"}, {"--to", "1.2.3.4:5", "--rate", "2001"},
		{"--to", "1.2.3.4:5", "--flows", "0"}, {"--to", "1.2.3.4:5", "--flows", "20", "--rate", "2000"},
		{"--to", "1.2.3.4:5", "--flows", "3", "--source-port", "65534"}, {"--to", "1.2.3.4:5", "--size", "31"},
		{"--to", "1.2.3.4:5", "--tcp", "--http"}, {"--to", "1.2.3.4:5", "--source", "x"}, {"--to", "1.2.3.4:5", "--late", "0s"},
		{"--to", "1.2.3.4:5", "--http", "--source-port", "4000"},
	} {
		if _, _, _, err := parse(arguments); err == nil {
			t.Errorf("%v was accepted", arguments)
		}
	}
}
