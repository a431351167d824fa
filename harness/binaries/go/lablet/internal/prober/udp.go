package prober

import (
	"bytes"
	"context"
	"errors"
	"math"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"lblab/lablet/internal/clock"
	"lblab/lablet/internal/datagram"
	"lblab/lablet/internal/records"
	"lblab/lablet/internal/schedule"
	"lblab/lablet/internal/stats"
	"lblab/lablet/internal/wire"
)

const (
	lookAtLeast = int64(20 * time.Millisecond)  // longest sleep, so that replies and stop are noticed at low rates too
	flushEvery  = int64(100 * time.Millisecond) // a reader of the records is behind by at most this
	startDelay  = int64(5 * time.Millisecond)   // from the header to the first slot
)

// flowState is one flow of a UDP probe.
type flowState struct {
	*socket
	*pending
	lastSent int64
	lastRead int64
	dropped  uint32 // replies that the kernel dropped because the socket's buffer was full
	seenAs   netip.AddrPort
	accounts map[int]*reported // by backend
}

// reported is a server's account of a flow: the latest, and the one that was written last.
type reported struct{ latest, written account }

// udpProber is a run: one thread sends when a slot is due, then reads what has come without waiting. The kernel stamps
// received packets when they arrive, so reading them a slot later costs no accuracy, and one wake-up per packet is enough.
type udpProber struct {
	*options
	out      *records.Writer
	flows    []*flowState
	stamper  *clock.Stamper
	steps    int
	backends []backend
	lateness stats.Histogram // of a packet against its slot
	spacing  stats.Histogram // between two packets of a flow
	sent     uint64
	replies  uint64
	skipped  uint64
	unsent   uint64
	request  []byte
	message  *datagram.Message
	players  []player // of a game, one for each flow; none otherwise
	state    wire.State
}

// backend is a server process that has answered.
type backend struct {
	instance uint64
	identity []byte
}

// The records of a UDP run, times in nanoseconds of CLOCK_MONOTONIC:
//
//	["r", flow, sequence, sent, up, turn, down, backend]  a reply: times from sent to server, in it, and back
//	["n", flow, sequence, sent]                           no reply within --late; an "r" may still follow
//	["x", at, flow, sequence, error]                      the kernel refused to send the packet: it never left
//	["g", flow, before, sent, skipped]                    the prober's own gap: it was late, and skipped so many slots
//	["u", at, flow, backend, first, highest, count, duplicates, [[from, to]...]]  the server's account of the flow
//	["b", at, backend, node, pod, instance]               a new server process answers
//	["p", at, flow, address]                              the server sees the flow coming from this address (from now on)
//	["e", at, flow, sequence, error, type, code, offender] ICMP error
//	["c", at, step]                                       the wall clock, which the kernel's stamps are made with, was stepped
func probeUDP(ctx, hurry context.Context, o *options, out *records.Writer) error {
	p := &udpProber{
		options: o, out: out, stamper: clock.NewStamper(),
		request: make([]byte, o.size), message: datagram.New(2048),
	}
	if o.mode == "game" {
		p.players = make([]player, o.flows)
	}
	room := int(math.Ceil(o.rate*o.late.Seconds())) + int(o.rate*0.1)
	var sources []string
	for i := range o.flows {
		port := o.sourcePort
		if port > 0 {
			port += i
		}
		s, err := openSocket(o.source, port, o.target)
		if err != nil {
			return err
		}
		defer s.close()
		p.flows = append(p.flows, &flowState{socket: s, pending: newPending(room), lastRead: clock.Now(), accounts: map[int]*reported{}})
		sources = append(sources, s.local.String())
	}
	if err := out.Object(o.header(sources, "SO_TIMESTAMPNS, converted", steady())); err != nil {
		return err
	}
	out.Flush()
	p.loop(ctx)
	p.drain(hurry)
	p.writeAccounts()
	return out.Object(end(ctx, map[string]any{
		"sent": p.sent, "replies": p.replies, "unsent": p.unsent, "skipped": p.skipped, "clock_steps": p.stamper.Steps,
		"stamps_replaced": p.stamper.Replaced, "socket_drops": p.drops(),
		"late_p50": p.lateness.Quantile(0.5), "late_p99": p.lateness.Quantile(0.99), "late_max": p.lateness.Max(),
		"spacing_p50": p.spacing.Quantile(0.5), "spacing_p99": p.spacing.Quantile(0.99), "spacing_max": p.spacing.Max(),
	}))
}

func (p *udpProber) loop(ctx context.Context) {
	grid := &schedule.Schedule{Start: clock.Now() + startDelay, Interval: int64(p.interval()), Flows: int64(len(p.flows))}
	skipped := make([]int64, len(p.flows))
	flushed, looked := clock.Now(), clock.Now()
	for ctx.Err() == nil {
		now := clock.Now()
		if next := grid.Next(); next > now {
			sleepUntil(min(next, now+lookAtLeast))
			now = clock.Now()
		}
		for {
			flow, slot, skip, due := grid.Due(now)
			if !due {
				break
			}
			if skip {
				skipped[flow]++
				p.skipped++
				continue
			}
			p.send(flow, slot, skipped[flow])
			skipped[flow] = 0
			p.read(flow)
		}
		if now-looked >= lookAtLeast {
			looked = now
			p.lookAtAll(now)
		}
		if now-flushed >= flushEvery {
			flushed = now
			p.out.Flush()
		}
	}
}

// drain waits for the last replies and reports the packets that got none.
func (p *udpProber) drain(hurry context.Context) {
	for until := clock.Now() + int64(p.linger); clock.Now() < until && hurry.Err() == nil && !p.allDecided(); {
		sleepUntil(min(until, clock.Now()+lookAtLeast))
		p.lookAtAll(clock.Now())
	}
	p.lookAtAll(math.MaxInt64)
}

func (p *udpProber) allDecided() bool {
	for _, flow := range p.flows {
		if !flow.allDecided() {
			return false
		}
	}
	return true
}

// lookAtAll reads every socket and reports what has been unanswered for too long.
func (p *udpProber) lookAtAll(now int64) {
	for i, flow := range p.flows {
		p.read(i)
		flow.overdue(now-int64(p.late), func(sequence uint32, sent int64) {
			p.out.Begin("n").Int(int64(i), int64(sequence), sent).End()
		})
	}
}

func (p *udpProber) send(i int, slot, skipped int64) {
	flow := p.flows[i]
	if flow.full() {
		p.lookAtAll(clock.Now())
		if flow.full() { // the clock would have to stand still; an undecided packet must not be forgotten
			p.skipped++
			return
		}
	}
	sequence := flow.next
	now := clock.Now()
	packet := wire.Packet{
		Kind: wire.Request, Flow: uint16(i), Session: p.session, Sequence: sequence, ReplySize: uint16(p.replySize), Sent: now,
	}
	if p.players != nil {
		packet.Kind = wire.Input
		p.greet(i, now)
	}
	packet.Put(p.request)
	err := datagram.Send(flow.fd, p.request)
	if err != nil { // perhaps the ICMP error about an earlier packet, which the kernel reports at the next call
		p.readErrors(i)
		err = datagram.Send(flow.fd, p.request)
	}
	p.lateness.Add(now - slot)
	if now-slot > int64(p.ownGap) || skipped > 0 {
		p.out.Begin("g").Int(int64(i), flow.lastSent, now, skipped).End()
	}
	if flow.lastSent != 0 {
		p.spacing.Add(now - flow.lastSent)
	}
	flow.lastSent = now
	flow.pending.send(now)
	p.sent++
	if err != nil {
		p.unsent++
		flow.decide(sequence)
		p.out.Begin("x").Int(now, int64(i), int64(sequence)).Text(errorName(err)).End()
	}
}

// read takes everything off a flow's socket.
func (p *udpProber) read(i int) {
	flow := p.flows[i]
	now := p.stamper.Read(flow.lastRead)
	if p.stamper.Steps != p.steps {
		p.steps = p.stamper.Steps
		p.out.Begin("c").Int(now, p.stamper.LastStep).End()
	}
	for {
		err := p.message.Take(flow.fd, 0)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil { // an ICMP error; its details are in the error queue
			p.readErrors(i)
			continue
		}
		flow.dropped = p.message.Dropped
		if p.players != nil {
			p.update(i)
		} else {
			p.reply(i)
		}
	}
	flow.lastRead = now
}

func (p *udpProber) readErrors(i int) {
	for p.message.Take(p.flows[i].fd, unix.MSG_ERRQUEUE) == nil {
		failed, offender := p.message, ""
		if failed.Offender.IsValid() {
			offender = failed.Offender.String()
		}
		p.out.Begin("e").Int(p.stamper.Monotonic(failed.Realtime), int64(i), sequenceOf(failed)).
			Text(errorName(failed.Errno)).Int(int64(failed.Type), int64(failed.Code)).Text(offender).End()
	}
}

func (p *udpProber) reply(i int) {
	var packet wire.Packet
	var answer wire.Answer
	payload := p.message.Payload
	if packet.Parse(payload) != nil || answer.Parse(payload) != nil || packet.Session != p.session || int(packet.Flow) != i {
		return
	}
	at := p.stamper.Monotonic(p.message.Realtime)
	flow := p.flows[i]
	number := p.backend(at, answer.Instance, answer.Identity)
	if flow.seenAs != answer.Peer {
		flow.seenAs = answer.Peer
		p.out.Begin("p").Int(at, int64(i)).Text(answer.Peer.String()).End()
	}
	flow.decide(packet.Sequence)
	p.replies++
	p.out.Begin("r").Int(int64(i), int64(packet.Sequence), packet.Sent, answer.Received-packet.Sent,
		answer.Replied-answer.Received, at-answer.Replied, int64(number)).End()

	state := flow.accounts[number]
	now := accountOf(&answer)
	if state == nil {
		state = &reported{}
		flow.accounts[number] = state
	}
	if now.count+now.duplicates <= state.latest.count+state.latest.duplicates {
		return // a reordered reply: an older account
	}
	state.latest = now
	if now.news(state.written) {
		state.written = now
		p.writeAccount(at, i, number, now)
	}
}

// backend gives a server process its number, and announces a new one.
func (p *udpProber) backend(at int64, instance uint64, identity []byte) int {
	for i := range p.backends {
		if p.backends[i].instance == instance {
			return i
		}
	}
	p.backends = append(p.backends, backend{instance, bytes.Clone(identity)})
	node, pod, _ := bytes.Cut(identity, []byte(" "))
	number := len(p.backends) - 1
	p.out.Begin("b").Int(at, int64(number)).Text(string(node), string(pod), hex(instance)).End()
	return number
}

func (p *udpProber) writeAccounts() {
	for i, flow := range p.flows {
		for number := range p.backends {
			if state := flow.accounts[number]; state != nil {
				p.writeAccount(clock.Now(), i, number, state.latest)
			}
		}
	}
}

func (p *udpProber) writeAccount(at int64, flow, backend int, a account) {
	p.out.Begin("u").Int(at, int64(flow), int64(backend), int64(a.first), int64(a.highest), int64(a.count), int64(a.duplicates)).Open()
	for _, gap := range a.gaps[:a.gapCount] {
		p.out.Open().Int(int64(gap.From), int64(gap.To)).Shut()
	}
	p.out.Shut().End()
}

func (p *udpProber) drops() (dropped uint64) {
	for _, flow := range p.flows {
		dropped += uint64(flow.dropped)
	}
	return dropped
}
