package waketest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/lanyard-project/lanyard/control/node/nodeapi"
	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/hack/live"
	"github.com/lanyard-project/lanyard/webspace"
)

// pace is how many SYNs per second are sent, in bursts of how many, and how many there must have been. A machine that is busy with
// other things does not reach the rate; one that does not reach the least tests something else.
type pace struct{ rate, burst, least int }

var (
	direct = pace{110_000, 8192, 60_000}
	// Through the tunnel each costs two nodes: their queues are this machine's, too.
	tunnelled = pace{50_000, 2048, 25_000}
)

const floodTime = 5 * time.Second

// What is known to every configuration that says nothing else of forwards.ports.
const (
	firstForward = 49152
	forwardMask  = 1<<14 - 1
)

// A flood of SYNs from addresses that nobody is at wakes nothing under `verified`, and costs others nothing; a client that is
// there gets through it. So it is at the webspaces' own node, and where the flood comes through the tunnel.
func TestAForgedFlood(t *testing.T) {
	for _, at := range shared.Nodes() {
		p := direct
		if at != n1 {
			p = tunnelled
		}
		t.Run("entering at "+at.Name, func(t *testing.T) { forgedFlood(t, at, p) })
	}
}

func forgedFlood(t *testing.T, at *lab.Node, p pace) {
	ctx := testContext(t)
	quiet := verified(t, ctx) // nobody comes
	wanted := verified(t, ctx)
	resync(t, ctx)
	awake := asleep(t, ctx, n1, lab.WebspaceOptions{})
	_, err := hello(ctx, shared.Client, external(n1, awake.echo))
	must(t, err)
	home := newCard(t, ctx, n1)
	nic := home
	if at != n1 {
		nic = newCard(t, ctx, at)
	}
	toQuiet, toWanted := nic.syns(t, quiet.web, 0), nic.syns(t, wanted.web, 0)

	before, entered := look(t, ctx, home), look(t, ctx, nic)
	var served time.Duration
	rate, others := flood(t, ctx, nic, p, awake, func() error { // in the middle of it
		time.Sleep(floodTime / 4)
		began := time.Now()
		page, err := get(web(shared.Client), fmt.Sprintf("http://%s/", external(at, wanted.web)))
		served = time.Since(began)
		if err == nil && !strings.HasPrefix(page, "Hello "+lab.ClientAddr+":") {
			err = fmt.Errorf("the page is %q", page)
		}
		return err
	}, append(slices.Repeat([]*live.Stream{toQuiet}, 7), toWanted)...) // which when it is awake costs ten times as much
	after, left := look(t, ctx, home), look(t, ctx, nic)

	sent, lost := made(t, toQuiet), after.lost-before.lost+left.lost-entered.lost+left.backlog-before.backlog
	counted := after.drops(quiet)
	t.Logf("%.0f SYNs per second; the client was served after %v; %s; of %d SYNs for the one that nobody wants: %v, at most %d lost on the way; "+
		"for the other: %v of %d; parked %d, unproven %d, dropped %d; the daemon took %v of CPU time, and grew from %d to %d KiB",
		rate, served, others, sent, counted, lost, after.drops(wanted), made(t, toWanted), after.wake.Parked, after.wake.Unproven, after.wake.Dropped,
		after.cpu-before.cpu, before.memory>>10, after.memory>>10)
	if all := total(counted); all > sent || all < sent-min(lost, sent) {
		t.Errorf("%d SYNs were sent, at most %d lost, and %d are accounted for: %v", sent, lost, all, counted)
	}
	others.unharmed(t, lost)
	// Each challenge went out: whoever is at the other end of the cable has seen it.
	if answers := left.answers - entered.answers; answers+lost < counted["challenged"] {
		t.Errorf("%d challenges were counted, and %d frames came out", counted["challenged"], answers)
	}
	wanted.once(t, ctx)
	slept(t, ctx, quiet)
	if after.memory > before.memory+64<<20 {
		t.Errorf("the daemon grew from %d to %d KiB", before.memory>>10, after.memory>>10)
	}
	// And when it is over, at once.
	_, err = get(web(shared.Client), fmt.Sprintf("http://%s/", external(at, quiet.web)))
	must(t, err)
	quiet.once(t, ctx)
}

// A scan of all ports that forwards may have, as fast, wakes nothing either, and every SYN of it has had its answer: a challenge
// where there is a forward, the node's refusal where there is none.
func TestAForgedScan(t *testing.T) {
	ctx := testContext(t)
	spaces := []space{verified(t, ctx), verified(t, ctx), verified(t, ctx)}
	resync(t, ctx)
	awake := asleep(t, ctx, n1, lab.WebspaceOptions{})
	_, err := hello(ctx, shared.Client, external(n1, awake.echo))
	must(t, err)
	nic := newCard(t, ctx, n1)
	syns := nic.syns(t, firstForward, forwardMask)

	before := look(t, ctx, nic)
	rate, others := flood(t, ctx, nic, direct, awake, nil, syns)
	after := look(t, ctx, nic)

	sent, lost, refused := made(t, syns), after.lost-before.lost+after.backlog-before.backlog, after.refused-before.refused
	challenged := uint64(0)
	for _, s := range spaces {
		counted := after.drops(s)
		challenged += total(counted)
		if counted["challenged"] == 0 {
			t.Errorf("the scan has missed %s: %v", s.Name, counted)
		}
		slept(t, ctx, s)
	}
	others.unharmed(t, lost)
	// The two ports of the one that is awake: its own kernel answers, and that again and again.
	ours := 2 * sent / (forwardMask + 1)
	t.Logf("%.0f SYNs per second; %s; of %d SYNs %d were challenged, %d refused by the node, at most %d lost on the way; the daemon took %v of CPU time",
		rate, others, sent, challenged, refused, lost, after.cpu-before.cpu)
	if all := challenged + refused; all > sent || all+lost+2*ours+100 < sent {
		t.Errorf("%d SYNs were sent, at most %d lost, some %d were for the one that is awake, and %d are accounted for", sent, lost, ours, all)
	}
	if after.memory > before.memory+64<<20 {
		t.Errorf("the daemon grew from %d to %d KiB", before.memory>>10, after.memory>>10)
	}
}

// verified is a webspace that is asleep, and wakes for none but who answers a challenge. Its node knows after a resync.
func verified(t *testing.T, ctx context.Context) space {
	t.Helper()
	s := asleep(t, ctx, n1, lab.WebspaceOptions{})
	must(t, s.Update(ctx, func(r *webspace.Record) error { r.Config.Wake.Policy = webspace.WakeVerified; return nil }))
	return s
}

// slept checks that it is asleep, and has never been anything else.
func slept(t *testing.T, ctx context.Context, s space) {
	t.Helper()
	w, err := s.state(ctx)
	must(t, err)
	if w.Life != "asleep" || s.starts(t) != 0 {
		t.Errorf("the flood woke it: %+v", w)
	}
}

// flood lets streams of SYNs into a node's card in turn, for floodTime. Others go on meanwhile: clients of a webspace that is awake,
// who must not notice, and `meanwhile`. It gives the rate.
func flood(t *testing.T, ctx context.Context, c *card, p pace, awake space, meanwhile func() error, streams ...*live.Stream) (rate float64, others bystanders) {
	t.Helper()
	var g errgroup.Group
	var took time.Duration
	var sent uint64
	g.Go(func() (err error) {
		sent, took, err = c.send(p, floodTime, streams...)
		return err
	})
	g.Go(func() (err error) {
		others.asked, others.lost, err = chat(ctx, shared.Client, external(n1, awake.echo), floodTime)
		return err
	})
	g.Go(func() (err error) {
		others.lines, others.again, err = talk(ctx, shared.Client, external(n1, awake.echo), floodTime)
		return err
	})
	if meanwhile != nil {
		g.Go(meanwhile)
	}
	must(t, g.Wait())
	rate = float64(sent) / took.Seconds()
	if rate < float64(p.least) {
		t.Errorf("the sender reached %.0f SYNs per second of %d: too few for this test; likely cause: the machine is busy", rate, p.rate)
	}
	return rate, others
}

// bystanders are clients of another webspace, and what became of their traffic.
type bystanders struct {
	asked, lost int // datagrams
	lines       int // by TCP, all of which came back
	again       uint32
}

// unharmed checks that they lost nothing. Nodes, router and clients share this machine's queues: where those overflow, and so have lost
// some of the flood, others may lose by them too, one in a hundred at most.
func (b bystanders) unharmed(t *testing.T, overflown uint64) {
	t.Helper()
	if b.lost > 0 && (overflown == 0 || b.lost > b.asked/100) {
		t.Errorf("%d of %d datagrams of another webspace were lost, and %d of the flood", b.lost, b.asked, overflown)
	}
}

func (b bystanders) String() string {
	return fmt.Sprintf("of others %d of %d datagrams were lost, and %d lines came back by TCP with %d segments sent again", b.lost, b.asked, b.lines, b.again)
}

// talk sends lines to an echo by TCP, each after the last has come back, and counts them and the segments that the client's
// kernel had to send again.
func talk(ctx context.Context, from *lab.Namespace, to string, long time.Duration) (lines int, again uint32, err error) {
	c, err := dial(ctx, from, "tcp4", to)
	if err != nil {
		return 0, 0, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(long + limit))
	r := bufio.NewReader(c)
	if _, err := r.ReadString('\n'); err != nil { // the banner
		return 0, 0, err
	}
	for end := time.Now().Add(long); time.Now().Before(end); lines++ {
		said := fmt.Sprintf("line %d\n", lines)
		if _, err := c.Write([]byte(said)); err != nil {
			return lines, 0, err
		}
		if back, err := r.ReadString('\n'); err != nil || back != said {
			return lines, 0, fmt.Errorf("line %d came back as %q: %w", lines, back, err)
		}
		time.Sleep(2 * time.Millisecond)
	}
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return lines, 0, err
	}
	var info *unix.TCPInfo
	if e := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); e != nil || err != nil {
		return lines, 0, errors.Join(e, err)
	}
	return lines, info.Total_retrans, nil
}

// chat sends datagrams to an echo, one every two milliseconds, and counts those that do not come back.
func chat(ctx context.Context, from *lab.Namespace, to string, long time.Duration) (asked, lost int, err error) {
	c, err := dial(ctx, from, "udp4", to)
	if err != nil {
		return 0, 0, err
	}
	defer c.Close()
	seen := make(map[string]bool)
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 2048)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			_, text, _ := strings.Cut(string(b[:n]), "\n")
			seen[text] = true
		}
	}()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(long); time.Now().Before(end); <-tick.C {
		if _, err := fmt.Fprintf(c, "question %d", asked); err != nil {
			return asked, 0, err
		}
		asked++
	}
	_ = c.SetReadDeadline(time.Now().Add(3 * time.Second)) // for the last answers
	<-done
	return asked, asked - len(seen), nil
}

// card is the cable's far end of a node's interface: what is put into it comes to the node as from a network card.
type card struct {
	node     *lab.Node
	near     iface // the far end's, on the router
	mac, far net.HardwareAddr
}

// newCard lets the node poll its interface, as of a network card, until the end of the test. What the node sends to those who are
// not there ends at the router, which tells nobody.
func newCard(t *testing.T, ctx context.Context, n *lab.Node) *card {
	t.Helper()
	own, bridge := link(t, ctx, n.Namespace, "eth0"), link(t, ctx, shared.Router, "underlay")
	c := &card{node: n, near: link(t, ctx, shared.Router, n.Name), mac: own.mac(t), far: bridge.mac(t)}
	for _, x := range []struct {
		ns       *lab.Namespace
		do, undo []string
	}{
		{n.Namespace, []string{"ethtool", "-K", "eth0", "gro", "on"}, []string{"ethtool", "-K", "eth0", "gro", "off"}},
		{shared.Router, []string{"ip", "route", "replace", "blackhole", forged.String()}, []string{"ip", "route", "flush", "exact", forged.String()}},
	} {
		_, err := x.ns.Exec(ctx, x.do...)
		must(t, err)
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			defer cancel()
			_, err := x.ns.Exec(ctx, x.undo...)
			must(t, err)
		})
	}
	return c
}

// forged is where the SYNs say that they come from: nowhere (RFC 2544).
var forged = netip.MustParsePrefix("198.18.0.0/16")

// syns are forged SYNs to one port, or (mask) to all of a range.
func (c *card) syns(t *testing.T, port int, mask uint16) *live.Stream {
	t.Helper()
	to, low := uint16(port), uint16(0)
	if mask != 0 {
		to, low = 0, uint16(port)
	}
	frame := live.SYN(c.mac, c.far, forged.Addr(), netip.AddrPortFrom(netip.MustParseAddr(c.node.Addr()), to))
	s, err := live.New(c.near.Index, frame, live.Forged(low, mask)...)
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// send sends at a pace, in bursts of each stream in turn that are as fast as the kernel makes them: it takes some 20 ms to end one.
func (c *card) send(p pace, long time.Duration, streams ...*live.Stream) (sent uint64, took time.Duration, err error) {
	err = shared.Router.Do(func() error {
		began := time.Now()
		for turn := 0; ; turn++ {
			time.Sleep(time.Duration(float64(sent)/float64(p.rate)*float64(time.Second)) - time.Since(began))
			if took = time.Since(began); took >= long {
				return nil
			}
			s := streams[turn%len(streams)]
			before, err := s.Made()
			if err == nil {
				err = s.Run(p.burst)
			}
			if err != nil {
				return err
			}
			after, err := s.Made()
			if err != nil {
				return err
			}
			sent += after - before
		}
	})
	return sent, took, err
}

func made(t *testing.T, s *live.Stream) uint64 {
	t.Helper()
	n, err := s.Made()
	must(t, err)
	return n
}

// iface is what `ip -json -stats link` says.
type iface struct {
	Index   int    `json:"ifindex"`
	Address string `json:"address"`
	Stats   struct {
		RX, TX struct{ Packets, Dropped, Errors uint64 }
	} `json:"stats64"`
}

func link(t *testing.T, ctx context.Context, ns *lab.Namespace, name string) iface {
	t.Helper()
	out, err := ns.Exec(ctx, "ip", "-json", "-stats", "link", "show", "dev", name)
	must(t, err)
	var list []iface
	must(t, json.Unmarshal([]byte(out), &list))
	if len(list) != 1 {
		t.Fatalf("%s has %d interfaces %s", ns.Name, len(list), name)
	}
	return list[0]
}

func (i iface) mac(t *testing.T) net.HardwareAddr {
	t.Helper()
	m, err := net.ParseMAC(i.Address)
	must(t, err)
	return m
}

// seen is how a node is at one moment.
type seen struct {
	nodeapi.Status
	wake    nodeapi.Waking
	cpu     time.Duration // that the daemon has taken
	memory  int           // of the daemon, bytes, resident
	answers uint64        // frames that have come out of the node's card
	lost    uint64        // frames that the node's card had no room for
	backlog uint64        // the same of the processors' queues, of this whole machine
	refused uint64        // resets that the node's own kernel has sent
}

func look(t *testing.T, ctx context.Context, c *card) seen {
	t.Helper()
	st, err := status(ctx, c.node)
	must(t, err)
	s := seen{Status: st, wake: st.Wake}
	near, own := link(t, ctx, shared.Router, c.node.Name), link(t, ctx, c.node.Namespace, "eth0")
	s.answers = near.Stats.RX.Packets
	s.lost = near.Stats.TX.Dropped + near.Stats.TX.Errors + own.Stats.RX.Dropped
	s.refused, s.backlog = resets(t, ctx, c.node), backlog(t)
	s.cpu, s.memory = usage(t, ctx, c.node)
	return s
}

// drops are the packets for a webspace that were not let through, by reason.
func (s seen) drops(of space) map[string]uint64 {
	out := make(map[string]uint64)
	for _, d := range s.Drops {
		if d.Owner == of.Name {
			out[d.Reason] += d.Packets
		}
	}
	return out
}

func total(m map[string]uint64) (n uint64) {
	for _, v := range m {
		n += v
	}
	return n
}

// resets reads OutRsts of /proc/net/snmp, whose lines of names are followed by lines of numbers.
func resets(t *testing.T, ctx context.Context, n *lab.Node) uint64 {
	t.Helper()
	out, err := n.Exec(ctx, "cat", "/proc/net/snmp")
	must(t, err)
	var names []string
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != "Tcp:" {
			continue
		}
		if names == nil {
			names = f
			continue
		}
		for i, name := range names {
			if name == "OutRsts" && i < len(f) {
				v, err := strconv.ParseUint(f[i], 10, 64)
				must(t, err)
				return v
			}
		}
	}
	t.Fatalf("%s does not count its resets: %s", n.Name, out)
	return 0
}

// backlog reads the second column of /proc/net/softnet_stat, a line for each processor.
func backlog(t *testing.T) (n uint64) {
	t.Helper()
	b, err := os.ReadFile("/proc/net/softnet_stat")
	must(t, err)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 {
			v, err := strconv.ParseUint(f[1], 16, 64)
			must(t, err)
			n += v
		}
	}
	return n
}

// usage is what a node's daemon has taken: CPU time, and bytes.
func usage(t *testing.T, ctx context.Context, n *lab.Node) (cpu time.Duration, memory int) {
	t.Helper()
	const ticks = 100 // per second, of /proc (USER_HZ)
	out, err := n.Exec(ctx, "/bin/sh", "-c", "cat /proc/$(cat /run/lanyardd.pid)/stat")
	must(t, err)
	f := strings.Fields(out[strings.LastIndexByte(out, ')')+1:]) // from field 3 on, see proc_pid_stat(5)
	number := func(field int) int {
		v, err := strconv.Atoi(f[field-3])
		must(t, err)
		return v
	}
	return time.Duration(number(14)+number(15)) * time.Second / ticks, number(24) * os.Getpagesize()
}
