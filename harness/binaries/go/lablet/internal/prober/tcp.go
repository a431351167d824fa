package prober

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lblab/lablet/internal/clock"
	"lblab/lablet/internal/records"
	"lblab/lablet/internal/schedule"
)

// maxBacklog is the number of lines that a connection may owe answers to; the prober sends no more until some come.
const maxBacklog = 1 << 16

// tcpFlow is one connection that stays open, and is opened again when it breaks.
type tcpFlow struct {
	*options
	number   int
	source   netip.AddrPort
	out      *records.Locked
	backends *registry
	sequence int64
	grid     schedule.Schedule
	sent     *atomic.Int64
	replies  *atomic.Int64
}

// A line that was sent and not answered yet.
type line struct {
	sequence, sent int64
	reported       bool
}

// The records of a TCP run: "r", "n", "x", "g" and "b" as for UDP, with stamps taken when a line is written and read, and
//
//	["t", at, flow, event, detail, local address, retransmits]
//
// where event is connected, or why the connection ended: refused, timeout, unreachable, reset, closed, failed, stopped.
// A lost segment is no lost line: TCP repeats it, so an outage shows as late replies and retransmits (segments repeated so far).
func probeTCP(ctx, hurry context.Context, o *options, out *records.Writer) error {
	if err := out.Object(o.header(nil, "time of reading", "other")); err != nil {
		return err
	}
	locked, backends := records.NewLocked(out), &registry{}
	var sent, replies atomic.Int64
	var running sync.WaitGroup
	start := clock.Now() + startDelay
	for i := range o.flows {
		port := 0
		if o.sourcePort > 0 {
			port = o.sourcePort + i
		}
		flow := &tcpFlow{
			options: o, number: i, source: netip.AddrPortFrom(o.source, uint16(port)), out: locked, backends: backends,
			grid: schedule.Schedule{Start: start + int64(o.interval())*int64(i)/int64(o.flows), Interval: int64(o.interval()), Flows: 1},
			sent: &sent, replies: &replies,
		}
		running.Add(1)
		go func() {
			defer running.Done()
			flow.run(ctx, hurry)
		}()
	}
	flusher := time.NewTicker(time.Duration(flushEvery))
	defer flusher.Stop()
	go func() {
		for range flusher.C {
			locked.Do((*records.Writer).Flush)
		}
	}()
	running.Wait()
	var failed error
	locked.Do(func(w *records.Writer) {
		failed = w.Object(end(ctx, map[string]any{"sent": sent.Load(), "replies": replies.Load()}))
	})
	return failed
}

func (f *tcpFlow) run(ctx, hurry context.Context) {
	for ctx.Err() == nil {
		dialer := net.Dialer{Timeout: f.timeout, Control: reuseAddress}
		if f.source.Addr().IsValid() || f.source.Port() != 0 {
			dialer.LocalAddr = &net.TCPAddr{IP: f.source.Addr().AsSlice(), Port: int(f.source.Port())}
		}
		connection, err := dialer.DialContext(ctx, "tcp", f.target.String())
		if ctx.Err() != nil && err != nil {
			return
		}
		if err != nil {
			f.event(outcome(err), err, nil)
		} else {
			f.event("connected", nil, connection)
			f.use(ctx, hurry, connection.(*net.TCPConn))
		}
		select {
		case <-ctx.Done():
		case <-time.After(f.reconnect):
		}
	}
}

// reuseAddress lets a flow keep its source port when the connection before it is still in TIME-WAIT.
func reuseAddress(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	})
	return errors.Join(err, failed)
}

// use sends lines until the connection or the run ends.
func (f *tcpFlow) use(ctx, hurry context.Context, connection *net.TCPConn) {
	_ = connection.SetLinger(0) // leave no TIME-WAIT behind: the next connection may have the same source port
	defer connection.Close()
	owed := &backlog{}
	broken := make(chan error, 1)
	go func() { broken <- f.read(connection, owed) }()
	var cause error
	timer := time.NewTimer(0)
	defer timer.Stop()
	skipped, last := int64(0), int64(0)
	for cause == nil {
		timer.Reset(time.Duration(min(f.grid.Next()-clock.Now(), int64(50*time.Millisecond))))
		select {
		case <-ctx.Done():
			f.finish(hurry, connection, owed, broken)
			return
		case cause = <-broken:
			continue
		case <-timer.C:
		}
		now := clock.Now()
		f.reportLate(owed, now-int64(f.late))
		for cause == nil {
			_, slot, skip, due := f.grid.Due(now)
			if !due {
				break
			}
			if skip {
				skipped++
				continue
			}
			// The gap between two connections is not the prober's own: nothing could be sent.
			if last != 0 && (now-slot > int64(f.ownGap) || skipped > 0) {
				f.out.Do(func(w *records.Writer) { w.Begin("g").Int(int64(f.number), last, now, skipped).End() })
			}
			last, skipped = now, 0
			cause = f.send(connection, owed, now)
		}
	}
	name := outcome(cause)
	if errors.Is(cause, io.EOF) {
		name = "closed"
	}
	f.reportLate(owed, 1<<62)
	f.event(name, cause, connection)
}

func (f *tcpFlow) send(connection *net.TCPConn, owed *backlog, now int64) error {
	f.sequence++
	f.sent.Add(1)
	if !owed.add(line{sequence: f.sequence, sent: now}) {
		f.out.Do(func(w *records.Writer) { w.Begin("x").Int(now, int64(f.number), f.sequence).Text("backlog").End() })
		return nil
	}
	_, err := fmt.Fprintf(connection, "LBLB %d %d\n", f.sequence, now)
	return err
}

// finish waits for the last answers.
func (f *tcpFlow) finish(hurry context.Context, connection *net.TCPConn, owed *backlog, broken chan error) {
	wait := time.NewTimer(f.linger)
	defer wait.Stop()
	look := time.NewTicker(time.Duration(lookAtLeast))
	defer look.Stop()
	for owed.length() > 0 {
		select {
		case <-look.C:
			continue
		case <-wait.C:
		case <-broken:
		case <-hurry.Done():
		}
		break
	}
	f.reportLate(owed, 1<<62)
	f.event("stopped", nil, connection)
}

func (f *tcpFlow) reportLate(owed *backlog, before int64) {
	for _, late := range owed.late(before) {
		f.out.Do(func(w *records.Writer) { w.Begin("n").Int(int64(f.number), late.sequence, late.sent).End() })
	}
}

// read takes answers until the connection ends, and returns why it did.
func (f *tcpFlow) read(connection *net.TCPConn, owed *backlog) error {
	reader := bufio.NewReader(connection)
	number := -1
	for {
		text, err := reader.ReadString('\n')
		at := clock.Now()
		if err != nil {
			return err
		}
		if strings.HasPrefix(text, "{") {
			var identity struct{ Node, Pod string }
			if json.Unmarshal([]byte(text), &identity) == nil {
				number = f.backends.number(f.out, at, identity.Node, identity.Pod)
			}
			continue
		}
		var values [4]int64
		words := strings.Fields(text)
		if len(words) != 5 || words[0] != "LBLB" {
			return fmt.Errorf("%q is no answer of lablet serve", text)
		}
		for i := range values {
			if values[i], err = strconv.ParseInt(words[i+1], 10, 64); err != nil {
				return err
			}
		}
		sequence, sent, received, replied := values[0], values[1], values[2], values[3]
		owed.answered(sequence)
		f.replies.Add(1)
		f.out.Do(func(w *records.Writer) {
			w.Begin("r").Int(int64(f.number), sequence, sent, received-sent, replied-received, at-replied, int64(number)).End()
		})
	}
}

func (f *tcpFlow) event(name string, cause error, connection net.Conn) {
	detail, local, retransmits := "", "", int64(0)
	if cause != nil {
		detail = cause.Error()
	}
	if connection != nil {
		local = connection.LocalAddr().String()
		retransmits = retransmitted(connection.(*net.TCPConn))
	}
	f.out.Do(func(w *records.Writer) {
		w.Begin("t").Int(clock.Now(), int64(f.number)).Text(name, detail, local).Int(retransmits).End()
	})
}

// retransmitted is the number of segments that the connection has repeated.
func retransmitted(connection *net.TCPConn) (segments int64) {
	raw, err := connection.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) { // fails when the connection has been closed meanwhile
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			segments = int64(info.Total_retrans)
		}
	})
	return segments
}

// backlog is what a connection owes answers to, in order of sending.
type backlog struct {
	mutex sync.Mutex
	lines []line
}

func (b *backlog) add(l line) bool {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if len(b.lines) >= maxBacklog {
		return false
	}
	b.lines = append(b.lines, l)
	return true
}

// answered takes a line and those before it away: TCP keeps the order.
func (b *backlog) answered(sequence int64) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	for len(b.lines) > 0 && b.lines[0].sequence <= sequence {
		b.lines = b.lines[1:]
	}
}

// late returns the lines sent at or before a time that were not returned before.
func (b *backlog) late(before int64) (late []line) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	for i := range b.lines {
		if b.lines[i].sent > before {
			break
		}
		if !b.lines[i].reported {
			b.lines[i].reported = true
			late = append(late, b.lines[i])
		}
	}
	return late
}

func (b *backlog) length() int {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return len(b.lines)
}

// registry numbers the pods that have answered TCP or HTTP.
type registry struct {
	mutex sync.Mutex
	names []string
}

func (r *registry) number(out *records.Locked, at int64, node, pod string) int {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	name := node + " " + pod
	for i := range r.names {
		if r.names[i] == name {
			return i
		}
	}
	r.names = append(r.names, name)
	number := len(r.names) - 1
	out.Do(func(w *records.Writer) { w.Begin("b").Int(at, int64(number)).Text(node, pod, "").End() })
	return number
}
