// Package announce answers ARP for addresses as MetalLB's speaker does in layer 2 mode, where its timers have to be scaled or
// its answers delayed; everywhere else lblab runs the real speaker.
//
// As in MetalLB: one reply to each request, to its sender; after an address was taken over five rounds of two gratuitous
// frames, 1.1 s apart (internal/layer2/announcer.go, spamLoop); the leader of an address is the member whose
// sha256(node#address) is smallest (speaker/layer2_controller.go). A node that loses an address stops answering and says nothing.
package announce

import (
	"bytes"
	"crypto/sha256"
	"net/netip"
	"time"

	"lblab/lablet/internal/arp"
)

// MetalLB's times: 1100 ms because a Linux neighbour is deaf to other changes for a second (its issue 172).
const (
	spamEvery = 1100 * time.Millisecond
	spamFor   = 5 * time.Second
)

// gratuitous are the two frames of one round, in the order in which MetalLB sends them.
func gratuitous(own arp.MAC, address netip.Addr) [2]arp.Frame {
	return [2]arp.Frame{arp.Announcing(arp.Request, own, address), arp.Announcing(arp.Reply, own, address)}
}

// leader is the member that announces an address; false when there is none.
func leader(members []string, address netip.Addr) (node string, ok bool) {
	var least []byte
	for _, member := range members {
		hash := sha256.Sum256([]byte(member + "#" + address.String()))
		if least == nil || bytes.Compare(hash[:], least) < 0 {
			least, node = hash[:], member
		}
	}
	return node, least != nil
}

// stalls say when a responder that is given too little CPU does not run: at the end of each interval.
type stalls struct {
	began         int64
	every, length int64
}

// until is when something that is due now is done.
func (s stalls) until(now int64) int64 {
	if s.every <= 0 || s.length <= 0 {
		return now
	}
	into := (now - s.began) % s.every
	if into >= s.every-s.length {
		return now + s.every - into
	}
	return now
}
