package dhcp

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// A lab of one veth: "host" in a namespace with the server, "eth0" in one with a client. In production the port
// program redirects requests to the bridge; here the server listens at the veth itself.
type link struct {
	t      *testing.T
	client string // name of the client's namespace
	server *Server
	host   *net.Interface
	state  string // folder for the clients' files
}

// inNetns runs f on a thread of the namespace.
func inNetns(t *testing.T, ns netns.NsHandle, f func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := netns.Set(ns); err != nil {
			done <- fmt.Errorf("enter the namespace (these tests need root): %w", err)
			return
		}
		done <- f()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func newLink(t *testing.T, config Config) *link {
	t.Helper()
	id := fmt.Sprintf("dhcptest-%d-%d", os.Getpid(), time.Now().UnixNano()%1e6)
	l := &link{t: t, client: id + "-c", state: t.TempDir()}
	names := []string{id + "-s", l.client}
	handles := make([]netns.NsHandle, 2)
	for i, name := range names {
		if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
			t.Fatalf("ip netns add: %v: %s (these tests need root and iproute2)", err, out)
		}
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
		h, err := netns.GetFromName(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.Close() })
		handles[i] = h
	}
	inNetns(t, handles[0], func() error {
		veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "host", HardwareAddr: nodeMAC}, PeerName: "eth0",
			PeerHardwareAddr: alice.MAC, PeerNamespace: netlink.NsFd(handles[1])}
		if err := netlink.LinkAdd(veth); err != nil {
			return err
		}
		host, err := netlink.LinkByName("host")
		if err != nil {
			return err
		}
		addr, _ := netlink.ParseAddr(gateway.String() + "/16")
		l.host = &net.Interface{Index: host.Attrs().Index}
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0)
		if err := netlink.AddrAdd(host, addr); err != nil {
			return err
		}
		return netlink.LinkSetUp(host)
	})
	inNetns(t, handles[1], func() error {
		for _, name := range []string{"lo", "eth0"} {
			dev, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			if err := netlink.LinkSetUp(dev); err != nil {
				return err
			}
		}
		return nil
	})

	config.Interface, config.NodeMAC = "host", nil
	config.GatewayMAC = nodeMAC // nobody answers ARP for the gateway here but the veth itself
	s, err := New(config, slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	s.config.Lease = 20 * time.Second // renewed within the patience of a test; New allows a minute at least
	l.server = s
	l.reserve(alice.IP)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := netns.Set(handles[0]); err != nil {
			done <- err
			return
		}
		done <- s.Run(ctx) // opens its sockets on this thread
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(60 * time.Second):
			t.Error("Run did not end")
		}
	})
	l.eventually("the server listens", func() bool { return s.Running() })
	return l
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

func (l *link) reserve(ip netip.Addr) {
	l.t.Helper()
	r := alice
	r.IP, r.Ifindex = ip, l.host.Index
	if l.server.SetReservations([]Reservation{r, bob}); len(l.server.Problems()) > 0 {
		l.t.Fatal(l.server.Problems())
	}
}

func (l *link) eventually(what string, f func() bool) {
	l.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if f() {
			return
		}
	}
	l.t.Fatalf("not within 30 s: %s; %+v", what, l.server.Stats())
}

// run runs a program in the client's namespace until it ends; it must succeed.
func (l *link) run(name string, args ...string) string {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", l.client, name}, args...)...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// start runs a client in the foreground until the test ends, in a mount namespace whose /etc and /var/lib it may write
// to (its hooks rewrite /etc/resolv.conf).
func (l *link) start(script string) {
	l.t.Helper()
	mounts := fmt.Sprintf(`set -e; mount --make-rprivate /
mkdir -p %[1]s/etc %[1]s/w %[1]s/var %[1]s/w2; mount -t overlay overlay -o lowerdir=/etc,upperdir=%[1]s/etc,workdir=%[1]s/w /etc
mount -t tmpfs tmpfs /var/lib; mount -t tmpfs tmpfs /run; mkdir -p /var/lib/dhcp /var/lib/dhcpcd /run/dhcpcd
rm -f /etc/resolv.conf; touch /etc/resolv.conf; `, l.overlayDir())
	cmd := exec.Command("ip", "netns", "exec", l.client, "unshare", "-m", "sh", "-c", mounts+script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := os.Create(filepath.Join(l.state, "client.log"))
	if err != nil {
		l.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		out.Close()
		if b, _ := os.ReadFile(out.Name()); l.t.Failed() {
			l.t.Logf("the client said:\n%s", b)
		}
	})
}

// overlayDir is on a tmpfs, because an overlay cannot be the upper layer of another.
func (l *link) overlayDir() string {
	l.t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "dhcptest-")
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

var inet = regexp.MustCompile(`inet (\S+)`)

// bound waits until the client's interface has this address with the LAN's mask, its MTU and a default route.
func (l *link) bound(ip netip.Addr) {
	l.t.Helper()
	l.eventually("eth0 has "+ip.String(), func() bool {
		m := inet.FindStringSubmatch(l.run("ip", "-4", "addr", "show", "eth0"))
		return m != nil && m[1] == ip.String()+"/16"
	})
	l.eventually("the MTU of option 26 is set", func() bool { // dhcpcd sets it on its routes
		return strings.Contains(l.run("ip", "link", "show", "eth0")+l.run("ip", "route"), "mtu 1450")
	})
	l.eventually("a default route", func() bool {
		return strings.Contains(l.run("ip", "route"), "default via 172.24.254.1")
	})
}

// clients are the four DHCP clients of the acceptance list. Each runs in the foreground; renew makes it renew at once
// where it knows a way.
var clients = []struct {
	name, needs, script string
	renew               func(l *link)
}{
	{"udhcpc", "busybox", `cat > /etc/udhcpc.sh <<'X'
#!/bin/sh
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
ip addr flush dev eth0; ip addr add $ip/$mask dev eth0; ip link set eth0 mtu $mtu; ip route replace default via $router
X
chmod +x /etc/udhcpc.sh; exec busybox udhcpc -f -i eth0 -O mtu -s /etc/udhcpc.sh`,
		func(l *link) { l.signal("busybox udhcpc", syscall.SIGUSR1) }},
	{"dhclient", "dhclient", `exec dhclient -d -v -lf /var/lib/dhcp/l -pf /run/dhclient.pid eth0`, nil},
	{"dhcpcd", "dhcpcd", `exec dhcpcd -B -d -4 --noarp eth0`, nil},
	{"systemd-networkd", "/lib/systemd/systemd-networkd", `mkdir -p /etc/systemd/network /run/systemd/netif
printf '[Match]\nName=eth0\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\n[DHCPv4]\nUseMTU=yes\n' > /etc/systemd/network/1.network
mount -o remount,bind,ro /sys # or it waits for udev
mkdir -p /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp
export SYSTEMD_LOG_LEVEL=debug SYSTEMD_LOG_TARGET=console; exec /lib/systemd/systemd-networkd`, nil},
}

// signal sends to the clients of this test's namespace only.
func (l *link) signal(command string, sig syscall.Signal) {
	l.t.Helper()
	out, err := exec.Command("ip", "netns", "pids", l.client).Output()
	if err != nil {
		l.t.Fatal(err)
	}
	sent := false
	for _, pid := range strings.Fields(string(out)) {
		line, _ := os.ReadFile("/proc/" + pid + "/cmdline")
		if strings.HasPrefix(strings.ReplaceAll(string(line), "\x00", " "), command) {
			var n int
			fmt.Sscan(pid, &n)
			sent = syscall.Kill(n, sig) == nil
			break
		}
	}
	if !sent {
		l.t.Fatalf("no %q among the processes %s", command, out)
	}
}

func TestRealClients(t *testing.T) {
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			if _, err := exec.LookPath(c.needs); err != nil {
				t.Fatalf("%v: install busybox-static isc-dhcp-client dhcpcd-base systemd", err)
			}
			t.Parallel()
			l := newLink(t, testConfig())
			l.start(c.script)
			l.bound(alice.IP)
			requests := l.server.Stats().Received["request"]
			if requests == 0 {
				t.Fatal("bound without a request")
			}
			l.renewsAfter(30 * time.Second) // by itself, at half of the lease
			if c.renew != nil {
				l.movesTo(netip.MustParseAddr("172.24.9.9"), func() { c.renew(l) })
			}
		})
	}
}

// movesTo changes the reservation while a client holds its lease: its next renewal is refused, and it starts over.
func (l *link) movesTo(ip netip.Addr, renew func()) {
	l.t.Helper()
	l.reserve(ip)
	for range 5 { // a client that is signalled in the middle of something does something else
		renew()
		for end := time.Now().Add(6 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			if strings.Contains(l.run("ip", "-4", "addr", "show", "eth0"), ip.String()+"/16") {
				return
			}
		}
	}
	l.t.Fatalf("the client keeps an address that is no longer its own: %+v", l.server.Stats())
}

func (l *link) renewsAfter(limit time.Duration) {
	l.t.Helper()
	acks := l.server.Stats().Sent["ack"]
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if l.server.Stats().Sent["ack"] > acks {
			l.bound(alice.IP)
			return
		}
	}
	l.t.Fatalf("no renewal within %v: %+v", limit, l.server.Stats())
}

// The kernel must not answer renewals with "port unreachable" beside our answer.
func TestKernelStaysSilent(t *testing.T) {
	l := newLink(t, testConfig())
	l.run("ip", "addr", "add", alice.IP.String()+"/16", "dev", "eth0")
	out := l.run("timeout", "5", "busybox", "sh", "-c", "echo hello | busybox nc -u -w 2 172.24.254.1 67 2>&1; echo ended $?")
	if strings.Contains(out, "refused") {
		t.Error("the kernel answered: ", out)
	}
}
