package lab_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/lanyard-project/lanyard/hack/lab"
	"github.com/lanyard-project/lanyard/webspace"
)

func TestPingAndARPAcrossNodes(t *testing.T) {
	ctx := testContext(t, time.Minute)
	out, err := onN1.InNetns(ctx, "arping", "-c", "3", "-i", "eth0", onN3.IP.String())
	must(t, err)
	if !strings.Contains(out, "3 packets transmitted, 3 packets received") {
		t.Errorf("arping: %s", out)
	}
	if mac := webspace.MAC(onN3.IP).String(); !strings.Contains(out, mac) {
		t.Errorf("arping was not answered by %s: %s", mac, out)
	}
	wantPing(t, ctx, onN1, onN3.IP.String(), 20)
	wantPing(t, ctx, onN1, onN1too.IP.String(), 20)
	wantPing(t, ctx, onN3, onN2.IP.String(), 20)
	wantPing(t, ctx, onN1, "172.24.254.1", 5)
}

// serialize builds a frame with lengths and checksums.
func serialize(t *testing.T, l ...gopacket.SerializableLayer) string {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	must(t, gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, l...))
	return hex.EncodeToString(b.Bytes())
}

func ethernet(src, dst net.HardwareAddr, kind layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: src, DstMAC: dst, EthernetType: kind}
}

var broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// datagram is a UDP frame of a webspace.
func datagram(t *testing.T, src, dst net.HardwareAddr, srcIP, dstIP string, sport, dport uint16, payload string) string {
	t.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.ParseIP(srcIP).To4(), DstIP: net.ParseIP(dstIP).To4()}
	udp := &layers.UDP{SrcPort: layers.UDPPort(sport), DstPort: layers.UDPPort(dport)}
	must(t, udp.SetNetworkLayerForChecksum(ip))
	return serialize(t, ethernet(src, dst, layers.EthernetTypeIPv4), ip, udp, gopacket.Payload(payload))
}

// frames counts, at several webspaces at once, the frames that contain a marker while act runs.
func frames(t *testing.T, ctx context.Context, marker string, at []*lab.Webspace, act func()) map[string]int {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	got := make(map[string]int)
	for _, w := range at {
		all.Go(func() {
			var r struct{ Frames int }
			err := w.Probe(ctx, &r, "sniff", "--for", "2s", "--match", hex.EncodeToString([]byte(marker)))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("sniff at %s: %v", w.Name, err)
			}
			got[w.Name] = r.Frames
		})
	}
	defer all.Wait() // also when act ends the test
	for _, w := range at {
		must(t, listens(ctx, w))
	}
	act()
	for _, w := range at { // who had gone by then has seen nothing because of that
		must(t, listens(ctx, w))
	}
	all.Wait()
	return got
}

// listens waits until somebody sees all frames of a webspace (packet(7): a socket of ETH_P_ALL).
func listens(ctx context.Context, w *lab.Webspace) error {
	for end := time.Now().Add(time.Minute); ; {
		out, err := w.InNetns(ctx, "cat", "/proc/net/packet")
		if err != nil {
			return err
		}
		for _, line := range strings.Split(out, "\n") {
			if f := strings.Fields(line); len(f) > 3 && f[3] == "0003" {
				return nil
			}
		}
		if time.Now().After(end) {
			return fmt.Errorf("nobody listens to the frames of %s", w.Name)
		}
	}
}

func TestBroadcastIsSeenOnceEverywhere(t *testing.T) {
	ctx := testContext(t, time.Minute)
	const marker = "lanyard-broadcast-marker"
	frame := datagram(t, webspace.MAC(onN1.IP), broadcast, onN1.IP.String(), "172.24.255.255", 4000, 4000, marker)
	got := frames(t, ctx, marker, []*lab.Webspace{onN1, onN1too, onN2, onN3}, func() {
		var r struct{ Sent int }
		must(t, onN1.Probe(ctx, &r, "send", frame))
	})
	for _, w := range []*lab.Webspace{onN1too, onN2, onN3} {
		if got[w.Name] != 1 {
			t.Errorf("%s on %s saw the broadcast %d times, want once", w.Name, w.Node.Name, got[w.Name])
		}
	}
	if got[onN1.Name] != 0 {
		t.Errorf("the sender got its own broadcast back %d times", got[onN1.Name])
	}
}

func TestPlainKernelPeer(t *testing.T) {
	ctx := testContext(t, time.Minute)
	host, err := shared.AddHost(ctx, "plain", plainPeer)
	must(t, err)
	defer shared.RemoveHost(host)
	const lan = "172.24.200.20"
	for _, c := range []string{
		"ip link add vx type vxlan id 7331 dstport 4789 local " + plainPeer + " dev eth0",
		"ip addr add " + lan + "/16 dev vx",
		"ip link set vx mtu 1450 up",
		"bridge fdb append 00:00:00:00:00:00 dev vx dst " + shared.Node(1).Addr(),
		"bridge fdb append 00:00:00:00:00:00 dev vx dst " + shared.Node(2).Addr(),
		"bridge fdb append 00:00:00:00:00:00 dev vx dst " + shared.Node(3).Addr(),
	} {
		_, err := host.Exec(ctx, strings.Fields(c)...)
		must(t, err)
	}
	wantPing(t, ctx, host, onN1.IP.String(), 10)
	wantPing(t, ctx, host, onN3.IP.String(), 10)
	wantPing(t, ctx, onN1, lan, 10)
	wantPing(t, ctx, onN2, lan, 10)
}

func TestMovedWebspaceIsReachableWithinASecond(t *testing.T) {
	ctx := testContext(t, 2*time.Minute)
	w, err := shared.Node(2).AddWebspace(ctx, 21, lab.WebspaceOptions{})
	must(t, err)
	defer func() { must(t, w.Delete(ctx)) }()
	wantPing(t, ctx, onN1, w.IP.String(), 5)
	for _, to := range []*lab.Node{shared.Node(3), shared.Node(1), shared.Node(2)} {
		_, err = to.LXC(ctx, "stop", w.Name, "--force")
		must(t, err)
		_, err = to.LXC(ctx, "move", w.Name, "--target", to.Name)
		must(t, err)
		_, err = to.LXC(ctx, "start", w.Name)
		must(t, err)
		w.Node = to
		must(t, w.WaitAddress(ctx, 60*time.Second))
		start := time.Now()
		for _, from := range []*lab.Webspace{onN1, onN2, onN3} {
			err := lab.Eventually(ctx, 60*time.Second, func() error {
				var r pingResult
				if err := from.Probe(ctx, &r, "ping", "--count", "1", "--wait", "100ms", w.IP.String()); err != nil || r.Received == 0 {
					return fmt.Errorf("no answer from %s to %s (%v)", w.IP, from.Name, err)
				}
				return nil
			})
			must(t, err)
		}
		// Three probes take about half a second of that.
		if took := time.Since(start); took > time.Second {
			t.Errorf("after its move to %s the webspace was reachable after %v, want 1 s", to.Name, took)
		}
	}
}
