package wire

import (
	"bytes"
	"net/netip"
	"reflect"
	"testing"
)

func TestReplyRepeatsTheRequestAndSaysWhatTheServerSaw(t *testing.T) {
	for _, peer := range []string{"192.0.2.7:4001", "[2001:db8::7]:4001"} {
		request := Packet{Kind: Request, Flow: 3, Session: 1 << 60, Sequence: 70000, ReplySize: 400, Sent: 123456789}
		buffer := make([]byte, MaxSize)
		request.Put(buffer)
		var got Packet
		if err := got.Parse(buffer[:Header]); err != nil || got != request {
			t.Fatalf("request came back as %+v, %v", got, err)
		}
		answer := Answer{
			Received: 5, Replied: 6, Instance: 7, First: 1, Highest: 70000, Count: 69990, Duplicates: 2,
			Peer: netip.MustParseAddrPort(peer), GapCount: 2, Identity: []byte("worker1 default/nginx"),
		}
		answer.Gaps[0], answer.Gaps[1] = Gap{3, 9}, Gap{11, 13}
		size := answer.Put(buffer, &request)
		if size != 400 {
			t.Fatalf("reply of %d bytes, wanted 400", size)
		}
		var seen Answer
		if err := seen.Parse(buffer[:size]); err != nil || !reflect.DeepEqual(seen, answer) {
			t.Fatalf("answer came back as %+v, %v", seen, err)
		}
		request.Kind = Reply
		if err := got.Parse(buffer[:size]); err != nil || got != request {
			t.Fatalf("request in the reply came back as %+v, %v", got, err)
		}
	}
}

func TestReplyIsAsLongAsItMustBe(t *testing.T) {
	buffer := bytes.Repeat([]byte{0xff}, MaxSize)
	answer := Answer{Identity: []byte("n p"), Peer: netip.MustParseAddrPort("1.2.3.4:5")}
	if size := answer.Put(buffer, &Packet{ReplySize: 0}); size != ReplyHeader+3 {
		t.Fatalf("size %d", size)
	}
	if size := answer.Put(buffer, &Packet{ReplySize: 65535}); size != MaxSize {
		t.Fatalf("size %d", size)
	}
	if buffer[MaxSize-1] != 0 {
		t.Fatal("padding carries what was in the buffer before")
	}
}

func TestForeignDatagramsAreRefused(t *testing.T) {
	var packet Packet
	var answer Answer
	good := make([]byte, MaxSize)
	(&Packet{Kind: Request}).Put(good)
	wrongVersion := bytes.Clone(good)
	wrongVersion[4] = 9
	wrongKind := bytes.Clone(good)
	wrongKind[5] = 0
	for name, buffer := range map[string][]byte{
		"empty": nil, "short": good[:Header-1], "text": []byte("whoami and some more text, long enough"),
		"version": wrongVersion, "kind": wrongKind,
	} {
		if packet.Parse(buffer) == nil {
			t.Errorf("%s was taken for a probe", name)
		}
	}
	if answer.Parse(good) == nil {
		t.Error("a request was taken for a reply")
	}
	(&Packet{Kind: Reply}).Put(good)
	good[91] = 200
	if answer.Parse(good[:ReplyHeader+199]) == nil {
		t.Error("a truncated identity was accepted")
	}
}
