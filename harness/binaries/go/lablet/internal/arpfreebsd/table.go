// Package arpfreebsd is a router's ARP table that lives as FreeBSD's does, for the addresses that are left to it.
//
// Read for it: sys/netinet/if_ether.c (arptimer, arpresolve_full, in_arpinput, arp_check_update_lle) and sys/net/if_llatbl.c.
// An entry lives 1200 s from the last ARP packet that was heard from its address; 5 s before that it is asked whether it is
// used, and if so its address is asked for, by broadcast, once a second. The last answer wins.
package arpfreebsd

import (
	"net/netip"

	"lblab/lablet/internal/arp"
)

// State is a state of an entry (ln_state; a deleted entry is not in the table).
type State string

// The states.
const (
	Incomplete State = "INCOMPLETE" // asked for, packets held
	Reachable  State = "REACHABLE"
	Verify     State = "VERIFY" // about to expire; asked for if it is used
)

// Effects is what a table does to the world. The table has changed already when it calls.
type Effects interface {
	Ask(address netip.Addr)                 // broadcast a request
	Forward(address netip.Addr, to arp.MAC) // the kernel sends packets for the address there
	Hold(address netip.Addr)                // the kernel hands packets for the address to the table
	Forget(address netip.Addr)              // the kernel knows nothing, and hands the first packet over
	Watch(address netip.Addr, on bool)      // tell the table when a packet for the address is sent
	Send(packet Packet, to arp.MAC)         // a packet that was held
	Unreachable(packet Packet)              // tell its sender that the host is down
	Tell(event Event)                       // for the timeline
	Log(text string)                        // a line of FreeBSD's log
}

// Packet is a data packet on its way, as the wire gave it.
type Packet []byte

// Event is something that the timeline tells.
type Event struct {
	At      int64      `json:"now_ns"`
	Name    string     `json:"event"`
	Address netip.Addr `json:"address"`
	MAC     *arp.MAC   `json:"mac,omitempty"`
	Before  *arp.MAC   `json:"before,omitempty"`
	Try     int        `json:"try,omitempty"` // which request of a row
}

// Counters is what has become of one address; it outlives the entry.
type Counters struct {
	Requests    int             `json:"requests"`    // broadcast by this router
	Heard       map[arp.MAC]int `json:"heard"`       // ARP packets from the address, by the MAC they named
	Replies     map[arp.MAC]int `json:"replies"`     // of them replies to this router
	Learned     int             `json:"learned"`     // became reachable without having been it
	Moves       int             `json:"moves"`       // changed their MAC
	Expiries    int             `json:"expiries"`    // deleted after VERIFY
	Timeouts    int             `json:"timeouts"`    // deleted unresolved
	Unreachable int             `json:"unreachable"` // packets whose senders were told
	Dropped     int             `json:"dropped"`     // packets that were held in vain
	Ignored     int             `json:"ignored"`     // ARP packets from an address without an entry, not meant for this router
}

type entry struct {
	address netip.Addr
	state   State
	mac     arp.MAC
	heard   int64 // when an ARP packet was heard last
	expire  int64 // la_expire, uptime in seconds
	due     int64 // of the timer
	asked   int   // la_asked
	preempt int   // la_preempt
	used    bool  // since it was asked whether it is (r_skip_req)
	held    []Packet
}

// Table is the ARP table of one interface; it is for one goroutine at a time. Times are nanoseconds of CLOCK_MONOTONIC.
type Table struct {
	device   arp.Device
	own      map[netip.Addr]bool
	timers   Timers
	boot     int64
	effects  Effects
	entries  map[netip.Addr]*entry
	counters map[netip.Addr]*Counters
	log      limiter
}

// NewTable makes an empty table.
func NewTable(device arp.Device, own []netip.Addr, timers Timers, now int64, effects Effects) *Table {
	table := &Table{
		device: device, own: map[netip.Addr]bool{}, timers: timers, boot: now, effects: effects,
		entries: map[netip.Addr]*entry{}, counters: map[netip.Addr]*Counters{},
	}
	for _, address := range own {
		table.own[address] = true
	}
	return table
}

// uptime is time_uptime: whole seconds.
func (t *Table) uptime(now int64) int64 { return (now - t.boot) / t.timers.Second }

func (t *Table) count(address netip.Addr) *Counters {
	found := t.counters[address]
	if found == nil {
		found = &Counters{Heard: map[arp.MAC]int{}, Replies: map[arp.MAC]int{}}
		t.counters[address] = found
	}
	return found
}

// Outgoing takes a packet that cannot be sent because its address is not resolved.
func (t *Table) Outgoing(now int64, address netip.Addr, packet Packet) {
	e := t.entries[address]
	if e == nil {
		e = t.create(now, address)
		t.effects.Hold(address)
	}
	if e.state != Incomplete { // it was on its way to the table when the answer came
		e.used = true
		t.effects.Send(packet, e.mac)
		return
	}
	// What the sender is told depends on the requests before this packet's own.
	down := e.asked >= t.timers.Tries
	if len(e.held) >= t.timers.Hold {
		e.held = e.held[1:]
		t.count(address).Dropped++
	}
	e.held = append(e.held, packet)
	if t.renews(now, e) {
		t.ask(now, e)
		t.effects.Ask(address)
	}
	if down {
		t.count(address).Unreachable++
		t.effects.Unreachable(packet)
	}
}

// Asked notes that the kernel has asked for an address itself, as it does for the first packet to one that it does not know.
func (t *Table) Asked(now int64, address netip.Addr) {
	e := t.entries[address]
	switch {
	case e == nil:
		e = t.create(now, address)
		t.ask(now, e)
		t.effects.Hold(address)
	case e.state == Incomplete: // the kernel has lost what it was told; it asks in this table's place
		if t.renews(now, e) {
			t.ask(now, e)
		}
		t.effects.Hold(address)
	default:
		t.effects.Forward(address, e.mac)
	}
}

func (t *Table) create(now int64, address netip.Addr) *entry {
	e := &entry{address: address, state: Incomplete, due: now + t.timers.Down*t.timers.Second}
	t.entries[address] = e
	t.effects.Tell(Event{At: now, Name: "incomplete", Address: address})
	return e
}

// renews says whether a packet for an unresolved address asks again: not twice within a second of the uptime.
func (t *Table) renews(now int64, e *entry) bool { return e.asked == 0 || e.expire != t.uptime(now) }

func (t *Table) ask(now int64, e *entry) {
	e.expire = t.uptime(now)
	e.due = now + t.timers.Down*t.timers.Second
	e.asked++
	t.count(e.address).Requests++
	if e.asked == t.timers.Tries {
		t.effects.Tell(Event{At: now, Name: "host_down", Address: e.address, Try: e.asked})
	}
}

// Used notes that a packet was sent to an address that is watched.
func (t *Table) Used(address netip.Addr) {
	if e := t.entries[address]; e != nil && e.state == Verify && !e.used {
		e.used = true
		t.effects.Watch(address, false)
	}
}

// Heard takes an ARP packet that came in by the interface and names a sender that is this table's business.
func (t *Table) Heard(now int64, frame arp.Frame) {
	switch {
	case frame.SenderMAC.IsMulticast():
		t.logf(now, frame.SenderMAC.String()+" is multicast")
		return
	case frame.SenderMAC == t.device.MAC: // it's from me
		return
	case t.own[frame.Sender]:
		t.logf(now, frame.SenderMAC.String()+" is using my IP address "+frame.Sender.String()+" on "+t.device.Name+"!")
		return
	}
	counters := t.count(frame.Sender)
	counters.Heard[frame.SenderMAC]++
	if frame.Operation == arp.Reply && t.own[frame.Target] {
		counters.Replies[frame.SenderMAC]++
	}
	e := t.entries[frame.Sender]
	if e == nil {
		if !t.own[frame.Target] { // a gratuitous ARP never creates an entry
			counters.Ignored++
			return
		}
		e = &entry{address: frame.Sender, state: Incomplete}
		t.entries[frame.Sender] = e
	}
	t.update(now, e, frame.SenderMAC)
}

// update is arp_check_update_lle and arp_mark_lle_reachable: the last one who speaks has the address, for another 1200 s.
func (t *Table) update(now int64, e *entry, mac arp.MAC) {
	before, was := e.mac, e.state
	if was == Verify && !e.used {
		t.effects.Watch(e.address, false)
	}
	held := e.held
	*e = entry{
		address: e.address, state: Reachable, mac: mac, heard: now,
		expire:  t.uptime(now) + t.timers.Keep,
		due:     now + (t.timers.Keep-int64(t.timers.Tries)*t.timers.Retransmit)*t.timers.Second,
		preempt: t.timers.Tries,
	}
	switch {
	case was == Incomplete:
		t.count(e.address).Learned++
		t.effects.Forward(e.address, mac)
		t.effects.Tell(Event{At: now, Name: "learned", Address: e.address, MAC: &mac})
	case before != mac:
		t.count(e.address).Moves++
		t.effects.Forward(e.address, mac)
		t.effects.Tell(Event{At: now, Name: "moved", Address: e.address, MAC: &mac, Before: &before})
		t.logf(now, e.address.String()+" moved from "+before.String()+" to "+mac.String()+" on "+t.device.Name)
	case was == Verify:
		t.effects.Tell(Event{At: now, Name: "verified", Address: e.address, MAC: &mac})
	}
	for _, packet := range held {
		t.effects.Send(packet, mac)
	}
}

// Tick does what timers are due for.
func (t *Table) Tick(now int64) {
	for _, e := range t.entries {
		for t.entries[e.address] == e && e.due <= now {
			t.timeout(now, e)
		}
	}
}

// timeout is arptimer. The next timer is set from when this one was due; but where the daemon has waited for a CPU for long,
// from now, as FreeBSD's callouts are: packets and answers must have a second in which to be heard.
func (t *Table) timeout(now int64, e *entry) {
	second := t.timers.Retransmit * t.timers.Second
	at, next := e.due, e.due+second
	if now-at > second/2 {
		next = now + second
	}
	switch {
	case e.state == Reachable:
		e.state, e.due, e.used = Verify, next, false
		t.effects.Watch(e.address, true)
	case e.state == Verify && e.used && e.preempt > 0:
		e.preempt--
		e.due = next
		t.count(e.address).Requests++
		mac := e.mac
		t.effects.Ask(e.address)
		t.effects.Tell(Event{At: now, Name: "verify_request", Address: e.address, MAC: &mac, Try: t.timers.Tries - e.preempt})
	case e.state == Verify && e.expire > t.uptime(at):
		e.due = next
	default:
		t.delete(now, e)
	}
}

func (t *Table) delete(now int64, e *entry) {
	delete(t.entries, e.address)
	counters := t.count(e.address)
	counters.Dropped += len(e.held)
	t.effects.Forget(e.address)
	if e.state == Incomplete {
		counters.Timeouts++
		t.effects.Tell(Event{At: now, Name: "timed_out", Address: e.address, Try: e.asked})
		return
	}
	if e.state == Verify && !e.used {
		t.effects.Watch(e.address, false)
	}
	counters.Expiries++
	mac := e.mac
	t.effects.Tell(Event{At: now, Name: "expired", Address: e.address, Before: &mac})
}

// Delete removes an entry, as `arp -d` does; it is not counted as expired.
func (t *Table) Delete(address netip.Addr) bool {
	e := t.entries[address]
	if e == nil {
		return false
	}
	delete(t.entries, address)
	if e.state == Verify && !e.used {
		t.effects.Watch(address, false)
	}
	t.effects.Forget(address)
	return true
}

// Next is when the next timer is due; false when there is none.
func (t *Table) Next() (due int64, ok bool) {
	for _, e := range t.entries {
		if !ok || e.due < due {
			due, ok = e.due, true
		}
	}
	return due, ok
}

func (t *Table) logf(now int64, text string) {
	if t.log.pass(now, t.timers.Second, t.timers.LogRate) {
		t.effects.Log("arp: " + text)
	}
}

// Addresses are those with an entry.
func (t *Table) Addresses() []netip.Addr {
	found := make([]netip.Addr, 0, len(t.entries))
	for address := range t.entries {
		found = append(found, address)
	}
	return found
}
