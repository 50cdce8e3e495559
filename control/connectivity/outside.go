package connectivity

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/lanyard-project/lanyard/control/connectivity/probe"
)

// outsideJobs: NAT, forwards and hairpins.
func (r *runner) outsideJobs() []job {
	var jobs []job
	a, b := r.spaces[0], r.spaces[1]
	if len(r.o.Outside) == 0 {
		jobs = append(jobs, job{name: "NAT to the outside", from: a,
			run: func(context.Context) (string, error) {
				return "", skip("no outside host is known: give one, e.g. --outside 192.0.2.10:443")
			}})
	}
	for _, host := range r.o.Outside {
		jobs = append(jobs, job{name: "NAT to the outside", from: a, to: host, do: "lanyard trace --webspace " + a.name + "; try the same from the node",
			run: func(ctx context.Context) (string, error) { return r.outside(ctx, a, host) }})
	}
	jobs = append(jobs, r.forwardJobs()...)
	mine := netip.AddrPortFrom(r.node.UplinkIP, b.external)
	hairpin := func(name string, to *space, external netip.AddrPort) job {
		return job{name: name, from: a, to: to.label(), needs: []*space{to}, do: "lanyard status forwards; lanyard trace --webspace " + a.name,
			run: func(ctx context.Context) (string, error) {
				t, err := send[probe.Talk](ctx, a, "tcp", external.String(), "65536")
				if err == nil {
					err = wrong(t, to, netip.Addr{})
				}
				return "through " + external.String() + ", after " + short(t.Connect), err
			}}
	}
	jobs = append(jobs, hairpin("hairpin", b, mine), hairpin("hairpin to itself", a, netip.AddrPortFrom(r.node.UplinkIP, a.external)))
	for _, s := range r.spaces[2:] {
		jobs = append(jobs, hairpin("hairpin to another node", s, netip.AddrPortFrom(r.node.UplinkIP, s.external)))
	}
	return jobs
}

// outside tries a ping, and a TCP connection when a port is given.
func (r *runner) outside(ctx context.Context, s *space, host string) (string, error) {
	if to, err := netip.ParseAddrPort(host); err == nil {
		t, err := send[probe.Talk](ctx, s, "open", to.String(), "5s")
		if err == nil && t.Error != "" {
			err = fmt.Errorf("%s", t.Error)
		}
		return "TCP connected after " + short(t.Connect), err
	}
	to, err := netip.ParseAddr(host)
	if err != nil {
		return "", fmt.Errorf("%q is no IPv4 address", host)
	}
	p, err := send[probe.Pings](ctx, s, "ping", to.String(), strconv.Itoa(3), "84")
	if err == nil && p.Received == 0 {
		err = fmt.Errorf("no answer to %d pings", p.Sent)
	}
	return "ping, median " + short(p.Median), err
}

// forwardJobs use this node as the outside client of the other nodes' external addresses: the packets arrive there from
// the wire, like anybody's. Of its own addresses this node cannot be a client, for its packets never leave it.
func (r *runner) forwardJobs() []job {
	var jobs []job
	for _, entry := range r.spaces[2:] {
		external := r.peers[entry.node].Node.Forwards
		if len(external) == 0 {
			continue
		}
		there := r.elsewhere(entry)
		add := func(name string, s *space, port uint16, f func(context.Context, *space, netip.AddrPort) (string, error)) {
			to := netip.AddrPortFrom(external[0], port)
			jobs = append(jobs, job{name: name, to: s.label(), needs: []*space{s}, do: "on " + entry.node + ": lanyard status forwards; lanyard trace",
				run: func(ctx context.Context) (string, error) { return f(ctx, s, to) }})
		}
		add("forward, TCP, webspace on that node", entry, entry.external, r.forwardTCP)
		add("forward, UDP, webspace on that node", entry, entry.external, r.forwardUDP)
		add("forward, second port of a service", entry, entry.second, r.forwardTCP)
		add("forward, port unreachable comes back", entry, entry.second, unreachable)
		add("forward, TCP, webspace on another node", there, there.external, r.forwardTCP)
		add("forward, UDP, webspace on another node", there, there.external, r.forwardUDP)
	}
	if len(jobs) == 0 {
		jobs = append(jobs, job{name: "forward from outside", to: r.spaces[0].label(), run: func(context.Context) (string, error) {
			return "", skip(fmt.Sprintf("there is no other node to be the client; with --keep, try from another machine: nc %s %d", r.node.UplinkIP, r.spaces[0].external))
		}})
	}
	return jobs
}

// elsewhere is a webspace on neither this node nor that of entry, if there is one, and else one on this node.
func (r *runner) elsewhere(entry *space) *space {
	for _, s := range r.spaces[2:] {
		if s.node != entry.node {
			return s
		}
	}
	return r.spaces[0]
}

// unreachable: nobody listens behind the forward, and the webspace's ICMP error about that must arrive as one about the
// external address.
func unreachable(ctx context.Context, _ *space, to netip.AddrPort) (string, error) {
	t, err := probe.TalkUDP(ctx, to)
	if err == nil && !strings.Contains(t.Error, "refused") {
		err = fmt.Errorf("the answer was %q, and not an ICMP error", t.Error)
	}
	return to.String() + ", " + t.Error, err
}

// forwardTCP: the server must see our real address and port.
func (r *runner) forwardTCP(ctx context.Context, s *space, to netip.AddrPort) (string, error) {
	t, err := probe.TalkTCP(ctx, to, 1<<20)
	if err == nil {
		err = wrong(t, s, t.Local.Addr())
	}
	if err == nil && t.Hello.Peer != t.Local {
		err = fmt.Errorf("the server saw the client's port as %d, and not %d", t.Hello.Peer.Port(), t.Local.Port())
	}
	return fmt.Sprintf("%s, client seen as %s, after %s", to, t.Hello.Peer.Addr(), short(t.Connect)), err
}

func (r *runner) forwardUDP(ctx context.Context, s *space, to netip.AddrPort) (string, error) {
	t, err := probe.TalkUDP(ctx, to)
	if err == nil {
		err = wrong(t, s, t.Local.Addr())
	}
	return fmt.Sprintf("%s, client seen as %s, after %s", to, t.Hello.Peer.Addr(), short(t.Connect)), err
}
