package prober

import (
	"net/netip"
	"time"

	"lblab/lablet/internal/datagram"
	"lblab/lablet/internal/wire"
)

// greetEvery is the pause between two greetings that nobody answers.
const greetEvery = int64(50 * time.Millisecond)

// player is one flow of a game.
type player struct {
	joined       bool
	greeted      int64 // when it last greeted
	acknowledged int64 // when an input was last acknowledged, or the first update came
	refused      uint32
	request      [wire.HelloSize]byte
}

// A game's records, besides those of a UDP run, where "r" says that an update acknowledged an input:
//
//	["m", at, flow, tick, replied, acknowledged]  an update: its number, the server's stamp, how many inputs were new in it
//	["k", at, flow, refused, stranger]            the server has refused so many inputs, the last from this address
//	["j", at, flow, reconnect]                    the player greets the server: 0 for the first time, 1 anew
//	["d", at, flow]                               the player gives the connection up
//
// greet greets the server when it is time to, before an input is sent.
func (p *udpProber) greet(i int, now int64) {
	player := &p.players[i]
	switch silent := now - player.acknowledged; {
	case !player.joined:
		if now-player.greeted < greetEvery {
			return
		}
	case silent >= int64(p.giveUp):
		p.out.Begin("d").Int(now, int64(i)).End()
		player.joined = false
	case p.rejoin == 0 || silent < int64(p.rejoin) || now-player.greeted < int64(p.rejoin):
		return
	}
	again := int64(0)
	if player.acknowledged != 0 {
		again = 1
	}
	p.out.Begin("j").Int(now, int64(i), again).End()
	player.greeted = now
	packet := wire.Packet{
		Kind: wire.Hello, Flow: uint16(i), Session: p.session, ReplySize: uint16(p.replySize), Sent: now,
	}
	packet.Put(player.request[:])
	wire.Greeting{Interval: int64(p.interval()), Timeout: int64(p.giveUp)}.Put(player.request[:])
	_ = datagram.Send(p.flows[i].fd, player.request[:]) // it is sent again when nobody answers
}

// update reads what the server has sent.
func (p *udpProber) update(i int) {
	var packet wire.Packet
	payload := p.message.Payload
	if _, err := packet.ParseGame(payload); err != nil || packet.Session != p.session || int(packet.Flow) != i {
		return
	}
	state := &p.state
	if state.Parse(&packet, payload) != nil {
		return
	}
	at := p.stamper.Monotonic(p.message.Realtime)
	flow, player := p.flows[i], &p.players[i]
	number := int64(p.backend(at, state.Instance, state.Identity))
	if flow.seenAs != state.Peer {
		flow.seenAs = state.Peer
		p.out.Begin("p").Int(at, int64(i)).Text(state.Peer.String()).End()
	}
	if state.Refused != player.refused {
		player.refused = state.Refused
		if state.Refused > 0 { // it is zero again for a player that the server had forgotten
			p.out.Begin("k").Int(at, int64(i), int64(state.Refused)).Text(printed(state.Stranger)).End()
		}
	}
	for _, input := range state.Accepted {
		flow.decide(input.Sequence)
		p.replies++
		p.out.Begin("r").Int(int64(i), int64(input.Sequence), input.Sent, input.Received-input.Sent,
			state.Replied-input.Received, at-state.Replied, number).End()
	}
	if !player.joined || len(state.Accepted) > 0 {
		player.joined, player.acknowledged = true, at
	}
	p.out.Begin("m").Int(at, int64(i), int64(state.Tick), state.Replied, int64(len(state.Accepted))).End()
}

func printed(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
