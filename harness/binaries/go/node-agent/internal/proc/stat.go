package proc

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// startTicks reads when a living process started, in clock ticks since boot.
func startTicks(pid int) (uint64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseStartTicks(string(text))
}

// parseStartTicks takes field 22, starttime, out of a /proc/PID/stat line (proc_pid_stat(5)). The command name,
// field 2, stands in brackets and may hold anything, so fields are counted from its end. A zombie has ended.
func parseStartTicks(line string) (uint64, error) {
	const state, starttime = 3, 22
	end := strings.LastIndexByte(line, ')')
	fields := strings.Fields(line[end+1:])
	if end < 0 || len(fields) <= starttime-state {
		return 0, fmt.Errorf("unreadable process status %q", line)
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return 0, os.ErrProcessDone
	}
	return strconv.ParseUint(fields[starttime-state], 10, 64)
}
