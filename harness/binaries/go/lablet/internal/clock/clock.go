// Package clock reads the one clock of a lab: CLOCK_MONOTONIC, the same in every namespace and container of a host.
package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// origin ties Go's monotonic clock, which is CLOCK_MONOTONIC without a published zero, to the kernel's numbers. Reading it
// costs no system call.
var origin, originNanoseconds = tie()

func tie() (time.Time, int64) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic("clock_gettime: " + err.Error()) // cannot fail for this clock
	}
	return time.Now(), now.Nano()
}

// Now is CLOCK_MONOTONIC in nanoseconds.
func Now() int64 { return originNanoseconds + int64(time.Since(origin)) }

// Offset is what has to be added to a CLOCK_REALTIME stamp to get CLOCK_MONOTONIC, in nanoseconds.
//
// A preemption between the readings of the two clocks would spoil it, so it is measured again when they took long.
func Offset() (offset int64) {
	const prompt, tries = int64(2 * time.Microsecond), 4
	shortest := int64(1<<63 - 1)
	for range tries {
		before := Now()
		realtime := time.Now().UnixNano()
		after := Now()
		if after-before < shortest {
			shortest = after - before
			offset = before + shortest/2 - realtime
		}
		if shortest <= prompt {
			break
		}
	}
	return offset
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
const MaxDrift = int64(time.Millisecond)

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
	if stamp > s.now {
		s.now = Now() // the packet came after Read was called
	}
	if stamp > s.now+MaxDrift || stamp < s.earliest-MaxDrift {
		s.Replaced++
		return s.now
	}
	return stamp
}
