package sleep

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/lanyard-project/lanyard/dataplane"
)

// Sockets reads a webspace's live TCP connections out of /proc/PID/net of its first process: exact, whatever was open
// before the daemon began to watch, and only read when somebody asks. Connections of containers within a webspace are
// not in it; their packets are.
type Sockets struct {
	// Pid of the first process of a running webspace.
	Pid  func(name string) (int, error)
	Root string // "" is /proc
}

const (
	mostFlows   = 256      // that are told: one is enough to stay awake
	mostSockets = 64 << 20 // bytes read: a webspace decides how long that list is

	established = 0x01
	listening   = 0x0a
)

// Flows gives the established connections that are not over loopback, some of them when they are very many.
func (s Sockets) Flows(name string) ([]dataplane.Flow, error) {
	pid, err := s.Pid(name)
	if err != nil {
		return nil, err
	}
	root := s.Root
	if root == "" {
		root = "/proc"
	}
	var out []dataplane.Flow
	listens := make(map[uint16]bool)
	for _, file := range []string{"tcp", "tcp6"} {
		f, err := os.Open(fmt.Sprintf("%s/%d/net/%s", root, pid, file))
		if file == "tcp6" && errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, fmt.Errorf("read the connections of %s: %w", name, err)
		}
		out, err = sockets(io.LimitReader(f, mostSockets), out, listens)
		_ = f.Close()
		if err != nil {
			return nil, fmt.Errorf("read the connections of %s: %w", name, err)
		}
	}
	for n := range out {
		out[n].Passive = listens[out[n].Local.Port()]
	}
	return out, nil
}

// sockets reads one of the kernel's lists (Documentation/networking/proc_net_tcp.rst).
func sockets(r io.Reader, out []dataplane.Flow, listens map[uint16]bool) ([]dataplane.Flow, error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 4 || !strings.HasSuffix(f[0], ":") {
			continue // the heading
		}
		state, err := strconv.ParseUint(f[3], 16, 8)
		if err != nil {
			return out, fmt.Errorf("%.80q: %w", lines.Text(), err)
		}
		if state != established && state != listening {
			continue
		}
		local, err := endpoint(f[1])
		if err != nil {
			return out, err
		}
		if state == listening {
			listens[local.Port()] = true
			continue
		}
		remote, err := endpoint(f[2])
		if err != nil {
			return out, err
		}
		if local.Addr().IsLoopback() || remote.Addr().IsLoopback() || local.Addr() == remote.Addr() || len(out) >= mostFlows {
			continue
		}
		out = append(out, dataplane.Flow{Local: local, Remote: remote})
	}
	return out, lines.Err()
}

// endpoint reads 0100007F:0016: words of the host's byte order, then the port.
func endpoint(text string) (netip.AddrPort, error) {
	host, port, _ := strings.Cut(text, ":")
	b, err := hex.DecodeString(host)
	n, err2 := strconv.ParseUint(port, 16, 16)
	if err = errors.Join(err, err2); err != nil || len(b) != 4 && len(b) != 16 {
		return netip.AddrPort{}, fmt.Errorf("%.80q is no address: %w", text, err)
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	a, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), nil
}

func itoa(n uint16) string { return strconv.Itoa(int(n)) }

// flows gives a webspace's live connections: what the kernel says now, or else what the dataplane has followed from the
// beginning. It is an error when neither is known.
func (k *Keeper) flows(s Seen) ([]dataplane.Flow, error) {
	var err error
	if k.sockets != nil {
		var list []dataplane.Flow
		if list, err = k.sockets(s.Name); err == nil {
			return k.since(s, list), nil
		}
	}
	if !s.FlowsKnown {
		return nil, errors.Join(err, errors.New("the dataplane has not followed its connections from the beginning"))
	}
	return k.plane.Flows(s.Addr)
}

// since fills in when connections were opened, for those that the dataplane has seen being opened.
func (k *Keeper) since(s Seen, list []dataplane.Flow) []dataplane.Flow {
	if len(list) == 0 {
		return nil
	}
	followed, err := k.plane.Flows(s.Addr)
	if err != nil {
		return list
	}
	for n, f := range list {
		for _, g := range followed {
			if f.Local == g.Local && f.Remote == g.Remote {
				list[n] = g
			}
		}
	}
	return list
}
