package names

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/lanyard-project/lanyard/control/dns"
)

// Arg makes the benchmark's binary the name server that is measured: Arg LISTEN UPSTREAM.
const Arg = "names-server"

const (
	hosts   = 1000 // names of the zone
	outside = 1000 // names that are in the cache
	domain  = "webspace"
)

func host(i int) (string, netip.Addr) {
	return fmt.Sprintf("ws-u%d", i), netip.AddrFrom4([4]byte{172, 24, byte(1 + i/250), byte(1 + i%250)})
}

// Serve is the measured process.
func Serve(ctx context.Context, listen, upstream string) error {
	at, err := netip.ParseAddrPort(listen)
	if err != nil {
		return err
	}
	up, err := dns.ParseUpstream(upstream)
	if err != nil {
		return err
	}
	s, err := dns.New(dns.Config{Listen: at, Zone: domain, Prefix: netip.MustParsePrefix("172.24.0.0/16"),
		Gateway: netip.MustParseAddr("172.24.254.1"), Upstreams: []dns.Upstream{up}}, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	var records []dns.Record
	for i := range hosts {
		name, ip := host(i)
		records = append(records, dns.Record{Name: name, IP: ip})
	}
	s.SetRecords(records)
	return s.Run(ctx)
}

// serveUpstream answers every A question for both servers, until ctx ends.
func serveUpstream(ctx context.Context) (addr netip.AddrPort, err error) {
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return addr, err
	}
	s := &mdns.Server{PacketConn: c, Handler: mdns.HandlerFunc(func(w mdns.ResponseWriter, m *mdns.Msg) {
		r := new(mdns.Msg)
		r.SetReply(m)
		r.RecursionAvailable = true
		r.Answer = append(r.Answer, &mdns.A{Hdr: mdns.RR_Header{Name: m.Question[0].Name, Rrtype: mdns.TypeA, Class: mdns.ClassINET, Ttl: 86400}, A: net.IPv4(192, 0, 2, 1)})
		_ = w.WriteMsg(r) // the servers ask again
	})}
	go func() { _ = s.ActivateAndServe() }()
	context.AfterFunc(ctx, func() { c.Close() })
	return c.LocalAddr().(*net.UDPAddr).AddrPort(), nil
}

// server is a process that is measured.
type server struct {
	name string
	addr netip.AddrPort
	cmd  *exec.Cmd
	done chan struct{}
}

func (s *server) close() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// start runs both servers, each at a port that was free a moment ago.
func start(ctx context.Context, dir string, upstream netip.AddrPort) (all []*server, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var list strings.Builder
	for i := range hosts {
		name, ip := host(i)
		fmt.Fprintf(&list, "%s %s.%s\n", ip, name, domain)
	}
	file := filepath.Join(dir, "hosts")
	if err := os.WriteFile(file, []byte(list.String()), 0o644); err != nil {
		return nil, err
	}
	for _, name := range []string{Lanyard, Dnsmasq} {
		at, err := freePort()
		if err != nil {
			return all, err
		}
		port := strconv.Itoa(int(at.Port()))
		args := []string{self, Arg, at.String(), upstream.String()}
		if name == Dnsmasq {
			args = []string{"/usr/sbin/dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=" + port, "--listen-address=127.0.0.1",
				"--bind-interfaces", "--no-resolv", "--no-hosts", "--addn-hosts=" + file, "--local=/" + domain + "/", "--local-ttl=60",
				"--server=127.0.0.1#" + strconv.Itoa(int(upstream.Port())), "--cache-size=10000", "--user=root", "--pid-file="}
		}
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			return all, fmt.Errorf("start %s: %w; next: hack/install.sh test", name, err)
		}
		s := &server{name: name, addr: at, cmd: cmd, done: make(chan struct{})}
		go func() { _ = cmd.Wait(); close(s.done) }()
		all = append(all, s)
		if err := s.wait(ctx); err != nil {
			return all, err
		}
	}
	return all, nil
}

func freePort() (netip.AddrPort, error) {
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort(), nil
}

// wait until the server answers.
func (s *server) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	m := new(mdns.Msg)
	m.SetQuestion("ws-u1."+domain+".", mdns.TypeA)
	for {
		c := mdns.Client{Timeout: 500 * time.Millisecond}
		if r, _, err := c.Exchange(m, s.addr.String()); err == nil && len(r.Answer) == 1 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer at %v", s.name, s.addr)
		case <-s.done:
			return fmt.Errorf("%s has ended", s.name)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
