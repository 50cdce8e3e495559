package lab_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/hack/lab"
)

// mtuLess is a webspace whose NIC LXD left at 1500, so that an MTU of 1450 can only come from option 26.
var mtuLess = lab.WebspaceOptions{MTU: 1500}

// wantLease checks address, route and MTU in a webspace.
func wantLease(t *testing.T, ctx context.Context, w *lab.Webspace) {
	t.Helper()
	must(t, lab.Eventually(ctx, 60*time.Second, func() error {
		addr, err := w.InNetns(ctx, "ip", "-4", "-o", "addr", "show", "dev", "eth0")
		if err != nil {
			return err
		}
		link, err := w.InNetns(ctx, "ip", "-o", "link", "show", "dev", "eth0")
		if err != nil {
			return err
		}
		route, err := w.InNetns(ctx, "ip", "route")
		if err != nil {
			return err
		}
		switch {
		case !strings.Contains(addr, " "+w.IP.String()+"/16"):
			return fmt.Errorf("address: %s", addr)
		case !strings.Contains(link, "mtu 1450") && !strings.Contains(route, "mtu 1450"): // dhcpcd sets it on its routes
			return fmt.Errorf("MTU: %s, routes %s", link, route)
		case !strings.Contains(route, "default via 172.24.254.1"):
			return fmt.Errorf("route: %s", route)
		}
		return nil
	}))
}

// acks is how many leases a node has given.
func acks(t *testing.T, ctx context.Context, n *lab.Node) uint64 {
	t.Helper()
	s, err := status(ctx, n)
	must(t, err)
	return s.DHCP.Sent["ack"]
}

// renews checks that act makes the node acknowledge a lease once more.
func renews(t *testing.T, ctx context.Context, w *lab.Webspace, act ...string) {
	t.Helper()
	before := acks(t, ctx, w.Node)
	if out, err := w.Exec(ctx, act...); err != nil {
		t.Fatalf("%v: %v %s", act, err, out)
	}
	must(t, lab.Eventually(ctx, 60*time.Second, func() error {
		if after := acks(t, ctx, w.Node); after <= before {
			return fmt.Errorf("%v: the node has acknowledged %d leases, as before", act, after)
		}
		return nil
	}))
	wantLease(t, ctx, w)
}

func TestBusyboxUdhcpc(t *testing.T) {
	ctx := testContext(t, time.Minute)
	w, err := shared.Node(1).AddWebspace(ctx, 51, mtuLess)
	must(t, err)
	defer func() { must(t, w.Delete(ctx)) }()
	wantLease(t, ctx, w)
	renews(t, ctx, w, "/bin/sh", "-c", "kill -USR1 $(cat /run/udhcpc.pid)")
	// The client writes the file after the server has counted its answer.
	must(t, lab.Eventually(ctx, 60*time.Second, func() error {
		lease, err := w.Exec(ctx, "cat", "/run/lease.renew")
		if err != nil {
			return err
		}
		for _, want := range []string{"lease=7200", "router=172.24.254.1", "serverid=172.24.254.1", "subnet=255.255.0.0", "mtu=1450"} {
			if !strings.Contains(lease, want+"\n") {
				return fmt.Errorf("the lease has no %s:\n%s", want, lease)
			}
		}
		return nil
	}))
}

// TestDebianClients runs the three clients of Debian one after the other in one webspace with systemd.
func TestDebianClients(t *testing.T) {
	ctx := testContext(t, 10*time.Minute) // the image may have to be built
	must(t, shared.ImportDebian(ctx))
	t.Run("SSH", sshLogin)
	w, err := shared.Node(1).AddWebspace(ctx, 52, lab.WebspaceOptions{Image: lab.Debian, MTU: 1500, NoWait: true})
	must(t, err)
	defer func() { must(t, w.Delete(ctx)) }()

	t.Run("systemd-networkd", func(t *testing.T) {
		must(t, w.WaitAddress(ctx, 60*time.Second))
		wantLease(t, ctx, w)
		renews(t, ctx, w, "networkctl", "renew", "eth0")
		wantPing(t, ctx, w, lab.ServerAddr, 5)
	})
	t.Run("systemd-resolved", func(t *testing.T) { // with the server that networkd was told by DHCP; it takes no search domain from there
		asleep, err := shared.Node(2).AddWebspace(ctx, 62, lab.WebspaceOptions{Stopped: true})
		must(t, err)
		defer func() { must(t, asleep.Delete(ctx)) }()
		resync(t, ctx, shared.Node(1))
		for query, want := range map[string]string{asleep.Name + ".webspace": asleep.IP.String(),
			asleep.IP.String(): asleep.Name + ".webspace", "www.example.org": lab.ServerAddr} {
			wantLookup(t, ctx, w, want, "resolvectl", "query", "-4", query)
		}
	})
	bare := func() { // as if no client had ever run
		for _, c := range []string{"systemctl stop systemd-networkd.service systemd-networkd.socket", "ip addr flush dev eth0", "ip link set eth0 mtu 1500 up"} {
			_, err := w.Exec(ctx, strings.Fields(c)...)
			must(t, err)
		}
	}
	t.Run("ISC dhclient", func(t *testing.T) {
		bare()
		_, err := w.Exec(ctx, "dhclient", "-4", "-1", "-nw", "eth0")
		must(t, err)
		wantLease(t, ctx, w)
		renews(t, ctx, w, "/bin/sh", "-c", "kill $(cat /run/dhclient.pid); dhclient -4 -1 eth0") // INIT-REBOOT
		_, err = w.Exec(ctx, "dhclient", "-4", "-r", "eth0")
		must(t, err)
	})
	t.Run("dhcpcd", func(t *testing.T) {
		bare()
		_, err := w.Exec(ctx, "dhcpcd", "-4", "-b", "eth0")
		must(t, err)
		wantLease(t, ctx, w)
		renews(t, ctx, w, "dhcpcd", "-4", "--rebind", "eth0")
		_, err = w.Exec(ctx, "dhcpcd", "-4", "-k", "eth0")
		must(t, err)
	})
}
