package prober

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// realtimePriority is the lowest: above every ordinary process of the lab, below the kernel's own threads.
const realtimePriority = 1

// shortSlice in nanoseconds is the shortest that may be asked for. Linux 6.12 and later let a thread that asks for less at
// a time run sooner (EEVDF); earlier ones ignore it.
const shortSlice = 100_000

// timerSlack in nanoseconds; the default of 50 µs is added to every wake-up of an ordinary thread.
const timerSlack = 1

// steady binds the calling goroutine to a thread that wakes up as punctually as the machine lets it, and says how.
//
// All threads of the process are treated alike: Go's scheduler takes the sending goroutine off its thread every 10 ms, and
// only another thread can put it back.
//
// Real-time scheduling needs CAP_SYS_NICE in the first user namespace, so an ordinary user's prober does with a short slice.
func steady() (scheduler string) {
	runtime.LockOSThread()
	runtime.GOMAXPROCS(max(2, runtime.GOMAXPROCS(0))) // one for this thread's sleeps, one for the rest
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, timerSlack, 0, 0, 0); err != nil {
		scheduler = ", default timer slack"
	}
	realtime := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: realtimePriority}
	if forAllThreads(&realtime) == nil {
		return fmt.Sprintf("fifo %d", realtimePriority) + scheduler
	}
	short := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Runtime: shortSlice}
	if forAllThreads(&short) == nil {
		return "other, short slice" + scheduler
	}
	return "other" + scheduler
}

// forAllThreads sets how the threads of this process are scheduled; those that they start later inherit it.
func forAllThreads(attributes *unix.SchedAttr) error {
	if err := unix.SchedSetAttr(0, attributes, 0); err != nil {
		return err
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, thread := range threads {
		number, err := strconv.Atoi(thread.Name())
		if err == nil {
			err = unix.SchedSetAttr(number, attributes, 0)
		}
		if err != nil && err != unix.ESRCH { // a thread that has just ended
			return err
		}
	}
	return nil
}

// sleepUntil returns at a time of CLOCK_MONOTONIC, or earlier after a signal.
//
// The raw system call keeps the scheduler out of it: told of a thousand sleeps a second, it would wake other threads to
// take over, at several times the price of the probe itself. So the thread keeps its P meanwhile; see steady.
func sleepUntil(at int64) {
	deadline := unix.NsecToTimespec(at)
	// Its only error is EINTR: the caller looks at the clock in any case.
	_, _, _ = unix.RawSyscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME,
		uintptr(unsafe.Pointer(&deadline)), 0, 0, 0)
}
