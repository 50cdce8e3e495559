package dataplane

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const inside = "LANYARD_DATAPLANE_TEST_INSIDE"

// TestMain runs all tests in network and mount namespaces of their own, with a bpf filesystem that ends with them. Nothing
// of the machine is touched, and nothing is left behind.
func TestMain(m *testing.M) {
	if os.Getenv(inside) == "" {
		os.Exit(outside())
	}
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "prepare the namespaces of the tests:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func outside() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // or the signal comes when this thread ends
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode()
	case err != nil:
		fmt.Fprintln(os.Stderr, "these tests need root (CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_BPF):", err)
		return 1
	}
	return 0
}

func prepare() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("bpf", "/sys/fs/bpf", "bpf", 0, ""); err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// node is one node's dataplane under test, with an underlay whose other end is in another namespace.
type node struct {
	t        testing.TB
	cfg      Config
	far      netns.NsHandle // the other end of the underlay
	underlay netlink.Link
}

func newNode(t testing.TB) *node {
	t.Helper()
	n := &node{t: t, cfg: Config{
		Prefix:     netip.MustParsePrefix("172.24.0.0/16"),
		Gateway:    netip.MustParseAddr("172.24.254.1"),
		GatewayMAC: net.HardwareAddr{0x02, 0x4c, 0xac, 0x18, 0xfe, 0x01},
		NodeIP:     netip.MustParseAddr("172.24.0.1"),
		NodeMAC:    net.HardwareAddr{0x02, 0x4c, 0xac, 0x18, 0x00, 0x01},
		Infra:      []netip.Prefix{netip.MustParsePrefix("172.24.0.0/24"), netip.MustParsePrefix("172.24.254.0/24")},
		VTEP:       netip.MustParseAddr("192.0.2.1"),
		Underlay:   "eth0",
		BPFFS:      "/sys/fs/bpf/lanyard",
		Sizes:      Sizes{Flows: 1024, Forwards: 512, Endpoints: 512, Peers: 64, Tracks: 512, Frags: 128},
	}}
	n.far = n.namespace()
	n.underlay = n.veth("eth0", n.far, "eth0", netip.MustParsePrefix("192.0.2.254/24"), nil)
	n.must(netlink.AddrAdd(n.underlay, &netlink.Addr{IPNet: ipnet(netip.MustParsePrefix("192.0.2.1/24"))}))
	t.Cleanup(func() {
		if err := Teardown(t.Context(), n.cfg, nil); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
		netlink.LinkDel(n.underlay)
	})
	return n
}

func (n *node) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// open opens the dataplane, and closes it with the test.
func (n *node) open() *Dataplane {
	n.t.Helper()
	d, err := Open(n.t.Context(), n.cfg, nil)
	n.must(err)
	n.t.Cleanup(func() { d.Close() })
	return d
}

func (n *node) namespace() netns.NsHandle {
	n.t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	n.must(err)
	defer home.Close()
	ns, err := netns.New()
	n.must(err)
	n.must(netns.Set(home))
	n.t.Cleanup(func() { ns.Close() })
	n.in(ns, func() {
		lo, err := netlink.LinkByName("lo")
		n.must(err)
		n.must(netlink.LinkSetUp(lo))
	})
	return ns
}

// home is the namespace of the node itself.
func (n *node) home() netns.NsHandle {
	n.t.Helper()
	ns, err := netns.Get()
	n.must(err)
	return ns
}

// in runs f in another namespace.
func (n *node) in(ns netns.NsHandle, f func()) {
	n.t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	n.must(err)
	defer home.Close()
	n.must(netns.Set(ns))
	defer netns.Set(home)
	f()
}

// veth makes a pair: one end here, the other in a namespace with an address.
func (n *node) veth(name string, ns netns.NsHandle, peer string, addr netip.Prefix, hw net.HardwareAddr) netlink.Link {
	n.t.Helper()
	v := &netlink.Veth{LinkAttrs: attrs(name, 1500, nil), PeerName: peer, PeerNamespace: netlink.NsFd(ns), PeerHardwareAddr: hw}
	n.must(netlink.LinkAdd(v))
	l, err := netlink.LinkByName(name)
	n.must(err)
	n.must(netlink.LinkSetUp(l))
	n.in(ns, func() {
		p, err := netlink.LinkByName(peer)
		n.must(err)
		n.must(netlink.AddrAdd(p, &netlink.Addr{IPNet: ipnet(addr)}))
		n.must(netlink.LinkSetUp(p))
	})
	return l
}

// webspace makes a namespace with a port on the LAN, as LXD does, and says how the State names it.
func (n *node) webspace(uid int) (Port, Endpoint, netns.NsHandle) {
	n.t.Helper()
	ip := netip.AddrFrom4([4]byte{172, 24, 1, byte(uid)})
	hw := net.HardwareAddr{0x02, 0x4c, 172, 24, 1, byte(uid)}
	ns := n.namespace()
	name := fmt.Sprintf("ws%d", uid)
	l := n.veth(name, ns, "eth0", netip.PrefixFrom(ip, 16), hw)
	n.t.Cleanup(func() { netlink.LinkDel(l) })
	owner := fmt.Sprintf("ws-u%d", uid)
	p := Port{Name: name, Ifindex: l.Attrs().Index, MAC: hw, IP: ip, Kind: PortWebspace, Owner: owner}
	return p, Endpoint{IP: ip, MAC: hw, Ifindex: p.Ifindex, Owner: owner}, ns
}

func ipnet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// eventually waits for a condition, for a bounded time.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatal("not within 5 s: " + what)
}
