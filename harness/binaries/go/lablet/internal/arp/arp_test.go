package arp

import (
	"encoding/hex"
	"net/netip"
	"testing"
)

// A request as tcpdump shows one: who-has 192.168.130.100 tell 192.168.130.1.
const request = "ffffffffffff020000000001" + "0806" + "0001080006040001" + "020000000001c0a88201" + "000000000000c0a88264"

func TestARequestIsReadAndWrittenAsItIsOnTheWire(t *testing.T) {
	wire, err := hex.DecodeString(request)
	if err != nil {
		t.Fatal(err)
	}
	own, router, vip := MAC{2, 0, 0, 0, 0, 1}, netip.MustParseAddr("192.168.130.1"), netip.MustParseAddr("192.168.130.100")
	frame, err := Parse(append(wire, make([]byte, 18)...)) // Ethernet pads to 60 bytes
	if err != nil {
		t.Fatal(err)
	}
	if frame != Asking(own, router, vip) {
		t.Fatalf("read %+v", frame)
	}
	if written := hex.EncodeToString(frame.Append(nil)); written != request {
		t.Fatalf("wrote %s", written)
	}
}

func TestAReplyAnswersTheAsker(t *testing.T) {
	asker, own := MAC{2, 0, 0, 0, 0, 1}, MAC{2, 0, 0, 0, 0, 2}
	router, vip := netip.MustParseAddr("192.168.130.1"), netip.MustParseAddr("192.168.130.100")
	got := Answering(Asking(asker, router, vip), own)
	want := Frame{To: asker, From: own, Operation: Reply, SenderMAC: own, Sender: vip, TargetMAC: asker, Target: router}
	if got != want {
		t.Fatalf("got %+v", got)
	}
}

func TestOtherFramesAreRefused(t *testing.T) {
	wire, _ := hex.DecodeString(request)
	for name, change := range map[string]func([]byte) []byte{
		"short":           func(f []byte) []byte { return f[:Size-1] },
		"IPv4":            func(f []byte) []byte { f[13] = 0; return f },
		"token":           func(f []byte) []byte { f[15] = 6; return f },
		"another network": func(f []byte) []byte { f[17] = 6; return f },
		"IPv6 inside ARP": func(f []byte) []byte { f[19] = 16; return f },
		"long MACs":       func(f []byte) []byte { f[18] = 8; return f },
	} {
		if _, err := Parse(change(append([]byte(nil), wire...))); err == nil {
			t.Errorf("%s was taken for ARP", name)
		}
	}
}
