package check

import (
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestParseSocket(t *testing.T) {
	for _, x := range []struct {
		line  string
		local string
	}{
		{"   0: 0100007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 20512 1 0000000000000000", "127.0.0.1:53"},
		{"   1: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 99 1 0", "[::1]:8080"},
		{"   2: 0000000000000000FFFF00000100007F:0050 0:0 0A 0:0 0:0 0 0 0 99 1 0", "127.0.0.1:80"},
		{"   3: 0100007F:0035 0100007F:9999 01 0:0 0:0 0 0 0 99 1 0", ""}, // connected
		{"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode", ""},
		{"", ""}, {"a b c d e f g h i j", ""}, {"0: 01:0035 0:0 0A 0:0 0:0 0 0 0 99", ""}, {"0: 0100007F:fffff 0:0 0A 0:0 0:0 0 0 0 99", ""},
	} {
		s, ok := parseSocket(x.line, "tcp", stateListen)
		if ok != (x.local != "") || ok && s.Local.String() != x.local {
			t.Errorf("%q: %v %v", x.line, s, ok)
		}
	}
}

func FuzzParseSocket(f *testing.F) {
	f.Add("0: 0100007F:0035 00000000:0000 0A 0:0 0:0 0 101 0 20512 1")
	f.Fuzz(func(t *testing.T, line string) {
		if s, ok := parseSocket(line, "tcp", stateListen); ok && !s.Local.IsValid() {
			t.Errorf("%q gives an invalid address", line)
		}
	})
}

func TestCapabilitySets(t *testing.T) {
	eff, bnd, err := capabilitySets([]byte("Name:\tx\nCapEff:\t0000000000003000\nCapBnd:\t000001ffffffffff\n"))
	if err != nil || eff != 0x3000 || bnd != 0x1ffffffffff {
		t.Errorf("%x %x %v", eff, bnd, err)
	}
	for _, bad := range []string{"", "CapEff:\t1\n", "CapEff:\tzz\nCapBnd:\t1\n"} {
		if _, _, err := capabilitySets([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

// inNamespace runs f in a network namespace of its own, on a thread that ends with it. It needs root.
func inNamespace(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Errorf("cannot make a network namespace: %v: run the tests as root", err)
			return
		}
		f()
	}()
	<-done
}

// TestGather finds, in a namespace made for it, what was put there.
func TestGather(t *testing.T) {
	inNamespace(t, func() {
		lo, err := netlink.LinkByName("lo")
		must(t, err)
		must(t, netlink.LinkSetUp(lo))
		veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "up.1", MTU: 1400}, PeerName: "up-peer"} // names may hold dots
		must(t, netlink.LinkAdd(veth))
		for _, name := range []string{"up.1", "up-peer"} {
			l, err := netlink.LinkByName(name)
			must(t, err)
			must(t, netlink.LinkSetUp(l))
		}
		up, err := netlink.LinkByName("up.1")
		must(t, err)
		must(t, netlink.AddrAdd(up, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(192, 0, 2, 7), Mask: net.CIDRMask(24, 32)}}))
		must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: up.Attrs().Index, Gw: net.IPv4(192, 0, 2, 254)}))
		must(t, netlink.LinkAdd(&netlink.Vxlan{LinkAttrs: netlink.LinkAttrs{Name: "other"}, VxlanId: 7331, Port: 4789}))
		other, err := netlink.LinkByName("other")
		must(t, err)
		must(t, netlink.LinkSetUp(other))
		listener, err := net.Listen("tcp4", "0.0.0.0:50001")
		must(t, err)
		defer listener.Close()
		must(t, os.WriteFile("/proc/sys/net/ipv4/conf/up.1/rp_filter", []byte("1"), 0))

		lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { must(t, unix.BindToDevice(int(fd), "up.1")) })
		}}
		dnsmasq, err := lc.ListenPacket(context.Background(), "udp4", "0.0.0.0:67")
		must(t, err)
		defer dnsmasq.Close()

		f := Gather(context.Background(), want(), func(context.Context) LXD { return LXD{Version: "5.0.2", Trusted: true} })
		if len(f.Errors) > 0 {
			t.Errorf("errors: %v", f.Errors)
		}
		if under, uplink := f.roles(want()); under != "up.1" || uplink != "up.1" {
			t.Errorf("roles: %q %q", under, uplink)
		}
		l, ok := f.link("up.1")
		if !ok || l.MTU != 1400 || !l.Up || !slices.Contains(l.Addrs, netip.MustParsePrefix("192.0.2.7/24")) || len(l.Offloads) == 0 || l.Driver != "veth" {
			t.Errorf("up.1: %+v", l)
		}
		if v := f.Sysctls["net.ipv4.conf.up.1.rp_filter"]; v != "1" {
			t.Errorf("rp_filter: %q", v)
		}
		i := slices.IndexFunc(f.Sockets, func(s Socket) bool { return s.Local.Port() == 50001 })
		if i < 0 || f.Sockets[i].Process == "" {
			t.Errorf("the listener is not found, or not named: %+v", f.Sockets)
		}
		if i := slices.IndexFunc(f.Sockets, func(s Socket) bool { return s.Proto == "udp" && s.Local.Port() == 4789 }); i < 0 || f.Sockets[i].Process != "" {
			t.Errorf("the kernel's tunnel socket is not found: %+v", f.Sockets)
		}
		if i := slices.IndexFunc(f.Sockets, func(s Socket) bool { return s.Local.Port() == 67 }); i < 0 || f.Sockets[i].Interface != "up.1" {
			t.Errorf("the socket that is bound to an interface: %+v", f.Sockets)
		}
		bad := map[string]Status{}
		for _, r := range Inspect(f, want()) {
			if r.Status != OK {
				bad[r.Name] = r.Status
			}
		}
		if bad["tunnel port"] != Failure || bad["forward ports"] != Warning || bad["DHCP"] != "" {
			t.Errorf("findings: %v", bad)
		}
		for _, a := range f.Trial {
			if a.Error != "" || a.Skip {
				t.Errorf("trial: %+v", a)
			}
		}
	})
}

// TestTrialLeavesNothing: the trial's devices must not appear in the namespace that it was called from.
func TestTrialLeavesNothing(t *testing.T) {
	inNamespace(t, func() {
		Trial(context.Background(), want())
		links, err := netlink.LinkList()
		must(t, err)
		for _, l := range links {
			if l.Attrs().Name == "trial0" || l.Attrs().Name == "lanyard0" {
				t.Errorf("%s is left", l.Attrs().Name)
			}
		}
	})
}

func TestFilesystem(t *testing.T) {
	dir := t.TempDir()
	if got := filesystem(filepath.Join(dir, "not", "there")); got == "bpf" || got == "" {
		t.Errorf("a folder that is not there: %q", got)
	}
	if out, err := exec.Command("mount", "-t", "bpf", "bpf", dir).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s: run the tests as root", err, out)
	}
	defer func() { must(t, unix.Unmount(dir, 0)) }()
	if got := filesystem(filepath.Join(dir, "lanyard")); got != "bpf" {
		t.Errorf("a folder to be made in bpffs: %q", got)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
}

func TestIDs(t *testing.T) {
	for text, want := range map[string]int64{
		"": idsLXD, "lxd:1:2\n": idsLXD, "root:x:y\n": idsLXD, "root:100000:65536\n_lxd:1:2\n": 65536,
		"root:1000:10\nroot:100000:10000001": 10000001, "0:5:7\n": 7,
	} {
		if got := idsOf([]byte(text)); got != want {
			t.Errorf("%q: %d, not %d", text, got, want)
		}
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"subuid": "root:1:200\n", "subgid": "root:1:100\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var f Facts
	if err := gatherIDs(&f, filepath.Join(dir, "subuid"), filepath.Join(dir, "subgid"), filepath.Join(dir, "none")); err != nil || f.IDs != 100 {
		t.Errorf("%d, %v", f.IDs, err)
	}
}
