package check

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// sysctls that the checks ask for. Those of one interface are added by gatherLinks.
var sysctls = []string{
	"net.core.bpf_jit_enable",
	"net.core.bpf_jit_harden",
	"kernel.unprivileged_bpf_disabled",
	"net.bridge.bridge-nf-call-iptables",
	"net.bridge.bridge-nf-call-ip6tables",
	"net.bridge.bridge-nf-call-arptables",
	"net.ipv4.conf.all.rp_filter",
	"net.ipv4.ip_forward",
	"net.ipv4.ip_local_port_range",
	"net.ipv4.ip_local_reserved_ports",
}

func gatherKernel(f *Facts, want Want) error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	f.Kernel = unix.ByteSliceToString(u.Release[:])
	if fi, err := os.Stat("/sys/kernel/btf/vmlinux"); err == nil {
		f.BTF = fi.Size()
	}
	f.BPFFS = filesystem(want.BPFFS)
	status, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return err
	}
	f.Effective, f.Bounding, err = capabilitySets(status)
	if err != nil {
		return err
	}
	memory, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return err
	}
	f.MemoryFree = memAvailable(memory)
	groups, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f.Groups = strings.TrimSpace(string(groups))
	return nil
}

// filesystem names the type of the filesystem at path, or at the nearest folder above it that exists. A folder that
// lanyardd will make inside bpffs counts as there.
func filesystem(path string) string {
	for path = filepath.Clean(path); ; path = filepath.Dir(path) {
		var s unix.Statfs_t
		err := unix.Statfs(path, &s)
		switch {
		case err == nil && s.Type == unix.BPF_FS_MAGIC:
			return "bpf"
		case err == nil:
			return fmt.Sprintf("%#x", uint32(s.Type))
		case !errors.Is(err, fs.ErrNotExist) || path == "/" || path == ".":
			return ""
		}
	}
}

// capabilitySets reads CapEff and CapBnd out of a proc status file.
func capabilitySets(status []byte) (effective, bounding uint64, err error) {
	found := 0
	lines := bufio.NewScanner(bytes.NewReader(status))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		var into *uint64
		switch name {
		case "CapEff":
			into = &effective
		case "CapBnd":
			into = &bounding
		default:
			continue
		}
		if *into, err = strconv.ParseUint(strings.TrimSpace(value), 16, 64); err != nil {
			return 0, 0, fmt.Errorf("%s: %w", name, err)
		}
		found++
	}
	if found != 2 {
		return 0, 0, errors.New("no capability sets in the status file")
	}
	return effective, bounding, nil
}

func memAvailable(meminfo []byte) int64 {
	lines := bufio.NewScanner(bytes.NewReader(meminfo))
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "MemAvailable:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				return 0
			}
			return kib << 10
		}
	}
	return 0
}

// gatherSysctls reads what exists. net.* files are those of the calling thread's network namespace.
func gatherSysctls(f *Facts) error {
	var errs []error
	for _, name := range sysctls {
		errs = append(errs, f.readSysctl(name, sysctlPath(name)))
	}
	return errors.Join(errs...)
}

func sysctlPath(name string) string { return "/proc/sys/" + strings.ReplaceAll(name, ".", "/") }

func (f *Facts) readSysctl(name, path string) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // e.g. br_netfilter is not loaded: nothing to say about it
	}
	if err != nil {
		return err
	}
	f.Sysctls[name] = strings.Join(strings.Fields(string(b)), " ")
	return nil
}
