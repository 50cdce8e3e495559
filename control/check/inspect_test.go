package check

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
)

func want() Want {
	return Want{
		Prefix: netip.MustParsePrefix("172.24.0.0/16"), VNI: 7331, TunnelPort: 4789, PeerPort: 9470,
		NATPorts: Range{16384, 32767}, ForwardPorts: Range{49152, 65535},
		Bridge: "lanyard0", VXLAN: "lanyard0-vx", BPFFS: "/sys/fs/bpf/lanyard", LXD: "/lxd.socket", XDP: "off", Reclaim: true,
	}
}

// fit is a machine that passes everything.
func fit() Facts {
	return Facts{
		Kernel: "6.12.48+deb13-amd64", BTF: 5 << 20, Effective: 1<<41 - 1, Bounding: 1<<41 - 1, BPFFS: "bpf", MemoryFree: 4 << 30, IDs: 1e9, Groups: "cpuset cpu io memory pids",
		Sysctls: map[string]string{
			"net.core.bpf_jit_enable": "1", "net.core.bpf_jit_harden": "0", "net.bridge.bridge-nf-call-iptables": "0",
			"net.ipv4.conf.all.rp_filter": "0", "net.ipv4.conf.eth0.rp_filter": "1",
			"net.ipv4.ip_local_port_range": "32768 60999", "net.ipv4.ip_local_reserved_ports": "49152-65535",
		},
		Links: []Link{
			{Name: "lo", Ifindex: 1, Type: "device", MTU: 65536, Up: true, Running: true, Addrs: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")}},
			{Name: "eth0", Ifindex: 2, Type: "device", MTU: 1500, Up: true, Running: true, Driver: "ixgbe",
				Addrs:    []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")},
				Offloads: map[string]bool{"rx-gro": true, "tx-generic-segmentation": true, "tx-tcp-segmentation": true, "tx-scatter-gather": true}},
		},
		Routes: []Route{{Dst: netip.MustParsePrefix("0.0.0.0/0"), Link: "eth0", Via: netip.MustParseAddr("192.0.2.254")},
			{Dst: netip.MustParsePrefix("192.0.2.0/24"), Link: "eth0"}},
		Trial: []Attempt{{Name: TryNamespace}, {Name: TryTCX}},
		LXD:   LXD{Version: "5.0.2", Trusted: true},
	}
}

func TestFitMachinePasses(t *testing.T) {
	for _, r := range Inspect(fit(), want()) {
		if r.Status != OK {
			t.Errorf("%s/%s: %s: %s", r.Group, r.Name, r.Status, r.Found)
		}
	}
}

// TestFindings breaks one thing at a time: exactly that check must speak, with cause and advice.
func TestFindings(t *testing.T) {
	second := Link{Name: "eth1", Ifindex: 3, Type: "device", MTU: 9000, Up: true, Running: true,
		Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}, Offloads: fit().Links[1].Offloads}
	socket := func(proto, local, process string) Socket {
		return Socket{Proto: proto, Local: netip.MustParseAddrPort(local), Inode: 7, Process: process}
	}
	tests := []struct {
		name   string
		change func(*Facts, *Want)
		check  string
		status Status
		found  string // part of Found
		do     string // part of Do
	}{
		{"old kernel", func(f *Facts, _ *Want) { f.Kernel = "6.1.0-40-amd64" }, "version", Failure, "6.1.0", "backports"},
		{"odd kernel", func(f *Facts, _ *Want) { f.Kernel = "custom" }, "version", Unknown, "custom", "uname"},
		{"6.6 is enough", func(f *Facts, _ *Want) { f.Kernel = "6.6.0" }, "", OK, "", ""},
		{"release candidate", func(f *Facts, _ *Want) { f.Kernel = "7.0-rc1" }, "", OK, "", ""},
		{"no BTF", func(f *Facts, _ *Want) { f.BTF = 0 }, "BTF", Failure, "vmlinux", "CONFIG_DEBUG_INFO_BTF"},
		{"no bpffs", func(f *Facts, _ *Want) { f.BPFFS = "0x62656572" }, "bpffs", Failure, "not mounted", "mount -t bpf bpf /sys/fs/bpf "},
		{"interpreter", func(f *Facts, _ *Want) { f.Sysctls["net.core.bpf_jit_enable"] = "0" }, "BPF JIT", Warning, "off", "bpf_jit_enable=1"},
		{"blinding", func(f *Facts, _ *Want) { f.Sysctls["net.core.bpf_jit_harden"] = "2" }, "BPF JIT", Warning, "hardened", "bpf_jit_harden=1"},
		{"control groups of version 1", func(f *Facts, _ *Want) { f.Groups = "" }, "control groups", Warning, "version 1", "sleep.reclaim_after"},
		{"control groups without memory", func(f *Facts, _ *Want) { f.Groups = "cpu pids" }, "control groups", Warning, "without memory", "sleep.reclaim_after"},
		{"control groups of version 1, nothing wants them", func(f *Facts, w *Want) { f.Groups, w.Reclaim = "", false }, "", OK, "", ""},
		{"little memory", func(f *Facts, _ *Want) { f.MemoryFree = 100 << 20 }, "memory", Warning, "100.0 MiB", "limits"},
		{"trial fails", func(f *Facts, _ *Want) { f.Trial[1].Error = "invalid argument" }, TryTCX, Failure, "invalid argument", "6.6"},
		{"container", func(f *Facts, _ *Want) { f.Bounding &^= 1 << 39; f.Bounding &^= 1 << 21 }, "capabilities", Failure, "CAP_BPF", "host"},
		{"not root", func(f *Facts, _ *Want) { f.Effective = 0 }, "capabilities", Unknown, "CAP_NET_ADMIN", "root"},
		{"no default route", func(f *Facts, _ *Want) { f.Routes = nil }, "underlay", Failure, "no default route", "underlay"},
		{"interface missing", func(_ *Facts, w *Want) { w.Underlay = "ens9"; w.Uplink = "ens9" }, "underlay", Failure, "ens9 does not exist", "(underlay.interface)"},
		{"interface down", func(f *Facts, _ *Want) { f.Links[1].Running = false }, "underlay", Failure, "down", "ip link set eth0 up"},
		{"no address", func(f *Facts, _ *Want) { f.Links[1].Addrs = nil }, "underlay", Failure, "no IPv4", "ip addr"},
		{"docker took the prefix", func(f *Facts, _ *Want) {
			f.Links = append(f.Links, Link{Name: "br-1", Addrs: []netip.Prefix{netip.MustParsePrefix("172.24.0.1/16")}})
		}, "LAN prefix", Failure, "br-1", "lan.prefix"},
		{"our own bridge is no clash", func(f *Facts, _ *Want) {
			f.Links = append(f.Links, Link{Name: "lanyard0", Addrs: []netip.Prefix{netip.MustParsePrefix("172.24.0.1/16")}})
			f.Routes = append(f.Routes, Route{Dst: netip.MustParsePrefix("172.24.0.0/16"), Link: "lanyard0"})
		}, "", OK, "", ""},
		{"route into the prefix", func(f *Facts, _ *Want) {
			f.Routes = append(f.Routes, Route{Dst: netip.MustParsePrefix("172.24.8.0/24"), Link: "tun0"})
		}, "LAN prefix", Failure, "tun0", "lan.prefix"},
		{"a wider route is none", func(f *Facts, _ *Want) {
			f.Routes = append(f.Routes, Route{Dst: netip.MustParsePrefix("172.16.0.0/12"), Link: "tun0"})
		}, "", OK, "", ""},
		{"MTU too big", func(_ *Facts, w *Want) { w.MTU = 1500 }, "MTU", Failure, "1500 asked for, 1450 possible", "lower"},
		{"MTU too small", func(f *Facts, _ *Want) { f.Links[1].MTU = 1300 }, "MTU", Failure, "1250", "mtu 1500"},
		{"LRO", func(f *Facts, _ *Want) { f.Links[1].Offloads["rx-lro"] = true }, "offloads of eth0", Warning, "LRO", "lro off"},
		{"no GRO, no TSO", func(f *Facts, _ *Want) {
			f.Links[1].Offloads["rx-gro"], f.Links[1].Offloads["tx-tcp-segmentation"] = false, false
		}, "offloads of eth0", Warning, "gro, tso", "ethtool -K eth0 gro on tso on"},
		{"XDP is taken", func(f *Facts, w *Want) { f.Links[1].XDP = 12; w.XDP = "native" }, "XDP hook", Failure, "12", "bpftool"},
		{"br_netfilter", func(f *Facts, _ *Want) { f.Sysctls["net.bridge.bridge-nf-call-iptables"] = "1" }, "bridge netfilter", Warning, "on", "=0"},
		{"two ways out", func(f *Facts, w *Want) { f.Links = append(f.Links, second); w.Uplink = "eth1"; w.Underlay = "eth0" },
			"rp_filter", Warning, "strict on eth0", "eth0.rp_filter=2"},
		{"tunnel port taken", func(f *Facts, _ *Want) { f.Sockets = []Socket{socket("udp", "0.0.0.0:4789", "nginx (pid 3)")} },
			"tunnel port", Failure, "nginx (pid 3)", "stop it"},
		{"tunnel port ours", func(f *Facts, _ *Want) {
			f.Sockets = []Socket{{Proto: "udp", Local: netip.MustParseAddrPort("0.0.0.0:4789")}}
			f.Links = append(f.Links, Link{Name: "lanyard0-vx", Type: "vxlan", VNI: 7331, Port: 4789})
		}, "", OK, "", ""},
		{"VNI taken", func(f *Facts, _ *Want) {
			f.Links = append(f.Links, Link{Name: "kubelan", Type: "vxlan", VNI: 7331, Port: 4789})
		}, "tunnel port", Failure, "kubelan", "ip link del kubelan"},
		{"peer port taken", func(f *Facts, _ *Want) { f.Sockets = []Socket{socket("tcp", "0.0.0.0:9470", "java (pid 4)")} },
			"peer port", Warning, "TCP 9470 is taken by java", "peers.port"},
		{"peer port of the daemon, and of somebody at loopback", func(f *Facts, _ *Want) {
			f.Sockets = []Socket{socket("tcp", "192.0.2.1:9470", "lanyardd (pid 4)"), socket("tcp", "127.0.0.1:9470", "java (pid 5)")}
		}, "", OK, "", ""},
		{"no peer port, no matter", func(f *Facts, w *Want) {
			w.PeerPort = 0
			f.Sockets = []Socket{socket("tcp", "0.0.0.0:9470", "java (pid 4)")}
		}, "", OK, "", ""},
		{"forwards are ephemeral", func(f *Facts, _ *Want) { f.Sysctls["net.ipv4.ip_local_reserved_ports"] = "8080" },
			"local ports", Warning, "forwards 49152-65535", "reserved_ports=8080,49152-65535"},
		{"partly reserved is not enough", func(f *Facts, _ *Want) { f.Sysctls["net.ipv4.ip_local_reserved_ports"] = "49152-50000,50002-65535" },
			"local ports", Warning, "forwards", "reserved_ports"},
		{"listener in the range", func(f *Facts, _ *Want) { f.Sockets = []Socket{socket("tcp", "0.0.0.0:50000", "java (pid 4)")} },
			"forward ports", Warning, "TCP 50000 of java", "49152-65535"},
		{"loopback listener is none", func(f *Facts, _ *Want) { f.Sockets = []Socket{socket("tcp", "127.0.0.1:50000", "java (pid 4)")} }, "", OK, "", ""},
		{"DNS server everywhere", func(f *Facts, _ *Want) { f.Sockets = []Socket{socket("udp", "0.0.0.0:53", "named (pid 5)")} }, "DNS", Warning, "named", "dns.enabled"},
		{"DNS server of its own addresses", func(f *Facts, _ *Want) {
			f.Sockets = []Socket{socket("udp", "127.0.0.53:53", "systemd-resolve (pid 5)")}
		}, "", OK, "", ""},
		{"DHCP server everywhere", func(f *Facts, _ *Want) { f.Sockets = []Socket{socket("udp", "0.0.0.0:67", "dnsmasq (pid 5)")} },
			"DHCP", Warning, "dnsmasq", "except-interface"},
		{"DHCP server of another bridge", func(f *Facts, _ *Want) {
			f.Sockets = []Socket{socket("udp", "0.0.0.0:67", "dnsmasq (pid 5)")}
			f.Sockets[0].Interface = "lxdbr0"
		}, "", OK, "", ""},
		{"our own DHCP server", func(f *Facts, _ *Want) {
			f.Sockets = []Socket{socket("udp", "0.0.0.0:67", "lanyardd (pid 6)")}
			f.Sockets[0].Interface = "lanyard0"
		}, "", OK, "", ""},
		{"LXD away", func(f *Facts, _ *Want) { f.LXD = LXD{Error: "connection refused"} }, "LXD", Failure, "/lxd.socket: connection refused", "systemctl"},
		{"LXD stranger", func(f *Facts, _ *Want) { f.LXD = LXD{Version: "5.0.2"} }, "LXD", Failure, "does not trust", "trust add"},
		{"LXD too old", func(f *Facts, _ *Want) { f.LXD.Version = "3.0.4" }, "LXD", Failure, "3.0.4", "5.0"},
		{"Debian's ids", func(f *Facts, _ *Want) { f.IDs = 10000001 }, "user ids", Warning, "enough for 151 webspaces", "root:1000000:1000000000"},
		{"smaller maps", func(f *Facts, w *Want) { f.IDs = 10000001; w.IDsEach = 4096 }, "", OK, "", ""},
		{"no maps of their own", func(f *Facts, w *Want) { f.IDs = 10000001; w.IDsEach = -1 }, "", OK, "", ""},
		{"hardly any ids", func(f *Facts, _ *Want) { f.IDs = 1 }, "user ids", Warning, "enough for 0", "subuid"},
		{"LXD elsewhere", func(f *Facts, w *Want) { f.IDs = 1; w.LXD = "https://192.0.2.9:8443" }, "", OK, "", ""},
		{"Incus", func(f *Facts, _ *Want) { f.LXD.Version = "6.0.4" }, "", OK, "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f, w := fit(), want()
			test.change(&f, &w)
			results := Inspect(f, w)
			bad := slices.DeleteFunc(slices.Clone(results), func(r Result) bool { return r.Status == OK })
			if test.check == "" {
				if len(bad) > 0 {
					t.Fatalf("want no finding, got %+v", bad)
				}
				return
			}
			i := slices.IndexFunc(bad, func(r Result) bool { return r.Name == test.check })
			if i < 0 {
				t.Fatalf("%s says nothing; findings: %+v", test.check, bad)
			}
			r := bad[i]
			if r.Status != test.status || !strings.Contains(r.Found, test.found) || !strings.Contains(r.Do, test.do) || r.Cause == "" {
				t.Errorf("got %+v", r)
			}
			if len(bad) > 1 {
				t.Errorf("other checks speak too: %+v", bad)
			}
		})
	}
}

func TestReport(t *testing.T) {
	r := NewReport([]Result{{Status: OK}, {Status: Warning}})
	if !r.Good(false) || r.Good(true) {
		t.Errorf("a warning fails the strict check only: %+v", r)
	}
	if r := NewReport([]Result{{Status: Unknown}}); r.Good(false) {
		t.Error("what could not be found out is not good")
	}
}

func TestKernelVersion(t *testing.T) {
	for _, x := range []struct {
		release      string
		major, minor int
		ok           bool
	}{{"6.18.44-fc", 6, 18, true}, {"6.6", 6, 6, true}, {"7.0-rc1", 7, 0, true}, {"6", 0, 0, false}, {"a.b.c", 0, 0, false}, {"6.x", 6, 0, false}} {
		major, minor, ok := kernelVersion(x.release)
		if ok != x.ok || ok && (major != x.major || minor != x.minor) {
			t.Errorf("%s: %d.%d %v", x.release, major, minor, ok)
		}
	}
}

func TestCovered(t *testing.T) {
	for _, x := range []struct {
		r        Range
		reserved string
		want     bool
	}{
		{Range{10, 20}, "10-20", true}, {Range{10, 20}, "1-9,10-14,15-30", true}, {Range{10, 20}, "10-14,16-20", false},
		{Range{10, 20}, "", false}, {Range{65535, 65535}, "65535", true}, {Range{1, 65535}, "1-65535", true}, {Range{10, 20}, "x,10-y,5-20", true},
	} {
		if got := covered(x.r, parseRanges(x.reserved)); got != x.want {
			t.Errorf("%v in %q: %v", x.r, x.reserved, got)
		}
	}
}

// TestUnitGrantsWhatIsChecked keeps the list here equal to the one in the systemd unit.
func TestUnitGrantsWhatIsChecked(t *testing.T) {
	unit, err := os.ReadFile("../../cmd/lanyardd/lanyardd-node.service")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(unit), "\nCapabilityBoundingSet=")
	if !ok {
		t.Fatal("the unit names no capabilities")
	}
	line, _, _ := strings.Cut(rest, "\n")
	granted := strings.Fields(line)
	var checked []string
	for _, c := range Capabilities {
		checked = append(checked, c.Name)
	}
	slices.Sort(granted)
	slices.Sort(checked)
	if !slices.Equal(granted, checked) {
		t.Errorf("the unit grants %v, the check asks for %v", granted, checked)
	}
}
