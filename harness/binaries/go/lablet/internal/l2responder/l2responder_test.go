package l2responder

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"lblab/lablet/internal/arp"
)

var (
	address = netip.MustParseAddr("192.168.130.200")
	router  = arp.MAC{2, 0, 0, 0, 0, 1}
	node    = arp.MAC{2, 0, 0, 0, 0, 2}
)

const (
	lease  = 4 * time.Second
	device = 7
)

// request asks who has the address, as a router does.
func whoHas(ip netip.Addr, to arp.MAC) []byte {
	return arp.Frame{
		To: to, From: router, Operation: arp.Request, SenderMAC: router,
		Sender: netip.MustParseAddr("192.168.130.1"), Target: ip,
	}.Append(nil)
}

// fake is the node's interfaces: one Ethernet interface, and loopback with index 1.
type fake struct {
	lock sync.Mutex
	sent []arp.Frame
}

func (f *fake) hardwareAddress(ifIndex int) (arp.MAC, string, error) {
	if ifIndex != device {
		return arp.MAC{}, "lo", errors.New("interface lo is no Ethernet")
	}
	return node, "eth0", nil
}

func (f *fake) send(frame []byte, _ int) {
	found, err := arp.Parse(frame)
	if err != nil {
		panic(fmt.Sprintf("no ARP: %x", frame))
	}
	f.lock.Lock()
	defer f.lock.Unlock()
	f.sent = append(f.sent, found)
}

func (f *fake) frames() []arp.Frame {
	f.lock.Lock()
	defer f.lock.Unlock()
	return append([]arp.Frame(nil), f.sent...)
}

// start gives a responder at a moment that the test moves, and what it sends.
func start(t *testing.T) (*responder, *fake, *int64) {
	t.Helper()
	now := int64(time.Hour)
	ports := &fake{}
	return newResponder(lease, ports, func() int64 { return now }, slog.New(slog.NewTextHandler(io.Discard, nil))), ports, &now
}

func do(t *testing.T, r *responder, asked request) reply {
	t.Helper()
	answer, err := r.do(asked)
	if err != nil {
		t.Fatalf("%s: %v", asked.Op, err)
	}
	return answer
}

func create(operation string) request {
	return request{Op: "create", key: key{address, device}, Gratuitous: operation}
}

func TestAnswersForAnEntryOnly(t *testing.T) {
	r, ports, now := start(t)
	do(t, r, create("request"))
	do(t, r, request{Op: "alive", AtNS: *now})
	announced := len(ports.frames())
	for name, each := range map[string]struct {
		frame   []byte
		ifIndex int
	}{
		"another address":     {whoHas(netip.MustParseAddr("192.168.130.201"), arp.Broadcast), device},
		"another interface":   {whoHas(address, arp.Broadcast), device + 1},
		"somebody else asked": {whoHas(address, arp.MAC{2, 9}), device},
		"a reply":             {arp.Announcing(arp.Reply, router, address).Append(nil), device},
	} {
		r.hear(each.frame, each.ifIndex)
		if len(ports.frames()) != announced {
			t.Errorf("%s was answered", name)
		}
	}
	r.hear(whoHas(address, arp.Broadcast), device)
	r.hear(whoHas(address, node), device) // a router that verifies its entry asks the node itself
	got := ports.frames()[announced:]
	want := arp.Frame{
		To: router, From: node, Operation: arp.Reply, SenderMAC: node, Sender: address, TargetMAC: router,
		Target: netip.MustParseAddr("192.168.130.1"),
	}
	if len(got) != 2 || got[0] != want || got[1] != want {
		t.Fatalf("got %+v, want %+v twice", got, want)
	}
	if answer := do(t, r, request{Op: "list"}); answer.Responses[0] != 2 || !answer.Answers {
		t.Errorf("it counts %+v", answer)
	}
}

func TestOneGratuitousARPForANewEntry(t *testing.T) {
	for operation, code := range map[string]uint16{"request": arp.Request, "reply": arp.Reply} {
		r, ports, _ := start(t)
		do(t, r, create(operation))
		do(t, r, create(operation))
		want := arp.Frame{To: arp.Broadcast, From: node, Operation: code, SenderMAC: node, Sender: address, TargetMAC: arp.Broadcast, Target: address}
		if got := ports.frames(); len(got) != 1 || got[0] != want {
			t.Errorf("%s: sent %+v", operation, got)
		}
		do(t, r, request{Op: "delete", key: key{address, device}})
		do(t, r, create(operation))
		if got := ports.frames(); len(got) != 2 {
			t.Errorf("%s: an entry that came back was announced %d times in all", operation, len(got))
		}
	}
}

func TestSilentWithoutTheAgent(t *testing.T) {
	r, ports, now := start(t)
	do(t, r, create("request"))
	asked := func() bool {
		before := len(ports.frames())
		r.hear(whoHas(address, arp.Broadcast), device)
		return len(ports.frames()) > before
	}
	if asked() {
		t.Error("answered before the agent was heard of")
	}
	do(t, r, request{Op: "alive", AtNS: *now})
	*now += int64(lease)
	if !asked() {
		t.Error("silent although the lease still holds")
	}
	*now++
	if asked() {
		t.Error("answered after the lease")
	}
	if do(t, r, request{Op: "list"}).Answers {
		t.Error("says that it answers")
	}
	do(t, r, request{Op: "alive", AtNS: *now})
	if !asked() {
		t.Error("silent although the agent is back")
	}
}

func TestSaysWhenItFallsSilent(t *testing.T) {
	var log strings.Builder
	var lock sync.Mutex
	began := time.Now()
	r := newResponder(20*time.Millisecond, &fake{}, func() int64 { return int64(time.Since(began)) + 1 },
		slog.New(slog.NewTextHandler(locked{&lock, &log}, nil)))
	do(t, r, request{Op: "alive", AtNS: r.now()})
	deadline := time.Now().Add(5 * time.Second)
	for {
		lock.Lock()
		said := log.String()
		lock.Unlock()
		if strings.Contains(said, "No ARP is answered") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("said only: %s", said)
		}
		time.Sleep(time.Millisecond)
	}
	do(t, r, request{Op: "alive", AtNS: r.now()})
	lock.Lock()
	defer lock.Unlock()
	if strings.Count(log.String(), "the agent is heard of") != 2 {
		t.Errorf("said: %s", log.String())
	}
}

func TestLogLinesHaveBothClocks(t *testing.T) {
	var log strings.Builder
	newLog(&log).Info("ARP is answered", "ip", address)
	line := regexp.MustCompile(`^time=\S+Z?\S* now_ns=\d+ level=INFO msg="ARP is answered" ip=192\.168\.130\.200\n$`)
	if !line.MatchString(log.String()) {
		t.Errorf("wrote %q", log.String())
	}
}

type locked struct {
	lock *sync.Mutex
	to   io.Writer
}

func (l locked) Write(text []byte) (int, error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	return l.to.Write(text)
}

func TestProgrammedOverItsSocket(t *testing.T) {
	r, ports, _ := start(t)
	path := filepath.Join(t.TempDir(), "socket")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- r.serveControl(listener) }()
	connection, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(connection)
	for _, each := range []struct{ asked, want string }{
		{`{"op":"list"}`, `{"answers":false}`},
		{`{"op":"create","ip":"192.168.130.200","ifindex":7,"gratuitous":"reply"}`, `{"answers":false}`},
		{`{"op":"list"}`, `{"entries":[{"ip":"192.168.130.200","ifindex":7}],"responses":[0],"answers":false}`},
		{`{"op":"create","ip":"192.168.130.200","ifindex":1,"gratuitous":"reply"}`, `{"error":"interface lo is no Ethernet","answers":false}`},
		{`{"op":"create","ip":"fd00::1","ifindex":7,"gratuitous":"reply"}`, `an entry has an IPv4 address`},
		{`{"op":"create","ip":"192.168.130.200","ifindex":7,"gratuitous":"twice"}`, `a gratuitous request or reply`},
		{`{"op":"delete","ip":"192.168.130.200","ifindex":7}`, `{"answers":false}`},
		{`{"op":"delete","ip":"192.168.130.200","ifindex":7}`, `{"error":"no such entry","answers":false}`},
		{`{"op":"dance"}`, `unknown op \"dance\"`},
		{`nonsense`, `{"error":"invalid character`},
	} {
		if _, err := fmt.Fprintln(connection, each.asked); err != nil {
			t.Fatal(err)
		}
		got, err := lines.ReadString('\n')
		if err != nil || !strings.Contains(got, each.want) {
			t.Errorf("%s: answered %s (%v), want %s", each.asked, got, err, each.want)
		}
	}
	if sent := ports.frames(); len(sent) != 1 || sent[0].Operation != arp.Reply {
		t.Errorf("sent %+v", sent)
	}
	connection.Close()
	listener.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
