package l2responder

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"

	"lblab/lablet/internal/arp"
)

// largest is the most that is read of a frame; ARP over Ethernet needs 42 bytes.
const largest = 2048

// wire is a packet socket that hears all ARP of this network namespace, as BPF at every interface does: before the packet
// filter, and whatever addresses the kernel has.
type wire struct{ fd int }

func openWire() (wire, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(arp.NetworkOrder(unix.ETH_P_ARP)))
	if err != nil {
		return wire{}, fmt.Errorf("packet socket: %w", err)
	}
	return wire{fd}, nil
}

// serve gives every frame that comes in, with the index of its interface.
func (w wire) serve(hear func(frame []byte, ifIndex int)) error {
	frame := make([]byte, largest)
	for {
		length, from, err := unix.Recvfrom(w.fd, frame, 0)
		// an interface that went down ends nothing: the others are still heard
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENETDOWN) {
			continue
		}
		if err != nil {
			return fmt.Errorf("receive ARP: %w", err)
		}
		if link, ok := from.(*unix.SockaddrLinklayer); ok && link.Pkttype != unix.PACKET_OUTGOING {
			hear(frame[:length], link.Ifindex)
		}
	}
}

func (w wire) send(frame []byte, ifIndex int) {
	// a link that is down loses it, as it loses what BPF redirects to it
	_ = unix.Sendto(w.fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: ifIndex, Halen: uint8(len(arp.MAC{}))})
}

func (w wire) hardwareAddress(ifIndex int) (arp.MAC, string, error) {
	device, err := net.InterfaceByIndex(ifIndex)
	if err != nil {
		return arp.MAC{}, "", err
	}
	if len(device.HardwareAddr) != len(arp.MAC{}) {
		return arp.MAC{}, device.Name, fmt.Errorf("interface %s is no Ethernet", device.Name)
	}
	return arp.MAC(device.HardwareAddr), device.Name, nil
}
