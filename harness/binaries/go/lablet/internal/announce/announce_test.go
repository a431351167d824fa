package announce

import (
	"io"
	"net/netip"
	"sync"
	"testing"
	"time"

	"lblab/lablet/internal/arp"
	"lblab/lablet/internal/clock"
)

var (
	own    = arp.MAC{2, 0, 0, 0, 0, 0x51}
	asker  = arp.MAC{2, 0, 0, 0, 0, 1}
	router = netip.MustParseAddr("192.168.130.1")
	vip    = netip.MustParseAddr("192.168.130.105")
)

// sent is what a responder puts on the wire, and when.
type sent struct {
	sync.Mutex
	frames []arp.Frame
	at     []int64
}

func (s *sent) Send(frame arp.Frame) error {
	s.Lock()
	defer s.Unlock()
	s.frames, s.at = append(s.frames, frame), append(s.at, clock.Now())
	return nil
}

func (s *sent) all() []arp.Frame {
	s.Lock()
	defer s.Unlock()
	return append([]arp.Frame(nil), s.frames...)
}

// wait until so many frames were sent, or a second has passed.
func (s *sent) wait(number int) []arp.Frame {
	for end := time.Now().Add(time.Second); time.Now().Before(end) && len(s.all()) < number; {
		time.Sleep(time.Millisecond)
	}
	return s.all()
}

func responder(scale float64) (*Responder, *sent) {
	wire := &sent{}
	return New("k-node1", own, scale, wire, io.Discard), wire
}

func TestFiveRoundsOfTwoFrames(t *testing.T) {
	const scale = 0.02
	r, wire := responder(scale)
	r.Announce(vip, false)
	frames := wire.wait(10)
	time.Sleep(60 * time.Millisecond) // a sixth round would come 22 ms after the fifth
	if frames = wire.all(); len(frames) != 10 {
		t.Fatalf("%d frames", len(frames))
	}
	for n, frame := range frames {
		want := arp.Frame{
			To: arp.Broadcast, From: own, Operation: []uint16{arp.Request, arp.Reply}[n%2],
			SenderMAC: own, Sender: vip, TargetMAC: arp.Broadcast, Target: vip,
		}
		if frame != want {
			t.Fatalf("frame %d is %+v", n, frame)
		}
		late := wire.at[n] - wire.at[0] - int64(float64(n/2)*scale*1.1e9)
		if late < -int64(time.Millisecond) || late > int64(20*time.Millisecond) {
			t.Errorf("frame %d came %v off its time", n, time.Duration(late))
		}
	}
}

func TestALostGratuitousARPAndAWithdrawalAreSilent(t *testing.T) {
	r, wire := responder(0.001)
	r.Announce(vip, true)
	r.Heard(arp.Asking(asker, router, vip))
	r.Withdraw(vip)
	r.Heard(arp.Asking(asker, router, vip))
	time.Sleep(10 * time.Millisecond)
	frames := wire.all()
	if len(frames) != 1 || frames[0] != arp.Answering(arp.Asking(asker, router, vip), own) {
		t.Fatalf("%+v", frames)
	}
}

func TestOnlyRequestsForTheAddressAndTheNodeAreAnswered(t *testing.T) {
	r, wire := responder(1)
	r.Announce(vip, true)
	reply := arp.Asking(asker, router, vip)
	reply.Operation = arp.Reply
	toOther := arp.Asking(asker, router, vip)
	toOther.To = arp.MAC{2, 0, 0, 0, 0, 9}
	for _, frame := range []arp.Frame{reply, toOther, arp.Asking(asker, router, netip.MustParseAddr("192.168.130.106"))} {
		r.Heard(frame)
	}
	if frames := wire.all(); len(frames) != 0 {
		t.Fatalf("%+v", frames)
	}
	unicast := arp.Asking(asker, router, vip)
	unicast.To = own
	r.Heard(unicast)
	if len(wire.all()) != 1 {
		t.Fatal("a unicast request was not answered")
	}
}

func TestMuted(t *testing.T) {
	r, wire := responder(1)
	r.Announce(vip, true)
	r.Mute(vip, true)
	r.Heard(arp.Asking(asker, router, vip))
	if len(wire.all()) != 0 {
		t.Fatal("answered")
	}
	r.Mute(vip, false)
	r.Heard(arp.Asking(asker, router, vip))
	if a := r.addresses[vip]; len(wire.all()) != 1 || a.Requests != 2 || a.Answered != 1 {
		t.Fatalf("%+v", a)
	}
}

func TestALateAnswer(t *testing.T) {
	r, wire := responder(1)
	r.Announce(vip, true)
	r.Delay(vip, 30*time.Millisecond)
	before := clock.Now()
	r.Heard(arp.Asking(asker, router, vip))
	wire.wait(1)
	if late := wire.at[0] - before; late < int64(30*time.Millisecond) {
		t.Fatalf("answered after %v", time.Duration(late))
	}
}

func TestStalls(t *testing.T) {
	s := stalls{began: 100, every: 1000, length: 300}
	for now, want := range map[int64]int64{100: 100, 799: 799, 800: 1100, 1099: 1100, 1100: 1100, 1850: 2100} {
		if got := s.until(now); got != want {
			t.Errorf("%d is done at %d, not %d", now, got, want)
		}
	}
	if got := (stalls{}).until(5); got != 5 {
		t.Errorf("without stalls at %d", got)
	}
}

var leaders = map[string]string{
	"192.168.130.105": "k-node5",
	"192.168.130.100": "k-node1",
	"192.168.142.6":   "k-node1",
	"192.168.130.103": "k-node2",
}

// The order of the hashes was computed with Python: sorted(nodes, key=lambda n: sha256(f"{n}#{ip}".encode()).digest()).
func TestTheLeaderIsMetalLBs(t *testing.T) {
	nodes := []string{"k-node1", "k-node2", "k-node5", "k-beef1"}
	for address, want := range leaders {
		if got, ok := leader(nodes, netip.MustParseAddr(address)); !ok || got != want {
			t.Errorf("%s is led by %s, not %s", address, got, want)
		}
	}
	if _, ok := leader(nil, vip); ok {
		t.Error("nobody was elected")
	}
}

func TestTheLeaderAnnouncesAndComesBack(t *testing.T) {
	r, wire := responder(0.001)
	order := []string{"k-node1", "k-node2"}
	first, _ := leader(order, vip)
	r.node = first
	other := order[0]
	if other == first {
		other = order[1]
	}
	r.Elect([]string{other}, []netip.Addr{vip})
	if a := r.addresses[vip]; len(wire.all()) != 0 || a.active {
		t.Fatal("announced without being a member")
	}
	r.Elect(order, nil)
	if a := r.addresses[vip]; !a.active || len(wire.wait(2)) < 2 {
		t.Fatal("the leader does not announce")
	}
}
