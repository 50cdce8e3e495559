package dataplane

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/lanyard-project/lanyard/bpf"
)

// inum is the inode of a network namespace.
func (n *node) inum(ns netns.NsHandle) uint32 {
	n.t.Helper()
	var st unix.Stat_t
	n.must(unix.Fstat(int(ns), &st))
	return uint32(st.Ino)
}

// Watches come and go with the boots of webspaces, over and over.
func TestWatchesComeAndGo(t *testing.T) {
	n := newNode(t)
	d := n.open()
	p, e, ns := n.webspace(1)
	apply(t, d, State{Ports: []Port{p}, Endpoints: []Endpoint{e}})
	w := n.watch(d)
	for port := 80; port < 84; port++ {
		n.must(d.WatchNetns(e.IP, n.inum(ns), true))
		l := n.listenQuietly(ns, "tcp4", port)
		w.event("a socket listens", func(v Event) bool { return v.Kind == EventListen && int(v.Port) == port })
		n.must(l.Close())
		n.must(d.UnwatchNetns(e.IP))
		for _, sub := range []string{"links", "progs"} {
			if _, err := os.Stat(d.pins.dir(sub, progSockets)); !os.IsNotExist(err) {
				t.Errorf("%s: the tracing program is pinned while nothing is watched: %v", sub, err)
			}
		}
	}
}

// Sockets of a watched webspace raise events, and its open connections are known, over a restart of the daemon too.
func TestSockets(t *testing.T) {
	n := newNode(t)
	d := n.open()
	p1, e1, ns1 := n.webspace(1)
	p2, e2, ns2 := n.webspace(2)
	s := State{Ports: []Port{p1, p2}, Endpoints: []Endpoint{e1, e2}}
	apply(t, d, s)
	w := n.watch(d)
	if _, err := os.Stat(d.pins.dir("links", progSockets)); !os.IsNotExist(err) {
		t.Errorf("the tracing program is attached while nothing is watched: %v", err)
	}
	n.must(d.WatchNetns(e2.IP, n.inum(ns2), true))
	n.in(ns2, func() { // not reachable from outside: not told
		l, err := net.Listen("tcp4", "127.0.0.1:7001")
		n.must(err)
		defer l.Close()
	})
	l := n.listenQuietly(ns2, "tcp4", 80)
	defer l.Close()
	w.event("a socket listens", func(e Event) bool {
		return e.Kind == EventListen && e.Port == 80 && e.Proto == TCP && e.IP == e2.IP && e.Owner == "ws-u2"
	})
	six := n.listenQuietly(ns2, "tcp", 81)
	defer six.Close()
	w.event("a socket of both families listens", func(e Event) bool { return e.Kind == EventListen && e.Port == 81 })
	w.mu.Lock()
	for _, e := range w.events {
		if e.Port == 7001 {
			t.Errorf("loopback was told of: %+v", e)
		}
	}
	w.mu.Unlock()

	if a, err := d.Activity(); err != nil || !a[e2.IP].FlowsKnown || a[e2.IP].Flows != 0 || a[e1.IP].FlowsKnown {
		t.Errorf("before: %+v %v", a, err)
	}
	r := <-n.dial(ns1, netip.AddrPortFrom(e2.IP, 80))
	n.must(r.err)
	defer r.conn.Close()
	accepted, err := l.Accept()
	n.must(err)
	defer accepted.Close()
	client := r.conn.LocalAddr().(*net.TCPAddr).AddrPort()
	holds := func(d *Dataplane) {
		t.Helper()
		var flows []Flow
		waitFor(t, "the connection is known", func() bool {
			var err error
			flows, err = d.Flows(e2.IP)
			n.must(err)
			return len(flows) == 1
		})
		if f := flows[0]; !f.Passive || f.Local != netip.AddrPortFrom(e2.IP, 80) || f.Remote != client || time.Since(f.Since) > time.Hour || time.Until(f.Since) > time.Minute {
			t.Errorf("flow %+v, want one of %v", f, client)
		}
		if a, err := d.Activity(); err != nil || a[e2.IP].Flows != 1 || !a[e2.IP].FlowsKnown {
			t.Errorf("activity %+v %v", a[e2.IP], err)
		}
	}
	holds(d)
	// A new daemon knows it still, and sees it end.
	n.must(d.Close())
	d = n.open()
	apply(t, d, s)
	holds(d)
	n.must(r.conn.Close())
	n.must(accepted.Close())
	waitFor(t, "the connection has ended", func() bool {
		flows, err := d.Flows(e2.IP)
		n.must(err)
		return len(flows) == 0
	})
	// The other way: one that the webspace opens.
	back := n.listenQuietly(ns1, "tcp4", 90)
	defer back.Close()
	out := <-n.dial(ns2, netip.AddrPortFrom(e1.IP, 90))
	n.must(out.err)
	defer out.conn.Close()
	waitFor(t, "its own connection is known", func() bool {
		flows, err := d.Flows(e2.IP)
		n.must(err)
		return len(flows) == 1 && !flows[0].Passive && flows[0].Remote == netip.AddrPortFrom(e1.IP, 90)
	})
	n.must(d.UnwatchNetns(e2.IP))
	if flows, err := d.Flows(e2.IP); err != nil || len(flows) != 0 {
		t.Errorf("after the watch: %v %v", flows, err)
	}
	if _, err := os.Stat(d.pins.dir("links", progSockets)); !os.IsNotExist(err) {
		t.Errorf("the tracing program stays attached: %v", err)
	}
	// Once more: what was loaded is attached again.
	anew := n.watch(d)
	n.must(d.WatchNetns(e2.IP, n.inum(ns2), true))
	again := n.listenQuietly(ns2, "tcp4", 82)
	defer again.Close()
	anew.event("a socket listens after the watch began again", func(e Event) bool { return e.Kind == EventListen && e.Port == 82 })
	if _, err := os.Stat(d.pins.dir("progs", progSockets)); err != nil {
		t.Errorf("the program is not pinned: %v", err)
	}
	// A webspace that leaves takes its watch along.
	n.must(d.WatchNetns(e2.IP, n.inum(ns2), false))
	apply(t, d, State{Ports: []Port{p1}, Endpoints: []Endpoint{e1}})
	if watches, err := d.watches(); err != nil || len(watches) != 0 {
		t.Errorf("watches %v %v", watches, err)
	}
	n.must(d.UnwatchNetns(e2.IP)) // nothing to do
}

// listenQuietly listens and accepts by hand.
func (n *node) listenQuietly(ns netns.NsHandle, network string, port int) (l net.Listener) {
	n.t.Helper()
	n.in(ns, func() {
		var err error
		l, err = net.Listen(network, fmt.Sprintf(":%d", port))
		n.must(err)
	})
	return l
}

// Where functions cannot be traced, UDP sockets are found by looking; where they can, they raise the event themselves.
func TestBinds(t *testing.T) {
	n := newNode(t)
	d := n.open()
	p1, e1, ns1 := n.webspace(1)
	apply(t, d, State{Ports: []Port{p1}, Endpoints: []Endpoint{e1}})
	w := n.watch(d)
	n.must(d.WatchNetns(e1.IP, n.inum(ns1), true))
	// A process that lives there, and not in the namespace of the test.
	var cmd *exec.Cmd
	n.in(ns1, func() {
		cmd = exec.Command("sleep", "1000")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		n.must(cmd.Start())
	})
	ended := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() { ended <- d.PollBinds(ctx, e1.IP, cmd.Process.Pid) }()
	var c net.PacketConn
	n.in(ns1, func() {
		var err error
		c, err = net.ListenPacket("udp4", ":5353")
		n.must(err)
	})
	defer c.Close()
	w.event("a port is bound", func(e Event) bool {
		return e.Kind == EventBind && e.Port == 5353 && e.Proto == UDP && e.IP == e1.IP && e.Owner == "ws-u1"
	})
	stop()
	n.must(<-ended)
	cmd.Process.Kill()
	cmd.Wait()
	if err := d.PollBinds(t.Context(), e1.IP, cmd.Process.Pid); err != nil {
		t.Errorf("a process that has ended: %v", err)
	}
}

func TestParseUDP(t *testing.T) {
	table := "  sl  local_address rem_address   st\n" +
		" 1: 00000000:0035 00000000:0000 07\n 2: 0100007F:0036 00000000:0000 07\n 3: 010118AC:0044 00000000:0000 07\n" +
		" 4: 00000000000000000000000000000000:0050 0 07\n 5: 00000000000000000000000001000000:0051 0 07\n" +
		" 6: 0000000000000000FFFF00000100007F:0052 0 07\nnonsense\n 7: zz:yy 1\n 8: 00000000:0000 0\n"
	ports, err := parseUDP(bufio.NewScanner(strings.NewReader(table)))
	if err != nil || fmt.Sprint(ports) != "[53 68 80]" {
		t.Errorf("%v %v", ports, err)
	}
}

// What is delivered to a webspace shows, but not what the gateway says.
func TestActivity(t *testing.T) {
	n := newNode(t)
	d := n.open()
	p1, e1, ns1 := n.webspace(1)
	p2, e2, _ := n.webspace(2)
	apply(t, d, State{Ports: []Port{p1, p2}, Endpoints: []Endpoint{e1, e2}})
	began := time.Now().Add(-time.Second) // clocks differ by a tick
	if a, err := d.Activity(); err != nil || !a[e2.IP].LastPacket.IsZero() || len(a) != 2 {
		t.Errorf("before: %+v %v", a, err)
	}
	var c net.Conn
	n.in(ns1, func() {
		var err error
		c, err = net.Dial("udp4", netip.AddrPortFrom(e2.IP, 9).String())
		n.must(err)
	})
	defer c.Close()
	waitFor(t, "a packet shows", func() bool {
		c.Write([]byte("x"))
		a, err := d.Activity()
		n.must(err)
		last := a[e2.IP].LastPacket
		return last.After(began) && time.Until(last) < time.Second
	})
}

// A packet for a napping webspace is delivered, and tells.
func TestNapKick(t *testing.T) {
	n := newNode(t)
	d := n.open()
	p1, e1, ns1 := n.webspace(1)
	p2, e2, ns2 := n.webspace(2)
	e2.Wake = wakeAll
	apply(t, d, State{Ports: []Port{p1, p2}, Endpoints: []Endpoint{e1, e2}})
	w := n.watch(d)
	l := n.listen(ns2, 80)
	defer l.Close()
	n.must(d.SetLife(e2.IP, LifeNapping))
	if got := n.greeted(<-n.dial(ns1, netip.AddrPortFrom(e2.IP, 80))); got != e1.IP.String() {
		t.Errorf("the server saw %q", got)
	}
	w.event("it was kicked", func(e Event) bool { return e.Kind == EventKicked && e.IP == e2.IP && e.Peer == e1.IP && e.Port == 80 })
}

// Under "verified" a client's kernel answers the challenge by itself, and its next SYN is taken. Spoofed SYNs raise nothing.
func TestVerified(t *testing.T) {
	n := newNode(t)
	d := n.open()
	p2, e2, ns2 := n.webspace(2)
	n.gatewayRoute(func(f func()) { n.in(ns2, f) })
	outside := n.outside()
	forward := Forward{External: netip.MustParseAddrPort("192.0.2.1:8080"), Proto: TCP, Target: netip.AddrPortFrom(e2.IP, 80), Owner: "ws-u2"}
	apply(t, d, State{Endpoints: []Endpoint{asleep(e2, WakeForward|WakeVerified)}, Forwards: []Forward{forward}})
	w := n.watch(d)
	client := n.dial(n.far, forward.External)
	v := w.event("the client was verified", func(e Event) bool { return e.Kind == EventVerified })
	if v.Peer != outside || v.Port != 80 || v.IP != e2.IP || v.Owner != "ws-u2" {
		t.Errorf("verified %+v", v)
	}
	copied := w.frame("the copy of its SYN", func(f Frame) bool { return f.PeerPort == v.PeerPort })
	if !copied.Unverified || copied.Owner != "ws-u2" || toMAC(copied.Data[6:12]) != toMAC(n.cfg.GatewayMAC) {
		t.Errorf("parked %+v", copied)
	}
	n.must(d.SetLife(e2.IP, LifeBooting))
	apply(t, d, State{Ports: []Port{p2}, Endpoints: []Endpoint{e2}, Forwards: []Forward{forward}})
	l := n.listen(ns2, 80)
	defer l.Close()
	var r dialled
	waitFor(t, "the client is connected", func() bool {
		w.mu.Lock()
		frames := w.frames
		w.mu.Unlock()
		for _, f := range frames { // the copy, and what the client has repeated
			n.must(d.Parking().Inject(f.Data))
		}
		select {
		case r = <-client:
			return true
		default:
			return false
		}
	})
	if got := n.greeted(r); got != outside.String() {
		t.Errorf("the server saw %q", got)
	}
}

// Refuse ends the wait of a client, and tells a sender of datagrams.
func TestRefuse(t *testing.T) {
	n := newNode(t)
	d := n.open()
	p1, e1, ns1 := n.webspace(1)
	_, e2, _ := n.webspace(2)
	outside := n.outside()
	forward := Forward{External: netip.MustParseAddrPort("192.0.2.1:8080"), Proto: TCP, Target: netip.AddrPortFrom(e2.IP, 80), Owner: "ws-u2"}
	apply(t, d, State{Ports: []Port{p1}, Endpoints: []Endpoint{e1, asleep(e2, wakeAll)}, Forwards: []Forward{forward}})
	w := n.watch(d)
	home := n.home()
	defer home.Close()
	for name, c := range map[string]struct {
		from netns.NsHandle
		to   netip.AddrPort
		peer netip.Addr
	}{
		"neighbour": {ns1, netip.AddrPortFrom(e2.IP, 80), e1.IP},
		"node":      {home, netip.AddrPortFrom(e2.IP, 80), n.cfg.NodeIP},
		"forward":   {n.far, forward.External, outside},
	} {
		client := n.dial(c.from, c.to)
		n.must(d.Parking().Refuse(w.frame(name, func(f Frame) bool { return f.Proto == TCP && f.Peer == c.peer })))
		if r := <-client; r.err == nil || !strings.Contains(r.err.Error(), "refused") {
			t.Errorf("%s: %v", name, r.err)
		}
	}
	var c net.Conn
	n.in(ns1, func() {
		var err error
		c, err = net.Dial("udp4", netip.AddrPortFrom(e2.IP, 53).String())
		n.must(err)
	})
	defer c.Close()
	_, err := c.Write([]byte("question"))
	n.must(err)
	n.must(d.Parking().Refuse(w.frame("datagram", func(f Frame) bool { return f.Proto == UDP && f.Port == 53 })))
	n.must(c.SetDeadline(time.Now().Add(busy)))
	if _, err := c.Read(make([]byte, 9)); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("datagram: %v", err)
	}
	if err := d.Parking().Refuse(Frame{}); err == nil {
		t.Error("nothing was refused")
	}
}

// A kept-alive connection, when its webspace stops: in order (its processes close it, and the webspace lives for as long as that
// takes), or with its network at a stroke (the kernel of the dead says nothing; the next segment meets the dataplane's reset).
// In both cases the client learns at once that it must connect anew.
func TestKeptAlive(t *testing.T) {
	n := newNode(t)
	d := n.open()
	p1, e1, ns1 := n.webspace(1)
	for _, inOrder := range []bool{true, false} {
		p2, e2, ns2 := n.webspace(2)
		apply(t, d, State{Ports: []Port{p1, p2}, Endpoints: []Endpoint{e1, e2}})
		n.must(d.SetLife(e2.IP, LifeUnset))
		l := n.listenQuietly(ns2, "tcp4", 80)
		r := <-n.dial(ns1, netip.AddrPortFrom(e2.IP, 80))
		n.must(r.err)
		accepted, err := l.Accept()
		n.must(err)
		n.must(d.SetLife(e2.IP, LifeAsleep))
		if inOrder {
			n.must(accepted.Close()) // as a dying process does: what its kernel still sends goes out
		}
		apply(t, d, State{Ports: []Port{p1}, Endpoints: []Endpoint{e1, asleep(e2, wakeAll)}})
		n.must(r.conn.SetDeadline(time.Now().Add(busy)))
		if !inOrder {
			_, err := r.conn.Write([]byte("POST / HTTP/1.1\r\n"))
			n.must(err)
		}
		_, err = r.conn.Read(make([]byte, 9))
		if ne, ok := err.(net.Error); err == nil || ok && ne.Timeout() {
			t.Errorf("in order %v: the client learnt nothing: %v", inOrder, err)
		}
		t.Logf("in order %v: %v", inOrder, err)
		r.conn.Close()
		accepted.Close()
		l.Close()
		link, err := d.nl.LinkByIndex(p2.Ifindex)
		n.must(err)
		n.must(d.nl.LinkDel(link))
	}
}

// The TAP outlives the daemon, and is made anew when somebody removes it.
func TestParkingDevice(t *testing.T) {
	n := newNode(t)
	d := n.open()
	p1, e1, ns1 := n.webspace(1)
	_, e2, _ := n.webspace(2)
	s := State{Ports: []Port{p1}, Endpoints: []Endpoint{e1, asleep(e2, wakeAll)}}
	apply(t, d, s)
	before := d.dev.parking
	n.must(d.Close())
	d = n.open()
	if d.dev.parking != before {
		t.Errorf("the parking device %d became %d", before, d.dev.parking)
	}
	if c := apply(t, d, s); !c.Empty() {
		t.Errorf("the same state changed %+v", c.Tables)
	}
	w := n.watch(d)
	link, err := d.nl.LinkByIndex(before)
	n.must(err)
	n.must(d.nl.LinkDel(link))
	d.mu.Lock()
	err = d.heal(t.Context())
	d.mu.Unlock()
	n.must(err)
	var c net.Conn
	n.in(ns1, func() {
		c, err = net.Dial("udp4", netip.AddrPortFrom(e2.IP, 53).String())
		n.must(err)
	})
	defer c.Close()
	waitFor(t, "a frame is parked again", func() bool {
		c.Write([]byte("x"))
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.frames) > 0
	})
}

// layout1 makes the objects as layout 1 had them, as far as maps go.
func layout1() ([]*ebpf.CollectionSpec, error) {
	specs, err := builtin()
	if err != nil {
		return nil, err
	}
	sizes := map[string]uint32{"endpoints": 48, "macs": 48, "counters": 48, "settings": 32}
	for _, s := range specs {
		stub(s)
		for name, size := range sizes {
			if m := s.Maps[name]; m != nil {
				m.ValueSize, m.Value, m.Key = size, nil, nil
			}
		}
		if m := s.Maps["buckets"]; m != nil {
			m.MaxEntries = m.MaxEntries / 12 * 4
		}
		for _, name := range []string{"answered", "netns", "sockets", "events"} {
			delete(s.Maps, name)
		}
		delete(s.Programs, progParking)
	}
	return specs, nil
}

// What a node of layout 1 knew is there after the upgrade, in its new form.
func TestFromLayout1(t *testing.T) {
	n := newNode(t)
	p, err := openPins(n.cfg.BPFFS, 1)
	n.must(err)
	specs, err := layout1()
	n.must(err)
	c := n.cfg.WithDefaults()
	all := mapSpecs(specs, c.Sizes)
	a, err := adoptMaps(p, all, nil)
	n.must(err)
	ip, hw := netip.MustParseAddr("172.24.1.9"), mac{2, 0x4c, 172, 24, 1, 9}
	old := make([]byte, 48)
	k := wire(ip)
	copy(old, k.Ip[:])
	copy(old[32:], hw[:])
	old[38], old[40], old[44] = 1, 77, 5
	n.must(a.maps["endpoints"].Put(k, old))
	n.must(a.maps["macs"].Put(hw.key(), old))
	counts := make([][]byte, ebpf.MustPossibleCPU())
	for i := range counts {
		counts[i] = make([]byte, 48)
		counts[i][0] = 9
	}
	n.must(a.maps["counters"].Put(uint32(5), counts))
	settings := make([]byte, 32)
	settings[16] = 42
	n.must(a.maps["settings"].Put(uint32(0), settings))
	n.must(a.maps["buckets"].Put(uint32(5*4+2), bpf.TcBucket{Last: 3, Tokens: 4}))
	a.close()
	p.close()

	d := n.open()
	if d.pins.layout != 2 {
		t.Fatalf("layout %d", d.pins.layout)
	}
	for name, key := range map[string]any{"endpoints": k, "macs": hw.key()} {
		var e bpf.TcEndpoint
		n.must(d.maps[name].Lookup(key, &e))
		if e.Ifindex != 77 || e.Port != 77 || e.Slot != 5 || e.State != 1 || e.Wake != 0 || e.Mac != hw {
			t.Errorf("%s: %+v", name, e)
		}
	}
	var perCPU []bpf.TcCounters
	n.must(d.maps["counters"].Lookup(uint32(5), &perCPU))
	if perCPU[0].RxPackets != 9 || perCPU[0].LastRx != 0 {
		t.Errorf("counters %+v", perCPU[0])
	}
	if d.settings.NhEpoch != 42 || d.settings.CookieKey == [2]uint64{} {
		t.Errorf("settings %+v", d.settings)
	}
	var b bpf.TcBucket
	n.must(d.maps["buckets"].Lookup(uint32(5*12+2), &b))
	if b.Last != 3 || b.Tokens != 4 {
		t.Errorf("bucket %+v", b)
	}
	if _, err := os.Stat(filepath.Join(n.cfg.BPFFS, "v1")); !os.IsNotExist(err) {
		t.Errorf("layout 1 is still there: %v", err)
	}
	// The secret stays over restarts: challenges are answered to another daemon than asked.
	key := d.settings.CookieKey
	n.must(d.Close())
	if d = n.open(); d.settings.CookieKey != key {
		t.Error("a restart changed the secret of challenges")
	}
}
