package waketest

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
)

// The flood: SYNs per second that are asked for, and for how long. What the one sender made is in the log: 45,000 per second on two
// quiet cores, which also route them and the answers.
const (
	floodRate = 100_000
	floodTime = 5 * time.Second
)

// A flood of SYNs from addresses that nobody is at wakes nothing under `verified`, and costs others nothing; a client that is
// there gets through it.
func TestAForgedFlood(t *testing.T) {
	ctx := testContext(t)
	quiet := asleep(t, ctx, n1, lab.WebspaceOptions{}) // nobody comes
	wanted := asleep(t, ctx, n1, lab.WebspaceOptions{})
	for _, s := range []space{quiet, wanted} {
		must(t, s.Update(ctx, func(r *webspace.Record) error { r.Config.Wake.Policy = webspace.WakeVerified; return nil }))
	}
	resync(t, ctx)
	awake := asleep(t, ctx, n1, lab.WebspaceOptions{})
	_, err := hello(ctx, shared.Client, external(n1, awake.echo))
	must(t, err)

	before := usage(t, ctx, n1)
	var sent, asked, lost int
	var served time.Duration
	var g errgroup.Group
	g.Go(func() (err error) {
		sent, err = flood(floodRate, floodTime, external(n1, quiet.web), external(n1, wanted.web))
		return err
	})
	g.Go(func() (err error) {
		asked, lost, err = chat(ctx, shared.Client, external(n1, awake.echo), floodTime)
		return err
	})
	g.Go(func() error { // in the middle of it
		time.Sleep(floodTime / 4)
		began := time.Now()
		page, err := get(web(shared.Client), fmt.Sprintf("http://%s/", external(n1, wanted.web)))
		served = time.Since(began)
		if err == nil && !strings.HasPrefix(page, "Hello "+lab.ClientAddr+":") {
			err = fmt.Errorf("the page is %q", page)
		}
		return err
	})
	must(t, g.Wait())
	after := usage(t, ctx, n1)
	st, err := status(ctx, n1)
	must(t, err)
	counted := make(map[string]uint64)
	for _, d := range st.Drops {
		if d.Owner == quiet.Name || d.Owner == wanted.Name {
			counted[d.Reason] += d.Packets
		}
	}
	t.Logf("%d SYNs in %v, %.0f per second; the client was served after %v; %d of %d datagrams of others were lost; drops %v; parked %d, unproven %d, "+
		"dropped %d; the daemon took %v of CPU time, and grew from %d to %d KiB", sent, floodTime, float64(sent)/floodTime.Seconds(), served, lost, asked,
		counted, st.Wake.Parked, st.Wake.Unproven, st.Wake.Dropped, after.cpu-before.cpu, before.memory>>10, after.memory>>10)
	if lost > 0 {
		t.Errorf("%d of %d datagrams of another webspace were lost", lost, asked)
	}
	wanted.once(t, ctx)
	w, err := quiet.state(ctx)
	must(t, err)
	if w.Life != "asleep" || quiet.starts(t) != 0 {
		t.Errorf("the flood woke it: %+v", w)
	}
	if after.memory > before.memory+64<<20 {
		t.Errorf("the daemon grew from %d to %d KiB", before.memory>>10, after.memory>>10)
	}
	// And when it is over, at once.
	_, err = get(web(shared.Client), fmt.Sprintf("http://%s/", external(n1, quiet.web)))
	must(t, err)
	quiet.once(t, ctx)
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

// flood sends SYNs at a rate to some targets in turn, through the client's network, each from another address of 198.18.0.0/16,
// which is nowhere (RFC 2544). It returns how many.
func flood(rate int, long time.Duration, to ...string) (sent int, err error) {
	var targets []netip.AddrPort
	for _, text := range to {
		at, err := netip.ParseAddrPort(text)
		if err != nil {
			return 0, err
		}
		targets = append(targets, at)
	}
	var c net.PacketConn
	if err := shared.Client.Do(func() (err error) {
		c, err = net.ListenPacket(fmt.Sprintf("ip4:%d", unix.IPPROTO_RAW), "0.0.0.0") // it takes whole IP packets
		return err
	}); err != nil {
		return 0, err
	}
	defer c.Close()
	batch := make([]ipv4.Message, 60)
	for n := range batch {
		at := targets[n%len(targets)]
		p := syn(netip.AddrFrom4([4]byte{198, 18, 0, 0}), at, uint16(1024+n), 0)
		batch[n] = ipv4.Message{Buffers: [][]byte{p}, Addr: &net.IPAddr{IP: at.Addr().AsSlice()}}
	}
	out := ipv4.NewPacketConn(c)
	began := time.Now()
	for {
		gone := time.Since(began)
		if gone >= long {
			return sent, nil
		}
		list := batch[:min(max(int(gone.Seconds()*float64(rate))-sent, 0), len(batch))]
		if len(list) == 0 {
			time.Sleep(200 * time.Microsecond)
		}
		for n := range list { // another address; a sequence number that makes up for it in the checksum (the kernel does the header's)
			p, v := list[n].Buffers[0], uint16((sent+n)*40503)
			binary.BigEndian.PutUint16(p[18-4:], v)
			binary.BigEndian.PutUint16(p[26:], ^v)
		}
		for len(list) > 0 {
			n, err := out.WriteBatch(list, 0)
			if err != nil {
				return sent, err
			}
			sent, list = sent+n, list[n:]
		}
	}
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

// used is what a node's daemon has taken.
type used struct {
	cpu    time.Duration
	memory int // bytes, resident
}

func usage(t *testing.T, ctx context.Context, n *lab.Node) used {
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
	return used{cpu: time.Duration(number(14)+number(15)) * time.Second / ticks, memory: number(24) * os.Getpagesize()}
}
