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
		build := exec.Command("go", "build", "-trimpath", "-o", binaries, "github.com/lanyard-project/lanyard/cmd/lanyardd")
		build.Env = append(os.Environ(), "CGO_ENABLED=0") // as `make build` does, which has compiled most of it
		if out, err := build.CombinedOutput(); err != nil {
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
	return m.run(m.command(caps))
}

func (m *machine) run(cmd *exec.Cmd) *daemon {
	m.t.Helper()
	d := &daemon{Cmd: cmd, done: make(chan error, 1), log: &bytes.Buffer{}}
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
	case <-time.After(60 * time.Second):
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
