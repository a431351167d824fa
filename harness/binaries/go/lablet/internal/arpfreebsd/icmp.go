package arpfreebsd

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	icmpUnreachable, icmpHost = 3, 1 // RFC 792: destination unreachable, host; FreeBSD's answer to EHOSTDOWN (ip_forward)
	icmpQuoted                = 8    // bytes behind the IP header that are quoted (FreeBSD: net.inet.icmp.quotelen)
	headerIPv4                = 20
)

// unreachable writes the ICMP message that tells the sender of an IPv4 packet that its host is down; false when nobody may
// be told (RFC 1122, 3.2.2): about an ICMP error, a later fragment, or a sender that is no single host.
func unreachable(packet []byte) (message []byte, to netip.Addr, ok bool) {
	if len(packet) < headerIPv4 || packet[0]>>4 != 4 {
		return nil, netip.Addr{}, false
	}
	length := int(packet[0]&0xf) * 4
	if length < headerIPv4 || len(packet) < length+icmpQuoted || binary.BigEndian.Uint16(packet[6:])&0x1fff != 0 {
		return nil, netip.Addr{}, false
	}
	if packet[9] == unix.IPPROTO_ICMP && isError(packet[length]) {
		return nil, netip.Addr{}, false
	}
	to = netip.AddrFrom4([4]byte(packet[12:16]))
	if to.IsUnspecified() || to.IsMulticast() || to == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return nil, netip.Addr{}, false
	}
	message = append([]byte{icmpUnreachable, icmpHost, 0, 0, 0, 0, 0, 0}, packet[:length+icmpQuoted]...)
	binary.BigEndian.PutUint16(message[2:], checksum(message))
	return message, to, true
}

func isError(kind byte) bool {
	switch kind {
	case 3, 4, 5, 11, 12:
		return true
	}
	return false
}

// checksum is that of RFC 1071.
func checksum(data []byte) uint16 {
	sum := uint32(0)
	for ; len(data) > 1; data = data[2:] {
		sum += uint32(data[0])<<8 | uint32(data[1])
	}
	if len(data) == 1 {
		sum += uint32(data[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
