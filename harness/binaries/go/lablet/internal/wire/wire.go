// Package wire is the probe protocol: UDP datagrams with a sequence number that carry their stamps with them.
//
// A request is Header bytes and padding. The reply repeats the request's header and says when the server received it and
// replied, which server it was, from where the request seemed to come, and which sequence numbers of this flow the server
// has seen so far; so a lost packet can be told apart from a lost reply as soon as any later reply comes through.
//
// All numbers are big-endian; all stamps are CLOCK_MONOTONIC in nanoseconds.
package wire

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

const (
	// Magic starts every probe datagram; a packet filter finds it behind the UDP header.
	Magic = 0x4c424c42 // "LBLB"
	// Version changes with the layout.
	Version = 1
	// Header is the length of a request without padding, in bytes.
	Header = 32
	// ReplyHeader is the length of a reply without identity and padding, in bytes.
	ReplyHeader = Header + 60 + MaxGaps*8
	// MaxGaps is the number of latest gaps that a reply names; more than that since the last reply are in the server's log.
	MaxGaps = 4
	// MaxSize is the largest datagram that is sent: an Ethernet frame's worth over IPv6.
	MaxSize = 1452
	// MaxIdentity is the longest identity that a reply carries.
	MaxIdentity = 255
)

// The kinds of a datagram.
const (
	Request = 1
	Reply   = 2
)

// ErrNotProbe is returned for datagrams of others.
var ErrNotProbe = errors.New("not a probe datagram")

// Packet is a request, or the part of a reply that repeats it.
type Packet struct {
	Kind      uint8
	Flow      uint16
	Session   uint64 // one prober run; flows of different runs are never mixed up
	Sequence  uint32
	ReplySize uint16 // wanted length of the reply
	Sent      int64
}

// Gap is a range of sequence numbers that the server has not seen, both ends included.
type Gap struct{ From, To uint32 }

// Answer is what a server adds to a packet.
type Answer struct {
	Received   int64
	Replied    int64
	Instance   uint64 // random number of the server process
	First      uint32 // lowest sequence number of the flow that this server has seen
	Highest    uint32
	Count      uint32 // distinct sequence numbers seen, this one included
	Duplicates uint32
	Peer       netip.AddrPort // source of the request as the server saw it
	Gaps       [MaxGaps]Gap   // the latest gaps in ascending order
	GapCount   int
	Identity   []byte // "node namespace/pod"
}

// Put writes a packet's header into buffer, which must hold Header bytes.
func (p *Packet) Put(buffer []byte) {
	binary.BigEndian.PutUint32(buffer[0:], Magic)
	buffer[4], buffer[5] = Version, p.Kind
	binary.BigEndian.PutUint16(buffer[6:], p.Flow)
	binary.BigEndian.PutUint64(buffer[8:], p.Session)
	binary.BigEndian.PutUint32(buffer[16:], p.Sequence)
	binary.BigEndian.PutUint16(buffer[20:], p.ReplySize)
	binary.BigEndian.PutUint16(buffer[22:], 0)
	binary.BigEndian.PutUint64(buffer[24:], uint64(p.Sent))
}

// Parse reads a packet's header.
func (p *Packet) Parse(buffer []byte) error {
	if len(buffer) >= Header && buffer[5] != Request && buffer[5] != Reply {
		return ErrNotProbe
	}
	return p.parse(buffer)
}

// parse reads the header of any kind of datagram.
func (p *Packet) parse(buffer []byte) error {
	if len(buffer) < Header || binary.BigEndian.Uint32(buffer) != Magic || buffer[4] != Version {
		return ErrNotProbe
	}
	p.Kind = buffer[5]
	p.Flow = binary.BigEndian.Uint16(buffer[6:])
	p.Session = binary.BigEndian.Uint64(buffer[8:])
	p.Sequence = binary.BigEndian.Uint32(buffer[16:])
	p.ReplySize = binary.BigEndian.Uint16(buffer[20:])
	p.Sent = int64(binary.BigEndian.Uint64(buffer[24:]))
	return nil
}

// Put writes the reply to a packet into buffer, which must hold MaxSize bytes, and returns its length.
func (a *Answer) Put(buffer []byte, to *Packet) int {
	reply := *to
	reply.Kind = Reply
	reply.Put(buffer)
	binary.BigEndian.PutUint64(buffer[32:], uint64(a.Received))
	binary.BigEndian.PutUint64(buffer[40:], uint64(a.Replied))
	binary.BigEndian.PutUint64(buffer[48:], a.Instance)
	binary.BigEndian.PutUint32(buffer[56:], a.First)
	binary.BigEndian.PutUint32(buffer[60:], a.Highest)
	binary.BigEndian.PutUint32(buffer[64:], a.Count)
	binary.BigEndian.PutUint32(buffer[68:], a.Duplicates)
	peer := a.Peer.Addr().As16()
	copy(buffer[72:88], peer[:])
	binary.BigEndian.PutUint16(buffer[88:], a.Peer.Port())
	identity := a.Identity[:min(len(a.Identity), MaxIdentity)]
	buffer[90], buffer[91] = uint8(a.GapCount), uint8(len(identity))
	for i := range MaxGaps {
		binary.BigEndian.PutUint32(buffer[92+8*i:], a.Gaps[i].From)
		binary.BigEndian.PutUint32(buffer[96+8*i:], a.Gaps[i].To)
	}
	copy(buffer[ReplyHeader:], identity)
	end := ReplyHeader + len(identity)
	size := min(max(end, int(to.ReplySize)), MaxSize)
	clear(buffer[end:size])
	return size
}

// Parse reads what the server added; Identity points into buffer.
func (a *Answer) Parse(buffer []byte) error {
	if len(buffer) < ReplyHeader || buffer[5] != Reply {
		return ErrNotProbe
	}
	a.Received = int64(binary.BigEndian.Uint64(buffer[32:]))
	a.Replied = int64(binary.BigEndian.Uint64(buffer[40:]))
	a.Instance = binary.BigEndian.Uint64(buffer[48:])
	a.First = binary.BigEndian.Uint32(buffer[56:])
	a.Highest = binary.BigEndian.Uint32(buffer[60:])
	a.Count = binary.BigEndian.Uint32(buffer[64:])
	a.Duplicates = binary.BigEndian.Uint32(buffer[68:])
	address := netip.AddrFrom16([16]byte(buffer[72:88])).Unmap()
	a.Peer = netip.AddrPortFrom(address, binary.BigEndian.Uint16(buffer[88:]))
	a.GapCount = min(int(buffer[90]), MaxGaps)
	for i := range MaxGaps {
		a.Gaps[i] = Gap{binary.BigEndian.Uint32(buffer[92+8*i:]), binary.BigEndian.Uint32(buffer[96+8*i:])}
	}
	end := ReplyHeader + int(buffer[91])
	if end > len(buffer) {
		return ErrNotProbe
	}
	a.Identity = buffer[ReplyHeader:end]
	return nil
}
