// Package schedule says when which flow sends: periodic streams (RFC 3432), spread evenly over the interval.
package schedule

// Schedule is the grid of slots. Slot k belongs to flow k modulo Flows and is at Start + k * Interval / Flows.
type Schedule struct {
	Start    int64 // nanoseconds
	Interval int64 // between two packets of one flow, nanoseconds
	Flows    int64
	next     int64
}

// Next is the time of the next slot that nothing was decided about.
func (s *Schedule) Next() int64 { return s.at(s.next) }

// Due takes the next slot when its time has come.
//
// A slot that is so late that its flow's next one is due as well is skipped: a prober that was held up does not send a
// burst afterwards, which would hide its own gap behind a queue. skipped says so.
func (s *Schedule) Due(now int64) (flow int, slot int64, skipped, due bool) {
	slot = s.at(s.next)
	if slot > now {
		return 0, 0, false, false
	}
	flow = int(s.next % s.Flows)
	skipped = s.at(s.next+s.Flows) <= now
	s.next++
	return flow, slot, skipped, true
}

func (s *Schedule) at(k int64) int64 {
	return s.Start + k/s.Flows*s.Interval + k%s.Flows*s.Interval/s.Flows
}
