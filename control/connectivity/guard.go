package connectivity

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lanyard-project/lanyard/control/connectivity/probe"
)

// forgeries is how many frames of each kind are sent.
const forgeries = 5

// refusal is how long a connection is tried that must not come to be.
const refusal = 1500 * time.Millisecond

// guardJobs: what must not pass does not pass, and is counted under its own reason. They run on this node, whose
// counters can be read.
func (r *runner) guardJobs() []job {
	a, b := r.spaces[0], r.spaces[1]
	var jobs []job
	for _, g := range []struct {
		name, kind string
		to         netip.Addr
		reasons    []string
	}{
		{"foreign MAC is dropped", "mac", b.ip, []string{"spoofed_mac"}},
		{"foreign address is dropped", "ip", b.ip, []string{"spoofed_ip"}},
		{"claim of a neighbour's IP is dropped", "arp", b.ip, []string{"spoofed_arp"}},
		{"claim of the gateway is dropped", "arp", r.node.Gateway, []string{"spoofed_gateway", "spoofed_arp"}},
		{"rogue DHCP server is dropped", "dhcp", b.ip, []string{"rogue_dhcp"}},
		{"VLAN tag is dropped", "vlan", b.ip, []string{"vlan"}},
	} {
		jobs = append(jobs, job{name: g.name, from: a, needs: []*space{b}, do: "lanyard status drops; lanyard trace --webspace " + a.name,
			run: func(ctx context.Context) (string, error) { return r.forge(ctx, g.kind, g.to, g.reasons) }})
	}
	if r.o.Denied.IsValid() {
		jobs = append(jobs, job{name: "denied destination stays denied", from: a, to: r.o.Denied.String(), do: "see egress.deny and egress.allow in the configuration",
			run: func(ctx context.Context) (string, error) {
				return r.refused(ctx, netip.AddrPortFrom(r.o.Denied, 80), "destination_denied")
			}})
	}
	return append(jobs, job{name: "the node stays closed", from: a, to: r.node.IP.String(), do: "lanyard trace --webspace " + a.name,
		run: func(ctx context.Context) (string, error) {
			return r.refused(ctx, netip.AddrPortFrom(r.node.IP, 8443), "infrastructure")
		}})
}

// forge lets a send what it must not, and looks at b and at the counters.
func (r *runner) forge(ctx context.Context, kind string, claimed netip.Addr, reasons []string) (string, error) {
	a, b := r.spaces[0], r.spaces[1]
	before, err := r.dropped(ctx, a.name, reasons)
	if err != nil {
		return "", err
	}
	token := newToken()
	if _, err := send[any](ctx, a, "forge", kind, strconv.Itoa(forgeries), token, claimed.String(), b.mac()); err != nil {
		return "", err
	}
	if seen, err := send[int](ctx, b, "seen", token); err != nil || seen != 0 {
		return "", fmt.Errorf("%d of %d frames came through (%v)", seen, forgeries, err)
	}
	if kind == "arp" {
		mac, err := send[string](ctx, b, "neighbour", claimed.String())
		if err != nil || mac == a.mac() {
			return "", fmt.Errorf("the neighbour believes that %s is at %s (%v)", claimed, mac, err)
		}
	}
	return r.counted(ctx, a.name, reasons, before, forgeries)
}

// refused: a connection that must not come to be.
func (r *runner) refused(ctx context.Context, to netip.AddrPort, reason string) (string, error) {
	a := r.spaces[0]
	before, err := r.dropped(ctx, a.name, []string{reason})
	if err != nil {
		return "", err
	}
	t, err := send[probe.Talk](ctx, a, "open", to.String(), refusal.String())
	switch {
	case err != nil:
		return "", err
	case t.Error == "":
		return "", fmt.Errorf("a connection to %s came to be", to)
	}
	return r.counted(ctx, a.name, []string{reason}, before, 1)
}

// counted waits a moment for the counters.
func (r *runner) counted(ctx context.Context, owner string, reasons []string, before, want uint64) (string, error) {
	var got uint64
	for range 10 {
		now, err := r.dropped(ctx, owner, reasons)
		if err != nil {
			return "", err
		}
		if got = now - before; got >= want {
			return fmt.Sprintf("%d frames, counted as %s", got, strings.Join(reasons, " or ")), nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return "", fmt.Errorf("nothing came through, but %d of %d were counted as %s", got, want, strings.Join(reasons, " or "))
}

func (r *runner) dropped(ctx context.Context, owner string, reasons []string) (uint64, error) {
	status, err := r.daemon.Status(ctx)
	if err != nil {
		return 0, err
	}
	var n uint64
	for _, d := range status.Drops {
		if d.Owner == owner && slices.Contains(reasons, d.Reason) {
			n += d.Packets
		}
	}
	return n, nil
}
