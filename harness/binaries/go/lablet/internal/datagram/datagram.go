// Package datagram reads datagrams together with what the kernel knows of them, without allocation and without Go's poller,
// whose wake-ups would cost more than all the rest of a probe.
package datagram

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Message is a datagram, or an entry of a socket's error queue, and the buffers for it. It is for one goroutine.
type Message struct {
	Payload  []byte
	Peer     netip.AddrPort
	Realtime int64      // receive stamp of the kernel, CLOCK_REALTIME, with SO_TIMESTAMPNS; 0 if there is none
	Dropped  uint32     // how many the socket's full buffer has cost so far, with SO_RXQ_OVFL
	Asked    netip.Addr // destination address, with IP_PKTINFO or IPV6_RECVPKTINFO
	Device   uint32     // index of the interface that it came in by, with the same
	Errno    unix.Errno // of an entry of the error queue
	Type     uint8      // of the ICMP message
	Code     uint8      // of the ICMP message
	Offender netip.Addr // sender of the ICMP message; invalid for errors of this machine
	Link     LinkLayer  // of an AF_PACKET socket
	buffer   []byte
	control  []byte
	name     unix.RawSockaddrAny
	vector   unix.Iovec
	header   unix.Msghdr
}

// LinkLayer is what an AF_PACKET socket says about a packet.
type LinkLayer struct {
	Device uint32
	Kind   uint8 // unix.PACKET_HOST, PACKET_OUTGOING, ...
}

// New makes a message with room for size bytes.
func New(size int) *Message {
	m := &Message{buffer: make([]byte, size), control: make([]byte, 512)}
	m.vector.Base = &m.buffer[0]
	m.vector.SetLen(size)
	m.header.Name = (*byte)(unsafe.Pointer(&m.name))
	m.header.Iov = &m.vector
	m.header.SetIovlen(1)
	m.header.Control = &m.control[0]
	return m
}

// Wait reads one datagram, and waits for it.
func (m *Message) Wait(fd int) error {
	m.prepare()
	n, _, errno := unix.Syscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&m.header)), 0)
	return m.finish(int(n), errno)
}

// Take reads one datagram, or one entry of the error queue with unix.MSG_ERRQUEUE; EAGAIN when there is none.
func (m *Message) Take(fd, flags int) error {
	m.prepare()
	// A raw system call: it does not wait, so the scheduler need not be told.
	n, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&m.header)), uintptr(flags|unix.MSG_DONTWAIT))
	return m.finish(int(n), errno)
}

// Send sends on a connected socket and does not wait.
func Send(fd int, payload []byte) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&payload[0])), uintptr(len(payload)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func (m *Message) prepare() {
	m.header.Namelen = uint32(unsafe.Sizeof(m.name))
	m.header.SetControllen(len(m.control))
}

func (m *Message) finish(n int, errno unix.Errno) error {
	if errno != 0 {
		return errno
	}
	m.Payload = m.buffer[:min(n, len(m.buffer))]
	m.Realtime, m.Asked, m.Device = 0, netip.Addr{}, 0
	m.Errno, m.Type, m.Code, m.Offender = 0, 0, 0, netip.Addr{}
	m.readName()
	for rest := m.control[:m.header.Controllen]; len(rest) >= unix.SizeofCmsghdr; {
		header, data, next, err := unix.ParseOneSocketControlMessage(rest)
		if err != nil {
			break
		}
		m.read(header.Level, header.Type, data)
		rest = next
	}
	return nil
}

func (m *Message) readName() {
	switch m.name.Addr.Family {
	case unix.AF_INET:
		name := (*unix.RawSockaddrInet4)(unsafe.Pointer(&m.name))
		m.Peer = netip.AddrPortFrom(netip.AddrFrom4(name.Addr), networkOrder(name.Port))
	case unix.AF_INET6:
		name := (*unix.RawSockaddrInet6)(unsafe.Pointer(&m.name))
		m.Peer = netip.AddrPortFrom(netip.AddrFrom16(name.Addr), networkOrder(name.Port))
	case unix.AF_PACKET:
		name := (*unix.RawSockaddrLinklayer)(unsafe.Pointer(&m.name))
		m.Link = LinkLayer{Device: uint32(name.Ifindex), Kind: name.Pkttype}
	}
}

func (m *Message) read(level, kind int32, data []byte) {
	switch {
	case level == unix.SOL_SOCKET && kind == unix.SO_TIMESTAMPNS && len(data) >= 16:
		m.Realtime = int64(binary.NativeEndian.Uint64(data))*1_000_000_000 + int64(binary.NativeEndian.Uint64(data[8:]))
	case level == unix.SOL_SOCKET && kind == unix.SO_RXQ_OVFL && len(data) >= 4:
		m.Dropped = binary.NativeEndian.Uint32(data)
	case level == unix.IPPROTO_IP && kind == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
		m.Device = binary.NativeEndian.Uint32(data)
		m.Asked = netip.AddrFrom4([4]byte(data[4:8])) // ipi_spec_dst: the local address, never a broadcast address
	case level == unix.IPPROTO_IPV6 && kind == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
		m.Asked = netip.AddrFrom16([16]byte(data[:16]))
		m.Device = binary.NativeEndian.Uint32(data[16:])
	case level == unix.IPPROTO_IP && kind == unix.IP_RECVERR, level == unix.IPPROTO_IPV6 && kind == unix.IPV6_RECVERR:
		m.readError(data)
	}
}

// readError reads struct sock_extended_err (linux/errqueue.h), which the offender's address follows.
func (m *Message) readError(data []byte) {
	const size, originICMP, originICMP6 = 16, 2, 3 // SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6
	if len(data) < size {
		return
	}
	m.Errno = unix.Errno(binary.NativeEndian.Uint32(data))
	m.Type, m.Code = data[5], data[6]
	switch address := data[size:]; { // struct sockaddr_in or sockaddr_in6
	case data[4] == originICMP && len(address) >= 8:
		m.Offender = netip.AddrFrom4([4]byte(address[4:8]))
	case data[4] == originICMP6 && len(address) >= 24:
		m.Offender = netip.AddrFrom16([16]byte(address[8:24])).Unmap()
	}
}

func networkOrder(port uint16) uint16 {
	var bytes [2]byte
	binary.NativeEndian.PutUint16(bytes[:], port)
	return binary.BigEndian.Uint16(bytes[:])
}
