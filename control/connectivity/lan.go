package connectivity

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/lanyard-project/lanyard/control/connectivity/probe"
	"github.com/lanyard-project/lanyard/webspace"
)

const (
	leaseTest = "DHCP lease"
	// leaseWait is how long a fresh webspace may take to its address.
	leaseWait = 20 * time.Second
	// bulk that is sent there and back, bytes.
	bulk  = 4 << 20
	pings = 20
)

// jobs is the whole plan, in the order of what stands on what.
func (r *runner) jobs() []job {
	var jobs []job
	for _, s := range r.spaces {
		jobs = append(jobs, job{name: leaseTest, from: s, do: "lanyard status ports; journalctl -u lanyardd-node (on its node)",
			run: func(ctx context.Context) (string, error) { return r.lease(ctx, s) }})
	}
	for _, s := range r.spaces {
		jobs = append(jobs, job{name: "ping the gateway", from: s, to: r.node.Gateway.String(), do: "lanyard trace --webspace " + s.name,
			run: func(ctx context.Context) (string, error) { return r.ping(ctx, s, r.node.Gateway, 5) }})
	}
	a := r.spaces[0]
	for _, b := range r.spaces[1:] {
		jobs = append(jobs, r.pair(a, b)...)
	}
	jobs = append(jobs, job{name: "broadcast, once each", from: a, to: "all", needs: r.spaces, do: "lanyard status peers; bridge fdb show dev " + "lanyard0-vx",
		run: func(ctx context.Context) (string, error) { return r.broadcast(ctx, a) }})
	for _, s := range r.spaces {
		jobs = append(jobs, job{name: "TCP from the node", to: s.label(), needs: []*space{s}, do: "lanyard status endpoints; ip neigh show dev lanyard0",
			run: func(ctx context.Context) (string, error) {
				return helloTCP(ctx, s, netip.AddrPortFrom(s.ip, probe.Port), r.node.IP)
			}})
	}
	jobs = append(jobs, r.outsideJobs()...)
	return append(jobs, r.guardJobs()...)
}

// pair tries one webspace against another.
func (r *runner) pair(a, b *space) []job {
	do := "lanyard status peers endpoints (on both nodes); lanyard trace --webspace " + a.name
	mk := func(name string, f func(context.Context) (string, error)) job {
		return job{name: name, from: a, to: b.label(), needs: []*space{b}, do: do, run: f}
	}
	to := netip.AddrPortFrom(b.ip, probe.Port)
	return []job{
		mk("ARP", func(ctx context.Context) (string, error) { return r.arp(ctx, a, b) }),
		mk("ping", func(ctx context.Context) (string, error) { return r.ping(ctx, a, b.ip, pings) }),
		mk("full-sized packets", func(ctx context.Context) (string, error) { return r.fullSize(ctx, a, b) }),
		mk("TCP, 4 MiB there and back", func(ctx context.Context) (string, error) {
			t, err := send[probe.Talk](ctx, a, "tcp", to.String(), strconv.Itoa(bulk))
			if err == nil {
				err = wrong(t, b, a.ip)
			}
			return fmt.Sprintf("%.0f Mbit/s", 2*8*bulk/1e6/t.Took.Seconds()), err
		}),
		mk("UDP", func(ctx context.Context) (string, error) {
			t, err := send[probe.Talk](ctx, a, "udp", to.String())
			if err == nil {
				err = wrong(t, b, a.ip)
			}
			return "answered after " + short(t.Connect), err
		}),
	}
}

func (r *runner) lease(ctx context.Context, s *space) (string, error) {
	ctx, cancel := context.WithDeadline(ctx, r.leases.Add(time.Second)) // all began at once: the last need not wait as long again
	defer cancel()
	var lease probe.Lease
	for {
		var err error
		if lease, err = send[probe.Lease](ctx, s, "lease"); err == nil {
			break
		}
		if ctx.Err() != nil || time.Now().After(r.leases) {
			return "", fmt.Errorf("%s got no answer from DHCP within %s (%w)", s.name, leaseWait, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
	want := netip.PrefixFrom(s.ip, r.node.Prefix.Bits())
	switch {
	case lease.Address != want:
		return "", fmt.Errorf("the lease says %s, recorded is %s", lease.Address, want)
	case lease.Router != r.node.Gateway:
		return "", fmt.Errorf("the lease's router is %s and not the gateway %s", lease.Router, r.node.Gateway)
	case lease.MTU != r.node.MTU && s.local:
		return "", fmt.Errorf("the lease's MTU is %d, the LAN's %d", lease.MTU, r.node.MTU)
	case lease.Time <= 0:
		return "", fmt.Errorf("the lease has no time")
	}
	s.leased = true
	return fmt.Sprintf("%s, MTU %d, after %s", lease.Address, lease.MTU, short(lease.Took)), nil
}

func (r *runner) ping(ctx context.Context, s *space, to netip.Addr, count int) (string, error) {
	p, err := send[probe.Pings](ctx, s, "ping", to.String(), strconv.Itoa(count), "84")
	if err == nil && p.Received != p.Sent {
		err = fmt.Errorf("%d of %d came back", p.Received, p.Sent)
	}
	return "median " + short(p.Median), err
}

// fullSize: what the MTU promises arrives, and what is larger is refused where it begins, not lost on the way.
func (r *runner) fullSize(ctx context.Context, a, b *space) (string, error) {
	mtu := r.node.MTU
	p, err := send[probe.Pings](ctx, a, "ping", b.ip.String(), "3", strconv.Itoa(mtu))
	switch {
	case err != nil:
		return "", err
	case p.TooBig:
		return "", fmt.Errorf("its interface refuses %d bytes, the LAN's MTU", mtu)
	case p.Received != p.Sent:
		return "", fmt.Errorf("%d of %d packets of %d bytes came back", p.Received, p.Sent, mtu)
	}
	if p, err = send[probe.Pings](ctx, a, "ping", b.ip.String(), "1", strconv.Itoa(mtu+1)); err == nil && !p.TooBig {
		err = fmt.Errorf("its interface takes %d bytes, more than the LAN's MTU %d", mtu+1, mtu)
	}
	return fmt.Sprintf("%d bytes pass, %d do not", mtu, mtu+1), err
}

func (r *runner) arp(ctx context.Context, a, b *space) (string, error) {
	p, err := send[probe.ARPs](ctx, a, "arp", b.ip.String(), "3")
	switch {
	case err != nil:
		return "", err
	case p.Replies != p.Sent:
		return "", fmt.Errorf("%d of %d requests were answered", p.Replies, p.Sent)
	case p.MAC != b.mac():
		return "", fmt.Errorf("the answer names %s, and %s has %s", p.MAC, b.name, b.mac())
	case p.Unicast != p.Replies:
		return "", fmt.Errorf("answers were broadcast")
	}
	return fmt.Sprintf("%s, after %s", p.MAC, short(p.First)), nil
}

// broadcast: every other webspace sees it exactly once, and the sender not at all.
func (r *runner) broadcast(ctx context.Context, a *space) (string, error) {
	token := newToken()
	if _, err := send[any](ctx, a, "broadcast", lastAddr(r.node.Prefix).String(), token); err != nil {
		return "", err
	}
	time.Sleep(300 * time.Millisecond) // a second copy would come late
	for _, s := range r.spaces {
		n, err := send[int](ctx, s, "seen", token)
		want := 1
		if s == a {
			continue // its own stack hears its own broadcasts or not; that is no matter of the network
		}
		if err != nil {
			return "", err
		}
		if n != want {
			return "", fmt.Errorf("%s saw it %d times", s.label(), n)
		}
	}
	return "seen once by each", nil
}

// helloTCP connects from this process. The server must be the right one, and see the right client.
func helloTCP(ctx context.Context, s *space, to netip.AddrPort, client netip.Addr) (string, error) {
	t, err := probe.TalkTCP(ctx, to, 64<<10)
	if err == nil {
		err = wrong(t, s, client)
	}
	return "connected after " + short(t.Connect), err
}

// wrong says what is wrong with a talk: it failed, or the wrong one answered, or it saw the wrong client.
func wrong(t probe.Talk, with *space, client netip.Addr) error {
	switch {
	case t.Error != "":
		return fmt.Errorf("%s", t.Error)
	case t.Hello.Name != with.name:
		return fmt.Errorf("%q answered, and not %s", t.Hello.Name, with.name)
	case client.IsValid() && t.Hello.Peer.Addr() != client:
		return fmt.Errorf("the server saw %s as its client, and not %s", t.Hello.Peer.Addr(), client)
	}
	return nil
}

func newToken() string { return strconv.FormatUint(rand.Uint64(), 36) }

// lastAddr is the broadcast address of a prefix.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	return netip.AddrFrom4(b)
}

func sortedNames(m map[string]webspace.Member) []string { return slices.Sorted(maps.Keys(m)) }

// short is a duration for people: three digits and a unit.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
