package schedule

import "testing"

type taken struct {
	flow    int
	slot    int64
	skipped bool
}

func take(s *Schedule, now int64) (all []taken) {
	for {
		flow, slot, skipped, due := s.Due(now)
		if !due {
			return all
		}
		all = append(all, taken{flow, slot, skipped})
	}
}

func TestFlowsAreSpreadOverTheInterval(t *testing.T) {
	s := &Schedule{Start: 1000, Interval: 100, Flows: 4}
	for k, want := range []int64{1000, 1025, 1050, 1075, 1100, 1125} {
		if s.Next() != want {
			t.Fatalf("slot %d at %d", k, s.Next())
		}
		got := take(s, want)
		if len(got) != 1 || got[0].flow != k%4 || got[0].skipped {
			t.Fatalf("slot %d: %+v", k, got)
		}
	}
}

func TestNothingIsDueEarly(t *testing.T) {
	s := &Schedule{Start: 1000, Interval: 100, Flows: 1}
	if got := take(s, 999); got != nil {
		t.Fatalf("%+v", got)
	}
}

func TestALateProberSkipsInsteadOfBursting(t *testing.T) {
	s := &Schedule{Start: 0, Interval: 100, Flows: 2}
	got := take(s, 260) // slots 0 50 100 150 200 250: only the last one of each flow is sent
	var sent []taken
	for _, slot := range got {
		if !slot.skipped {
			sent = append(sent, slot)
		}
	}
	if len(got) != 6 || len(sent) != 2 || sent[0] != (taken{0, 200, false}) || sent[1] != (taken{1, 250, false}) {
		t.Fatalf("%+v", got)
	}
	if s.Next() != 300 {
		t.Fatalf("the grid was left: next at %d", s.Next())
	}
}

func TestTheGridDoesNotDrift(t *testing.T) {
	s := &Schedule{Start: 0, Interval: 1_000_000_000 / 30, Flows: 7}
	for range 7 * 30 * 60 {
		s.Due(1 << 62)
	}
	if want := 30 * 60 * s.Interval; s.Next() != want {
		t.Fatalf("after a minute at %d, not %d", s.Next(), want)
	}
}
