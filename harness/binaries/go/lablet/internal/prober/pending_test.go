package prober

import (
	"slices"
	"testing"
)

func TestOnlyUnansweredPacketsBecomeOverdue(t *testing.T) {
	p := newPending(100)
	for i := range int64(10) {
		p.send(100 + i)
	}
	p.decide(2)
	p.decide(2)
	p.decide(99) // not sent yet
	var overdue []uint32
	note := func(sequence uint32, _ int64) { overdue = append(overdue, sequence) }
	p.overdue(103, note)
	if !slices.Equal(overdue, []uint32{1, 3, 4}) {
		t.Fatalf("%v", overdue)
	}
	p.decide(3) // late: it was reported, and is not counted twice
	for i := uint32(5); i <= 10; i++ {
		p.decide(i)
	}
	if !p.allDecided() {
		t.Errorf("%d of %d decided", p.decided, p.next-1)
	}
	p.overdue(1<<62, note)
	if len(overdue) != 3 {
		t.Errorf("%v", overdue)
	}
}

func TestNothingUndecidedIsOverwritten(t *testing.T) {
	p := newPending(100)
	sent := 0
	for !p.full() {
		p.send(1)
		sent++
	}
	if sent < 100 {
		t.Fatalf("room for %d", sent)
	}
	p.overdue(1, func(uint32, int64) {})
	if p.full() {
		t.Error("still full after all were reported")
	}
}
