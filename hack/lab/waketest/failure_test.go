package waketest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
)

// refused dials until the answer is a refusal: held clients of a start that failed get a clear end.
func refused(ctx context.Context, to string) error {
	c, err := dial(ctx, shared.Client, "tcp4", to)
	if err == nil {
		c.Close()
		return errors.New("it was accepted")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%w, and not a refusal", err)
	}
	return nil
}

func TestAStartThatFails(t *testing.T) {
	ctx := testContext(t)
	s := asleep(t, ctx, n1, lab.WebspaceOptions{Config: map[string]string{"raw.lxc": "lxc.init.cmd = /no/such/init"}})
	must(t, refused(ctx, external(n1, s.web)))
	must(t, refused(ctx, external(n2, s.web)))
	w, err := s.state(ctx)
	must(t, err)
	if w.Life != "asleep" || w.Error == "" {
		t.Errorf("%+v", w)
	}
	st, err := status(ctx, n1)
	must(t, err)
	told := false
	for _, p := range st.Problems {
		told = told || p.Subject == "webspace "+s.Name
	}
	if !told {
		t.Errorf("the status does not say that it cannot start: %+v", st.Problems)
	}
	// When it is mended the next packet after the pause wakes it. LXD is busy for a while with what it could not start.
	must(t, lab.Eventually(ctx, limit, func() error { _, err := n1.LXC(ctx, "config", "unset", s.Name, "raw.lxc"); return err }))
	must(t, lab.Eventually(ctx, limit, func() error { _, err := hello(ctx, shared.Client, external(n1, s.echo)); return err }))
}

func TestAStartThatHangs(t *testing.T) {
	ctx := testContext(t)
	must(t, n2.Reconfigure(ctx, config[:len(config)-2]+", start_timeout: 2s}\n"))
	defer func() { must(t, n2.Reconfigure(ctx, config)) }()
	s := asleep(t, ctx, n2, lab.WebspaceOptions{Config: map[string]string{"raw.lxc": "lxc.hook.start-host = /bin/sleep 8"}})
	must(t, refused(ctx, external(n2, s.web)))
	w, err := s.state(ctx)
	must(t, err)
	if w.Error == "" || w.Held != 0 {
		t.Errorf("%+v", w)
	}
	// LXD goes on with it, and gets there: then it is awake.
	must(t, lab.Eventually(ctx, limit, func() error { _, err := hello(ctx, shared.Client, external(n2, s.echo)); return err }))
	s.is(t, ctx, "awake")
}

// A daemon that is killed while packets are held and a start is under way leaves nothing stuck: the clients repeat
// themselves and are served.
func TestTheDaemonIsKilledWhileItWakes(t *testing.T) {
	ctx := testContext(t)
	s := asleep(t, ctx, n1, lab.WebspaceOptions{})
	var g errgroup.Group
	for range 5 {
		g.Go(func() error {
			_, err := hello(ctx, shared.Client, external(n2, s.echo))
			return err
		})
	}
	must(t, lab.Eventually(ctx, limit, func() error {
		w, err := s.state(ctx)
		if err == nil && w.Life == "asleep" {
			err = errors.New("it is still asleep")
		}
		return err
	}))
	must(t, n1.KillLanyardd(ctx))
	must(t, n1.StartLanyardd(ctx))
	must(t, g.Wait())
	s.is(t, ctx, "awake")
}

// Whoever comes while somebody stops the webspace is served in the end: by a boot after the stop.
func TestPacketsDuringAShutdown(t *testing.T) {
	ctx := testContext(t)
	s := asleep(t, ctx, n1, lab.WebspaceOptions{})
	_, err := hello(ctx, shared.Client, external(n1, s.echo))
	must(t, err)
	store, err := n1.Store()
	must(t, err)
	var g errgroup.Group
	stopped := make(chan struct{})
	g.Go(func() error { defer close(stopped); return store.Stop(ctx, s.Name, 2*time.Second) })
	for done := false; !done; {
		select {
		case <-stopped:
			done = true
		default: // while it goes down it may answer, refuse, or break off
			_, _ = hello(ctx, shared.Client, external(n1, s.echo))
		}
	}
	must(t, g.Wait())
	must(t, lab.Eventually(ctx, limit, func() error { _, err := hello(ctx, shared.Client, external(n1, s.echo)); return err }))
	s.is(t, ctx, "awake")
}

// A flood of SYNs from addresses that nobody is at wakes nothing under `verified`; a client that is there does.
func TestAForgedFlood(t *testing.T) {
	ctx := testContext(t)
	s := asleep(t, ctx, n1, lab.WebspaceOptions{})
	must(t, s.Update(ctx, func(r *webspace.Record) error { r.Config.Wake.Policy = webspace.WakeVerified; return nil }))
	for _, n := range shared.Nodes() {
		_, err := n.Exec(ctx, "curl", "-sf", "--max-time", "60", "--unix-socket", "/run/lanyard/node.sock", "-X", "POST", "http://node/v1/node/resync")
		must(t, err)
	}
	awake := asleep(t, ctx, n1, lab.WebspaceOptions{})
	_, err := hello(ctx, shared.Client, external(n1, awake.echo))
	must(t, err)

	must(t, flood(external(n1, s.web), 20000))
	_, err = hello(ctx, shared.Client, external(n1, awake.echo)) // others are served meanwhile
	must(t, err)
	w, err := s.state(ctx)
	must(t, err)
	if w.Life != "asleep" || s.starts(t) != 0 {
		t.Fatalf("the flood woke it: %+v", w)
	}
	page, err := get(web(shared.Client), fmt.Sprintf("http://%s/", external(n1, s.web)))
	must(t, err)
	if !strings.HasPrefix(page, "Hello "+lab.ClientAddr+":") {
		t.Errorf("the page is %q", page)
	}
	s.once(t, ctx)
}

// flood sends SYNs from the client's network, each from another address of it.
func flood(to string, count int) error {
	at, err := netip.ParseAddrPort(to)
	if err != nil {
		return err
	}
	return shared.Client.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW) // it takes whole IP packets
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for n := range count {
			p := syn(netip.AddrFrom4([4]byte{203, 0, 113, byte(20 + n%200)}), at, uint16(1024+n), uint32(n)*7919)
			err := unix.Sendto(fd, p, 0, &unix.SockaddrInet4{Addr: at.Addr().As4()})
			if err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EPERM) {
				return err
			}
		}
		return nil
	})
}

// syn is an IPv4 packet with a TCP SYN in it.
func syn(from netip.Addr, to netip.AddrPort, port uint16, seq uint32) []byte {
	p := make([]byte, 40)
	put := func(at int, v uint16) { p[at], p[at+1] = byte(v>>8), byte(v) }
	p[0], p[8], p[9] = 0x45, 64, unix.IPPROTO_TCP
	put(2, 40)
	copy(p[12:], from.AsSlice())
	copy(p[16:], to.Addr().AsSlice())
	put(20, port)
	put(22, to.Port())
	put(24, uint16(seq>>16))
	put(26, uint16(seq))
	p[32], p[33] = 0x50, 0x02
	put(34, 64240)
	sum := uint32(unix.IPPROTO_TCP + 20)
	for n := 12; n < 40; n += 2 {
		sum += uint32(p[n])<<8 | uint32(p[n+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	put(36, ^uint16(sum))
	return p
}
