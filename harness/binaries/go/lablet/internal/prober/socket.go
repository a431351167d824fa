package prober

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"lblab/lablet/internal/datagram"
	"lblab/lablet/internal/wire"
)

// receiveBuffer holds the replies of some seconds, should the prober be stopped for that long.
const receiveBuffer = 2 << 20

// A socket is the connected UDP socket of one flow. It is read without waiting: the kernel stamps what has come.
type socket struct {
	fd    int
	local netip.AddrPort
}

func openSocket(source netip.Addr, port int, target netip.AddrPort) (*socket, error) {
	domain, level, option := unix.AF_INET, unix.IPPROTO_IP, unix.IP_RECVERR
	if target.Addr().Is6() {
		domain, level, option = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_RECVERR
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	s := &socket{fd: fd}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil { // needs CAP_NET_ADMIN
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) // capped by net.core.rmem_max
	}
	if !source.IsValid() {
		if source = netip.IPv4Unspecified(); target.Addr().Is6() {
			source = netip.IPv6Unspecified()
		}
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1),
		unix.SetsockoptInt(fd, level, option, 1),
		unix.Bind(fd, sockaddr(netip.AddrPortFrom(source, uint16(port)))),
	)
	if err == nil {
		err = unix.Connect(fd, sockaddr(target))
	}
	var name unix.Sockaddr
	if err == nil {
		name, err = unix.Getsockname(fd)
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("a UDP socket from %v port %d to %v: %w", source, port, target, err)
	}
	s.local = addrPort(name)
	return s, nil
}

func (s *socket) close() { _ = unix.Close(s.fd) } // nothing is buffered that an error could be about

// sequenceOf finds the number of the packet that an ICMP error quotes, -1 if it quotes too little.
func sequenceOf(failed *datagram.Message) int64 {
	const needed = 20 // up to the sequence number; a router need not quote more than 8 bytes behind the UDP header
	if len(failed.Payload) < needed || binary.BigEndian.Uint32(failed.Payload) != wire.Magic {
		return -1
	}
	return int64(binary.BigEndian.Uint32(failed.Payload[16:]))
}

func sockaddr(address netip.AddrPort) unix.Sockaddr {
	if address.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: address.Addr().As4(), Port: int(address.Port())}
	}
	return &unix.SockaddrInet6{Addr: address.Addr().As16(), Port: int(address.Port())}
}

func addrPort(name unix.Sockaddr) netip.AddrPort {
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(name.Addr), uint16(name.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(name.Addr), uint16(name.Port))
	}
	return netip.AddrPort{}
}
