package wake

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tree writes a folder that looks like the kernel's.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if link, ok := strings.CutPrefix(text, "-> "); ok {
			mustDo(t, os.MkdirAll(filepath.Dir(name), 0o755))
			mustDo(t, os.Symlink(link, name))
			continue
		}
		mustDo(t, os.MkdirAll(filepath.Dir(name), 0o755))
		mustDo(t, os.WriteFile(name, []byte(text), 0o644))
	}
	return dir
}

func mustDo(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFindAContainer(t *testing.T) {
	proc := tree(t, map[string]string{
		"40/status": "Name:\tsh\nNSpid:\t40\t9\nX:\n",
		"41/status": "Name:\tinit\nNSpid:\t41\t1\nX:\n", "41/ns/net": "-> net:[4026532999]",
		"50/status": "Name:\tsystemd\nNSpid:\t50\t1\n", "50/ns/net": "-> net:[4026533000]",
		"60/status": "Name:\tinit\nNSpid:\t60\t1\n",
		"70/status": "Name:\tinit\nPPid:\t71\nNSpid:\t70\t1\n", "70/ns/net": "-> net:[4026531000]", "71/ns/net": "-> net:[4026531000]",
		"80/status": "Name:\tinit\nPPid:\t81\nNSpid:\t80\t1\n", "80/ns/net": "-> net:[4026531840]", "self/ns/net": "-> net:[4026531840]",
	})
	for name, c := range map[string]struct {
		project string
		groups  map[string]string
		want    Container
	}{
		"version 1":           {groups: map[string]string{"freezer/lxc.payload.ws-u1/cgroup.procs": "0\n40\n41\n"}, want: Container{41, 4026532999}},
		"version 2, systemd":  {groups: map[string]string{"lxc.payload.ws-u1/cgroup.procs": "", "lxc.payload.ws-u1/init.scope/cgroup.procs": "50\n"}, want: Container{50, 4026533000}},
		"an old one is there": {groups: map[string]string{"lxc.payload.ws-u1/cgroup.procs": "", "lxc.payload.ws-u1-1/cgroup.procs": "41\n"}, want: Container{41, 4026532999}},
		"a project":           {project: "web", groups: map[string]string{"lxc.payload.web_ws-u1/cgroup.procs": "41"}, want: Container{41, 4026532999}},
		"no way to look":      {groups: map[string]string{"lxc.payload.ws-u1/cgroup.procs": "60"}, want: Container{60, 0}},
		"not yet unshared":    {groups: map[string]string{"freezer/lxc.payload.ws-u1/cgroup.procs": "70"}},
		"nor from ours":       {groups: map[string]string{"freezer/lxc.payload.ws-u1/cgroup.procs": "80"}},
		"only an exec":        {groups: map[string]string{"lxc.payload.ws-u1/cgroup.procs": "40"}},
		"it is gone":          {groups: map[string]string{"lxc.payload.ws-u1/cgroup.procs": "99"}},
		"none":                {groups: map[string]string{"lxc.payload.ws-u12/cgroup.procs": "41"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := containers{cgroup: tree(t, c.groups), proc: proc, project: c.project}.Find("ws-u1")
			if got != c.want || (err != nil) != (c.want.Pid == 0) {
				t.Errorf("%+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

func TestThawWritesTheFreezer(t *testing.T) {
	for name, c := range map[string]struct{ file, want string }{
		"version 1": {"freezer/lxc.payload.ws-u1/freezer.state", "THAWED"}, "version 2": {"lxc.payload.ws-u1/cgroup.freeze", "0"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := tree(t, map[string]string{c.file: ""})
			at := containers{cgroup: dir}
			mustDo(t, at.Thaw("ws-u1"))
			if b, err := os.ReadFile(filepath.Join(dir, c.file)); err != nil || string(b) != c.want {
				t.Errorf("%q, %v", b, err)
			}
			if err := at.Thaw("ws-u2"); !errors.Is(err, errNoContainer) {
				t.Errorf("another one: %v", err)
			}
			if entries, _ := os.ReadDir(filepath.Dir(filepath.Join(dir, c.file))); len(entries) != 1 {
				t.Error("a file was made")
			}
		})
	}
}

const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

func TestSocketsOfAContainer(t *testing.T) {
	const trie = `Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 172.24.0.0/16 2 0 2
        |-- 172.24.7.1
           /32 host LOCAL
        |-- 172.24.255.255
           /32 link BROADCAST
`
	proc := tree(t, map[string]string{
		"7/net/fib_trie": trie,
		"7/net/tcp": head + "   0: 00000000:0050 00000000:0000 0A 00000000:00000000\n   1: 0100007F:0277 00000000:0000 0A 0:0\n" +
			"   2: 0107 18AC:1F90 00\n   3: 010718AC:D431 0A0A0A0A:0050 01 0:0\n   4: 010718AC:1F91 00000000:0000 0A 0:0\nrubbish\n",
		"7/net/tcp6": head + "   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 0:0\n" +
			"   1: 00000000000000000000000001000000:0017 00000000000000000000000000000000:0000 0A 0:0\n",
		"7/net/udp": head + "   0: 00000000:0044 00000000:0000 07 0:0\n   1: 010718AC:9999 0A0A0A0A:0035 01 0:0\n",
	})
	c := containers{proc: proc}
	got, err := c.Sockets(Container{Pid: 7}, addr1)
	mustDo(t, err)
	want := map[Port]bool{{6, 80}: true, {6, 8081}: true, {6, 22}: true, {17, 68}: true}
	if !got.Addressed || len(got.Open) != len(want) {
		t.Errorf("%+v, want %v", got, want)
	}
	for p := range want {
		if !got.Open[p] {
			t.Errorf("%v is not open: %v", p, got.Open)
		}
	}
	for _, a := range []string{"172.24.7.2", "172.24.255.255", "172.24.7.10"} {
		if got, _ := c.Sockets(Container{Pid: 7}, netip.MustParseAddr(a)); got.Addressed {
			t.Errorf("%s is not its address", a)
		}
	}
	if _, err := c.Sockets(Container{Pid: 8}, addr1); err == nil {
		t.Error("no error for a process that is gone")
	}
}

// The kernel's real files, of this very process.
func TestSocketsOfThisProcess(t *testing.T) {
	l := listenHere(t)
	got, err := containers{proc: "/proc"}.Sockets(Container{Pid: os.Getpid()}, netip.MustParseAddr("127.0.0.1"))
	mustDo(t, err)
	if !got.Open[Port{6, l}] {
		t.Errorf("port %d of this process is not in %v", l, got.Open)
	}
}
