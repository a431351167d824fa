package server

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"lblab/lablet/internal/clock"
	"lblab/lablet/internal/wire"
)

// receiveBuffer holds about two seconds of 2 kHz probes, should the process be stopped for that long.
const receiveBuffer = 4 << 20

// datagramSocket is a UDP socket on the wildcard address that answers from the address that was asked.
type datagramSocket struct {
	*net.UDPConn
	port int
	ipv6 bool
}

func listenDatagrams(network, address string) (*datagramSocket, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failure error
		err := raw.Control(func(fd uintptr) { failure = prepare(int(fd), network == "udp6") })
		return errors.Join(err, failure)
	}}
	connection, err := config.ListenPacket(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	port := connection.LocalAddr().(*net.UDPAddr).Port
	return &datagramSocket{connection.(*net.UDPConn), port, network == "udp6"}, nil
}

// prepare asks the kernel for the destination address and the receive stamp of every datagram.
func prepare(fd int, ipv6 bool) error {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil { // needs CAP_NET_ADMIN
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) // capped by net.core.rmem_max
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return err
	}
	if ipv6 {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
}

func (s *Server) serveDatagrams(socket *datagramSocket) {
	stamper := clock.NewStamper()
	request, reply := make([]byte, 64<<10), make([]byte, wire.MaxSize)
	control := make([]byte, 256)
	identity := []byte(s.Node + " " + s.Pod)
	lastRead := clock.Now()
	for {
		size, controlSize, _, peer, err := socket.ReadMsgUDPAddrPort(request, control)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // an ICMP error about an earlier reply
			continue
		}
		// The datagram may have come before the last reading began to wait; the buffer is emptied in order, so not before
		// the reading before that.
		now := stamper.Read(lastRead - receiveWindow)
		lastRead = now
		realtime, source := ancillary(control[:controlSize], socket.ipv6)
		received := stamper.Monotonic(realtime)
		peer = netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())

		var packet wire.Packet
		answered := reply[:0]
		switch parsed := packet.Parse(request[:size]); {
		case parsed == nil && packet.Kind == wire.Request:
			answer := wire.Answer{Received: received, Instance: s.Instance, Peer: peer, Identity: identity}
			duplicate := s.ledger.probe(&packet, &answer, peer, socket.port)
			answer.Replied = clock.Now()
			answered = reply[:answer.Put(reply, &packet)]
			s.ledger.stream(&packet, &answer, duplicate)
		case parsed == nil: // a reply of another server: answering it would never end
			continue
		default:
			s.ledger.peer(peer, socket.port, received)
			answered = request[:size]
			if text := string(request[:min(size, 8)]); text == "whoami" || text == "whoami\n" {
				answered = append(s.identify(peer, socket.port), '\n')
			}
		}
		_, _, _ = socket.WriteMsgUDPAddrPort(answered, source, peer) // a reply that cannot be sent is lost, as in any pod
	}
}

// receiveWindow is how long a datagram may have waited in the socket's buffer and still be stamped by the kernel's clock.
const receiveWindow = 10_000_000_000

// ancillary reads the kernel's receive stamp (CLOCK_REALTIME, 0 if absent) and returns the control message that makes the
// reply leave from the address that was asked, whatever route it takes.
func ancillary(control []byte, ipv6 bool) (realtime int64, source []byte) {
	for len(control) > 0 {
		header, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			return realtime, source
		}
		switch {
		case header.Level == unix.SOL_SOCKET && header.Type == unix.SO_TIMESTAMPNS && len(data) >= 16:
			realtime = int64(nativeUint64(data))*1_000_000_000 + int64(nativeUint64(data[8:]))
		case !ipv6 && header.Level == unix.IPPROTO_IP && header.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			info := unix.Inet4Pktinfo{Spec_dst: [4]byte(data[4:8])}
			source = unix.PktInfo4(&info)
		case ipv6 && header.Level == unix.IPPROTO_IPV6 && header.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			info := unix.Inet6Pktinfo{Addr: [16]byte(data[:16])}
			if netip.AddrFrom16(info.Addr).IsLinkLocalUnicast() {
				info.Ifindex = uint32(nativeUint32(data[16:]))
			}
			source = unix.PktInfo6(&info)
		}
		control = rest
	}
	return realtime, source
}
