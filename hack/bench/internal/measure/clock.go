// Package measure runs the variants of a case against each other and keeps the figures.
//
// What is measured is CPU time for a fixed amount of work. Everything that belongs to a case is pinned to one CPU, so
// that its packets are processed, softirqs included, in the context of the process that sends them, and the kernel's
// own accounting of these processes (nanoseconds, per process) is the whole cost of the path: both stacks, everything
// between, and the generators. Other work on the machine disturbs caches and wall-clock time, but is not counted.
package measure

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// schedClock is CPUCLOCK_SCHED of include/linux/posix-timers.h: the exact runtime of a whole process.
const schedClock = 2

// ProcessTime is the CPU time that a process has used so far, its ended threads included.
func ProcessTime(pid int) (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedClock), &ts); err != nil {
		return 0, fmt.Errorf("read the CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// Softirqd finds the process id of a CPU's ksoftirqd, which does what of the packet work a process could not.
func Softirqd(cpu int) (int, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return 0, err
	}
	want := fmt.Appendf(nil, "ksoftirqd/%d", cpu)
	for _, f := range dirs {
		comm, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended
		}
		if bytes.Equal(bytes.TrimSpace(comm), want) {
			return strconv.Atoi(filepath.Base(filepath.Dir(f)))
		}
	}
	return 0, fmt.Errorf("no %s here: the benchmark must run in the machine's first PID namespace", want)
}
