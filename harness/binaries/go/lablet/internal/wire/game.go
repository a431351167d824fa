package wire

import (
	"encoding/binary"
	"net/netip"
)

// The kinds of a game's datagrams. A player greets the server once, then sends an input at each of its ticks; the server
// sends an update at each of its own ticks to every player, at the address that greeted it, whatever has come meanwhile.
const (
	Hello  = 3
	Input  = 4
	Update = 5
)

const (
	// HelloSize is the least length of a greeting: the header, the tick's interval and the server's time-out.
	HelloSize = Header + 16
	// MaxAccepted is the number of inputs that one update acknowledges at most; the next one goes on.
	MaxAccepted = 16

	updateHeader  = Header + 80
	acceptedBytes = 20
)

// Greeting is what a player asks for: 30 updates a second, say, and to be forgotten after a minute without an input.
type Greeting struct {
	Interval int64 // nanoseconds between two updates
	Timeout  int64 // nanoseconds without an input after which the server forgets the player
}

// Put writes what follows the header of a greeting.
func (g Greeting) Put(buffer []byte) {
	binary.BigEndian.PutUint64(buffer[Header:], uint64(g.Interval))
	binary.BigEndian.PutUint64(buffer[Header+8:], uint64(g.Timeout))
}

// ParseGame reads the header of a game's datagram, and the greeting behind it if it is one.
func (p *Packet) ParseGame(buffer []byte) (greeting Greeting, err error) {
	if err = p.parse(buffer); err != nil {
		return greeting, err
	}
	switch {
	case p.Kind == Input || p.Kind == Update:
		return greeting, nil
	case p.Kind != Hello || len(buffer) < HelloSize:
		return greeting, ErrNotProbe
	}
	greeting.Interval = int64(binary.BigEndian.Uint64(buffer[Header:]))
	greeting.Timeout = int64(binary.BigEndian.Uint64(buffer[Header+8:]))
	if greeting.Interval <= 0 || greeting.Timeout <= 0 {
		return greeting, ErrNotProbe
	}
	return greeting, nil
}

// Accepted is an input that the server has taken.
type Accepted struct {
	Sequence uint32
	Sent     int64 // by the player's clock, which is the server's
	Received int64 // the kernel's stamp
}

// State is what an update tells a player.
type State struct {
	Replied  int64
	Instance uint64
	Tick     uint32         // number of the update, of this player's own: one that is missing was lost on the way
	Refused  uint32         // inputs of this player that came from an address that has not greeted
	Peer     netip.AddrPort // where the update is sent to
	Stranger netip.AddrPort // where the last refused input came from
	Accepted []Accepted     // since the last update
	Identity []byte
}

// Put writes an update into buffer, which must hold MaxSize bytes, and returns its length.
func (s *State) Put(buffer []byte, session uint64, flow uint16, size int) int {
	packet := Packet{Kind: Update, Flow: flow, Session: session, Sequence: s.Tick, Sent: s.Replied}
	packet.Put(buffer)
	binary.BigEndian.PutUint64(buffer[32:], s.Instance)
	binary.BigEndian.PutUint32(buffer[40:], s.Refused)
	putAddress(buffer[44:], s.Peer)
	putAddress(buffer[62:], s.Stranger)
	accepted := s.Accepted[:min(len(s.Accepted), MaxAccepted)]
	identity := s.Identity[:min(len(s.Identity), MaxIdentity)]
	buffer[80], buffer[81] = uint8(len(accepted)), uint8(len(identity))
	clear(buffer[82:updateHeader])
	end := updateHeader
	for _, input := range accepted {
		binary.BigEndian.PutUint32(buffer[end:], input.Sequence)
		binary.BigEndian.PutUint64(buffer[end+4:], uint64(input.Sent))
		binary.BigEndian.PutUint64(buffer[end+12:], uint64(input.Received))
		end += acceptedBytes
	}
	end += copy(buffer[end:], identity)
	full := min(max(end, size), MaxSize)
	clear(buffer[end:full])
	return full
}

// Parse reads an update whose header has been read; Accepted is appended to what s has room for, Identity points into buffer.
func (s *State) Parse(packet *Packet, buffer []byte) error {
	if packet.Kind != Update || len(buffer) < updateHeader {
		return ErrNotProbe
	}
	s.Tick, s.Replied = packet.Sequence, packet.Sent
	s.Instance = binary.BigEndian.Uint64(buffer[32:])
	s.Refused = binary.BigEndian.Uint32(buffer[40:])
	s.Peer, s.Stranger = address(buffer[44:]), address(buffer[62:])
	identity := updateHeader + int(buffer[80])*acceptedBytes
	end := identity + int(buffer[81])
	if end > len(buffer) {
		return ErrNotProbe
	}
	s.Accepted = s.Accepted[:0]
	for at := updateHeader; at < identity; at += acceptedBytes {
		s.Accepted = append(s.Accepted, Accepted{
			Sequence: binary.BigEndian.Uint32(buffer[at:]),
			Sent:     int64(binary.BigEndian.Uint64(buffer[at+4:])),
			Received: int64(binary.BigEndian.Uint64(buffer[at+12:])),
		})
	}
	s.Identity = buffer[identity:end]
	return nil
}

// putAddress writes an address and port into 18 bytes; none is all zero.
func putAddress(buffer []byte, a netip.AddrPort) {
	if !a.IsValid() {
		clear(buffer[:18])
		return
	}
	bytes := a.Addr().As16()
	copy(buffer, bytes[:])
	binary.BigEndian.PutUint16(buffer[16:], a.Port())
}

func address(buffer []byte) netip.AddrPort {
	port := binary.BigEndian.Uint16(buffer[16:])
	if port == 0 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(buffer[:16])).Unmap(), port)
}
