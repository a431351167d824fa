package flow

import (
	"math/rand"
	"testing"

	"lblab/lablet/internal/wire"
)

func arrivals(sequences ...uint32) *Seen {
	seen := &Seen{}
	for i, sequence := range sequences {
		seen.Arrive(sequence, int64(i+1)*1000)
	}
	return seen
}

func TestGapCarriesTheStampsAroundIt(t *testing.T) {
	seen := arrivals(10, 11, 15)
	if len(seen.Gaps) != 1 || seen.Gaps[0] != (Gap{12, 14, 2000, 3000}) {
		t.Fatalf("gaps %+v", seen.Gaps)
	}
	if seen.First != 10 || seen.Highest != 15 || seen.Count != 3 {
		t.Fatalf("seen %+v", seen)
	}
}

func TestLateArrivalSplitsAndFillsAGap(t *testing.T) {
	seen := arrivals(1, 7, 4)
	if len(seen.Gaps) != 2 || seen.Gaps[0].To != 3 || seen.Gaps[1].From != 5 || seen.Reordered != 1 {
		t.Fatalf("seen %+v", seen)
	}
	for _, sequence := range []uint32{2, 3, 6, 5} {
		if seen.Arrive(sequence, 9) {
			t.Fatalf("%d was taken for a duplicate", sequence)
		}
	}
	if len(seen.Gaps) != 0 || seen.Count != 7 || seen.Duplicates != 0 {
		t.Fatalf("seen %+v", seen)
	}
	if !seen.Arrive(4, 10) || seen.Duplicates != 1 || seen.Count != 7 {
		t.Fatalf("a duplicate was not noticed: %+v", seen)
	}
}

func TestArrivalBelowTheFirst(t *testing.T) {
	seen := arrivals(5, 2)
	if seen.First != 2 || len(seen.Gaps) != 1 || seen.Gaps[0].From != 3 || seen.Gaps[0].To != 4 || seen.Reordered != 1 {
		t.Fatalf("seen %+v", seen)
	}
}

func TestAccountEqualsASet(t *testing.T) {
	random := rand.New(rand.NewSource(7))
	for range 50 {
		seen, set := &Seen{}, map[uint32]bool{}
		for i := range 400 {
			sequence := uint32(1000 + i + random.Intn(40) - 20)
			if duplicate := seen.Arrive(sequence, int64(i)); duplicate != set[sequence] {
				t.Fatalf("%d: duplicate %v", sequence, duplicate)
			}
			set[sequence] = true
		}
		missing := map[uint32]bool{}
		for _, gap := range seen.Gaps {
			for sequence := gap.From; sequence <= gap.To; sequence++ {
				missing[sequence] = true
			}
		}
		for sequence := seen.First; sequence <= seen.Highest; sequence++ {
			if set[sequence] == missing[sequence] {
				t.Fatalf("%d: arrived %v, missing %v", sequence, set[sequence], missing[sequence])
			}
		}
		if int(seen.Count) != len(set) {
			t.Fatalf("count %d of %d", seen.Count, len(set))
		}
	}
}

func TestOldGapsAreForgottenAndSaidToBe(t *testing.T) {
	seen := &Seen{}
	for i := range uint32(MaxGaps + 2) {
		seen.Arrive(2*i, int64(i))
	}
	if len(seen.Gaps) > MaxGaps || seen.Forgotten == 0 || seen.Gaps[0].From != seen.Forgotten {
		t.Fatalf("%d gaps, forgotten below %d", len(seen.Gaps), seen.Forgotten)
	}
	var latest [wire.MaxGaps]wire.Gap
	if n := seen.Latest(&latest); n != wire.MaxGaps || latest[n-1].To != 2*MaxGaps+1 {
		t.Fatalf("latest %v", latest)
	}
}
