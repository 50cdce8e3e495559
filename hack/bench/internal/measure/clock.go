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

// Clock reads how much CPU time something has used so far.
type Clock func() (time.Duration, error)

// schedClock is CPUCLOCK_SCHED of include/linux/posix-timers.h: the exact runtime of a whole process.
const schedClock = 2

// Process is the clock of a whole process, its ended threads included.
func Process(pid int) Clock {
	return func() (time.Duration, error) {
		var ts unix.Timespec
		if err := unix.ClockGettime(int32(^pid<<3|schedClock), &ts); err != nil {
			return 0, fmt.Errorf("read the CPU clock of process %d: %w", pid, err)
		}
		return time.Duration(ts.Nano()), nil
	}
}

// Thread is the clock of one thread, exact while it sleeps (Documentation/scheduler/sched-stats.rst: the first field).
// A generator's work is all done on its main thread; the clock leaves out what Go's runtime does on others meanwhile.
func Thread(tid int) Clock {
	file := fmt.Sprintf("/proc/%d/task/%d/schedstat", tid, tid)
	return func() (time.Duration, error) {
		var run, wait, slices int64
		raw, err := os.ReadFile(file)
		if err == nil {
			_, err = fmt.Sscan(string(raw), &run, &wait, &slices)
		}
		if err != nil {
			return 0, fmt.Errorf("read the CPU time of thread %d: %w", tid, err)
		}
		return time.Duration(run), nil
	}
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
