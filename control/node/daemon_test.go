package node

import (
	"bytes"
	"context"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/control/node/nodeapi"
)

func TestDaemon(t *testing.T) {
	m := newMachine(t)
	m.lxd.start(t)
	caps := capabilities(t)
	first := m.start(caps)
	s := m.status("ready", ready)
	if len(s.Ports) != 1 || s.Ports[0].Owner != "ws-u1" || len(s.Forwards) != 1 || len(s.Errors) > 0 {
		t.Errorf("%+v", s)
	}
	if len(s.Problems) == 0 || !strings.Contains(s.Problems[0].Subject, "ws-u99") {
		t.Errorf("the broken record is not reported: %+v", s.Problems)
	}

	t.Log("a webspace gets its address by DHCP, and reaches the gateway")
	if out, err := m.inside("busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-t", "5", "-T", "1", "-O", "mtu", "-s", script(t)); err != nil {
		t.Fatalf("udhcpc: %v\n%s", err, out)
	}
	if out, _ := m.inside("ip", "addr", "show", "eth0"); !strings.Contains(out, m.wsIP()+"/16") || !strings.Contains(out, "mtu 1450") {
		t.Errorf("eth0 is %s", out)
	}
	m.mustPing()

	t.Log("monitoring answers on the node, and nobody else")
	metrics := sh(t, "ip", "netns", "exec", m.ns, "busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:9469/metrics")
	for _, want := range []string{"lanyard_ready 1", `lanyard_dhcp_sent_total{type="ack"} 1`, "lanyard_ports 1", "lanyard_lxd_connected 1"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in the metrics:\n%s", want, metrics)
		}
	}
	for _, address := range []string{"172.24.0.1", "172.24.254.1", "192.0.2.1"} {
		if out, err := m.inside("busybox", "wget", "-q", "-T", "2", "-O", "-", "http://"+address+":9469/healthz"); err == nil {
			t.Errorf("a webspace reads metrics at %s: %s", address, out)
		}
	}

	t.Log("a second daemon is refused")
	out, err := m.command(caps).CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("next:")) {
		t.Errorf("%v %s", err, out)
	}

	t.Log("LXD goes and comes: nothing changes")
	m.lxd.stop()
	s = m.status("LXD is away", func(s nodeapi.Status) bool { return !s.LXD.Connected })
	if !s.Readiness.Ready || len(s.Ports) != 1 {
		t.Errorf("%+v", s)
	}
	m.mustPing()

	t.Log("killed, the traffic goes on; started without LXD, it has what was last known")
	pings := exec.Command("ip", "netns", "exec", m.ws, "ping", "-q", "-c", "600", "-i", "0.005", "-W", "2", "172.24.254.1")
	var result bytes.Buffer
	pings.Stdout = &result
	if err := pings.Start(); err != nil {
		t.Fatal(err)
	}
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	first.wait(t)
	second := m.start(caps)
	s = m.status("ready again", func(s nodeapi.Status) bool { return s.Readiness.Ready })
	if len(s.Ports) != 1 || len(s.Forwards) != 1 {
		t.Errorf("%+v", s)
	}
	m.lxd.start(t)
	m.status("LXD is back", ready)
	if err := pings.Wait(); err != nil || !strings.Contains(result.String(), " 0% packet loss") {
		t.Errorf("%v %s", err, result.String())
	}

	t.Log("SIGTERM ends it within a moment; the pinned programs stay, and --teardown removes them")
	if err := second.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := second.wait(t); err != nil {
		t.Error("ended with", err)
	}
	m.mustPing()
	if out, err := m.command(caps, "--teardown").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	m.leftovers()
}

// Without LXD from the start, there is nothing to apply; the daemon lives, says so, and begins once LXD is there.
func TestDaemonBeforeLXD(t *testing.T) {
	m := newMachine(t)
	m.start(capabilities(t))
	s := m.status("it lives", func(s nodeapi.Status) bool { return len(s.Programs) > 0 })
	if s.Readiness.Ready || s.LXD.Connected || s.LXD.Error == "" {
		t.Errorf("%+v %+v", s.Readiness, s.LXD)
	}
	m.lxd.start(t)
	m.status("ready", ready)
	if out, err := m.command(capabilities(t), "--teardown").CombinedOutput(); err == nil {
		t.Errorf("taken down under a running daemon: %s", out)
	}
}

// Two machines that know each other from a list, each with an LXD of its own: their webspaces are one LAN.
func TestTwoDaemons(t *testing.T) {
	all := newMachines(t, 2)
	for _, m := range all {
		m.lxd.start(t)
		m.start(capabilities(t))
	}
	for _, m := range all {
		s := m.status("ready, and its peer as well", func(s nodeapi.Status) bool { return ready(s) && len(s.Peers) == 1 && s.Peers[0].Ready })
		if s.Node.Index != m.index {
			t.Errorf("%+v", s.Node)
		}
		if out, err := m.inside("busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-t", "5", "-T", "1", "-O", "mtu", "-s", script(t)); err != nil {
			t.Fatalf("udhcpc: %v\n%s", err, out)
		}
	}
	for i, m := range all {
		other := all[1-i]
		if out, err := m.inside("ping", "-c", "5", "-i", "0.1", "-W", "2", "-s", "1422", "-M", "do", other.wsIP()); err != nil || !strings.Contains(out, " 0% packet loss") {
			t.Errorf("%s to %s: %v\n%s", m.wsIP(), other.wsIP(), err, out)
		}
	}
	for _, m := range all {
		if out, err := m.inside("busybox", "wget", "-q", "-T", "2", "-O", "-", "http://192.0.2.2:9469/healthz"); err == nil {
			t.Errorf("a webspace reads a node's metrics: %s", out)
		}
	}
}

// whole says that every part of the daemon runs.
func whole(s nodeapi.Status) bool {
	return !slices.ContainsFunc(s.Problems, func(p nodeapi.Problem) bool { return strings.HasPrefix(p.Subject, "daemon part ") })
}

// Each capability of the unit is needed: without it the daemon does not come up whole. So that the list stays the least.
func TestEveryCapabilityIsNeeded(t *testing.T) {
	all := capabilities(t)
	for _, without := range all {
		t.Run(without, func(t *testing.T) {
			m := newMachine(t)
			m.lxd.start(t)
			var caps []string
			for _, c := range all {
				if c != without {
					caps = append(caps, c)
				}
			}
			works := func() bool { // a daemon, killed, and one that adopts
				for range 2 {
					d := m.start(caps)
					for end := time.Now().Add(6 * time.Second); ; time.Sleep(50 * time.Millisecond) {
						if s, err := m.client.Status(context.Background()); err == nil && ready(s) && len(s.Errors) == 0 && len(s.Ports) == 1 && whole(s) {
							break
						}
						select {
						case err := <-d.done:
							d.done <- err
							return false
						default:
						}
						if time.Now().After(end) {
							return false
						}
					}
					_ = d.Process.Kill()
					d.wait(t)
				}
				return true
			}
			if works() {
				t.Errorf("it runs without CAP_%s: take that out of the unit", strings.ToUpper(without))
			}
		})
	}
}
