package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lanyard-project/lanyard/control/node/nodeapi"
)

// These tests run the real daemon, with the capabilities of its systemd unit and no others, in a network namespace: an
// underlay to a router, one webspace (a veth into a namespace), an LXD that answers as it is told. They need root.

type machine struct {
	t      *testing.T
	index  int
	lxd    *fakeLXD
	ns, ws string // network namespaces: of the machine, of its webspace
	bin    string
	bpffs  string
	dir    string
	client *nodeapi.Client
}

// binaries is a folder with the daemon, built once for all tests.
var binaries string

func TestMain(m *testing.M) {
	code := func() int {
		var err error
		if binaries, err = os.MkdirTemp("", "nodetest-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(binaries)
		if out, err := exec.Command("go", "build", "-o", binaries, "github.com/lanyard-project/lanyard/cmd/lanyardd").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build lanyardd: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}()
	os.Exit(code)
}

func sh(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// newMachine makes one machine, alone beside its router.
func newMachine(t *testing.T) *machine {
	t.Helper()
	return newMachines(t, 1)[0]
}

// newMachines makes machines on one underlay, 192.0.2.0/24, whose switch and router (.254) is a further namespace.
func newMachines(t *testing.T, n int) []*machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces: it needs root")
	}
	id := fmt.Sprintf("nodetest-%d-%d", os.Getpid(), time.Now().UnixNano()%1e6)
	router := id + "-r"
	namespace(t, router)
	sh(t, "ip", "-n", router, "link", "add", "switch", "type", "bridge")
	sh(t, "ip", "-n", router, "addr", "add", "192.0.2.254/24", "dev", "switch")
	sh(t, "ip", "-n", router, "link", "set", "switch", "up")
	var all []*machine
	for i := 1; i <= n; i++ {
		m := &machine{t: t, index: i, lxd: newFakeLXD(t), ns: fmt.Sprintf("%s-n%d", id, i), ws: fmt.Sprintf("%s-w%d", id, i), dir: t.TempDir()}
		m.build(router)
		m.configure(n)
		all = append(all, m)
	}
	return all
}

func namespace(t *testing.T, name string) {
	t.Helper()
	sh(t, "ip", "netns", "add", name)
	t.Cleanup(func() { sh(t, "ip", "netns", "del", name) })
	sh(t, "ip", "-n", name, "link", "set", "lo", "up")
}

func (m *machine) build(router string) {
	t := m.t
	t.Helper()
	m.bin = filepath.Join(binaries, "lanyardd")
	m.bpffs = filepath.Join(m.dir, "bpf")
	if err := os.Mkdir(m.bpffs, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("bpf", m.bpffs, "bpf", 0, ""); err != nil {
		t.Fatal("mount a bpf filesystem:", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(m.bpffs, 0); err != nil {
			t.Error("unmount the bpf filesystem:", err)
		}
	})
	namespace(t, m.ns)
	namespace(t, m.ws)
	link, veth := fmt.Sprintf("n%d", m.index), fmt.Sprintf("vethws%d", m.index)
	sh(t, "ip", "link", "add", "eth0", "netns", m.ns, "type", "veth", "peer", "name", link, "netns", router)
	sh(t, "ip", "link", "add", veth, "netns", m.ns, "type", "veth", "peer", "name", "eth0", "netns", m.ws)
	sh(t, "ip", "-n", router, "link", "set", link, "master", "switch", "up")
	sh(t, "ip", "-n", m.ns, "addr", "add", fmt.Sprintf("192.0.2.%d/24", m.index), "dev", "eth0")
	sh(t, "ip", "-n", m.ns, "link", "set", "eth0", "up")
	sh(t, "ip", "-n", m.ns, "route", "add", "default", "via", "192.0.2.254")
	sh(t, "ip", "-n", m.ns, "link", "set", veth, "up")
	sh(t, "ip", "-n", m.ws, "link", "set", "eth0", "address", m.wsMAC(), "up")
	m.lxd.webspace(m.index, fmt.Sprintf(`{"version":1,"user":%d,"address":"%s","config":{"startupDelay":5,"httpPort":80,"sniPassthrough":false},"domains":[],"ports":{"50000":22}}`,
		m.index, m.wsIP()), veth, m.wsMAC())
	m.lxd.webspace(99, `{"version":1,"user":`, "vethws99", "02:4c:ac:18:01:63") // broken, and harms only itself
}

func (m *machine) wsIP() string  { return fmt.Sprintf("172.24.1.%d", m.index) }
func (m *machine) wsMAC() string { return fmt.Sprintf("02:4c:ac:18:01:%02x", m.index) }

// configure writes the configuration; the other machines are in a list.
func (m *machine) configure(n int) {
	m.t.Helper()
	var peers []string
	for i := 1; i <= n; i++ {
		if i != m.index {
			peers = append(peers, fmt.Sprintf("{vtep: 192.0.2.%d, index: %d}", i, i))
		}
	}
	text := fmt.Sprintf("node: {index: %d}\npeers: {list: [%s]}\nlxd: {address: %s, resync: 1s}\nadmin: {socket: %s}\npaths: {bpffs: %s, state: %s}\nlog: {level: debug}\n",
		m.index, strings.Join(peers, ", "), m.lxd.path, m.dir+"/run/node.sock", m.bpffs+"/lanyard", m.dir+"/state")
	if err := os.WriteFile(m.dir+"/node.yaml", []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
	m.client = nodeapi.New(m.dir + "/run/node.sock")
	m.t.Cleanup(m.client.Close)
}

// capabilities are those of the unit.
func capabilities(t *testing.T) []string {
	t.Helper()
	unit, err := os.ReadFile("../../cmd/lanyardd/lanyardd-node.service")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^CapabilityBoundingSet=(.*)$`).FindSubmatch(unit)
	if line == nil {
		t.Fatal("the unit has no bounding set")
	}
	var out []string
	for _, c := range strings.Fields(string(line[1])) {
		out = append(out, strings.ToLower(strings.TrimPrefix(c, "CAP_")))
	}
	return out
}

// command is lanyardd in the machine's namespace with these capabilities.
func (m *machine) command(caps []string, args ...string) *exec.Cmd {
	m.t.Helper()
	set := "-all"
	for _, c := range caps {
		set += ",+" + c
	}
	return exec.Command("ip", append([]string{"netns", "exec", m.ns, "setpriv", "--bounding-set", set, "--inh-caps", "-all",
		"--no-new-privs", m.bin, "node", "--config", m.dir + "/node.yaml"}, args...)...)
}

type daemon struct {
	*exec.Cmd
	done chan error
	log  *bytes.Buffer
}

// start starts the daemon; it is killed at the end of the test.
func (m *machine) start(caps []string) *daemon {
	m.t.Helper()
	d := &daemon{Cmd: m.command(caps), done: make(chan error, 1), log: &bytes.Buffer{}}
	d.Stdout, d.Stderr = d.log, d.log
	if err := d.Start(); err != nil {
		m.t.Fatal(err)
	}
	go func() { d.done <- d.Wait() }()
	m.t.Cleanup(func() {
		_ = d.Process.Kill()
		d.wait(m.t)
		if m.t.Failed() {
			m.t.Logf("the daemon said:\n%s", d.log)
		}
	})
	return d
}

// wait waits for the end of the daemon.
func (d *daemon) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-d.done:
		d.done <- err
		return err
	case <-time.After(20 * time.Second):
		t.Error("the daemon does not end")
		return errors.New("it runs on")
	}
}

// status waits until the daemon says what ok wants.
func (m *machine) status(what string, ok func(nodeapi.Status) bool) nodeapi.Status {
	m.t.Helper()
	var s nodeapi.Status
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if s, err = m.client.Status(context.Background()); err == nil && ok(s) {
			return s
		}
	}
	m.t.Fatalf("not within 30 s: %s; %v %+v", what, err, s)
	return s
}

func ready(s nodeapi.Status) bool { return s.Readiness.Ready && s.LXD.Connected && s.DHCP.Running }

// inside runs a program in the webspace.
func (m *machine) inside(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", m.ws, name}, args...)...).CombinedOutput()
	return string(out), err
}

func (m *machine) mustPing() {
	m.t.Helper()
	if out, err := m.inside("ping", "-c", "3", "-i", "0.1", "-W", "2", "172.24.254.1"); err != nil {
		m.t.Fatalf("the gateway does not answer: %v\n%s", err, out)
	}
}

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

// leftovers fails when anything of Lanyard is still there.
func (m *machine) leftovers() {
	m.t.Helper()
	if out := sh(m.t, "ip", "-n", m.ns, "-o", "link"); strings.Contains(out, "lanyard") || strings.Contains(out, "master") {
		m.t.Errorf("devices are left: %s", out)
	}
	if out := sh(m.t, "ip", "netns", "exec", m.ns, "bpftool", "net"); strings.Contains(out, "lanyard") || strings.Contains(out, "tcx/") {
		m.t.Errorf("programs are left: %s", out)
	}
	_ = filepath.WalkDir(m.bpffs, func(path string, _ fs.DirEntry, err error) error {
		if name := filepath.Base(path); name == "maps.debug" || name == "progs.debug" {
			return nil // the kernel's own (bpf_preload), in every bpf filesystem
		}
		if err != nil || path != m.bpffs {
			m.t.Errorf("a pin is left: %s %v", path, err)
		}
		return nil
	})
	for _, path := range []string{m.dir + "/run/node.sock", m.dir + "/state"} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			m.t.Errorf("left: %s", path)
		}
	}
}

// script is what udhcpc calls.
func script(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "udhcpc.sh")
	text := "#!/bin/sh\n[ \"$1\" = bound ] || exit 0\nip addr add $ip/$mask dev eth0\nip link set eth0 mtu $mtu\nip route replace default via $router\n"
	if err := os.WriteFile(name, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return name
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
						if s, err := m.client.Status(context.Background()); err == nil && ready(s) && len(s.Errors) == 0 && len(s.Ports) == 1 {
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

func TestPrintConfig(t *testing.T) {
	var out, errs bytes.Buffer
	cmd := Command("v1", &out, &errs)
	cmd.SetArgs([]string{"node", "--print-config", "--underlay-interface=lo", "--uplink-interface=lo", "--underlay-address=192.0.2.1", "--uplink-address=192.0.2.1", "--lan-vni=9"})
	if err := cmd.Execute(); err != nil || !strings.Contains(out.String(), "vni: 9\n") {
		t.Error(err, out.String())
	}
	for _, args := range [][]string{{"node", "--lan-vni=x"}, {"node", "--config=/nonexistent"}} {
		cmd := Command("v1", &out, &errs)
		cmd.SetArgs(args)
		err := cmd.Execute()
		var text bytes.Buffer
		Explain(&text, err)
		if err == nil || strings.Count(text.String(), "\n") != 3 || !strings.Contains(text.String(), "next:") {
			t.Errorf("%v: %v %s", args, err, &text)
		}
	}
}
