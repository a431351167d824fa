// Package flow keeps account of which sequence numbers of a flow have arrived: the exact set, as a range and its gaps.
package flow

import (
	"slices"
	"sort"

	"lblab/lablet/internal/wire"
)

// MaxGaps bounds the memory of one flow; with more gaps the oldest are forgotten and Forgotten says up to where.
const MaxGaps = 1 << 15

// Gap is a range of sequence numbers that have not arrived, both ends included, with the stamps of the arrivals around it
// at the time it was noticed.
type Gap struct {
	From   uint32 `json:"from"`
	To     uint32 `json:"to"`
	Before int64  `json:"before_ns"` // arrival of the packet before the gap
	After  int64  `json:"after_ns"`  // arrival of the packet that showed the gap
}

// Seen is the account of one flow: every sequence number from First to Highest has arrived, except those in Gaps.
type Seen struct {
	First      uint32 `json:"first"`
	Highest    uint32 `json:"highest"`
	Count      uint32 `json:"count"`      // distinct sequence numbers that arrived
	Duplicates uint32 `json:"duplicates"` // arrivals of a number that had arrived before
	Reordered  uint32 `json:"reordered"`  // arrivals below the highest number so far (RFC 4737), duplicates excluded
	Forgotten  uint32 `json:"forgotten"`  // gaps that end below this number are not listed any more
	FirstAt    int64  `json:"first_ns"`
	LastAt     int64  `json:"last_ns"`
	Gaps       []Gap  `json:"gaps"`
	highestAt  int64
}

// Arrive notes the arrival of a sequence number and says whether it had arrived before.
func (s *Seen) Arrive(sequence uint32, at int64) (duplicate bool) {
	defer func() { s.LastAt = at }()
	switch {
	case s.Count == 0:
		s.First, s.Highest, s.FirstAt, s.highestAt = sequence, sequence, at, at
	case sequence > s.Highest:
		if sequence > s.Highest+1 {
			s.open(Gap{s.Highest + 1, sequence - 1, s.highestAt, at})
		}
		s.Highest, s.highestAt = sequence, at
	case sequence < s.First:
		if sequence+1 < s.First {
			s.Gaps = slices.Insert(s.Gaps, 0, Gap{sequence + 1, s.First - 1, at, s.FirstAt})
		}
		s.First = sequence
		s.Reordered++
	case sequence < s.Forgotten || !s.fill(sequence):
		s.Duplicates++
		return true
	default:
		s.Reordered++
	}
	s.Count++
	return false
}

// Latest copies the newest gaps, in ascending order, and returns how many.
func (s *Seen) Latest(gaps *[wire.MaxGaps]wire.Gap) int {
	newest := s.Gaps[max(0, len(s.Gaps)-wire.MaxGaps):]
	for i, gap := range newest {
		gaps[i] = wire.Gap{From: gap.From, To: gap.To}
	}
	return len(newest)
}

func (s *Seen) open(gap Gap) {
	if len(s.Gaps) == MaxGaps {
		drop := MaxGaps / 4 // in one go, so that it is rare
		s.Forgotten = s.Gaps[drop].From
		s.Gaps = slices.Delete(s.Gaps, 0, drop)
	}
	s.Gaps = append(s.Gaps, gap)
}

// fill takes a number out of the gap that it is in, and returns false when it is in none.
func (s *Seen) fill(sequence uint32) bool {
	i := sort.Search(len(s.Gaps), func(i int) bool { return s.Gaps[i].To >= sequence })
	if i == len(s.Gaps) || s.Gaps[i].From > sequence {
		return false
	}
	gap := &s.Gaps[i]
	switch {
	case gap.From == gap.To:
		s.Gaps = slices.Delete(s.Gaps, i, i+1)
	case gap.From == sequence:
		gap.From++
	case gap.To == sequence:
		gap.To--
	default:
		rest := *gap
		rest.From = sequence + 1
		gap.To = sequence - 1
		s.Gaps = slices.Insert(s.Gaps, i+1, rest)
	}
	return true
}
