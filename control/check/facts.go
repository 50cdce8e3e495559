package check

import (
	"context"
	"net/netip"
)

// Facts are what Gather found. A part that could not be read is empty, and Errors says why.
type Facts struct {
	Kernel     string            `json:"kernel"`      // uname -r
	BTF        int64             `json:"btf"`         // size of /sys/kernel/btf/vmlinux, bytes; 0 = absent
	Effective  uint64            `json:"effective"`   // capability bits of this process
	Bounding   uint64            `json:"bounding"`    // capability bits that it could ever get
	BPFFS      string            `json:"bpffs"`       // type of the filesystem at Want.BPFFS, e.g. "bpf"
	Sysctls    map[string]string `json:"sysctls"`     // by dotted name; absent files are absent here
	MemoryFree int64             `json:"memory_free"` // MemAvailable, bytes
	Groups     string            `json:"groups"`      // controllers of control groups version 2 at /sys/fs/cgroup, separated by spaces
	IDs        int64             `json:"ids"`         // of users and groups, that root may give to containers
	Links      []Link            `json:"links"`
	Routes     []Route           `json:"routes"`
	Sockets    []Socket          `json:"sockets"`
	Trial      []Attempt         `json:"trial"`
	LXD        LXD               `json:"lxd"`
	Errors     map[string]string `json:"errors,omitempty"` // by part
}

// Link is a network interface.
type Link struct {
	Name     string          `json:"name"`
	Ifindex  int             `json:"ifindex"`
	Type     string          `json:"type"` // device, veth, bridge, vxlan, ...
	MTU      int             `json:"mtu"`
	Up       bool            `json:"up"`
	Running  bool            `json:"running"` // has carrier
	Addrs    []netip.Prefix  `json:"addrs,omitempty"`
	Driver   string          `json:"driver,omitempty"`
	Offloads map[string]bool `json:"offloads,omitempty"` // ethtool's names; only of candidates for underlay and uplink
	VNI      uint32          `json:"vni,omitempty"`      // of a VXLAN device
	Port     uint16          `json:"port,omitempty"`     // UDP, of a VXLAN device
	XDP      uint32          `json:"xdp,omitempty"`      // id of an attached program
	TCX      []uint32        `json:"tcx,omitempty"`      // ids of attached programs, ingress
}

// Route is an IPv4 route of the main table.
type Route struct {
	Dst  netip.Prefix `json:"dst"`
	Link string       `json:"link,omitempty"`
	Via  netip.Addr   `json:"via,omitzero"`
}

// Default says whether this is a default route.
func (r Route) Default() bool { return r.Dst.Bits() == 0 }

// Socket is a listening TCP, or a bound and unconnected UDP socket.
type Socket struct {
	Proto string         `json:"proto"` // tcp, udp
	Local netip.AddrPort `json:"local"`
	Inode uint64         `json:"inode"`
	// Interface that a UDP socket is bound to; empty: it hears all.
	Interface string `json:"interface,omitempty"`
	Process   string `json:"process,omitempty"` // name and pid; empty for the kernel's own sockets, or without privilege
}

// Attempt is something that was tried in a network namespace made for it.
type Attempt struct {
	Name  string `json:"name"`
	Error string `json:"error,omitempty"`
	Skip  bool   `json:"skip,omitempty"` // not tried, because what it stands on failed
}

// LXD is what its API said.
type LXD struct {
	Version   string `json:"version,omitempty"`
	Clustered bool   `json:"clustered"`
	Trusted   bool   `json:"trusted"`
	Error     string `json:"error,omitempty"`
}

// AskLXD finds out how LXD is. It is given by the caller, so that this package needs no client of it.
type AskLXD func(context.Context) LXD

// Gather reads the machine. It needs root for the whole picture and says in Facts.Errors what it could not see.
func Gather(ctx context.Context, want Want, ask AskLXD) Facts {
	f := Facts{Sysctls: map[string]string{}, Errors: map[string]string{}}
	note := func(part string, err error) {
		if err != nil {
			f.Errors[part] = err.Error()
		}
	}
	note("kernel", gatherKernel(&f, want))
	note("sysctls", gatherSysctls(&f))
	note("ids", gatherIDs(&f, "/etc/subuid", "/etc/subgid"))
	note("links", gatherLinks(&f))
	note("routes", gatherRoutes(&f))
	note("offloads", gatherOffloads(&f, want))
	note("sockets", gatherSockets(&f))
	f.Trial = Trial(ctx, want)
	if ask != nil {
		f.LXD = ask(ctx)
	}
	return f
}

// Inspect judges facts.
func Inspect(f Facts, want Want) []Result {
	var out []Result
	for _, group := range []func(Facts, Want) []Result{
		kernelChecks, privilegeChecks, networkChecks, portChecks, lxdChecks,
	} {
		out = append(out, group(f, want)...)
	}
	return out
}

// link finds an interface by name.
func (f Facts) link(name string) (Link, bool) {
	for _, l := range f.Links {
		if l.Name == name {
			return l, true
		}
	}
	return Link{}, false
}

// defaultLink is the interface of the first default route. Our own bridge never carries it.
func (f Facts) defaultLink() string {
	for _, r := range f.Routes {
		if r.Default() && r.Link != "" {
			return r.Link
		}
	}
	return ""
}

// roles gives the names of underlay and uplink, detected where they are not configured.
func (f Facts) roles(want Want) (underlay, uplink string) {
	underlay, uplink = want.Underlay, want.Uplink
	if uplink == "" {
		uplink = f.defaultLink()
	}
	if underlay == "" {
		underlay = uplink
	}
	return underlay, uplink
}
