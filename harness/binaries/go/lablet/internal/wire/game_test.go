package wire

import (
	"net/netip"
	"reflect"
	"testing"
)

func TestAnUpdateIsReadAsItWasWritten(t *testing.T) {
	written := State{
		Replied: 7, Instance: 8, Tick: 9, Refused: 10,
		Peer: netip.MustParseAddrPort("192.0.2.1:4000"), Stranger: netip.MustParseAddrPort("[2001:db8::1]:5"),
		Accepted: []Accepted{{1, 2, 3}, {4, 5, 6}}, Identity: []byte("node default/pod"),
	}
	buffer := make([]byte, MaxSize)
	for _, size := range []int{0, 400} {
		length := written.Put(buffer, 11, 12, size)
		if size > 0 && length != size {
			t.Fatalf("%d bytes, not %d", length, size)
		}
		var packet Packet
		var read State
		if _, err := packet.ParseGame(buffer[:length]); err != nil {
			t.Fatal(err)
		}
		if err := read.Parse(&packet, buffer[:length]); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(read, written) || packet.Session != 11 || packet.Flow != 12 {
			t.Fatalf("%+v\n%+v", read, written)
		}
		if read.Parse(&packet, buffer[:updateHeader+10]) == nil {
			t.Fatal("half an update was read")
		}
	}
}

func TestAGreetingIsNoProbe(t *testing.T) {
	buffer := make([]byte, HelloSize)
	(&Packet{Kind: Hello, Session: 1}).Put(buffer)
	Greeting{Interval: 2, Timeout: 3}.Put(buffer)
	var packet Packet
	if packet.Parse(buffer) == nil {
		t.Fatal("it was taken for a probe")
	}
	if greeting, err := packet.ParseGame(buffer); err != nil || greeting != (Greeting{2, 3}) {
		t.Fatal(greeting, err)
	}
	Greeting{Interval: 0, Timeout: 3}.Put(buffer)
	if _, err := packet.ParseGame(buffer); err == nil {
		t.Fatal("a server cannot tick all the time")
	}
}
