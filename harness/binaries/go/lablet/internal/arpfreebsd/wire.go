package arpfreebsd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"lblab/lablet/internal/arp"
)

// wire is a packet socket on the router's interface. One socket for everything keeps what it reads in the order in which it
// happened: the kernel's own request for an address, and the answer to it.
//
// What it reads: every ARP frame, in or out; packets for addresses that are not resolved, which the kernel sends to the
// interface's own MAC, from where no bridge and no switch forwards them; and packets for addresses that are watched.
type wire struct {
	device  arp.Device
	file    *os.File
	raw     syscall.RawConn
	watched map[netip.Addr]bool
}

const (
	// vnetHeader is struct virtio_net_hdr before each packet: which checksum is still to be made, and how a packet that is
	// longer than the link allows is to be cut. A packet that was held is sent with what it was read with.
	vnetHeader = 10
	ethernet   = 14
	// received is the longest packet: 64 KB with segmentation left to the card.
	received = vnetHeader + ethernet + 1<<16
	// watchedAtMost keeps the filter below the kernel's 4096 instructions.
	watchedAtMost = 1000
)

func openWire(device arp.Device) (*wire, error) {
	fd, err := arp.Bind(device, unix.ETH_P_ALL, filter(device.MAC, nil))
	if err != nil {
		return nil, err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
		_ = unix.Close(fd) // the first error is the one to report
		return nil, fmt.Errorf("packet socket on %s: %w", device.Name, err)
	}
	file := os.NewFile(uintptr(fd), device.Name)
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &wire{device: device, file: file, raw: raw, watched: map[netip.Addr]bool{}}, nil
}

// read waits for the next packet and says whether this host has sent it.
func (w *wire) read(buffer []byte) (packet Packet, outgoing bool, err error) {
	for {
		var n int
		var from unix.Sockaddr
		var failed error
		err := w.raw.Read(func(fd uintptr) bool {
			n, from, failed = unix.Recvfrom(int(fd), buffer, 0)
			return failed != unix.EAGAIN
		})
		if err != nil {
			return nil, false, err
		}
		if failed != nil { // the interface is down for a while, or a packet has no virtio_net_hdr
			if errors.Is(failed, unix.ENETDOWN) || errors.Is(failed, unix.EINVAL) || errors.Is(failed, unix.EINTR) {
				continue
			}
			return nil, false, failed
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		if !ok || n < vnetHeader+ethernet || link.Pkttype == unix.PACKET_OTHERHOST {
			continue
		}
		return buffer[:n], link.Pkttype == unix.PACKET_OUTGOING, nil
	}
}

// sendFrame sends an ARP frame.
func (w *wire) sendFrame(frame arp.Frame) error {
	_, err := w.file.Write(frame.Append(make([]byte, vnetHeader, vnetHeader+arp.Size)))
	return err
}

// sendPacket sends a packet that was read to a MAC.
func (w *wire) sendPacket(packet Packet, to arp.MAC) error {
	copy(packet[vnetHeader:], to[:])
	_, err := w.file.Write(packet)
	return err
}

// watch reads packets to an address, or stops reading them.
func (w *wire) watch(address netip.Addr, on bool) error {
	if on && len(w.watched) < watchedAtMost {
		w.watched[address] = true
	} else {
		delete(w.watched, address)
	}
	var failed error
	err := w.raw.Control(func(fd uintptr) { failed = arp.Filter(int(fd), filter(w.device.MAC, w.watched)) })
	return errors.Join(err, failed)
}

// filter is a classic BPF program over the Ethernet header: ARP; outgoing IPv4 to the interface's own MAC or to an address.
func filter(own arp.MAC, watched map[netip.Addr]bool) []unix.SockFilter {
	const load = unix.BPF_LD | unix.BPF_ABS
	const packetType = 0xfffff000 + 4 // SKF_AD_OFF + SKF_AD_PKTTYPE (linux/filter.h)
	const destination = ethernet + 16 // in the header of IPv4
	equal := func(value uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: yes, Jf: no, K: value}
	}
	take := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: received}
	drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}
	program := []unix.SockFilter{
		{Code: load | unix.BPF_H, K: 12},
		equal(unix.ETH_P_ARP, 8, 0), // take
		equal(unix.ETH_P_IP, 0, 2),  // else drop
		{Code: load | unix.BPF_B, K: packetType},
		equal(unix.PACKET_OUTGOING, 1, 0),
		drop,
		{Code: load | unix.BPF_W, K: 0},
		equal(binary.BigEndian.Uint32(own[:4]), 0, 3), // else to the watched
		{Code: load | unix.BPF_H, K: 4},
		equal(uint32(binary.BigEndian.Uint16(own[4:])), 0, 1),
		take,
		{Code: load | unix.BPF_W, K: destination},
	}
	for address := range watched {
		four := address.As4()
		program = append(program, equal(binary.BigEndian.Uint32(four[:]), 0, 1), take)
	}
	return append(program, drop)
}
