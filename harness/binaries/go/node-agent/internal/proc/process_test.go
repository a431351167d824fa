package proc

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestParseStartTicksCountsFromTheEndOfTheName(t *testing.T) {
	line := "42 (a) b (c)) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 98765 1 1 18446744073709551615"
	ticks, alive, err := parseStartTicks(line)
	if err != nil || ticks != 98765 || !alive {
		t.Errorf("got %d, %v, %v; want 98765 and alive", ticks, alive, err)
	}
	if ticks, alive, err := parseStartTicks(strings.Replace(line, " S ", " Z ", 1)); err != nil || ticks != 98765 || alive {
		t.Errorf("zombie: got %d, %v, %v", ticks, alive, err)
	}
	for _, bad := range []string{"", "42 (a", "42 (a) S 1"} {
		if _, _, err := parseStartTicks(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func receive(t *testing.T, p *Process) Exit {
	t.Helper()
	select {
	case exit := <-p.Done:
		return exit
	case <-time.After(10 * time.Second):
		t.Fatal("the end of the process was not noticed")
	}
	panic("unreachable")
}

func TestStartReportsHowTheProcessEnded(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	p, err := Start(log, "/bin/sh", "-c", "echo hello; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	if exit := receive(t, p); exit.Code != 3 || !exit.Known || exit.Signal != 0 {
		t.Errorf("exit %+v, want code 3", exit)
	}
	if text, err := os.ReadFile(log); err != nil || string(text) != "hello\n" {
		t.Errorf("log %q, %v", text, err)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("signal to an ended process: %v", err)
	}
}

func TestAdoptedProcessIsSignalledAndItsEndSeen(t *testing.T) {
	started, err := Start(filepath.Join(t.TempDir(), "log"), "/bin/sleep", "1000")
	if err != nil {
		t.Fatal(err)
	}
	adopted, err := Adopt(started.PID, started.StartTicks)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case exit := <-adopted.Done:
		t.Fatalf("a running process was reported as ended: %+v", exit)
	case <-time.After(50 * time.Millisecond):
	}
	if err := adopted.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if exit := receive(t, adopted); exit.Known || exit.Code != UnknownExitCode {
		t.Errorf("adopted: %+v", exit)
	}
	if exit := receive(t, started); exit.Signal != syscall.SIGKILL || exit.Code != 137 {
		t.Errorf("started: %+v", exit)
	}
	if _, err := Adopt(started.PID, started.StartTicks); err == nil {
		t.Error("an ended process was adopted")
	}
}

func TestAdoptRefusesAnotherProcessOfTheSamePID(t *testing.T) {
	ticks, _, err := startTicks(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Adopt(os.Getpid(), ticks+1); err == nil {
		t.Error("a process with another start time was adopted")
	}
}
