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
	"time"

	"lblab/lablet/internal/clock"
	"lblab/lablet/internal/records"
	"lblab/lablet/internal/schedule"
)

// maxOpen bounds the requests that are waited for at a time; beyond that requests are skipped, and recorded as such.
const maxOpen = 4096

// result is what became of one HTTP request.
type result struct {
	connected int64 // time of the connection, 0 if there was none
	outcome   string
	status    int
	node, pod string
	client    string // the client's address as the server saw it
}

// The records of an HTTP run: "b" and "g" as for UDP, "x" for a request that was not made, and
//
//	["h", flow, sequence, started, connect, total, outcome, status, backend, client]
//
// where connect and total are nanoseconds from the start (connect -1: there was no connection), outcome is ok, refused,
// timeout, reset, unreachable, closed or failed, status is 0 without an answer, and backend -1.
func probeHTTP(ctx, hurry context.Context, o *options, out *records.Writer) error {
	scheduler := steady()
	if err := out.Object(o.header(nil, "time of reading", scheduler)); err != nil {
		return err
	}
	locked, backends := records.NewLocked(out), &registry{}
	flying, cancel := context.WithCancel(hurry) // requests outlive ctx by their own time-out
	defer cancel()
	var running sync.WaitGroup
	var open, answered atomic.Int64
	sequences, last := make([]int64, o.flows), make([]int64, o.flows)
	skipped := make([]int64, o.flows)
	grid := &schedule.Schedule{Start: clock.Now() + startDelay, Interval: int64(o.interval()), Flows: int64(o.flows)}
	flushed, total := clock.Now(), int64(0)
	for ctx.Err() == nil {
		now := clock.Now()
		if next := grid.Next(); next > now {
			sleepUntil(min(next, now+lookAtLeast))
			now = clock.Now()
		}
		for {
			flow, slot, skip, due := grid.Due(now)
			if !due {
				break
			}
			if skip {
				skipped[flow]++
				continue
			}
			sequences[flow]++
			sequence := sequences[flow]
			total++
			if now-slot > int64(o.ownGap) || skipped[flow] > 0 {
				locked.Do(func(w *records.Writer) { w.Begin("g").Int(int64(flow), last[flow], now, skipped[flow]).End() })
			}
			last[flow], skipped[flow] = now, 0
			if open.Load() >= maxOpen {
				locked.Do(func(w *records.Writer) {
					w.Begin("x").Int(now, int64(flow), sequence).Text("too many open requests").End()
				})
				continue
			}
			open.Add(1)
			running.Add(1)
			go func() {
				defer running.Done()
				defer open.Add(-1)
				if o.request(flying, locked, backends, flow, sequence) {
					answered.Add(1)
				}
			}()
		}
		if now-flushed >= flushEvery {
			flushed = now
			locked.Do((*records.Writer).Flush)
		}
	}
	running.Wait()
	return out.Object(end(ctx, map[string]any{"sent": total, "replies": answered.Load()}))
}

func (o *options) request(ctx context.Context, out *records.Locked, backends *registry, flow int, sequence int64) bool {
	started := clock.Now()
	r := o.get(ctx)
	ended := clock.Now()
	connect, number := int64(-1), -1
	if r.connected != 0 {
		connect = r.connected - started
	}
	if r.node != "" || r.pod != "" {
		number = backends.number(out, ended, r.node, r.pod)
	}
	out.Do(func(w *records.Writer) {
		w.Begin("h").Int(int64(flow), sequence, started, connect, ended-started).Text(r.outcome).
			Int(int64(r.status), int64(number)).Text(r.client).End()
	})
	return r.outcome == "ok"
}

// get makes one request over a connection of its own; --timeout covers all of it.
func (o *options) get(ctx context.Context) (r result) {
	deadline := time.Now().Add(o.timeout)
	dialer := net.Dialer{Deadline: deadline}
	if o.source.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(o.source, 0))
	}
	connection, err := dialer.DialContext(ctx, "tcp", o.target.String())
	if err != nil {
		r.outcome = outcome(err)
		return r
	}
	defer connection.Close()
	stop := context.AfterFunc(ctx, func() { _ = connection.SetDeadline(time.Now()) })
	defer stop()
	r.connected = clock.Now()
	_ = connection.SetDeadline(deadline) // fails on a closed connection only, and then so does the next call
	_, err = fmt.Fprintf(connection, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: lablet\r\nAccept: application/json\r\nConnection: close\r\n\r\n", o.path, o.target)
	if err == nil {
		err = r.read(bufio.NewReader(connection))
	}
	r.outcome = outcome(err)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		r.outcome = "closed"
	}
	return r
}

// maxBody bounds what is read of an answer; lablet's own is some hundred bytes.
const maxBody = 1 << 20

// read takes the status line, lblab's headers and the body.
func (r *result) read(reader *bufio.Reader) error {
	status, err := reader.ReadString('\n')
	if err != nil {
		return err
	}
	words := strings.Fields(status)
	if len(words) < 2 || !strings.HasPrefix(words[0], "HTTP/") {
		return fmt.Errorf("%q is no HTTP status line", status)
	}
	if r.status, err = strconv.Atoi(words[1]); err != nil {
		return err
	}
	length := int64(-1)
	for {
		text, err := reader.ReadString('\n')
		if err != nil {
			return err
		}
		name, value, found := strings.Cut(strings.TrimSpace(text), ":")
		if !found {
			break
		}
		switch value = strings.TrimSpace(value); strings.ToLower(name) {
		case "x-lblab-node":
			r.node = value
		case "x-lblab-pod":
			r.pod = value
		case "content-length":
			if length, err = strconv.ParseInt(value, 10, 64); err != nil {
				return err
			}
		}
	}
	limit := length
	if limit < 0 { // the body ends with the connection
		limit = maxBody
	}
	body, err := io.ReadAll(io.LimitReader(reader, min(limit, maxBody)))
	if err != nil {
		return err
	}
	if length >= 0 && int64(len(body)) < min(length, maxBody) {
		return io.ErrUnexpectedEOF
	}
	var identity struct{ Client string }
	if json.Unmarshal(body, &identity) == nil { // another server's answer is as good, it only does not say this
		r.client = identity.Client
	}
	return nil
}
