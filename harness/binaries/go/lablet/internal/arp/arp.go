// Package arp is ARP (RFC 826) for IPv4 over Ethernet: frames, and a packet socket that reads and sends them.
package arp

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Operations (RFC 826).
const (
	Request uint16 = 1
	Reply   uint16 = 2
)

// Size is the length of a frame without padding: 14 bytes of Ethernet, 28 of ARP.
const Size = 14 + 28

// fixed is what every frame has in these bytes: EtherType ARP, Ethernet, IPv4, lengths 6 and 4.
var fixed = [8]byte{0x08, 0x06, 0, 1, 0x08, 0, 6, 4}

// MAC is an Ethernet address.
type MAC [6]byte

// Broadcast is every host of the segment.
var Broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// String writes it as 02:00:00:00:00:01.
func (m MAC) String() string {
	text := make([]byte, 0, 17)
	for place := range m {
		if place > 0 {
			text = append(text, ':')
		}
		text = hex.AppendEncode(text, m[place:place+1])
	}
	return string(text)
}

// MarshalText lets a MAC be a key or a value of JSON.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// IsMulticast says whether it stands for more than one host.
func (m MAC) IsMulticast() bool { return m[0]&1 != 0 }

// Frame is an ARP packet with its Ethernet header.
type Frame struct {
	To, From  MAC // of the Ethernet header
	Operation uint16
	SenderMAC MAC
	Sender    netip.Addr
	TargetMAC MAC
	Target    netip.Addr
}

// Asking makes a request: who has an address, tell me.
func Asking(own MAC, ownAddress, target netip.Addr) Frame {
	return Frame{To: Broadcast, From: own, Operation: Request, SenderMAC: own, Sender: ownAddress, Target: target}
}

// Answering makes the unicast reply to a request: its target is at a MAC.
func Answering(request Frame, own MAC) Frame {
	return Frame{
		To: request.SenderMAC, From: own, Operation: Reply,
		SenderMAC: own, Sender: request.Target, TargetMAC: request.SenderMAC, Target: request.Sender,
	}
}

// Announcing is gratuitous ARP: an address is at a MAC, to everybody. The target's MAC is broadcast, as MetalLB
// (internal/layer2/arp.go) and Cilium (pkg/datapath/garp and gneigh) write it; Linux does not count such a reply as
// gratuitous.
func Announcing(operation uint16, own MAC, address netip.Addr) Frame {
	return Frame{
		To: Broadcast, From: own, Operation: operation,
		SenderMAC: own, Sender: address, TargetMAC: Broadcast, Target: address,
	}
}

// ErrNotARP is a frame that is no ARP for IPv4 over Ethernet.
var ErrNotARP = errors.New("not ARP for IPv4 over Ethernet")

// Parse reads a frame.
func Parse(data []byte) (Frame, error) {
	if len(data) < Size || [8]byte(data[12:20]) != fixed {
		return Frame{}, ErrNotARP
	}
	return Frame{
		To:        MAC(data[0:6]),
		From:      MAC(data[6:12]),
		Operation: binary.BigEndian.Uint16(data[20:]),
		SenderMAC: MAC(data[22:28]),
		Sender:    netip.AddrFrom4([4]byte(data[28:32])),
		TargetMAC: MAC(data[32:38]),
		Target:    netip.AddrFrom4([4]byte(data[38:42])),
	}, nil
}

// Append writes the frame after what is there.
func (f Frame) Append(data []byte) []byte {
	sender, target := f.Sender.As4(), f.Target.As4()
	data = append(append(data, f.To[:]...), f.From[:]...)
	data = append(data, fixed[:]...)
	data = binary.BigEndian.AppendUint16(data, f.Operation)
	data = append(append(data, f.SenderMAC[:]...), sender[:]...)
	return append(append(data, f.TargetMAC[:]...), target[:]...)
}

// Device is an interface as ARP needs it.
type Device struct {
	Name  string
	Index int
	MAC   MAC
}

// Find looks an Ethernet interface up.
func Find(name string) (Device, error) {
	found, err := net.InterfaceByName(name)
	if err != nil {
		return Device{}, fmt.Errorf("interface %s: %w", name, err)
	}
	if len(found.HardwareAddr) != len(MAC{}) {
		return Device{}, fmt.Errorf("interface %s is no Ethernet", name)
	}
	return Device{Name: name, Index: found.Index, MAC: MAC(found.HardwareAddr)}, nil
}

// Socket reads the ARP frames that come in by an interface, and sends frames; reading and sending may be two goroutines'.
type Socket struct {
	Device
	file   *os.File
	buffer [2048]byte
}

// Open listens on an interface.
func Open(name string) (*Socket, error) {
	device, err := Find(name)
	if err != nil {
		return nil, err
	}
	fd, err := Bind(device, unix.ETH_P_ARP, nil)
	if err != nil {
		return nil, err
	}
	return &Socket{Device: device, file: os.NewFile(uintptr(fd), "arp "+name)}, nil
}

// Read waits for the next frame of ARP.
func (s *Socket) Read() (Frame, error) {
	for {
		n, err := s.file.Read(s.buffer[:])
		if errors.Is(err, unix.ENETDOWN) { // told once when the interface goes down; it may come back
			continue
		}
		if err != nil {
			return Frame{}, err
		}
		if frame, err := Parse(s.buffer[:n]); err == nil {
			return frame, nil
		}
	}
}

// Send puts a frame on the wire.
func (s *Socket) Send(frame Frame) error {
	_, err := s.file.Write(frame.Append(make([]byte, 0, Size)))
	return err
}

// Close ends Read with an error.
func (s *Socket) Close() error { return s.file.Close() }

// Bind makes a packet socket of an interface that does not block, and gets whole frames of a protocol that pass a filter.
func Bind(device Device, protocol uint16, filter []unix.SockFilter) (int, error) {
	// protocol 0: nothing comes before the filter is on
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("packet socket: %w", err)
	}
	if filter != nil {
		err = Filter(fd, filter)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: NetworkOrder(protocol), Ifindex: device.Index})
	}
	if err != nil {
		_ = unix.Close(fd) // the first error is the one to report
		return -1, fmt.Errorf("packet socket on %s: %w", device.Name, err)
	}
	return fd, nil
}

// Filter gives a socket a classic BPF program in place of the one before.
func Filter(fd int, program []unix.SockFilter) error {
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &fprog)
}

// NetworkOrder is a 16-bit number as packet sockets want their protocol.
func NetworkOrder(value uint16) uint16 {
	var bytes [2]byte
	binary.BigEndian.PutUint16(bytes[:], value)
	return binary.NativeEndian.Uint16(bytes[:])
}
