package main

import (
	"log/slog"
	"os"

	"golang.org/x/sys/unix"
)

// setUpLog sends log lines to standard error, each with the wall clock for people and, as now_ns, CLOCK_MONOTONIC,
// the one clock of the lab.
func setUpLog() {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, attribute slog.Attr) slog.Attr {
			if len(groups) > 0 || attribute.Key != slog.TimeKey || attribute.Value.Kind() != slog.KindTime {
				return attribute
			}
			var now unix.Timespec
			if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
				return attribute
			}
			wall := slog.String(slog.TimeKey, attribute.Value.Time().Format("2006-01-02T15:04:05.000000Z07:00"))
			return slog.Attr{Value: slog.GroupValue(wall, slog.Int64("now_ns", now.Nano()))}
		},
	})))
}
