package announce

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"time"

	"lblab/lablet/internal/arp"
	"lblab/lablet/internal/clock"
)

// wire is where frames go.
type wire interface {
	Send(frame arp.Frame) error
}

// Responder answers for the addresses that it announces.
type Responder struct {
	sync.Mutex
	node      string
	own       arp.MAC
	scale     float64
	wire      wire
	out       io.Writer
	addresses map[netip.Addr]*announced
	elected   map[netip.Addr]bool // addresses of an election among the members
	members   []string
	stalls    stalls
}

// announced is what is done for one address.
type announced struct {
	active     bool
	muted      bool
	delay      time.Duration
	spamUntil  int64
	spamming   bool
	Requests   int `json:"requests"`   // heard for it while it was announced here
	Answered   int `json:"answered"`   // replies sent
	Gratuitous int `json:"gratuitous"` // frames sent
}

type event struct {
	At      int64      `json:"now_ns"`
	Name    string     `json:"event"`
	Address netip.Addr `json:"address"`
	Node    string     `json:"node"`
}

// New makes a responder that announces nothing.
func New(node string, own arp.MAC, scale float64, wire wire, out io.Writer) *Responder {
	return &Responder{
		node: node, own: own, scale: scale, wire: wire, out: out,
		addresses: map[netip.Addr]*announced{}, elected: map[netip.Addr]bool{}, stalls: stalls{began: clock.Now()},
	}
}

func (r *Responder) scaled(length time.Duration) time.Duration {
	return time.Duration(r.scale * float64(length))
}

func (r *Responder) of(address netip.Addr) *announced {
	found := r.addresses[address]
	if found == nil {
		found = &announced{}
		r.addresses[address] = found
	}
	return found
}

func (r *Responder) tell(name string, address netip.Addr) {
	text, err := json.Marshal(event{clock.Now(), name, address, r.node})
	if err != nil {
		panic(err) // plain data
	}
	fmt.Fprintln(r.out, string(text))
}

// Announce begins to answer for an address, with gratuitous ARP unless they are to be lost.
func (r *Responder) Announce(address netip.Addr, quiet bool) {
	r.Lock()
	defer r.Unlock()
	r.announce(address, quiet)
}

func (r *Responder) announce(address netip.Addr, quiet bool) {
	a := r.of(address)
	if !a.active {
		a.active = true
		r.tell("announced", address)
	}
	if quiet {
		return
	}
	a.spamUntil = clock.Now() + int64(r.scaled(spamFor))
	if !a.spamming { // otherwise the rounds that are going on go on for longer
		a.spamming = true
		r.round(address, a)
		go r.spam(address, a, clock.Now())
	}
}

// spam sends the later rounds; like a Go ticker they keep to the schedule of the first.
func (r *Responder) spam(address netip.Addr, a *announced, first int64) {
	every := int64(r.scaled(spamEvery))
	for next := first + every; ; next += every {
		time.Sleep(time.Duration(r.stallOver(next) - clock.Now()))
		r.Lock()
		if !a.active || next > a.spamUntil {
			a.spamming = false
			r.Unlock()
			return
		}
		r.round(address, a)
		r.Unlock()
	}
}

func (r *Responder) stallOver(at int64) int64 {
	r.Lock()
	defer r.Unlock()
	return r.stalls.until(at)
}

func (r *Responder) round(address netip.Addr, a *announced) {
	for _, frame := range gratuitous(r.own, address) {
		if r.wire.Send(frame) == nil {
			a.Gratuitous++
		}
	}
}

// Withdraw stops answering for an address, without a word.
func (r *Responder) Withdraw(address netip.Addr) {
	r.Lock()
	defer r.Unlock()
	r.withdraw(address)
}

func (r *Responder) withdraw(address netip.Addr) {
	if a := r.of(address); a.active {
		a.active = false
		r.tell("withdrawn", address)
	}
}

// Mute leaves requests for an address unanswered, or answers them again.
func (r *Responder) Mute(address netip.Addr, on bool) {
	r.Lock()
	defer r.Unlock()
	r.of(address).muted = on
	if on {
		r.tell("muted", address)
	} else {
		r.tell("unmuted", address)
	}
}

// Delay answers requests for an address so much later; the time is not scaled.
func (r *Responder) Delay(address netip.Addr, by time.Duration) {
	r.Lock()
	defer r.Unlock()
	r.of(address).delay = by
}

// Stall keeps the responder from running for a time at the end of each interval; neither is scaled.
func (r *Responder) Stall(every, length time.Duration) {
	r.Lock()
	defer r.Unlock()
	r.stalls = stalls{clock.Now(), int64(every), int64(length)}
}

// Elect makes the leader of each address among the members announce it. MetalLB does it anew, and the leader sends its
// gratuitous ARP again, each time that a member joins or leaves.
func (r *Responder) Elect(members []string, addresses []netip.Addr) {
	r.Lock()
	defer r.Unlock()
	r.members = members
	for _, address := range addresses {
		r.elected[address] = true
	}
	for address := range r.elected {
		if node, ok := leader(members, address); ok && node == r.node {
			r.announce(address, false)
		} else {
			r.withdraw(address)
		}
	}
}

// Heard answers a request; who asks for what this node does not announce is not answered (processRequest).
func (r *Responder) Heard(frame arp.Frame) {
	if frame.Operation != arp.Request || frame.To != arp.Broadcast && frame.To != r.own {
		return
	}
	r.Lock()
	defer r.Unlock()
	a := r.addresses[frame.Target]
	if a == nil || !a.active {
		return
	}
	a.Requests++
	if a.muted {
		return
	}
	now := clock.Now()
	later := time.Duration(r.stalls.until(now+int64(a.delay)) - now)
	if later <= 0 {
		r.answer(frame, a)
		return
	}
	time.AfterFunc(later, func() {
		r.Lock()
		defer r.Unlock()
		if a.active && !a.muted {
			r.answer(frame, a)
		}
	})
}

func (r *Responder) answer(request arp.Frame, a *announced) {
	if r.wire.Send(arp.Answering(request, r.own)) == nil {
		a.Answered++
	}
}

// State is what the control socket shows.
func (r *Responder) State() any {
	type shown struct {
		announced
		Active bool    `json:"active"`
		Muted  bool    `json:"muted"`
		Delay  float64 `json:"delay_seconds"`
	}
	r.Lock()
	defer r.Unlock()
	addresses := map[netip.Addr]shown{}
	for address, a := range r.addresses {
		addresses[address] = shown{*a, a.active, a.muted, a.delay.Seconds()}
	}
	return map[string]any{
		"now_ns": clock.Now(), "node": r.node, "mac": r.own, "time_scale": r.scale,
		"members": slices.Clone(r.members), "addresses": addresses,
	}
}
