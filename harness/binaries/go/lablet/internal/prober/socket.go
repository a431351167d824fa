package prober

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"lblab/lablet/internal/wire"
)

// receiveBuffer holds the replies of some seconds, should the prober be stopped for that long.
const receiveBuffer = 2 << 20

// A socket is the connected UDP socket of one flow. It is read without waiting: the kernel stamps what has come.
type socket struct {
	fd      int
	local   netip.AddrPort
	ipv6    bool
	dropped uint32 // replies that the kernel dropped because the buffer was full
}

// received is one datagram.
type received struct {
	payload  []byte
	realtime int64 // the kernel's stamp, CLOCK_REALTIME
}

// An icmp is an error that came back about a packet.
type icmp struct {
	errno    unix.Errno
	kind     uint8
	code     uint8
	offender netip.Addr // who sent it; invalid for errors of this machine
	sequence int64      // of the packet that it is about, -1 if unknown
	realtime int64
}

func openSocket(source netip.Addr, port int, target netip.AddrPort) (*socket, error) {
	s := &socket{ipv6: target.Addr().Is6()}
	domain, level, option := unix.AF_INET, unix.IPPROTO_IP, unix.IP_RECVERR
	if s.ipv6 {
		domain, level, option = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_RECVERR
	}
	var err error
	if s.fd, err = unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return nil, err
	}
	if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	if !source.IsValid() {
		if source = netip.IPv4Unspecified(); s.ipv6 {
			source = netip.IPv6Unspecified()
		}
	}
	err = errors.Join(
		unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1),
		unix.SetsockoptInt(s.fd, level, option, 1),
		unix.Bind(s.fd, sockaddr(netip.AddrPortFrom(source, uint16(port)))),
	)
	if err == nil {
		err = unix.Connect(s.fd, sockaddr(target))
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("a UDP socket from %v port %d to %v: %w", source, port, target, err)
	}
	name, err := unix.Getsockname(s.fd)
	if err != nil {
		s.close()
		return nil, err
	}
	s.local = addrPort(name)
	return s, nil
}

func (s *socket) close() { _ = unix.Close(s.fd) } // nothing is buffered that an error could be about

// send returns what the kernel said. An error that an earlier packet left at the socket is taken off it first.
func (s *socket) send(payload []byte) error {
	_, err := unix.Write(s.fd, payload)
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		_, err = unix.Write(s.fd, payload)
	}
	return err
}

// receive reads one datagram into buffer; EAGAIN when there is none.
func (s *socket) receive(buffer, control []byte) (received, error) {
	n, controlSize, _, _, err := unix.Recvmsg(s.fd, buffer, control, 0)
	if err != nil {
		return received{}, err
	}
	got := received{payload: buffer[:n]}
	for rest := control[:controlSize]; len(rest) > 0; {
		header, data, next, err := unix.ParseOneSocketControlMessage(rest)
		if err != nil {
			break
		}
		if header.Level == unix.SOL_SOCKET && header.Type == unix.SO_TIMESTAMPNS {
			got.realtime = timespec(data)
		}
		if header.Level == unix.SOL_SOCKET && header.Type == unix.SO_RXQ_OVFL && len(data) >= 4 {
			s.dropped = binary.NativeEndian.Uint32(data)
		}
		rest = next
	}
	return got, nil
}

// extendedError is the layout of struct sock_extended_err (linux/errqueue.h); the offender's address follows it.
const (
	extendedErrorSize = 16
	originICMP        = 2 // SO_EE_ORIGIN_ICMP
	originICMP6       = 3 // SO_EE_ORIGIN_ICMP6
)

// failure reads one entry of the socket's error queue; EAGAIN when there is none.
func (s *socket) failure(buffer, control []byte) (icmp, error) {
	n, controlSize, _, _, err := unix.Recvmsg(s.fd, buffer, control, unix.MSG_ERRQUEUE)
	if err != nil {
		return icmp{}, err
	}
	failed := icmp{sequence: -1}
	var packet wire.Packet
	if packet.Parse(buffer[:n]) == nil {
		failed.sequence = int64(packet.Sequence)
	} else if n >= 20 && binary.BigEndian.Uint32(buffer) == wire.Magic {
		failed.sequence = int64(binary.BigEndian.Uint32(buffer[16:])) // routers may quote only the start of a packet
	}
	for rest := control[:controlSize]; len(rest) > 0; {
		header, data, next, err := unix.ParseOneSocketControlMessage(rest)
		if err != nil {
			break
		}
		switch {
		case header.Level == unix.SOL_SOCKET && header.Type == unix.SO_TIMESTAMPNS:
			failed.realtime = timespec(data)
		case header.Level == unix.IPPROTO_IP && header.Type == unix.IP_RECVERR,
			header.Level == unix.IPPROTO_IPV6 && header.Type == unix.IPV6_RECVERR:
			failed.read(data)
		}
		rest = next
	}
	return failed, nil
}

func (e *icmp) read(data []byte) {
	if len(data) < extendedErrorSize {
		return
	}
	e.errno = unix.Errno(binary.NativeEndian.Uint32(data))
	origin := data[4]
	e.kind, e.code = data[5], data[6]
	address := data[extendedErrorSize:] // struct sockaddr_in or sockaddr_in6
	switch {
	case origin == originICMP && len(address) >= 8:
		e.offender = netip.AddrFrom4([4]byte(address[4:8]))
	case origin == originICMP6 && len(address) >= 24:
		e.offender = netip.AddrFrom16([16]byte(address[8:24])).Unmap()
	}
}

func timespec(data []byte) int64 {
	if len(data) < 16 {
		return 0
	}
	return int64(binary.NativeEndian.Uint64(data))*1_000_000_000 + int64(binary.NativeEndian.Uint64(data[8:]))
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
