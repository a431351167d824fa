package arpfreebsd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"lblab/lablet/internal/arp"
)

// neighbours writes the kernel's neighbour table of one interface (rtnetlink). An entry that is permanent is left alone by
// the kernel's own ARP: it neither asks for the address nor listens to answers.
type neighbours struct {
	fd     int
	device arp.Device
	number uint32
	buffer []byte
}

const (
	answerWithin  = 2 // seconds for the kernel to answer, which it does within the system call
	neighbourSize = 12
)

func openNeighbours(device arp.Device) (*neighbours, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: answerWithin}),
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
	)
	if err != nil {
		_ = unix.Close(fd) // the first error is the one to report
		return nil, fmt.Errorf("netlink: %w", err)
	}
	return &neighbours{fd: fd, device: device, buffer: make([]byte, 1<<16)}, nil
}

// set makes a permanent entry, in place of whatever the kernel has; packets that the kernel holds are sent there.
func (n *neighbours) set(address netip.Addr, mac arp.MAC) error {
	flags := uint16(unix.NLM_F_CREATE | unix.NLM_F_REPLACE | unix.NLM_F_ACK)
	return n.change(unix.RTM_NEWNEIGH, flags, unix.NUD_PERMANENT, address, mac[:])
}

// remove takes an entry away; there may be none.
func (n *neighbours) remove(address netip.Addr) error {
	if err := n.change(unix.RTM_DELNEIGH, unix.NLM_F_ACK, 0, address, nil); !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}

func (n *neighbours) change(kind, flags, state uint16, address netip.Addr, mac []byte) error {
	four := address.As4()
	body := n.header(state)
	body = attribute(body, unix.NDA_DST, four[:])
	if mac != nil {
		body = attribute(body, unix.NDA_LLADDR, mac)
	}
	if err := n.request(kind, flags, body); err != nil {
		return err
	}
	return n.answers(func(uint16, []byte) {})
}

// list gives the addresses that the kernel has entries for.
func (n *neighbours) list() ([]netip.Addr, error) {
	if err := n.request(unix.RTM_GETNEIGH, unix.NLM_F_DUMP, n.header(0)); err != nil {
		return nil, err
	}
	var found []netip.Addr
	err := n.answers(func(kind uint16, body []byte) {
		if kind != unix.RTM_NEWNEIGH || len(body) < neighbourSize || int(binary.NativeEndian.Uint32(body[4:])) != n.device.Index {
			return
		}
		for rest := body[neighbourSize:]; len(rest) >= unix.SizeofRtAttr; {
			length := int(binary.NativeEndian.Uint16(rest))
			if length < unix.SizeofRtAttr || length > len(rest) {
				return
			}
			if binary.NativeEndian.Uint16(rest[2:]) == unix.NDA_DST && length == unix.SizeofRtAttr+4 {
				found = append(found, netip.AddrFrom4([4]byte(rest[4:8])))
			}
			rest = rest[min(aligned(length), len(rest)):]
		}
	})
	return found, err
}

// header is struct ndmsg.
func (n *neighbours) header(state uint16) []byte {
	body := make([]byte, neighbourSize, 64)
	body[0] = unix.AF_INET
	binary.NativeEndian.PutUint32(body[4:], uint32(n.device.Index))
	binary.NativeEndian.PutUint16(body[8:], state)
	return body
}

func attribute(body []byte, kind uint16, value []byte) []byte {
	body = binary.NativeEndian.AppendUint16(body, uint16(unix.SizeofRtAttr+len(value)))
	body = binary.NativeEndian.AppendUint16(body, kind)
	body = append(body, value...)
	return append(body, make([]byte, aligned(len(value))-len(value))...)
}

func aligned(length int) int { return (length + 3) &^ 3 }

func (n *neighbours) request(kind, flags uint16, body []byte) error {
	n.number++
	message := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	message = binary.NativeEndian.AppendUint16(message, kind)
	message = binary.NativeEndian.AppendUint16(message, flags|unix.NLM_F_REQUEST)
	message = binary.NativeEndian.AppendUint32(message, n.number)
	message = binary.NativeEndian.AppendUint32(message, 0)
	return unix.Sendto(n.fd, append(message, body...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// answers reads what the kernel has to say to the last request, up to its acknowledgement or the end of the list.
func (n *neighbours) answers(each func(kind uint16, body []byte)) error {
	for {
		size, _, err := unix.Recvfrom(n.fd, n.buffer, 0)
		if err != nil {
			return fmt.Errorf("netlink: %w", err)
		}
		for data := n.buffer[:size]; len(data) >= unix.SizeofNlMsghdr; {
			length, kind := int(binary.NativeEndian.Uint32(data)), binary.NativeEndian.Uint16(data[4:])
			if length < unix.SizeofNlMsghdr || length > len(data) {
				return errors.New("netlink: a message that is cut off")
			}
			body := data[unix.SizeofNlMsghdr:length]
			if binary.NativeEndian.Uint32(data[8:]) == n.number {
				switch kind {
				case unix.NLMSG_DONE:
					return nil
				case unix.NLMSG_ERROR:
					if code := int32(binary.NativeEndian.Uint32(body)); code != 0 {
						return unix.Errno(-code)
					}
					return nil
				}
				each(kind, body)
			}
			data = data[min(aligned(length), len(data)):]
		}
	}
}
