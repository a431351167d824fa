package tap

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"lblab/lablet/internal/wire"
)

// run interprets the filter as the kernel would: how many bytes of the packet are let through.
func run(t *testing.T, program []unix.SockFilter, data []byte) uint32 {
	t.Helper()
	var a, x uint32
	load := func(offset, size uint32) (uint32, bool) {
		if int(offset+size) > len(data) {
			return 0, false // the kernel drops a packet that is too short for a load
		}
		var value uint32
		for _, octet := range data[offset : offset+size] {
			value = value<<8 | uint32(octet)
		}
		return value, true
	}
	for pc := 0; pc < len(program); pc++ {
		f, ok := program[pc], true
		switch f.Code {
		case unix.BPF_LD | unix.BPF_ABS | unix.BPF_B:
			a, ok = load(f.K, 1)
		case unix.BPF_LD | unix.BPF_ABS | unix.BPF_H:
			a, ok = load(f.K, 2)
		case unix.BPF_LD | unix.BPF_ABS | unix.BPF_W:
			a, ok = load(f.K, 4)
		case unix.BPF_LD | unix.BPF_IND | unix.BPF_W:
			a, ok = load(x+f.K, 4)
		case unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH:
			x, ok = load(f.K, 1)
			x = x & 0xf * 4
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			a &= f.K
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(f.K)
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			yes := a == f.K
			if f.Code&unix.BPF_JSET == unix.BPF_JSET {
				yes = a&f.K != 0
			}
			if yes {
				pc += int(f.Jt)
			} else {
				pc += int(f.Jf)
			}
		case unix.BPF_RET | unix.BPF_K:
			return f.K
		default:
			t.Fatalf("instruction %d: code %#x", pc, f.Code)
		}
		if !ok {
			return 0
		}
	}
	t.Fatal("the program does not return")
	return 0
}

func packet(version, options int, protocol byte, fragment uint16) []byte {
	probe := wire.Packet{Kind: wire.Request, Session: 77, Flow: 2, Sequence: 500, Sent: 9}
	payload := make([]byte, 60)
	probe.Put(payload)
	udp := append([]byte{0x0f, 0xa0, 0x1e, 0x61, 0, 68, 0, 0}, payload...) // 4000 -> 7777
	if version == 6 {
		header := make([]byte, 40)
		header[0], header[6] = 0x60, protocol
		copy(header[8:], netip.MustParseAddr("fd00::1").AsSlice())
		copy(header[24:], netip.MustParseAddr("fd00::2").AsSlice())
		return append(header, udp...)
	}
	header := make([]byte, 20+options)
	header[0], header[9] = 0x40|byte(len(header)/4), protocol
	binary.BigEndian.PutUint16(header[6:], fragment)
	copy(header[12:], []byte{10, 0, 0, 1, 10, 0, 0, 2})
	return append(header, udp...)
}

func TestFilterLetsProbesThroughAndNothingElse(t *testing.T) {
	wrongMagic := packet(4, 0, unix.IPPROTO_UDP, 0)
	wrongMagic[28]++
	for name, test := range map[string]struct {
		data []byte
		pass bool
	}{
		"IPv4":                {packet(4, 0, unix.IPPROTO_UDP, 0), true},
		"IPv4, do not split":  {packet(4, 0, unix.IPPROTO_UDP, 0x4000), true},
		"IPv4 with options":   {packet(4, 8, unix.IPPROTO_UDP, 0), true},
		"IPv6":                {packet(6, 0, unix.IPPROTO_UDP, 0), true},
		"IPv4 TCP":            {packet(4, 0, unix.IPPROTO_TCP, 0), false},
		"IPv6 TCP":            {packet(6, 0, unix.IPPROTO_TCP, 0), false},
		"later IPv4 fragment": {packet(4, 0, unix.IPPROTO_UDP, 100), false},
		"other UDP":           {wrongMagic, false},
		"ARP":                 {[]byte{0, 1, 8, 0, 6, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, false},
		"short":               {packet(4, 0, unix.IPPROTO_UDP, 0)[:29], false},
	} {
		if got := run(t, filter(), test.data); (got > 0) != test.pass {
			t.Errorf("%s: %d bytes let through", name, got)
		}
	}
}

func TestInspect(t *testing.T) {
	for _, data := range [][]byte{packet(4, 0, unix.IPPROTO_UDP, 0), packet(4, 12, unix.IPPROTO_UDP, 0), packet(6, 0, unix.IPPROTO_UDP, 0)} {
		probe, addresses, ok := inspect(data[:min(len(data), snapshot)])
		if !ok || probe.Session != 77 || probe.Flow != 2 || probe.Sequence != 500 {
			t.Errorf("%+v %v", probe, ok)
		}
		if addresses.from.Port() != 4000 || addresses.to.Port() != 7777 || addresses.from.Addr() == addresses.to.Addr() {
			t.Errorf("%+v", addresses)
		}
		for length := range len(data) {
			inspect(data[:length]) // a short packet must not panic
		}
	}
}
