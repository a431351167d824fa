package l2responder

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"lblab/lablet/internal/arp"
)

// key is a key of the BPF map cilium_l2_responder_v4: answer for this address at this interface.
type key struct {
	IP      netip.Addr `json:"ip"`
	IfIndex int        `json:"ifindex"`
}

// row is what the map holds of a key.
type row struct {
	own       arp.MAC
	responses uint64
}

// errNoEntry is what deleting a key gives that is not there, as the kernel's ENOENT.
var errNoEntry = errors.New("no such entry")

// table is the two maps that the BPF responder reads: the entries, and the agent's sign of life. Times are
// CLOCK_MONOTONIC nanoseconds, in which the agent writes its sign of life (pkg/datapath/agentliveness).
type table struct {
	lock        sync.Mutex
	rows        map[key]*row
	aliveNS     int64
	maxLiveness time.Duration
}

func newTable(maxLiveness time.Duration) *table {
	return &table{rows: map[key]*row{}, maxLiveness: maxLiveness}
}

// create adds an entry; it says whether it was not there before. Own is the interface's hardware address.
func (t *table) create(k key, own arp.MAC) (isNew bool) {
	t.lock.Lock()
	defer t.lock.Unlock()
	if _, found := t.rows[k]; found {
		return false
	}
	t.rows[k] = &row{own: own}
	return true
}

func (t *table) delete(k key) error {
	t.lock.Lock()
	defer t.lock.Unlock()
	if _, found := t.rows[k]; !found {
		return errNoEntry
	}
	delete(t.rows, k)
	return nil
}

// list gives the keys with how often each was answered for, in order of address and interface.
func (t *table) list() (keys []key, responses []uint64) {
	t.lock.Lock()
	defer t.lock.Unlock()
	for k := range t.rows {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b key) int {
		if order := a.IP.Compare(b.IP); order != 0 {
			return order
		}
		return a.IfIndex - b.IfIndex
	})
	for _, k := range keys {
		responses = append(responses, t.rows[k].responses)
	}
	return keys, responses
}

// alive notes the agent's sign of life.
func (t *table) alive(atNS int64) {
	t.lock.Lock()
	defer t.lock.Unlock()
	t.aliveNS = atNS
}

// heard is when the agent last gave a sign of life; zero: never.
func (t *table) heard() int64 {
	t.lock.Lock()
	defer t.lock.Unlock()
	return t.aliveNS
}

// silent says whether the agent has not been heard of for longer than the lease, so that another node may hold it: the
// BPF program then lets the request pass unanswered (bpf_host.c, handle_l2_announcement; L2_ANNOUNCEMENTS_MAX_LIVENESS is
// the lease duration).
func (t *table) silent(nowNS int64) bool {
	t.lock.Lock()
	defer t.lock.Unlock()
	return t.isSilent(nowNS)
}

func (t *table) isSilent(nowNS int64) bool {
	return t.aliveNS == 0 || nowNS-t.aliveNS > int64(t.maxLiveness)
}

// answer decides on a frame that came in at an interface: a request, sent to everybody or to the interface itself, for
// an address with an entry there (bpf/lib/arp.h, arp_validate).
func (t *table) answer(frame []byte, ifIndex int, nowNS int64) ([]byte, bool) {
	asked, err := arp.Parse(frame)
	if err != nil || asked.Operation != arp.Request {
		return nil, false
	}
	t.lock.Lock()
	defer t.lock.Unlock()
	found := t.rows[key{asked.Target, ifIndex}]
	if found == nil || t.isSilent(nowNS) || asked.To != arp.Broadcast && asked.To != found.own {
		return nil, false
	}
	found.responses++
	return arp.Answering(asked, found.own).Append(nil), true
}
