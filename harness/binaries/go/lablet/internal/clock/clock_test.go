package clock

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestNowIsTheKernelsMonotonicClock(t *testing.T) {
	var kernel unix.Timespec
	before := Now()
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &kernel); err != nil {
		t.Fatal(err)
	}
	const tied = int64(20 * time.Microsecond) // Go's clock was tied to the kernel's between two calls
	if after := Now(); kernel.Nano() < before-tied || kernel.Nano() > after+tied {
		t.Fatalf("%d is not between %d and %d", kernel.Nano(), before, after)
	}
}

func TestOffsetTurnsWallClockIntoMonotonic(t *testing.T) {
	before := Now()
	converted := time.Now().UnixNano() + Offset()
	after := Now()
	if converted < before-MaxDrift || converted > after+MaxDrift {
		t.Fatalf("converted %d is not between %d and %d", converted, before, after)
	}
}

func TestStamperReplacesImpossibleStamps(t *testing.T) {
	s := NewStamper()
	earliest := Now()
	now := s.Read(earliest)
	if got := s.Monotonic(time.Now().UnixNano() + int64(time.Hour)); got < now || got > Now() || s.Replaced != 1 {
		t.Fatalf("a stamp of the future gave %d (reading at %d), replaced %d", got, now, s.Replaced)
	}
	if got := s.Monotonic(time.Now().UnixNano() - int64(time.Hour)); got < now || got > Now() || s.Replaced != 2 {
		t.Fatalf("a stamp before the last reading gave %d (reading at %d), replaced %d", got, now, s.Replaced)
	}
	if got := s.Monotonic(0); got < now || got > Now() || s.Replaced != 2 {
		t.Fatalf("no stamp gave %d, replaced %d", got, s.Replaced)
	}
}

func TestPacketsThatComeDuringReadingKeepTheirStamp(t *testing.T) {
	s := NewStamper()
	s.Read(Now())
	time.Sleep(5 * time.Millisecond)
	came := time.Now().UnixNano()
	time.Sleep(5 * time.Millisecond)
	if got := s.Monotonic(came); got > Now()-int64(4*time.Millisecond) || s.Replaced != 0 {
		t.Fatalf("stamped %d at %d, replaced %d", got, Now(), s.Replaced)
	}
}

func TestStamperCountsSteps(t *testing.T) {
	s := NewStamper()
	s.offset += int64(time.Second) // as if the wall clock had been set forward by a second since
	s.Read(Now())
	if s.Steps != 1 || s.LastStep > -int64(time.Second)+MaxDrift {
		t.Fatalf("steps %d, last %d", s.Steps, s.LastStep)
	}
	s.Read(Now())
	if s.Steps != 1 {
		t.Fatalf("a steady clock was counted as a step")
	}
}
