package kube

import (
	"context"
	"log/slog"
	"time"
)

// Pause waits for d or until ctx ends.
func Pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Insist calls attempt until it succeeds or ctx ends, every RetryInterval, and logs each new kind of failure once. Its
// error is that of ctx.
func Insist(ctx context.Context, what string, attempt func(context.Context) error) error {
	var failures failures
	for {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		err := attempt(ctx)
		if err == nil {
			if failures.end() {
				slog.Info("succeeded after failures", "what", what)
			}
			return nil
		}
		if ctx.Err() == nil && failures.isNew(err) {
			slog.Warn("will try again", "what", what, "error", err)
		}
		Pause(ctx, RetryInterval)
	}
}

// failures are those of an unbroken row, so that each is logged once however often it repeats.
type failures map[string]bool

func (f *failures) isNew(err error) bool {
	if (*f)[err.Error()] {
		return false
	}
	if *f == nil {
		*f = failures{}
	}
	(*f)[err.Error()] = true
	return true
}

// end ends the row and tells whether there was one.
func (f *failures) end() bool {
	any := len(*f) > 0
	clear(*f)
	return any
}
