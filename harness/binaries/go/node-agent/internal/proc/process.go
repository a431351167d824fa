// Package proc starts the pods' processes so that they outlive the agent, and finds them again after its restart.
package proc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// UnknownExitCode is the exit code of a process whose parent was an earlier agent: 137, which is what the kubelet
// reports for a container whose end it did not see (reason ContainerStatusUnknown).
const UnknownExitCode = 137

// Exit is how and when a process ended.
type Exit struct {
	Code   int            // exit status; 128 + signal as shells and container runtimes have it
	Signal syscall.Signal // zero when it was not ended by a signal
	Known  bool           // false when another process was its parent
	Time   time.Time
}

func (e Exit) String() string {
	switch {
	case !e.Known:
		return "unseen"
	case e.Signal != 0:
		return e.Signal.String()
	}
	return fmt.Sprintf("exit status %d", e.Code)
}

// Process is one pod's process, started or adopted.
type Process struct {
	PID        int
	StartTicks uint64    // start time in clock ticks since boot: with the PID it identifies a process
	Done       chan Exit // receives one value at the end

	mu    sync.Mutex
	pidfd *os.File // nil when the process has ended
}

// Start runs a command, detached from the agent's session and with output appended to the log file. It is to be
// called inside the network namespace that the process shall be in.
func Start(log string, argv ...string) (*Process, error) {
	output, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	command := exec.Command(argv[0], argv[1:]...)
	command.Stdout, command.Stderr = output, output
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return nil, err
	}
	p, _, err := open(command.Process.Pid) // it may have ended already
	if err != nil {
		return nil, errors.Join(err, command.Process.Kill(), command.Wait())
	}
	go func() {
		p.waitReadable()   // first, because Wait would hold a thread all the time
		_ = command.Wait() // its error is the exit status
		p.end(exitOf(command.ProcessState))
	}()
	return p, nil
}

// Adopt finds a process that an earlier agent started; it fails when the process has ended, even if its PID is now
// another's.
func Adopt(pid int, startTicks uint64) (*Process, error) {
	p, alive, err := open(pid)
	if err != nil {
		return nil, err
	}
	if !alive || p.StartTicks != startTicks {
		p.pidfd.Close()
		return nil, fmt.Errorf("process %d has ended", pid)
	}
	go func() {
		p.waitReadable()
		p.end(Exit{Code: UnknownExitCode, Time: time.Now()})
	}()
	return p, nil
}

// Signal sends a signal; a process that has ended already is fine.
func (p *Process) Signal(signal syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pidfd == nil {
		return nil
	}
	conn, err := p.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	// Control and not pidfd.Fd, which would make the descriptor blocking.
	var failure error
	err = conn.Control(func(fd uintptr) { failure = unix.PidfdSendSignal(int(fd), signal, nil, 0) })
	if errors.Is(failure, unix.ESRCH) {
		return nil
	}
	return errors.Join(err, failure)
}

// end lets go of the process and tells that it has ended.
func (p *Process) end(exit Exit) {
	p.mu.Lock()
	p.pidfd.Close()
	p.pidfd = nil
	p.mu.Unlock()
	p.Done <- exit
}

// open takes hold of a process by PID; its start time is read after the pidfd is open, so the two are the same
// process's or the process is gone.
func open(pid int) (p *Process, alive bool, err error) {
	// Nonblocking, so that the runtime's poller and not a thread waits for it.
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, false, fmt.Errorf("process %d: %w", pid, err)
	}
	p = &Process{PID: pid, Done: make(chan Exit, 1), pidfd: os.NewFile(uintptr(fd), "pidfd")}
	if p.StartTicks, alive, err = startTicks(pid); err != nil {
		p.pidfd.Close()
		return nil, false, err
	}
	return p, alive, nil
}

// waitReadable returns when the process has ended: its pidfd becomes readable then (pidfd_open(2)).
func (p *Process) waitReadable() {
	conn, err := p.pidfd.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Read(func(fd uintptr) bool {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(poll, 0)
		return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
	})
}

// exitOf reads how a child ended.
func exitOf(state *os.ProcessState) Exit {
	exit := Exit{Code: state.ExitCode(), Known: true, Time: time.Now()}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		exit.Signal = status.Signal()
		exit.Code = 128 + int(status.Signal())
	}
	return exit
}
