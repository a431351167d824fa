package arpfreebsd

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// datagram is an IPv4 header of 20 bytes with 12 behind it.
func datagram(protocol byte) []byte {
	packet := make([]byte, 32)
	packet[0], packet[9] = 0x45, protocol
	copy(packet[12:], []byte{192, 168, 129, 50})
	copy(packet[16:], []byte{192, 168, 130, 100})
	return packet
}

func TestTheSenderIsToldWithTheHeaderAndEightBytes(t *testing.T) {
	message, to, ok := unreachable(datagram(unix.IPPROTO_UDP))
	if !ok || to != netip.MustParseAddr("192.168.129.50") || len(message) != 8+20+8 || message[0] != 3 || message[1] != 1 {
		t.Fatalf("%v %v % x", ok, to, message)
	}
	if checksum(message) != 0 {
		t.Fatal("the checksum does not add up")
	}
}

func TestNobodyIsToldWhatNobodyMayBeTold(t *testing.T) {
	failed := datagram(unix.IPPROTO_ICMP)
	failed[20] = 3
	fragment := datagram(unix.IPPROTO_UDP)
	fragment[7] = 1
	multicast := datagram(unix.IPPROTO_UDP)
	multicast[12] = 224
	for name, packet := range map[string][]byte{
		"ICMP error": failed, "fragment": fragment, "multicast": multicast, "short": datagram(17)[:27], "IPv6": {0x60},
	} {
		if _, _, ok := unreachable(packet); ok {
			t.Errorf("%s was answered", name)
		}
	}
	echo := datagram(unix.IPPROTO_ICMP)
	echo[20] = 8
	if _, _, ok := unreachable(echo); !ok {
		t.Error("an echo request was not answered")
	}
}
