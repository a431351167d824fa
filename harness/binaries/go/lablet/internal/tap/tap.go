// Package tap logs the probe packets that pass an interface, so that a lost one is known to be lost before or behind it.
package tap

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lblab/lablet/internal/clock"
	"lblab/lablet/internal/datagram"
	"lblab/lablet/internal/records"
	"lblab/lablet/internal/wire"
)

const (
	receiveBuffer = 8 << 20 // some seconds of several kHz, in case the tap does not get a core
	look          = 20 * time.Millisecond
	flushEvery    = int64(100 * time.Millisecond)
	receiveWindow = int64(10 * time.Second) // how long a packet may have waited in the buffer and keep the kernel's stamp
)

// Main runs "lablet tap". Its records:
//
//	["k", at, device, direction, kind, session, flow, sequence]  direction in or out of the device, kind up or down (request or reply)
//	["a", at, device, direction, kind, session, flow, from, to]  addresses of this flow here, when they are new
//
// and at the end how many were logged, dropped by the kernel for want of buffer, and left out because of --max.
func Main(ctx context.Context, arguments []string) error {
	f := flag.NewFlagSet("lablet tap", flag.ContinueOnError)
	device := f.String("iface", "any", "interface to listen on; any: all of this network namespace")
	limit := f.Int64("max", 10_000_000, "log so many packets at most")
	length := f.Duration("for", 0, "length of the run; 0: until SIGTERM")
	out := f.String("out", "", "file for the records; default standard output")
	stdin := f.Bool("stdin", false, "stop when standard input is closed")
	if err := f.Parse(arguments); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if *stdin {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			stop()
		}()
	}
	if *length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *length)
		defer cancel()
	}
	fd, err := open(*device)
	if err != nil {
		return fmt.Errorf("interface %s: %w", *device, err)
	}
	defer unix.Close(fd)
	writer, err := records.Open(*out)
	if err != nil {
		return err
	}
	t := &tap{fd: fd, out: writer, limit: *limit, message: datagram.New(256), names: map[uint32]string{}, paths: map[path]ends{}}
	return errors.Join(t.run(ctx, *device), writer.Close())
}

// open makes a packet socket that gets the network header and what follows of UDP datagrams that start with the magic.
func open(device string) (int, error) {
	index := 0
	if device != "any" {
		found, err := net.InterfaceByName(device)
		if err != nil {
			return -1, err
		}
		index = found.Index
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0) // protocol 0: nothing comes before the filter is on
	if err != nil {
		return -1, err
	}
	program := filter()
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}),
	)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: index})
	}
	if err != nil {
		_ = unix.Close(fd) // the first error is the one to report
		return -1, err
	}
	return fd, nil
}

// The offsets that the filter and inspect use.
const (
	protocolIPv4, protocolIPv6 = 9, 6
	fragmentIPv4               = 6
	headerIPv6                 = 40
	headerUDP                  = 8
	snapshot                   = 192 // bytes of a packet that are copied: IPv6, UDP and the probe header, with options
)

// filter is a classic BPF program over the network header: an unfragmented UDP datagram whose payload starts with the magic.
func filter() []unix.SockFilter {
	const load, loadIndex = unix.BPF_LD | unix.BPF_ABS, unix.BPF_LD | unix.BPF_IND
	jump := func(value uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: yes, Jf: no, K: value}
	}
	return []unix.SockFilter{
		{Code: load | unix.BPF_B, K: 0},
		{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: 0xf0},
		jump(0x40, 0, 7), // IPv4, else to the test for IPv6
		{Code: load | unix.BPF_B, K: protocolIPv4},
		jump(unix.IPPROTO_UDP, 0, 11),
		{Code: load | unix.BPF_H, K: fragmentIPv4},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jt: 9, Jf: 0, K: 0x1fff},
		{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 0},
		{Code: loadIndex | unix.BPF_W, K: headerUDP},
		{Code: unix.BPF_JMP | unix.BPF_JA, K: 4}, // to the comparison
		jump(0x60, 0, 5),
		{Code: load | unix.BPF_B, K: protocolIPv6},
		jump(unix.IPPROTO_UDP, 0, 3),
		{Code: load | unix.BPF_W, K: headerIPv6 + headerUDP},
		jump(wire.Magic, 0, 1),
		{Code: unix.BPF_RET | unix.BPF_K, K: snapshot},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
}

// path is a flow in one direction at one interface.
type path struct {
	device    uint32
	direction string
	kind      string
	session   uint64
	flow      uint16
}

type ends struct{ from, to netip.AddrPort }

type tap struct {
	fd             int
	out            *records.Writer
	limit          int64
	message        *datagram.Message
	names          map[uint32]string
	paths          map[path]ends
	logged, beyond int64
}

func (t *tap) run(ctx context.Context, device string) error {
	host, _ := os.Hostname()
	err := t.out.Object(map[string]any{
		"lblab": "tap", "version": 1, "clock": "CLOCK_MONOTONIC", "unit": "ns", "iface": device, "host": host, "pid": os.Getpid(),
		"receive_stamp": "SO_TIMESTAMPNS, converted", "started": clock.Now(),
	})
	if err != nil {
		return err
	}
	t.out.Flush()
	stamper := clock.NewStamper()
	flushed := clock.Now()
	// The kernel stamps packets when they pass, so they may wait here and be read many at a time.
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for running := true; running; {
		select {
		case <-ctx.Done():
			running = false // after one last look
		case <-ticker.C:
		}
		now := stamper.Read(clock.Now() - receiveWindow)
		for t.message.Take(t.fd, 0) == nil {
			t.log(stamper)
		}
		if now-flushed >= flushEvery {
			flushed = now
			t.out.Flush()
		}
	}
	dropped := int64(-1) // unknown
	if statistics, err := unix.GetsockoptTpacketStats(t.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
		dropped = int64(statistics.Drops)
	}
	return t.out.Object(map[string]any{"end": map[string]any{
		"at": clock.Now(), "logged": t.logged, "dropped": dropped, "beyond_max": t.beyond,
		"clock_steps": stamper.Steps, "stamps_replaced": stamper.Replaced,
	}})
}

func (t *tap) log(stamper *clock.Stamper) {
	packet, addresses, ok := inspect(t.message.Payload)
	if !ok {
		return
	}
	if t.logged >= t.limit {
		t.beyond++
		return
	}
	t.logged++
	at := stamper.Monotonic(t.message.Realtime)
	here := path{device: t.message.Link.Device, direction: "in", kind: "up", session: packet.Session, flow: packet.Flow}
	if t.message.Link.Kind == unix.PACKET_OUTGOING {
		here.direction = "out"
	}
	if packet.Kind == wire.Reply {
		here.kind = "down"
	}
	session := fmt.Sprintf("%016x", packet.Session)
	if t.paths[here] != addresses {
		t.paths[here] = addresses
		t.out.Begin("a").Int(at).Text(t.name(here.device), here.direction, here.kind, session).Int(int64(packet.Flow)).
			Text(addresses.from.String(), addresses.to.String()).End()
	}
	t.out.Begin("k").Int(at).Text(t.name(here.device), here.direction, here.kind, session).
		Int(int64(packet.Flow), int64(packet.Sequence)).End()
}

func (t *tap) name(index uint32) string {
	if t.names[index] == "" {
		t.names[index] = fmt.Sprintf("#%d", index) // an interface that is gone already
		if found, err := net.InterfaceByIndex(int(index)); err == nil {
			t.names[index] = found.Name
		}
	}
	return t.names[index]
}

// inspect reads a packet from its network header on.
func inspect(data []byte) (packet wire.Packet, addresses ends, ok bool) {
	if len(data) < 20 {
		return packet, addresses, false
	}
	var from, to netip.Addr
	var transport []byte
	switch data[0] >> 4 {
	case 4:
		length := int(data[0]&0xf) * 4
		if length < 20 || len(data) < length {
			return packet, addresses, false
		}
		from, to, transport = netip.AddrFrom4([4]byte(data[12:16])), netip.AddrFrom4([4]byte(data[16:20])), data[length:]
	case 6:
		if len(data) < headerIPv6 {
			return packet, addresses, false
		}
		from, to, transport = netip.AddrFrom16([16]byte(data[8:24])), netip.AddrFrom16([16]byte(data[24:40])), data[headerIPv6:]
	}
	if len(transport) < headerUDP || packet.Parse(transport[headerUDP:]) != nil {
		return packet, addresses, false
	}
	addresses = ends{
		netip.AddrPortFrom(from, binary.BigEndian.Uint16(transport)),
		netip.AddrPortFrom(to, binary.BigEndian.Uint16(transport[2:])),
	}
	return packet, addresses, true
}

func networkOrder(value uint16) uint16 {
	var bytes [2]byte
	binary.BigEndian.PutUint16(bytes[:], value)
	return binary.NativeEndian.Uint16(bytes[:])
}
