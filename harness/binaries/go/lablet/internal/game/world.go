// Package game is a game server as the network sees it: it knows its players by the addresses that greeted it, sends each
// of them an update at its own ticks, and refuses inputs from any other address.
//
// That is what makes a change of the address translation on the way cost more than the packets in between: a real-time
// game server takes what comes from an unknown address for a stranger's, until the player greets it anew.
package game

import (
	"net/netip"
	"sync"

	"lblab/lablet/internal/wire"
)

const (
	maxPlayers = 1024
	// maxWaiting is how many accepted inputs may wait to be acknowledged, after a stall of the server: ten seconds of 400 Hz.
	maxWaiting = 4096
)

// Key names a player whatever address its packets come from.
type Key struct {
	Session uint64
	Flow    uint16
}

// Verdict is what becomes of a datagram.
type Verdict int

// The verdicts.
const (
	Refused  Verdict = iota // it comes from an address that is no player's
	Taken                   // an input of a player
	Joined                  // a greeting of somebody new: updates have to be sent from now on
	Rejoined                // a greeting of a player, perhaps from another address
)

type player struct {
	peer     netip.AddrPort
	stranger netip.AddrPort
	timeout  int64
	heard    int64 // when it last was heard of: an accepted input or a greeting
	tick     uint32
	refused  uint32
	waiting  []wire.Accepted
}

// World is every player of one server. Its zero value is ready for use.
type World struct {
	mutex   sync.Mutex
	players map[Key]*player
}

// Greet makes the sender of a greeting a player, or gives a player another address.
func (w *World) Greet(key Key, from netip.AddrPort, greeting wire.Greeting, received int64) Verdict {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if known := w.players[key]; known != nil {
		known.peer, known.timeout, known.heard = from, greeting.Timeout, received
		return Rejoined
	}
	if len(w.players) >= maxPlayers {
		return Refused // the server is full
	}
	if w.players == nil {
		w.players = map[Key]*player{}
	}
	w.players[key] = &player{peer: from, timeout: greeting.Timeout, heard: received}
	return Joined
}

// Take accepts an input of a player, or refuses it.
func (w *World) Take(key Key, from netip.AddrPort, input wire.Accepted) Verdict {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	known := w.players[key]
	if known == nil {
		return Refused
	}
	if known.peer != from {
		known.refused++
		known.stranger = from
		return Refused
	}
	known.heard = input.Received
	if len(known.waiting) < maxWaiting {
		known.waiting = append(known.waiting, input)
	}
	return Taken
}

// Tick fills in a player's next update; false when the player has been forgotten, because nothing was heard of it for its
// time-out.
func (w *World) Tick(key Key, now int64, state *wire.State) bool {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	known := w.players[key]
	if known == nil {
		return false
	}
	if now-known.heard > known.timeout {
		delete(w.players, key)
		return false
	}
	known.tick++
	number := min(len(known.waiting), wire.MaxAccepted)
	state.Tick, state.Refused, state.Replied = known.tick, known.refused, now
	state.Peer, state.Stranger = known.peer, known.stranger
	state.Accepted = append(state.Accepted[:0], known.waiting[:number]...)
	known.waiting = append(known.waiting[:0], known.waiting[number:]...)
	return true
}

// Hold keeps the world from running while f does: no input is taken and no update sent, as while a server saves its state.
func (w *World) Hold(f func()) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	f()
}
