package podnet

import (
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"lblab/node-agent/internal/nstest"
)

func TestMain(m *testing.M) { nstest.Main(m) }

var cidrs = prefixes("10.244.1.0/24", "fd00:1::/64")

// sandbox makes the network of a pod with the given last byte in both its addresses.
func sandbox(t *testing.T, uid string, last string) *Sandbox {
	t.Helper()
	nstest.Need(t)
	s := NewSandbox(filepath.Join(t.TempDir(), "netns"), uid, []netip.Addr{
		netip.MustParseAddr("10.244.1." + last), netip.MustParseAddr("fd00:1::" + last),
	}, cidrs)
	if err := PrepareNode(cidrs); err != nil {
		t.Fatal(err)
	}
	if err := s.Create(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Remove(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// serve answers TCP connections inside a pod with the client's address.
func serve(t *testing.T, s *Sandbox) {
	t.Helper()
	var listener net.Listener
	err := Inside(s.Netns, func() (err error) {
		listener, err = net.Listen("tcp", ":80")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
			_, _ = io.WriteString(conn, host)
			conn.Close()
		}
	}()
}

// ask connects from a network namespace ("" is the node's) and returns what the server says.
func ask(netns, address string) (answer string, err error) {
	err = Inside(netns, func() error {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(address, "80"), 5*time.Second)
		if err != nil {
			return err
		}
		defer conn.Close()
		text, err := io.ReadAll(conn)
		answer = string(text)
		return err
	})
	return answer, err
}

func TestNodeAndPodsReachEachOther(t *testing.T) {
	a, b := sandbox(t, "a", "2"), sandbox(t, "b", "3")
	serve(t, a)
	for _, c := range []struct{ netns, address, client string }{
		{"", "10.244.1.2", "10.244.1.1"}, {"", "fd00:1::2", "fd00:1::1"},
		{b.Netns, "10.244.1.2", "10.244.1.3"}, {b.Netns, "fd00:1::2", "fd00:1::3"},
	} {
		began := time.Now()
		client, err := ask(c.netns, c.address)
		if err != nil || client != c.client {
			t.Errorf("%s from %q: seen as %q, %v; want %s", c.address, c.netns, client, err, c.client)
		}
		// Duplicate address detection would keep IPv6 from working for a second or more.
		if took := time.Since(began); took > 500*time.Millisecond {
			t.Errorf("%s took %s", c.address, took)
		}
	}
}

// TestNewPodLosesNoPacket fails where packets are sent before the kernel has activated the link: then the first SYN is
// sent again after a second.
func TestNewPodLosesNoPacket(t *testing.T) {
	for i := range 20 {
		s := sandbox(t, "a", "2")
		serve(t, s)
		began := time.Now()
		if _, err := ask("", "10.244.1.2"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 900*time.Millisecond {
			t.Errorf("the first connection to pod %d took %s", i, took)
		}
		if err := s.Remove(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRemovedPodIsUnreachableAtOnceAndLeavesNothing(t *testing.T) {
	s := sandbox(t, "a", "2")
	if err := s.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := netlink.LinkByName(VethName("a")); err == nil {
		t.Error("the link is still there")
	}
	if _, err := os.Stat(s.Netns); !os.IsNotExist(err) {
		t.Errorf("the namespace file is still there: %v", err)
	}
	// The blackhole route refuses locally, so that nothing takes the default route.
	if _, err := ask("", "10.244.1.2"); err == nil {
		t.Error("the pod still answers")
	}
	if s.Exists() {
		t.Error("a removed sandbox exists")
	}
}

func TestSandboxOutlivesItsProcesses(t *testing.T) {
	s := sandbox(t, "a", "2") // no process ever ran in it
	if !s.Exists() {
		t.Fatal("the sandbox is not there")
	}
	_, err := ask("", "10.244.1.2")
	if err == nil {
		t.Error("a pod without a server answers")
	}
	serve(t, s)
	if client, err := ask("", "10.244.1.2"); err != nil || client != "10.244.1.1" {
		t.Errorf("seen as %q, %v", client, err)
	}
}

func TestCreateReplacesWhatIsLeft(t *testing.T) {
	s := sandbox(t, "a", "2")
	if err := s.Create(); err != nil {
		t.Fatalf("create again: %v", err)
	}
	serve(t, s)
	if _, err := ask("", "10.244.1.2"); err != nil {
		t.Error(err)
	}
}

func TestAdoptTakesHoldOfANamespaceWhoseMountIsNotSeen(t *testing.T) {
	s := sandbox(t, "a", "2")
	other := *s
	other.Netns = filepath.Join(t.TempDir(), "netns")
	whole, err := other.Adopt(os.Getpid()) // any process: here one in the node's namespace
	if err != nil || !whole || !isNetns(other.Netns) {
		t.Errorf("whole %v, %v, held %v", whole, err, isNetns(other.Netns))
	}
	if err := removeNetns(other.Netns); err != nil {
		t.Error(err)
	}
	if err := removeLink(VethName("a")); err != nil {
		t.Fatal(err)
	}
	if whole, err := s.Adopt(os.Getpid()); whole || err != nil {
		t.Errorf("without its link: whole %v, %v", whole, err)
	}
}

func TestRemoveStaleKeepsThePodsThatAreKnown(t *testing.T) {
	sandbox(t, "known", "2")
	sandbox(t, "stale", "3")
	removed, err := RemoveStale([]string{"known"})
	if err != nil || len(removed) != 1 || removed[0] != VethName("stale") {
		t.Errorf("removed %v, %v", removed, err)
	}
}
