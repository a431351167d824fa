package game

import (
	"net/netip"
	"testing"

	"lblab/lablet/internal/wire"
)

var (
	key      = Key{1, 2}
	home     = netip.MustParseAddrPort("192.0.2.1:4000")
	abroad   = netip.MustParseAddrPort("192.0.2.2:5000")
	greeting = wire.Greeting{Interval: 10, Timeout: 100}
)

func input(number uint32, at int64) wire.Accepted {
	return wire.Accepted{Sequence: number, Received: at}
}

func TestOnlyThoseWhoGreetedArePlayers(t *testing.T) {
	w := &World{}
	if w.Take(key, home, input(1, 1)) != Refused || w.Tick(key, 2, &wire.State{}) {
		t.Fatal("a stranger plays")
	}
	if w.Greet(key, home, greeting, 3) != Joined || w.Take(key, home, input(2, 4)) != Taken {
		t.Fatal("a player may not play")
	}
	var state wire.State
	if !w.Tick(key, 10, &state) || len(state.Accepted) != 1 || state.Accepted[0].Sequence != 2 || state.Peer != home {
		t.Fatalf("%+v", state)
	}
}

func TestAnotherAddressIsAStranger(t *testing.T) {
	w := &World{}
	w.Greet(key, home, greeting, 0)
	if w.Take(key, abroad, input(1, 1)) != Refused {
		t.Fatal("an input from elsewhere was taken")
	}
	var state wire.State
	w.Tick(key, 5, &state)
	if state.Refused != 1 || state.Stranger != abroad || state.Peer != home || len(state.Accepted) != 0 {
		t.Fatalf("%+v", state)
	}
	if w.Greet(key, abroad, greeting, 6) != Rejoined || w.Take(key, abroad, input(2, 7)) != Taken {
		t.Fatal("a player that greets anew stays a stranger")
	}
	if w.Take(key, home, input(3, 8)) != Refused {
		t.Fatal("the old address is still a player's")
	}
}

func TestWhoIsNotHeardOfIsForgotten(t *testing.T) {
	w := &World{}
	w.Greet(key, home, greeting, 0)
	w.Take(key, abroad, input(1, 90)) // a stranger's packets keep nobody alive
	if !w.Tick(key, 100, &wire.State{}) || w.Tick(key, 101, &wire.State{}) {
		t.Fatal("the time-out is not the greeting's")
	}
	if w.Take(key, home, input(2, 102)) != Refused || w.Greet(key, home, greeting, 103) != Joined {
		t.Fatal("it was not forgotten")
	}
}

func TestABurstIsAcknowledgedInOrder(t *testing.T) {
	w := &World{}
	w.Greet(key, home, greeting, 0)
	for number := range uint32(wire.MaxAccepted + 1) {
		w.Take(key, home, input(number, 1))
	}
	var state wire.State
	w.Tick(key, 2, &state)
	first := len(state.Accepted)
	w.Tick(key, 3, &state)
	if first != wire.MaxAccepted || len(state.Accepted) != 1 || state.Accepted[0].Sequence != wire.MaxAccepted || state.Tick != 2 {
		t.Fatalf("%d, then %+v", first, state)
	}
}
