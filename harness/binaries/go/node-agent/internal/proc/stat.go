package proc

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// startTicks reads when a process started, in clock ticks since boot, and whether it is alive: not a zombie.
func startTicks(pid int) (ticks uint64, alive bool, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false, err
	}
	return parseStartTicks(string(text))
}

// parseStartTicks takes fields 3, state, and 22, starttime, out of a /proc/PID/stat line (proc_pid_stat(5)). The
// command name, field 2, stands in brackets and may hold anything, so fields are counted from its end.
func parseStartTicks(line string) (ticks uint64, alive bool, err error) {
	const state, starttime = 3, 22
	end := strings.LastIndexByte(line, ')')
	fields := strings.Fields(line[end+1:])
	if end < 0 || len(fields) <= starttime-state {
		return 0, false, fmt.Errorf("unreadable process status %q", line)
	}
	ticks, err = strconv.ParseUint(fields[starttime-state], 10, 64)
	return ticks, fields[0] != "Z" && fields[0] != "X", err
}
