package prober

import "lblab/lablet/internal/wire"

// pending remembers the packets of a flow that may still be answered: a ring by sequence number.
type pending struct {
	sent    []int64 // stamp of sending, 0 when it is decided what became of the packet
	oldest  uint32  // lowest number that may be undecided
	next    uint32  // number of the next packet
	mask    uint32
	decided uint32 // how many packets were answered, overdue or never left
}

// newPending makes room for the packets of one wait for late replies.
func newPending(packets int) *pending {
	size := 64
	for size < packets+1 {
		size *= 2
	}
	return &pending{sent: make([]int64, size), mask: uint32(size - 1), oldest: 1, next: 1}
}

// full says that the next number would overwrite an undecided one.
func (p *pending) full() bool { return p.next-p.oldest >= uint32(len(p.sent)) }

// send notes a packet; its number is p.next before the call.
func (p *pending) send(at int64) {
	p.sent[p.next&p.mask] = at
	p.next++
}

// decide notes that a packet was answered, or that it never left.
func (p *pending) decide(sequence uint32) {
	if sequence >= p.oldest && sequence < p.next && p.sent[sequence&p.mask] != 0 {
		p.sent[sequence&p.mask] = 0
		p.decided++
	}
}

// allDecided says that nothing is waited for.
func (p *pending) allDecided() bool { return p.decided == p.next-1 }

// overdue takes the packets sent at or before a time and not decided about, in order.
func (p *pending) overdue(before int64, report func(sequence uint32, sent int64)) {
	for ; p.oldest < p.next; p.oldest++ {
		sent := p.sent[p.oldest&p.mask]
		if sent > before {
			return
		}
		if sent != 0 {
			p.decided++
			report(p.oldest, sent)
		}
	}
}

// account is the latest that a server said about a flow.
type account struct {
	first, highest, count, duplicates uint32
	gaps                              [wire.MaxGaps]wire.Gap
	gapCount                          int
}

func accountOf(answer *wire.Answer) account {
	return account{answer.First, answer.Highest, answer.Count, answer.Duplicates, answer.Gaps, answer.GapCount}
}

// news says whether the server saw something other than the next numbers in order.
func (a account) news(before account) bool {
	return a.gaps != before.gaps || a.duplicates != before.duplicates || a.first != before.first
}
