package prober

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// errorName is the symbolic name of a system error, as it stands in the records.
func errorName(err error) string {
	var number unix.Errno
	if errors.As(err, &number) {
		if name := unix.ErrnoName(number); name != "" {
			return name
		}
		return fmt.Sprintf("errno %d", number)
	}
	if err == nil {
		return ""
	}
	return err.Error()
}

// outcome sorts the end of an attempt to use a connection.
func outcome(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, unix.ETIMEDOUT):
		return "timeout"
	case errors.Is(err, unix.ECONNREFUSED):
		return "refused"
	case errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return "reset"
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH):
		return "unreachable"
	}
	return "failed"
}

func hex(number uint64) string { return fmt.Sprintf("%016x", number) }
