package arpfreebsd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lblab/lablet/internal/arp"
	"lblab/lablet/internal/clock"
)

// link is one interface with its table; the mutex is the table's.
type link struct {
	sync.Mutex
	wire       *wire
	neighbours *neighbours
	icmp       int
	own        []netip.Prefix
	domain     domain
	table      *Table
	out        *output
	wake       chan struct{}
	failed     int // effects that the kernel refused
}

// domain says which addresses are a table's business.
type domain struct {
	prefixes []netip.Prefix
	except   map[netip.Addr]bool
}

func (d domain) has(address netip.Addr) bool {
	for _, prefix := range d.prefixes {
		if prefix.Contains(address) {
			return !d.except[address]
		}
	}
	return false
}

// openLink takes an interface over; what the kernel knows of the domain is forgotten.
func openLink(name string, business domain, timers Timers, out *output) (*link, error) {
	device, err := arp.Find(name)
	if err != nil {
		return nil, err
	}
	own, err := addressesOf(name)
	if err != nil {
		return nil, err
	}
	business.except = copied(business.except)
	for _, prefix := range own {
		business.except[prefix.Addr()] = true
	}
	l := &link{own: own, domain: business, out: out, wake: make(chan struct{}, 1)}
	if l.wire, err = openWire(device); err != nil {
		return nil, err
	}
	if l.neighbours, err = openNeighbours(device); err != nil {
		return nil, err
	}
	if l.icmp, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMP); err != nil {
		return nil, fmt.Errorf("raw socket: %w", err)
	}
	known, err := l.neighbours.list()
	if err != nil {
		return nil, err
	}
	for _, address := range known {
		if business.has(address) {
			err = errors.Join(err, l.neighbours.remove(address))
		}
	}
	addresses := make([]netip.Addr, len(own))
	for place, prefix := range own {
		addresses[place] = prefix.Addr()
	}
	l.table = NewTable(device, addresses, timers, clock.Now(), l)
	return l, err
}

func copied(set map[netip.Addr]bool) map[netip.Addr]bool {
	result := map[netip.Addr]bool{}
	for address := range set {
		result[address] = true
	}
	return result
}

func addressesOf(name string) ([]netip.Prefix, error) {
	device, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	found, err := device.Addrs()
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	var own []netip.Prefix
	for _, each := range found {
		if prefix, err := netip.ParsePrefix(each.String()); err == nil && prefix.Addr().Is4() {
			own = append(own, prefix)
		}
	}
	if len(own) == 0 {
		return nil, fmt.Errorf("interface %s has no IPv4 address", name)
	}
	return own, nil
}

// read gives the table what passes on the wire; it ends with the first error.
func (l *link) read() error {
	buffer := make([]byte, received)
	for {
		packet, outgoing, err := l.wire.read(buffer)
		if err != nil {
			return fmt.Errorf("%s: %w", l.wire.device.Name, err)
		}
		now := clock.Now()
		l.Lock()
		l.take(now, packet, outgoing)
		l.Unlock()
		select {
		case l.wake <- struct{}{}: // a timer may be due sooner now
		default:
		}
	}
}

func (l *link) take(now int64, packet Packet, outgoing bool) {
	data := packet[vnetHeader:]
	if frame, err := arp.Parse(data); err == nil {
		switch {
		case !outgoing && l.domain.has(frame.Sender):
			l.table.Heard(now, frame)
		case outgoing && frame.Operation == arp.Request && l.domain.has(frame.Target):
			l.table.Asked(now, frame.Target)
		}
		return
	}
	if !outgoing || len(data) < ethernet+headerIPv4 || binary.BigEndian.Uint16(data[12:]) != unix.ETH_P_IP {
		return
	}
	// The neighbour of an address on the link is the address itself; no route of a lab goes through an address of the domain.
	address := netip.AddrFrom4([4]byte(data[ethernet+16 : ethernet+20]))
	switch {
	case !l.domain.has(address):
	case arp.MAC(data[:6]) == l.wire.device.MAC:
		l.table.Outgoing(now, address, append(Packet(nil), packet...))
	default:
		l.table.Used(address)
	}
}

// tick runs the table's timers until it is told to stop.
func (l *link) tick(stop <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-stop:
			return
		case <-l.wake:
		case <-timer.C:
		}
		l.Lock()
		now := clock.Now()
		l.table.Tick(now)
		due, ok := l.table.Next()
		l.Unlock()
		if ok {
			timer.Reset(time.Duration(due - now))
		}
	}
}

// -- effects ---------------------------------------------------------------------------------------------------------

func (l *link) done(err error) {
	if err != nil {
		l.failed++
		l.out.line(fmt.Sprintf("%s: %v", l.wire.device.Name, err))
	}
}

// Ask broadcasts a request.
func (l *link) Ask(address netip.Addr) {
	own := l.own[0].Addr()
	for _, prefix := range l.own {
		if prefix.Contains(address) {
			own = prefix.Addr()
			break
		}
	}
	l.done(l.wire.sendFrame(arp.Asking(l.wire.device.MAC, own, address)))
}

// Forward lets the kernel send packets for an address to a MAC.
func (l *link) Forward(address netip.Addr, to arp.MAC) { l.done(l.neighbours.set(address, to)) }

// Hold makes the kernel send packets for an address to this interface's own MAC: there they are read and go no further.
func (l *link) Hold(address netip.Addr) { l.done(l.neighbours.set(address, l.wire.device.MAC)) }

// Forget makes the kernel ask for an address when it has a packet for it.
func (l *link) Forget(address netip.Addr) { l.done(l.neighbours.remove(address)) }

// Watch reads the next packet to an address.
func (l *link) Watch(address netip.Addr, on bool) { l.done(l.wire.watch(address, on)) }

// Send sends a packet that was held.
func (l *link) Send(packet Packet, to arp.MAC) { l.done(l.wire.sendPacket(packet, to)) }

// Unreachable tells a packet's sender that its host is down.
func (l *link) Unreachable(packet Packet) {
	if message, to, ok := unreachable(packet[vnetHeader+ethernet:]); ok {
		l.done(unix.Sendto(l.icmp, message, 0, &unix.SockaddrInet4{Addr: to.As4()}))
	}
}

// Tell writes an event.
func (l *link) Tell(event Event) { l.out.event(l.wire.device.Name, event) }

// Log writes a line as FreeBSD does.
func (l *link) Log(text string) { l.out.line(text) }
