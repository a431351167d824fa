// Package clock reads the one clock of a lab: CLOCK_MONOTONIC, the same in every namespace and container of a host.
package clock

import "golang.org/x/sys/unix"

// Now is CLOCK_MONOTONIC in nanoseconds.
func Now() int64 { return read(unix.CLOCK_MONOTONIC) }

// Offset is what has to be added to a CLOCK_REALTIME stamp to get CLOCK_MONOTONIC, in nanoseconds.
//
// Realtime is read between two readings of the monotonic clock, so a preemption in between costs at most half of its length.
func Offset() int64 {
	before := read(unix.CLOCK_MONOTONIC)
	realtime := read(unix.CLOCK_REALTIME)
	after := read(unix.CLOCK_MONOTONIC)
	return before + (after-before)/2 - realtime
}

func read(id int32) int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(id, &now); err != nil {
		panic("clock_gettime: " + err.Error()) // cannot fail for these two clocks
	}
	return now.Nano()
}

// Stamper turns the kernel's receive stamps (SO_TIMESTAMPNS, CLOCK_REALTIME) into CLOCK_MONOTONIC.
//
// A step of the wall clock between a packet's arrival and its reading would put the stamp outside of the time in which
// the packet can have come; such a stamp is replaced by the time of reading and counted.
type Stamper struct {
	offset   int64
	earliest int64
	now      int64
	Steps    int   // how often the offset jumped by more than MaxDrift between two readings
	Replaced int   // how many stamps were replaced by the time of reading
	LastStep int64 // size of the last step in nanoseconds
}

// MaxDrift is the change of the realtime offset that is taken for slewing or preemption: NTP slews by at most 500 ppm,
// so half a millisecond in a second.
const MaxDrift = 1_000_000

// NewStamper starts with the present offset.
func NewStamper() *Stamper {
	now := Now()
	return &Stamper{offset: Offset(), earliest: now, now: now}
}

// Read notes that sockets are read now, after having been read at earliest for the last time.
func (s *Stamper) Read(earliest int64) (now int64) {
	offset := Offset()
	if step := offset - s.offset; step > MaxDrift || step < -MaxDrift {
		s.Steps++
		s.LastStep = step
	}
	s.offset, s.earliest, s.now = offset, earliest, Now()
	return s.now
}

// Monotonic converts a kernel stamp; zero (no stamp) gives the time of reading.
func (s *Stamper) Monotonic(realtime int64) int64 {
	if realtime == 0 {
		return s.now
	}
	stamp := realtime + s.offset
	if stamp > s.now+MaxDrift || stamp < s.earliest-MaxDrift {
		s.Replaced++
		return s.now
	}
	return stamp
}
