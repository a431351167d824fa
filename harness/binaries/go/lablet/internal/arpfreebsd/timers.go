package arpfreebsd

import (
	"math"
	"time"
)

// Timers are FreeBSD's (sys/netinet/if_ether.c), in its seconds; Second says how long one of them lasts here.
type Timers struct {
	Second     int64 // nanoseconds of CLOCK_MONOTONIC
	Keep       int64 // net.link.ether.inet.max_age: an entry's life since the last ARP packet from its address
	Retransmit int64 // arpt_rexmit, which has no sysctl: between two requests
	Down       int64 // net.link.ether.inet.wait: an entry's life while it is unresolved, since the last request
	Tries      int   // net.link.ether.inet.maxtries: requests before an entry expires, and before senders are told
	Hold       int   // net.link.ether.inet.maxhold: packets held for each unresolved address
	LogRate    int   // net.link.ether.inet.max_log_per_second
}

// Defaults are those of FreeBSD 13 to 15, every second made longer or shorter by a factor.
//
// Counts (Tries, Hold) do not scale, and neither do what the network and this machine take: the way of a frame, and the
// time until a daemon has a CPU, which at a scale of 0.02 weighs fifty times as much. The limit of the log does: it is
// one line for each of FreeBSD's seconds.
func Defaults(scale float64) Timers {
	return Timers{
		Second: int64(math.Round(scale * float64(time.Second))),
		Keep:   1200, Retransmit: 1, Down: 20, Tries: 5, Hold: 16, LogRate: 1,
	}
}

// limiter lets so many lines through in each second (FreeBSD's ppsratecheck).
type limiter struct {
	began int64
	count int
}

func (l *limiter) pass(now, second int64, rate int) bool {
	if l.count == 0 || now-l.began >= second {
		l.began, l.count = now, 0
	}
	l.count++
	return l.count <= rate
}
