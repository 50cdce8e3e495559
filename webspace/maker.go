package webspace

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// newMaker names one Service among all that ever were: something random, and the process that it is in, so that another
// on the same machine sees at once when that is dead. Elsewhere its lease must run out first.
func newMaker() string {
	name := random()
	if p, err := processOf(os.Getpid()); err == nil {
		name += "@" + p.String()
	}
	return name
}

// dead says that the process of a maker was one of this machine, and is there no more.
func dead(maker string) bool {
	_, text, _ := strings.Cut(maker, "@")
	p, ok := parseProcess(text)
	self, err := processOf(os.Getpid())
	if !ok || err != nil || p.boot != self.boot || p.space != self.space {
		return false
	}
	now, err := processOf(p.pid)
	return os.IsNotExist(err) || err == nil && now != p
}

// process is one of a machine since it was switched on: its number alone is given to others later.
type process struct {
	boot  string // of the kernel
	space string // where its number counts
	pid   int
	start string // clock ticks since the boot
}

// processOf reads proc_pid_stat(5); what has ended and is only not yet collected is not there.
func processOf(pid int) (process, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return process{}, err
	}
	space, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return process{}, err
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return process{}, err
	}
	// The second field is the program's name in parentheses, and may hold anything.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 {
		return process{}, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return process{}, os.ErrNotExist
	}
	return process{strings.TrimSpace(string(boot)), strings.Trim(space, "pid:[]"), pid, fields[19]}, nil
}

func (p process) String() string { return fmt.Sprintf("%s/%s/%d/%s", p.boot, p.space, p.pid, p.start) }

func parseProcess(text string) (process, bool) {
	f := strings.Split(text, "/")
	if len(f) != 4 {
		return process{}, false
	}
	pid, err := strconv.Atoi(f[2])
	return process{f[0], f[1], pid, f[3]}, err == nil && pid > 0
}
