package check

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// minMemory leaves room beside the maps for the daemon itself.
const minMemory = 256 << 20

// minKernel is the floor: tcx, the hook of all programs, came with 6.6 (commit e420bed02507).
var minKernel = [2]int{6, 6}

func kernelChecks(f Facts, want Want) []Result {
	l := &list{group: "kernel"}
	major, minor, ok := kernelVersion(f.Kernel)
	switch {
	case !ok:
		l.add(Unknown, "version", f.Kernel, "the release is not of the form MAJOR.MINOR", "uname -r")
	case major < minKernel[0] || major == minKernel[0] && minor < minKernel[1]:
		l.add(Failure, "version", f.Kernel, "the programs attach by tcx, which came with Linux 6.6",
			"install a newer kernel (Debian 12: apt install -t bookworm-backports linux-image-amd64) and boot it")
	default:
		l.ok("version", f.Kernel+" (6.6 or newer is needed)")
	}
	if f.BTF == 0 {
		l.add(Failure, "BTF", "no /sys/kernel/btf/vmlinux", "the kernel was built without CONFIG_DEBUG_INFO_BTF",
			"boot a distribution's kernel, or build with CONFIG_DEBUG_INFO_BTF=y")
	} else {
		l.ok("BTF", "/sys/kernel/btf/vmlinux, "+bytesText(f.BTF))
	}
	switch f.BPFFS {
	case "bpf":
		l.ok("bpffs", "mounted, "+want.BPFFS)
	default:
		l.add(Failure, "bpffs", "not mounted at "+mountPoint(want.BPFFS),
			"programs and maps are pinned there, so that traffic flows on while lanyardd restarts",
			"mount -t bpf bpf "+mountPoint(want.BPFFS)+" (systemd does so at boot)")
	}
	switch f.Sysctls["net.core.bpf_jit_enable"] {
	case "0":
		l.add(Warning, "BPF JIT", "off", "programs are interpreted: several times slower",
			"sysctl -w net.core.bpf_jit_enable=1")
	case "":
		// no such file: the JIT is always on (CONFIG_BPF_JIT_ALWAYS_ON hides nothing, but a container may)
	default:
		if f.Sysctls["net.core.bpf_jit_harden"] == "2" {
			l.add(Warning, "BPF JIT", "on, hardened for root too", "constants are blinded in the programs: somewhat slower",
				"sysctl -w net.core.bpf_jit_harden=1 (hardens unprivileged programs only)")
		} else {
			l.ok("BPF JIT", "on")
		}
	}
	switch {
	case f.MemoryFree == 0: // not readable, which the group of privileges reports
	case f.MemoryFree < minMemory:
		l.add(Warning, "memory", bytesText(f.MemoryFree)+" available",
			"maps are allocated up front: about 50 MiB with the default limits", "free some, or lower the limits in the configuration")
	default:
		l.ok("memory", bytesText(f.MemoryFree)+" available")
	}
	switch {
	case slices.Contains(strings.Fields(f.Groups), "memory"):
		l.ok("control groups", "version 2, with memory")
	case want.Reclaim && f.Kernel != "":
		l.add(Warning, "control groups", "version 1, or without memory",
			"napping webspaces keep all their memory until they sleep: the kernel takes it back only by version 2",
			"boot without systemd.unified_cgroup_hierarchy=0 and cgroup_disable=memory, or set sleep.reclaim_after: 0")
	}
	for _, a := range f.Trial {
		switch {
		case a.Skip: // its cause is reported already
		case a.Error == "":
			l.ok(a.Name, trialWorked(a.Name, want))
		default:
			cause, do := trialAdvice(a.Name)
			l.add(trialStatus(f), a.Name, a.Error, cause, do)
		}
	}
	return l.results
}

// trialStatus: without privilege a failed attempt proves nothing.
func trialStatus(f Facts) Status {
	if len(missing(f.Effective)) > 0 || f.Effective&(1<<unix.CAP_SYS_ADMIN) == 0 {
		return Unknown
	}
	return Failure
}

func trialWorked(name string, want Want) string {
	switch name {
	case TryVXLAN:
		return fmt.Sprintf("created, VNI %d, UDP port %d", want.VNI, want.TunnelPort)
	case TryTCX, TryXDP:
		return "loaded and attached"
	case TryPrograms:
		return "accepted by this kernel's verifier"
	}
	return "created"
}

func trialAdvice(name string) (cause, do string) {
	switch name {
	case TryNamespace:
		return "no network namespace could be made, so nothing else was tried (needs CAP_SYS_ADMIN)", "run as root: lanyard check"
	case TryVeth:
		return "the veth driver is missing", "modprobe veth, or build with CONFIG_VETH"
	case TryBridge:
		return "the bridge driver is missing", "modprobe bridge, or build with CONFIG_BRIDGE"
	case TryVXLAN:
		return "the vxlan driver is missing", "modprobe vxlan, or build with CONFIG_VXLAN"
	case TryTCX:
		return "the kernel has no tcx (Linux 6.6, CONFIG_NET_XGRESS) or forbids eBPF here", "run as root on the host, on Linux 6.6 or newer"
	case TryPrograms:
		return "this kernel's verifier or map types differ from those that Lanyard is tested with",
			"report it with the output of: lanyard check --json"
	}
	return "the kernel has no XDP here", "set underlay.xdp: off"
}

// kernelVersion reads "6.18.44-anything".
func kernelVersion(release string) (major, minor int, ok bool) {
	parts := strings.SplitN(release, ".", 3)
	if len(parts) < 2 {
		return 0, 0, false
	}
	digits := strings.IndexFunc(parts[1], func(r rune) bool { return r < '0' || r > '9' })
	if digits >= 0 {
		parts[1] = parts[1][:digits]
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return major, minor, err1 == nil && err2 == nil
}

// mountPoint is where bpffs belongs: the part above our own folder.
func mountPoint(bpffs string) string {
	if i := strings.Index(bpffs, "/bpf"); i >= 0 {
		return bpffs[:i+len("/bpf")]
	}
	return bpffs
}

func bytesText(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.0f KiB", float64(n)/(1<<10))
}
