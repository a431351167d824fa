package arpfreebsd

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"lblab/lablet/internal/arp"
)

var (
	router  = netip.MustParseAddr("192.168.130.1")
	vip     = netip.MustParseAddr("192.168.130.100")
	device  = arp.Device{Name: "igb0", Index: 7, MAC: arp.MAC{2, 0, 0, 0, 0, 1}}
	worker1 = arp.MAC{2, 0, 0, 0, 0, 0x51}
	worker2 = arp.MAC{2, 0, 0, 0, 0, 0x52}
)

const second = int64(1_000_000_000)

// lab is a table with a fake clock, and everything that it did, in order, with the time in seconds.
type lab struct {
	t      *testing.T
	table  *Table
	now    int64
	did    []string
	log    []string
	kernel string // where the kernel sends packets
}

// newLab starts the clock of an uptime of half a second, so that seconds of the uptime do not begin with the test's.
func newLab(t *testing.T) *lab {
	l := &lab{t: t, kernel: "unknown"}
	l.table = NewTable(device, []netip.Addr{router}, Defaults(1), -second/2, l)
	return l
}

func (l *lab) note(format string, arguments ...any) {
	l.did = append(l.did, fmt.Sprintf("%g ", float64(l.now)/float64(second))+fmt.Sprintf(format, arguments...))
}

func (l *lab) Ask(netip.Addr)                   { l.note("ask") }
func (l *lab) Forward(_ netip.Addr, to arp.MAC) { l.note("forward %s", to); l.kernel = to.String() }
func (l *lab) Hold(netip.Addr)                  { l.note("hold"); l.kernel = "held" }
func (l *lab) Forget(netip.Addr)                { l.note("forget"); l.kernel = "unknown" }
func (l *lab) Watch(_ netip.Addr, on bool)      { l.note("watch %t", on) }
func (l *lab) Send(packet Packet, to arp.MAC)   { l.note("send %s %s", packet, to) }
func (l *lab) Unreachable(packet Packet)        { l.note("unreachable %s", packet) }
func (l *lab) Tell(event Event)                 { l.note("%s", event.Name) }
func (l *lab) Log(text string)                  { l.log = append(l.log, text) }

// until lets time pass, each timer at its moment.
func (l *lab) until(seconds float64) {
	end := int64(seconds * float64(second))
	for {
		due, ok := l.table.Next()
		if !ok || due > end {
			break
		}
		l.now = max(l.now, due)
		l.table.Tick(l.now)
	}
	l.now = end
}

// packet has the kernel deal with a data packet as it would.
func (l *lab) packet(name string) {
	switch l.kernel {
	case "unknown":
		l.note("ask (kernel)")
		l.table.Asked(l.now, vip)
		l.table.Outgoing(l.now, vip, Packet(name)) // the kernel lets go of what it held
	case "held":
		l.table.Outgoing(l.now, vip, Packet(name))
	default:
		l.table.Used(vip)
	}
}

func (l *lab) hears(frame arp.Frame) { l.table.Heard(l.now, frame) }

// reply is worker's answer to the router's request.
func reply(from arp.MAC) arp.Frame {
	return arp.Answering(arp.Asking(device.MAC, router, vip), from)
}

// gratuitous is one of MetalLB's frames.
func gratuitous(from arp.MAC, operation uint16) arp.Frame {
	return arp.Frame{
		To: arp.Broadcast, From: from, Operation: operation, SenderMAC: from, Sender: vip, TargetMAC: arp.Broadcast, Target: vip,
	}
}

// saw checks what the table did since the last check.
func (l *lab) saw(wanted ...string) {
	l.t.Helper()
	if got := l.did; !(len(got) == 0 && len(wanted) == 0) && !reflect.DeepEqual(got, wanted) {
		l.t.Fatalf("it did\n  %s\nnot\n  %s", strings.Join(got, "\n  "), strings.Join(wanted, "\n  "))
	}
	l.did = nil
}

// resolved is a lab in which worker1 has answered at 0.
func resolved(t *testing.T) *lab {
	l := newLab(t)
	l.packet("a")
	l.hears(reply(worker1))
	l.saw("0 ask (kernel)", "0 incomplete", "0 hold", "0 forward "+worker1.String(), "0 learned", "0 send a "+worker1.String())
	return l
}

func TestTheFirstPacketAsksIsHeldAndSentWhenTheAnswerComes(t *testing.T) {
	l := resolved(t)
	if c := l.table.counters[vip]; c.Requests != 1 || c.Replies[worker1] != 1 || c.Learned != 1 || c.Dropped != 0 {
		t.Fatalf("%+v", c)
	}
}

func TestAUsedEntryIsAskedForFiveTimesAndDeletedAfter1201Seconds(t *testing.T) {
	l := resolved(t)
	l.until(1195.5)
	l.saw("1195 watch true")
	l.packet("")
	l.saw("1195.5 watch false")
	l.until(1300)
	var wanted []string
	for n := 1196; n <= 1200; n++ {
		wanted = append(wanted, fmt.Sprintf("%d ask", n), fmt.Sprintf("%d verify_request", n))
	}
	l.saw(append(wanted, "1201 forget", "1201 expired")...)
	if c := l.table.counters[vip]; c.Expiries != 1 || c.Requests != 6 {
		t.Fatalf("%+v", c)
	}
}

func TestAnUnusedEntryIsDeletedAfter1200SecondsWithoutAQuestion(t *testing.T) {
	l := resolved(t)
	l.until(1300)
	l.saw("1195 watch true", "1200 forget", "1200 watch false", "1200 expired")
}

func TestAnEntryThatIsUsedLateIsStillAskedForFiveTimes(t *testing.T) {
	l := resolved(t)
	l.until(1199.5)
	l.packet("")
	l.until(1210)
	if last := l.did[len(l.did)-1]; last != "1205 expired" {
		t.Fatalf("%v", l.did)
	}
	if l.did[2] != "1200 ask" || l.did[10] != "1204 ask" {
		t.Fatalf("%v", l.did)
	}
}

func TestTheLastQuestionMayStillBeAnswered(t *testing.T) {
	l := resolved(t)
	l.until(1195.1)
	l.packet("")
	l.until(1200.9)
	l.did = nil
	l.hears(reply(worker1))
	l.saw("1200.9 verified")
	l.until(2395.8)
	l.saw()
	l.until(2395.9)
	l.saw("2395.9 watch true")
}

func TestAnARPPacketWhileItIsWatchedEndsTheWatch(t *testing.T) {
	l := resolved(t)
	l.until(1195.2)
	l.hears(gratuitous(worker1, arp.Request))
	l.saw("1195 watch true", "1195.2 watch false", "1195.2 verified")
}

func TestEveryARPPacketRenewsTheEntry(t *testing.T) {
	l := resolved(t)
	l.until(600)
	l.hears(gratuitous(worker1, arp.Reply))
	l.saw() // nothing has changed but the time
	l.until(1794)
	l.saw()
	l.until(1795)
	l.saw("1795 watch true")
}

func TestTheLastOneWhoSpeaksHasTheAddress(t *testing.T) {
	for name, frame := range map[string]arp.Frame{
		"unicast reply":      reply(worker2),
		"gratuitous request": gratuitous(worker2, arp.Request),
		"gratuitous reply":   gratuitous(worker2, arp.Reply),
	} {
		t.Run(name, func(t *testing.T) {
			l := resolved(t)
			l.now += 2_000_000 // two replies 2 ms apart
			l.hears(frame)
			l.saw("0.002 forward "+worker2.String(), "0.002 moved")
			if want := "arp: 192.168.130.100 moved from 02:00:00:00:00:51 to 02:00:00:00:00:52 on igb0"; l.log[0] != want {
				t.Fatalf("logged %q", l.log)
			}
			if l.table.counters[vip].Moves != 1 {
				t.Fatal("not counted")
			}
		})
	}
}

func TestAMoveDuringVerifyIsAnAnswer(t *testing.T) {
	l := resolved(t)
	l.until(1195.1)
	l.packet("")
	l.until(1196.5)
	l.did = nil
	l.hears(reply(worker2))
	l.saw("1196.5 forward "+worker2.String(), "1196.5 moved")
	l.until(2391)
	l.saw()
}

func TestAGratuitousARPNeverCreatesAnEntry(t *testing.T) {
	l := newLab(t)
	l.hears(gratuitous(worker1, arp.Request))
	l.hears(gratuitous(worker1, arp.Reply))
	other := arp.Asking(worker1, vip, netip.MustParseAddr("192.168.130.9")) // a request for somebody else
	l.hears(other)
	l.saw()
	if c := l.table.counters[vip]; len(l.table.entries) != 0 || c.Ignored != 3 {
		t.Fatalf("%+v", c)
	}
}

func TestAPacketForTheRouterItselfCreatesAnEntry(t *testing.T) {
	l := newLab(t)
	l.hears(arp.Asking(worker1, vip, router))
	l.saw("0 forward "+worker1.String(), "0 learned")
}

func TestAGratuitousARPResolvesAnEntryThatIsAskedFor(t *testing.T) {
	l := newLab(t)
	l.packet("a")
	l.until(70)
	l.did = nil
	l.packet("b") // the entry of before has timed out
	l.hears(gratuitous(worker1, arp.Request))
	l.saw("70 ask (kernel)", "70 incomplete", "70 hold", "70 forward "+worker1.String(), "70 learned", "70 send b "+worker1.String())
}

func TestNobodyAnswersIsAskedOnceASecondForAsLongAsTrafficLasts(t *testing.T) {
	l := newLab(t)
	for n := range 1001 { // 100 packets a second for 10 s
		l.until(float64(n) / 100)
		l.packet("p")
	}
	asked := 0
	told := ""
	for _, each := range l.did {
		if strings.Contains(each, " ask") {
			asked++
		}
		if strings.Contains(each, "unreachable") && told == "" {
			told = each
		}
	}
	// the uptime's seconds begin at 0.5, 1.5, ...: requests at 0, 0.5, 1.5, ..., 9.5
	if asked != 11 || l.table.counters[vip].Requests != 11 {
		t.Fatalf("asked %d times", asked)
	}
	// the fifth request is at 3.5; the packet after it is told
	if told != "3.51 unreachable p" {
		t.Fatalf("first told: %q", told)
	}
	if c := l.table.counters[vip]; c.Unreachable != 1000-350 {
		t.Fatalf("%+v", c)
	}
	if e := l.table.entries[vip]; len(e.held) != 16 || l.table.counters[vip].Dropped != 1001-16 {
		t.Fatalf("%d held, %+v", len(e.held), l.table.counters[vip])
	}
}

func TestTheOldestPacketIsDroppedAndTheRestIsSent(t *testing.T) {
	l := newLab(t)
	for n := range 18 {
		l.packet(fmt.Sprint(n))
	}
	l.did = nil
	l.hears(reply(worker1))
	if len(l.did) != 2+16 || l.did[2] != "0 send 2 "+worker1.String() || l.did[17] != "0 send 17 "+worker1.String() {
		t.Fatalf("%v", l.did)
	}
}

func TestAnUnresolvedEntryIsForgotten20SecondsAfterTheLastQuestion(t *testing.T) {
	l := newLab(t)
	l.packet("a")
	l.until(3)
	l.packet("b")
	l.did = nil
	l.until(22.9)
	l.saw()
	l.until(30)
	l.saw("23 forget", "23 timed_out")
	if c := l.table.counters[vip]; c.Timeouts != 1 || c.Expiries != 0 || c.Dropped != 2 {
		t.Fatalf("%+v", c)
	}
}

func TestAPacketThatWasOnItsWayToTheTableIsSentAtOnce(t *testing.T) {
	l := resolved(t)
	l.table.Outgoing(l.now, vip, Packet("late"))
	l.saw("0 send late " + worker1.String())
}

func TestAKernelThatForgotIsTold(t *testing.T) {
	l := resolved(t)
	l.table.Asked(l.now, vip) // its link was down, and its table is empty
	l.saw("0 forward " + worker1.String())
	l.table.Delete(vip)
	l.packet("a")
	l.did = nil
	l.table.Asked(l.now, vip)
	l.saw("0 hold")
}

func TestDeletedByHandItIsNotExpired(t *testing.T) {
	l := resolved(t)
	l.until(1195)
	if !l.table.Delete(vip) || l.table.Delete(vip) {
		t.Fatal("not deleted once")
	}
	l.saw("1195 watch true", "1195 watch false", "1195 forget")
	if l.table.counters[vip].Expiries != 0 {
		t.Fatal("counted")
	}
}

func TestImpossibleSendersAreRefused(t *testing.T) {
	l := resolved(t)
	multicast := reply(arp.MAC{1, 0, 0x5e, 0, 0, 1})
	l.hears(multicast)
	l.hears(reply(arp.Broadcast))
	l.hears(reply(device.MAC))
	mine := gratuitous(worker2, arp.Request)
	mine.Sender = router
	l.now += 2 * second // past the limit of the log
	l.hears(mine)
	l.saw()
	want := []string{"arp: 01:00:5e:00:00:01 is multicast", "arp: 02:00:00:00:00:52 is using my IP address 192.168.130.1 on igb0!"}
	if !reflect.DeepEqual(l.log, want) {
		t.Fatalf("%q", l.log)
	}
}

func TestTheLogHasOneLineASecond(t *testing.T) {
	l := resolved(t)
	for n := range 30 {
		l.now = int64(n) * second / 10
		l.hears(reply([]arp.MAC{worker2, worker1}[n%2]))
	}
	if len(l.log) != 3 || l.table.counters[vip].Moves != 30 {
		t.Fatalf("%d lines, %d moves", len(l.log), l.table.counters[vip].Moves)
	}
}

func TestEveryTimerScales(t *testing.T) {
	l := &lab{t: t, kernel: "unknown"}
	l.table = NewTable(device, []netip.Addr{router}, Defaults(0.02), 0, l)
	l.packet("a")
	l.hears(reply(worker1))
	l.did = nil
	l.until(23.91)
	l.packet("")
	l.until(60)
	want := []string{"23.9 watch true", "23.91 watch false"}
	for n := 1196; n <= 1200; n++ {
		at := float64(n*20_000_000) / 1e9
		want = append(want, fmt.Sprintf("%g ask", at), fmt.Sprintf("%g verify_request", at))
	}
	l.saw(append(want, "24.02 forget", "24.02 expired")...)
}

func TestADaemonThatWaitedForACPUStillSeesThatAnEntryIsUsed(t *testing.T) {
	l := resolved(t)
	l.now = 1199 * second // four seconds late for the timer at 1195
	l.table.Tick(l.now)
	l.saw("1199 watch true")
	l.packet("")
	l.until(1300)
	if l.did[1] != "1200 ask" || l.did[len(l.did)-1] != "1205 expired" {
		t.Fatalf("%v", l.did)
	}
}
