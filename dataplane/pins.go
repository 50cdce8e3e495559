package dataplane

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// pins is the folder in a bpf filesystem that outlives the daemon:
//
//	<root>/v<layout>/maps/<map>
//	<root>/v<layout>/progs/<program>
//	<root>/v<layout>/links/<program>-<ifindex>
//
// A name with "~" is one that is being put in place of the name before it; bpffs refuses names with a dot.
type pins struct {
	root   string
	layout int
	lock   *os.File // the folder itself: bpffs has no ordinary files to lock
}

func (p *pins) dir(parts ...string) string {
	return filepath.Join(append([]string{p.root, "v" + strconv.Itoa(p.layout)}, parts...)...)
}

func (p *pins) at(layout int) *pins { return &pins{root: p.root, layout: layout} }

// openPins makes the folder and locks it. It says what to do when there is no bpf filesystem, or another daemon.
func openPins(root string, layout int) (*pins, error) {
	if err := requireBPFFS(root); err != nil {
		return nil, err
	}
	p := &pins{root: root, layout: layout}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of pins: %w", err)
	}
	if err := p.acquire(); err != nil {
		return nil, err
	}
	for _, sub := range []string{"maps", "progs", "links"} {
		if err := os.MkdirAll(p.dir(sub), 0o700); err != nil {
			p.close()
			return nil, fmt.Errorf("make the folder of pins: %w", err)
		}
	}
	return p, nil
}

func (p *pins) acquire() error {
	f, err := os.Open(p.root)
	if err != nil {
		return fmt.Errorf("open the folder of pins: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("%s is locked: another lanyardd runs this dataplane; stop it first (systemctl stop lanyardd-node)", p.root)
		}
		return fmt.Errorf("lock %s: %w", p.root, err)
	}
	p.lock = f
	return nil
}

func (p *pins) close() {
	if p.lock != nil {
		p.lock.Close() // and so unlocks
		p.lock = nil
	}
}

// requireBPFFS looks at the nearest folder that exists.
func requireBPFFS(path string) error {
	for dir := path; ; dir = filepath.Dir(dir) {
		var st unix.Statfs_t
		err := unix.Statfs(dir, &st)
		switch {
		case errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir):
			continue
		case err != nil:
			return fmt.Errorf("look at %s: %w", dir, err)
		case st.Type != unix.BPF_FS_MAGIC:
			return fmt.Errorf("pins cannot be kept in %s: no bpf filesystem is mounted there; mount one (mount -t bpf bpf /sys/fs/bpf)", path)
		}
		return nil
	}
}

// replacePin puts an object in the place of another in one step, so that the name never lacks an object.
func replacePin(obj interface{ Pin(string) error }, path string) error {
	tmp := path + "~"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := obj.Pin(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		os.Remove(tmp)
		return err
	}
	return nil
}

func loadMap(path string) (*ebpf.Map, error) {
	m, err := ebpf.LoadPinnedMap(path, nil)
	return m, notPinned(err)
}

func loadProgram(path string) (*ebpf.Program, error) {
	p, err := ebpf.LoadPinnedProgram(path, nil)
	return p, notPinned(err)
}

func loadLink(path string) (link.Link, error) {
	l, err := link.LoadPinnedLink(path, nil)
	return l, notPinned(err)
}

// errNotPinned says that a name has no object.
var errNotPinned = errors.New("not pinned")

func notPinned(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errNotPinned
	}
	return err
}

// linkName is the name of a pinned link, and parseLinkName its opposite.
func linkName(program string, ifindex int) string { return program + "-" + strconv.Itoa(ifindex) }

func parseLinkName(name string) (program string, ifindex int, ok bool) {
	i := strings.LastIndexByte(name, '-')
	if i < 1 {
		return "", 0, false
	}
	n, err := strconv.Atoi(name[i+1:])
	return name[:i], n, err == nil && n > 0
}

// list gives the names in a folder of pins; none when it does not exist.
func (p *pins) list(sub string) ([]string, error) {
	entries, err := os.ReadDir(p.dir(sub))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

// layouts gives the layouts that have a folder, in no order.
func (p *pins) layouts() ([]int, error) {
	entries, err := os.ReadDir(p.root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found []int
	for _, e := range entries {
		if n, err := strconv.Atoi(strings.TrimPrefix(e.Name(), "v")); err == nil && strings.HasPrefix(e.Name(), "v") {
			found = append(found, n)
		}
	}
	return found, nil
}
