// Package control holds both ends of the agent's line-based UNIX socket protocols: the client of a lablet's socket
// and the agent's own server.
package control

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"time"
)

// Lablet talks to the control socket of one pod's server.
type Lablet struct{ Path string }

// timeout bounds one exchange with a server that runs on the same machine.
const timeout = 2 * time.Second

// Ready asks whether the server serves; false while "unready" is on.
func (l Lablet) Ready(ctx context.Context) (bool, error) {
	var reply struct {
		Ready bool `json:"ready"`
	}
	err := l.ask(ctx, "ready", &reply)
	return reply.Ready, err
}

// SetUnready makes the server answer 503 (on), or serve again (off).
func (l Lablet) SetUnready(ctx context.Context, on bool) error {
	word := "off"
	if on {
		word = "on"
	}
	return l.ask(ctx, "unready "+word, nil)
}

// Stop ends a server that may be there, left over from an agent that died before it could note its process; that
// none answers is the normal case.
func (l Lablet) Stop(ctx context.Context) { _ = l.ask(ctx, "stop", nil) }

// WaitUp returns when the server answers on its socket, which it makes when it is listening, and whether it is
// ready then.
func (l Lablet) WaitUp(ctx context.Context) (bool, error) {
	const pause = 2 * time.Millisecond // a connect to a path that is not there yet costs microseconds
	for {
		ready, err := l.Ready(ctx)
		if err == nil {
			return ready, nil
		}
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("the pod's server does not answer on its control socket: %w", err)
		case <-time.After(pause):
		}
	}
}

// ask sends one line and reads the one-line JSON reply into out (may be nil).
func (l Lablet) ask(ctx context.Context, line string, out any) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", l.Path)
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(conn, line); err != nil {
		return err
	}
	reply, err := bufio.NewReader(conn).ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("%s: %w", line, err)
	}
	var failure struct {
		Error string `json:"error"`
	}
	if err := json.Unmarshal(reply, &failure); err != nil {
		return fmt.Errorf("%s: reply %q: %w", line, reply, err)
	}
	if failure.Error != "" {
		return fmt.Errorf("%s: %s", line, failure.Error)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(reply, out)
}
