package server

import (
	"runtime"

	"golang.org/x/sys/unix"

	"lblab/lablet/internal/clock"
	"lblab/lablet/internal/datagram"
	"lblab/lablet/internal/wire"
)

// receiveBuffer holds about two seconds of 2 kHz probes, should the process be stopped for that long.
const receiveBuffer = 4 << 20

// receiveWindow in nanoseconds is how long a datagram may have waited in that buffer and still keep the kernel's stamp.
const receiveWindow = 10_000_000_000

// datagramSocket is a UDP socket on the wildcard address that answers from the address that was asked.
type datagramSocket struct {
	fd, port int
}

func listenDatagrams(port int, ipv6 bool) (*datagramSocket, error) {
	domain := unix.AF_INET
	if ipv6 {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err = prepare(fd, port, ipv6); err != nil {
		_ = unix.Close(fd) // the first error is the one to report
		return nil, err
	}
	return &datagramSocket{fd, port}, nil
}

// prepare asks the kernel for the destination address and the receive stamp of every datagram, and binds.
func prepare(fd, port int, ipv6 bool) error {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil { // needs CAP_NET_ADMIN
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) // capped by net.core.rmem_max
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return err
	}
	if !ipv6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrInet4{Port: port})
	}
	for _, option := range []int{unix.IPV6_RECVPKTINFO, unix.IPV6_V6ONLY} {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, option, 1); err != nil {
			return err
		}
	}
	return unix.Bind(fd, &unix.SockaddrInet6{Port: port})
}

// close ends serveDatagrams: shutdown of an unconnected socket is refused by name, but wakes up who reads it.
func (d *datagramSocket) close() { _ = unix.Shutdown(d.fd, unix.SHUT_RD) }

// serveDatagrams answers until the server is stopped.
func (s *Server) serveDatagrams(socket *datagramSocket) {
	runtime.LockOSThread() // it waits in the kernel, not in Go's poller
	defer unix.Close(socket.fd)
	stamper := clock.NewStamper()
	message := datagram.New(64 << 10)
	reply := make([]byte, wire.MaxSize)
	identity := []byte(s.Node + " " + s.Pod)
	for !s.stopping.Load() {
		if message.Wait(socket.fd) != nil || s.stopping.Load() {
			continue // interrupted, or an ICMP error about an earlier reply
		}
		stamper.Read(clock.Now() - receiveWindow)
		if s.play(message, stamper.Monotonic(message.Realtime), socket) {
			continue
		}
		if answer := s.answerDatagram(message, stamper, socket.port, identity, reply); len(answer) > 0 || len(message.Payload) == 0 {
			// A reply that cannot be sent is lost, as it would be in any pod.
			_ = unix.Sendmsg(socket.fd, answer, source(message), sockaddr(message), 0)
		}
	}
}

// answerDatagram returns the reply, nil if there is none.
func (s *Server) answerDatagram(message *datagram.Message, stamper *clock.Stamper, port int, identity, reply []byte) []byte {
	received := stamper.Monotonic(message.Realtime)
	var packet wire.Packet
	if packet.Parse(message.Payload) != nil {
		s.ledger.peer(message.Peer, port, received)
		if text := string(message.Payload[:min(len(message.Payload), 8)]); text == "whoami" || text == "whoami\n" {
			return append(s.identify(message.Peer, port), '\n')
		}
		return message.Payload
	}
	if packet.Kind != wire.Request {
		return nil // a reply of another server: answering it would never end
	}
	answer := wire.Answer{Received: received, Instance: s.Instance, Peer: message.Peer, Identity: identity}
	duplicate := s.ledger.probe(&packet, &answer, message.Peer, port)
	answer.Replied = clock.Now()
	s.ledger.stream(&packet, &answer, duplicate)
	return reply[:answer.Put(reply, &packet)]
}

// source is the control message that makes a reply leave from the address that was asked, whatever route it takes.
func source(message *datagram.Message) []byte {
	if !message.Asked.IsValid() {
		return nil
	}
	if message.Asked.Is4() {
		return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: message.Asked.As4()})
	}
	info := unix.Inet6Pktinfo{Addr: message.Asked.As16()}
	if message.Asked.IsLinkLocalUnicast() {
		info.Ifindex = message.Device
	}
	return unix.PktInfo6(&info)
}

func sockaddr(message *datagram.Message) unix.Sockaddr {
	if peer := message.Peer; peer.Addr().Is6() {
		to := &unix.SockaddrInet6{Addr: peer.Addr().As16(), Port: int(peer.Port())}
		if peer.Addr().IsLinkLocalUnicast() {
			to.ZoneId = message.Device
		}
		return to
	}
	return &unix.SockaddrInet4{Addr: message.Peer.Addr().As4(), Port: int(message.Peer.Port())}
}
