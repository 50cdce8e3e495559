package live

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What arrives are SYNs of many senders with right checksums, as many as were made. It needs root.
func TestForgedSYNs(t *testing.T) {
	runtime.LockOSThread() // never unlocked: the thread, and its namespace, end with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("a network namespace: %v; likely cause: not root", err)
	}
	near := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "near"}, PeerName: "far"}
	for _, err := range []error{netlink.LinkAdd(near), up("near"), up("far"), polls("far")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	l, err := netlink.LinkByName("far")
	if err != nil {
		t.Fatal(err)
	}
	fd := tap(t, l.Attrs().Index)

	frame := SYN(l.Attrs().HardwareAddr, net.HardwareAddr{2, 0, 0, 0, 0, 1}, netip.MustParseAddr("198.18.0.0"), netip.MustParseAddrPort("192.0.2.1:0"))
	s, err := New(near.Attrs().Index, frame, Forged(50000, 255)...)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const n = 100
	if err := s.Run(n); err != nil {
		t.Fatal(err)
	}
	if made, err := s.Made(); err != nil || made < n {
		t.Errorf("%d were made: %v", made, err)
	}
	senders, ports := map[string]bool{}, map[layers.TCPPort]bool{}
	for i := range n {
		b := make([]byte, 2048)
		got, err := unix.Read(fd, b)
		if err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		p := gopacket.NewPacket(b[:got], layers.LayerTypeEthernet, gopacket.Default)
		ip, _ := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
		tcp, _ := p.Layer(layers.LayerTypeTCP).(*layers.TCP)
		if ip == nil || tcp == nil || !tcp.SYN || tcp.ACK || !netip.MustParsePrefix("198.18.0.0/16").Contains(netip.AddrFrom4([4]byte(ip.SrcIP.To4()))) ||
			tcp.DstPort < 50000 || tcp.DstPort > 50255 {
			t.Fatalf("frame %d: %v", i, p)
		}
		if sum(0, b[14:34]) != 0xffff || sum(sum(6+20, b[26:34]), b[34:54]) != 0xffff {
			t.Errorf("frame %d has a wrong checksum: %v", i, p)
		}
		senders[ip.SrcIP.String()+tcp.SrcPort.String()], ports[tcp.DstPort] = true, true
	}
	if len(senders) < n/2 || len(ports) < n/4 {
		t.Errorf("%d senders and %d ports in %d frames", len(senders), len(ports), n)
	}
}

func up(name string) error {
	l, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetUp(l)
	}
	return err
}

// polls turns GRO on, and with it NAPI.
func polls(name string) error {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return err
	}
	defer e.Close()
	return e.Change(name, map[string]bool{"rx-gro": true})
}

// tap hears the IPv4 packets that an interface receives.
func tap(t *testing.T, ifindex int) int {
	t.Helper()
	const ip = 0x0008 // ETH_P_IP in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, ip)
	if err == nil {
		t.Cleanup(func() { _ = unix.Close(fd) })
		err = errors.Join(
			unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}),
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20)) // a page for each frame
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: ip, Ifindex: ifindex})
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}
