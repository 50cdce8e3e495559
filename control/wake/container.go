package wake

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// containers looks at what the kernel shows of LXD's containers. It needs no capability for unprivileged ones: root owns
// their user namespaces. The service must see other users' processes and write to control groups.
type containers struct {
	cgroup  string // /sys/fs/cgroup
	under   string // the group in each hierarchy that LXD's own are in; "": none
	proc    string // /proc
	project string
}

// NewContainers looks below /sys/fs/cgroup and /proc, for the containers of an LXD project.
func NewContainers(project string) Containers { return NewContainersUnder("", project) }

// NewContainersUnder is for an LXD whose control groups are in a group of that name.
func NewContainersUnder(group, project string) Containers {
	return containers{cgroup: "/sys/fs/cgroup", under: group, proc: "/proc", project: project}
}

var errNoContainer = errors.New("no such container runs here")

// payloads are the control groups of a container: in the freezer hierarchy of version 1, in version 2, or in both.
// LXC appends a number when a dead one's directory is still there.
func (c containers) payloads(name string) []string {
	if c.project != "" && c.project != "default" {
		name = c.project + "_" + name
	}
	var out []string
	for _, hierarchy := range []string{"freezer", "", "unified"} {
		base := filepath.Join(c.cgroup, hierarchy, c.under, "lxc.payload."+name)
		for n := range 8 {
			dir := base
			if n > 0 {
				dir += "-" + strconv.Itoa(n)
			}
			if _, err := os.Stat(dir); err == nil {
				out = append(out, dir)
			}
		}
	}
	return out
}

// Find gives the first process of a container and its network namespace. LXC makes that namespace last: a container that has
// none of its own yet is not there yet.
func (c containers) Find(name string) (Container, error) {
	for _, dir := range c.payloads(name) {
		for _, sub := range []string{"", "init.scope", "init"} {
			for _, pid := range pids(filepath.Join(dir, sub, "cgroup.procs")) {
				parent, ok := c.isInit(pid)
				if !ok {
					continue
				}
				found := Container{Pid: pid, Netns: c.netns(strconv.Itoa(pid))}
				if found.Netns != 0 && (found.Netns == c.netns("self") || found.Netns == c.netns(parent)) {
					return Container{}, errNoContainer
				}
				return found, nil
			}
		}
	}
	return Container{}, errNoContainer
}

// netns is the inode of the network namespace of a process; 0: unknown.
func (c containers) netns(pid string) uint32 {
	link, err := os.Readlink(filepath.Join(c.proc, pid, "ns/net"))
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(link, "net:["), "]"), 10, 32)
	return uint32(n)
}

// pids reads some process ids; 0, of a process outside of our pid namespace, is left out.
func pids(file string) []int {
	b, err := readSome(file)
	if err != nil {
		return nil
	}
	var out []int
	for _, f := range strings.Fields(string(b)) {
		if n, err := strconv.Atoi(f); err == nil && n > 0 && len(out) < 64 {
			out = append(out, n)
		}
	}
	return out
}

// isInit says whether a process is process 1 of a pid namespace, and which is its parent: LXC's monitor.
func (c containers) isInit(pid int) (parent string, ok bool) {
	b, err := readSome(filepath.Join(c.proc, strconv.Itoa(pid), "status"))
	if err != nil {
		return "", false
	}
	field := func(name string) []string {
		_, rest, _ := bytes.Cut(b, []byte("\n"+name+":"))
		line, _, _ := bytes.Cut(rest, []byte("\n"))
		return strings.Fields(string(line))
	}
	numbers, parents := field("NSpid"), field("PPid")
	if len(parents) == 1 {
		parent = parents[0]
	}
	return parent, len(numbers) > 1 && numbers[len(numbers)-1] == "1"
}

// readSome reads a file of the kernel; a webspace decides how long some of them are.
func readSome(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 1<<20))
}

// Thaw writes to the freezer itself: LXD's own way takes some 10 ms.
func (c containers) Thaw(name string) error {
	var failed error
	thawed := false
	for _, dir := range c.payloads(name) {
		for file, word := range map[string]string{"freezer.state": "THAWED", "cgroup.freeze": "0"} {
			f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err == nil {
				_, err = f.WriteString(word)
				err = errors.Join(err, f.Close())
			}
			if err != nil {
				failed = fmt.Errorf("thaw %s: %w", name, err)
			}
			thawed = thawed || err == nil
		}
	}
	switch {
	case thawed:
		return nil
	case failed != nil:
		return failed
	}
	return errNoContainer
}

// Sockets reads the tables of a container's network namespace, through its first process.
func (c containers) Sockets(at Container, addr netip.Addr) (Sockets, error) {
	dir := filepath.Join(c.proc, strconv.Itoa(at.Pid), "net")
	trie, err := readSome(filepath.Join(dir, "fib_trie"))
	if err != nil {
		return Sockets{}, err
	}
	out := Sockets{Addressed: isLocal(trie, addr), Open: make(map[Port]bool)}
	for _, t := range tables {
		b, err := readSome(filepath.Join(dir, t.file))
		if err != nil {
			continue // without IPv6 there is no such file
		}
		for _, port := range openPorts(b, t.state) {
			out.Open[Port{t.proto, port}] = true
		}
	}
	return out, nil
}

// isLocal finds "|-- 172.24.7.9" and below it "/32 host LOCAL".
func isLocal(trie []byte, addr netip.Addr) bool {
	lines := bufio.NewScanner(bytes.NewReader(trie))
	at := false
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if leaf, ok := strings.CutPrefix(line, "|-- "); ok {
			at = leaf == addr.String()
		} else if at && line == "/32 host LOCAL" {
			return true
		}
	}
	return false
}
