package l2responder

import (
	"encoding/binary"
	"net/netip"
)

// Offsets in an Ethernet frame with ARP for IPv4 (RFC 826).
const (
	etherTypeARP = 0x0806
	headerLength = 14
	frameLength  = headerLength + 28
	opRequest    = 1
	opReply      = 2
)

type mac [6]byte

var broadcast = mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// packet is an ARP packet for IPv4 over Ethernet with the addresses of its frame; names are those of RFC 826.
type packet struct {
	destination, source mac
	operation           uint16
	sha                 mac
	spa                 netip.Addr
	tha                 mac
	tpa                 netip.Addr
}

// parse reads a frame from its Ethernet header on.
func parse(frame []byte) (packet, bool) {
	if len(frame) < frameLength || binary.BigEndian.Uint16(frame[12:]) != etherTypeARP {
		return packet{}, false
	}
	arp := frame[headerLength:]
	// hardware type Ethernet, protocol type IPv4, and their lengths
	if [6]byte(arp[:6]) != [6]byte{0, 1, 0x08, 0x00, 6, 4} {
		return packet{}, false
	}
	return packet{
		destination: mac(frame[0:6]),
		source:      mac(frame[6:12]),
		operation:   binary.BigEndian.Uint16(arp[6:]),
		sha:         mac(arp[8:14]),
		spa:         netip.AddrFrom4([4]byte(arp[14:18])),
		tha:         mac(arp[18:24]),
		tpa:         netip.AddrFrom4([4]byte(arp[24:28])),
	}, true
}

// bytes makes the frame.
func (p packet) bytes() []byte {
	frame := make([]byte, 0, frameLength)
	frame = append(frame, p.destination[:]...)
	frame = append(frame, p.source[:]...)
	frame = binary.BigEndian.AppendUint16(frame, etherTypeARP)
	frame = append(frame, 0, 1, 0x08, 0x00, 6, 4)
	frame = binary.BigEndian.AppendUint16(frame, p.operation)
	frame = append(frame, p.sha[:]...)
	frame = append(frame, p.spa.AsSlice()...)
	frame = append(frame, p.tha[:]...)
	return append(frame, p.tpa.AsSlice()...)
}

// reply answers a request, to whoever asked.
func (p packet) reply(own mac) packet {
	return packet{
		destination: p.sha, source: own, operation: opReply, sha: own, spa: p.tpa, tha: p.sha, tpa: p.spa,
	}
}

// gratuitous says that an address is at own, to everybody. Cilium fills the target's hardware address with ones
// (pkg/datapath/garp and gneigh), which Linux does not count as gratuitous in a reply.
func gratuitous(operation uint16, own mac, address netip.Addr) packet {
	return packet{
		destination: broadcast, source: own, operation: operation, sha: own, spa: address, tha: broadcast, tpa: address,
	}
}
