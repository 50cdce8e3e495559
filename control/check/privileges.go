package check

import (
	"strings"

	"golang.org/x/sys/unix"
)

// Capability is one that lanyardd cannot do without.
type Capability struct {
	Bit  int
	Name string
	For  string
}

// Capabilities lists what `lanyardd node` needs, and why. The systemd unit grants these.
var Capabilities = []Capability{
	{unix.CAP_BPF, "CAP_BPF", "maps, loading programs"},
	{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN", "attaching programs, devices, neighbours"},
	{unix.CAP_NET_RAW, "CAP_NET_RAW", "DHCP over packet sockets"},
	{unix.CAP_NET_BIND_SERVICE, "CAP_NET_BIND_SERVICE", "DHCP's UDP port 67"},
	{unix.CAP_NET_BROADCAST, "CAP_NET_BROADCAST", "hearing that the address of a booting webspace is up"},
	{unix.CAP_PERFMON, "CAP_PERFMON", "verification of programs that handle pointers"},
}

// missing names the needed capabilities that a set lacks.
func missing(set uint64) []string {
	var names []string
	for _, c := range Capabilities {
		// CAP_SYS_ADMIN includes CAP_BPF and CAP_PERFMON (kernel commit 2c78ee898d8f).
		if set&(1<<c.Bit) == 0 && !((c.Bit == unix.CAP_BPF || c.Bit == unix.CAP_PERFMON) && set&(1<<unix.CAP_SYS_ADMIN) != 0) {
			names = append(names, c.Name)
		}
	}
	return names
}

func privilegeChecks(f Facts, _ Want) []Result {
	l := &list{group: "privileges"}
	never, now := missing(f.Bounding), missing(f.Effective)
	switch {
	case f.Errors["kernel"] != "" && f.Bounding == 0:
		l.add(Unknown, "capabilities", "not readable: "+f.Errors["kernel"], "/proc is hidden or not mounted", "run as root on the host")
	case len(never) > 0:
		l.add(Failure, "capabilities", "out of reach: "+strings.Join(never, ", "),
			"this shell runs in a container or service that may never have them", "run on the host, or grant them to the container")
	case len(now) > 0:
		l.add(Unknown, "capabilities", "this process lacks "+strings.Join(now, ", "),
			"without them much of the machine cannot be looked at", "run as root: sudo lanyard check")
	default:
		l.ok("capabilities", capabilityNames())
	}
	return l.results
}

func capabilityNames() string {
	names := make([]string, 0, len(Capabilities))
	for _, c := range Capabilities {
		names = append(names, c.Name)
	}
	return strings.Join(names, " ")
}
