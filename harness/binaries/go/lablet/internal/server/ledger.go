package server

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"

	"lblab/lablet/internal/flow"
	"lblab/lablet/internal/wire"
)

const (
	maxFlows       = 1024
	maxPeers       = 4096
	followerBuffer = 1 << 14 // arrivals that wait for a reader of "packets", eight seconds of 2 kHz
)

// flowKey names a flow whatever address its packets come from, so that a changed source is a move and not a new flow.
type flowKey struct {
	session uint64
	flow    uint16
}

// flowAccount is what is known of a flow; the JSON form is the reply to "log".
type flowAccount struct {
	Session string `json:"session"` // hexadecimal: JSON readers may not hold 64 bits
	Flow    uint16 `json:"flow"`
	Peer    string `json:"peer"`  // the latest source
	Moves   int    `json:"moves"` // how often the source changed: the address translation in between lost its state
	flow.Seen
	peer netip.AddrPort
}

// peerAccount is one source of datagrams; the JSON form is an element of the reply to "peers".
type peerAccount struct {
	Peer      string `json:"peer"`
	Port      int    `json:"port"`
	Packets   uint64 `json:"packets"`
	First     int64  `json:"first_ns"`
	Last      int64  `json:"last_ns"`
	Session   string `json:"session,omitempty"` // of the probe flow, if it is one
	Flow      int    `json:"flow"`              // -1 when it is none
	MovedFrom string `json:"moved_from"`        // the source that this flow had before, if this one is new to it
}

type peerKey struct {
	peer netip.AddrPort
	port int
}

// arrival is one line of the stream that "packets" asks for.
type arrival struct {
	session   uint64
	flow      uint16
	sequence  uint32
	sent      int64
	received  int64
	replied   int64
	peer      netip.AddrPort
	duplicate bool
}

// A follower reads arrivals as they happen; what it is too slow for is counted.
type follower struct {
	arrivals chan arrival
	flow     int // -1: all
	dropped  uint64
}

// ledger is what a server knows of its UDP clients. Its zero value is ready for use.
type ledger struct {
	mutex     sync.Mutex
	flows     map[flowKey]*flowAccount
	peers     map[peerKey]*peerAccount
	followers map[*follower]struct{}
}

// probe enters a request and fills in what its reply says about the flow.
func (l *ledger) probe(packet *wire.Packet, answer *wire.Answer, peer netip.AddrPort, port int) (duplicate bool) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	key := flowKey{packet.Session, packet.Flow}
	account := l.flows[key]
	if account == nil {
		if l.flows == nil {
			l.flows = map[flowKey]*flowAccount{}
		}
		evict(l.flows, maxFlows, func(a *flowAccount) int64 { return a.LastAt })
		account = &flowAccount{Session: hex(packet.Session), Flow: packet.Flow, Peer: peer.String(), peer: peer}
		l.flows[key] = account
	}
	source := l.enter(peer, port, answer.Received)
	source.Session, source.Flow = account.Session, int(packet.Flow)
	if account.peer != peer {
		if source.Packets == 1 {
			source.MovedFrom = account.Peer
		}
		account.Moves++
		account.peer, account.Peer = peer, peer.String()
	}
	duplicate = account.Arrive(packet.Sequence, answer.Received)
	answer.First, answer.Highest = account.First, account.Highest
	answer.Count, answer.Duplicates = account.Count, account.Duplicates
	answer.GapCount = account.Latest(&answer.Gaps)
	return duplicate
}

// peer enters a datagram that is no probe.
func (l *ledger) peer(peer netip.AddrPort, port int, at int64) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.enter(peer, port, at)
}

func (l *ledger) enter(peer netip.AddrPort, port int, at int64) *peerAccount {
	key := peerKey{peer, port}
	account := l.peers[key]
	if account == nil {
		if l.peers == nil {
			l.peers = map[peerKey]*peerAccount{}
		}
		evict(l.peers, maxPeers, func(a *peerAccount) int64 { return a.Last })
		account = &peerAccount{Peer: peer.String(), Port: port, First: at, Flow: -1}
		l.peers[key] = account
	}
	account.Packets++
	account.Last = at
	return account
}

// evict makes room for one more entry by dropping the one that was used longest ago.
func evict[K comparable, V any](entries map[K]V, limit int, last func(V) int64) {
	if len(entries) < limit {
		return
	}
	var oldest K
	at := int64(1<<63 - 1)
	for key, entry := range entries {
		if last(entry) < at {
			oldest, at = key, last(entry)
		}
	}
	delete(entries, oldest)
}

// stream passes an arrival on to those who follow its flow.
func (l *ledger) stream(packet *wire.Packet, answer *wire.Answer, duplicate bool) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for follower := range l.followers {
		if follower.flow >= 0 && follower.flow != int(packet.Flow) {
			continue
		}
		entry := arrival{packet.Session, packet.Flow, packet.Sequence, packet.Sent, answer.Received, answer.Replied, answer.Peer, duplicate}
		select {
		case follower.arrivals <- entry:
		default:
			follower.dropped++
		}
	}
}

func (l *ledger) follow(flow int) *follower {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.followers == nil {
		l.followers = map[*follower]struct{}{}
	}
	added := &follower{arrivals: make(chan arrival, followerBuffer), flow: flow}
	l.followers[added] = struct{}{}
	return added
}

func (l *ledger) unfollow(f *follower) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	delete(l.followers, f)
}

func (l *ledger) dropped(f *follower) uint64 {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return f.dropped
}

// accounts copies the accounts of one flow number, or of all for -1.
func (l *ledger) accounts(flow int) []flowAccount {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	list := []flowAccount{}
	for key, account := range l.flows {
		if flow < 0 || int(key.flow) == flow {
			copied := *account
			copied.Gaps = slices.Clone(account.Gaps)
			list = append(list, copied)
		}
	}
	slices.SortFunc(list, func(a, b flowAccount) int {
		return cmp.Or(cmp.Compare(a.FirstAt, b.FirstAt), cmp.Compare(a.Flow, b.Flow))
	})
	return list
}

func (l *ledger) sources() []peerAccount {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	list := []peerAccount{}
	for _, account := range l.peers {
		list = append(list, *account)
	}
	slices.SortFunc(list, func(a, b peerAccount) int { return cmp.Compare(a.First, b.First) })
	return list
}
