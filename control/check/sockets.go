package check

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// States in /proc/net/tcp and /proc/net/udp (include/net/tcp_states.h). A UDP socket that is not connected is "closed".
const (
	stateListen = 0x0A
	stateClosed = 0x07
)

// gatherSockets reads /proc/net, which also lists the kernel's own UDP sockets (tunnels); no process holds those.
func gatherSockets(f *Facts) error {
	var errs []error
	for _, table := range []struct {
		file, proto string
		state       uint64
	}{{"tcp", "tcp", stateListen}, {"tcp6", "tcp", stateListen}, {"udp", "udp", stateClosed}, {"udp6", "udp", stateClosed}} {
		file, err := os.Open("/proc/thread-self/net/" + table.file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		lines := bufio.NewScanner(file)
		for lines.Scan() {
			if s, ok := parseSocket(lines.Text(), table.proto, table.state); ok {
				f.Sockets = append(f.Sockets, s)
			}
		}
		errs = append(errs, lines.Err(), file.Close())
	}
	if err := bound(f); err != nil { // a kernel without udp_diag: each socket then seems to hear every interface
		f.Errors["bound sockets"] = err.Error()
	}
	name(f.Sockets)
	slices.SortFunc(f.Sockets, func(a, b Socket) int {
		if a.Proto != b.Proto {
			return strings.Compare(a.Proto, b.Proto)
		}
		return a.Local.Compare(b.Local)
	})
	return errors.Join(errs...)
}

// parseSocket reads one line: "sl local rem st tx:rx tr:when retrnsmt uid timeout inode ...".
func parseSocket(line, proto string, state uint64) (Socket, bool) {
	fields := strings.Fields(line)
	if len(fields) < 10 {
		return Socket{}, false
	}
	st, err := strconv.ParseUint(fields[3], 16, 8)
	if err != nil || st != state {
		return Socket{}, false
	}
	local, err := parseHexAddr(fields[1])
	if err != nil {
		return Socket{}, false
	}
	inode, err := strconv.ParseUint(fields[9], 10, 64)
	if err != nil {
		return Socket{}, false
	}
	return Socket{Proto: proto, Local: local, Inode: inode}, true
}

// parseHexAddr reads the kernel's "0100007F:0035": each 32-bit word of the address is printed in host byte order.
func parseHexAddr(s string) (netip.AddrPort, error) {
	host, port, ok := strings.Cut(s, ":")
	raw, err := hex.DecodeString(host)
	if !ok || err != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, fmt.Errorf("not an address: %q", s)
	}
	for i := 0; i < len(raw); i += 4 {
		slices.Reverse(raw[i : i+4]) // every machine that Lanyard is built for is little-endian (bpfel)
	}
	ip, ok := netip.AddrFromSlice(raw)
	p, err := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil {
		return netip.AddrPort{}, fmt.Errorf("not an address: %q", s)
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(p)), nil
}

// bound notes which UDP sockets hear one interface only (SO_BINDTODEVICE), as LXD's dnsmasq does; /proc/net does not say.
func bound(f *Facts) error {
	on := map[uint64]uint32{}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		sockets, err := netlink.SocketDiagUDP(family)
		if err != nil {
			return fmt.Errorf("sock_diag: %w", err)
		}
		for _, s := range sockets {
			on[uint64(s.INode)] = s.ID.Interface
		}
	}
	for i := range f.Sockets {
		s := &f.Sockets[i]
		for _, l := range f.Links {
			if s.Proto == "udp" && on[s.Inode] == uint32(l.Ifindex) {
				s.Interface = l.Name
			}
		}
	}
	return nil
}

// name finds the process behind each socket, best effort: a process that ends meanwhile, or that may not be looked
// at, stays unnamed.
func name(sockets []Socket) {
	byInode := map[uint64][]int{}
	for i, s := range sockets {
		if s.Inode != 0 {
			byInode[s.Inode] = append(byInode[s.Inode], i)
		}
	}
	fds, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil || len(byInode) == 0 {
		return
	}
	for _, fd := range fds {
		target, err := os.Readlink(fd)
		if err != nil {
			continue
		}
		text, ok := strings.CutPrefix(target, "socket:[")
		if !ok {
			continue
		}
		inode, err := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 64)
		if err != nil {
			continue
		}
		for _, i := range byInode[inode] {
			if sockets[i].Process != "" {
				continue
			}
			process := filepath.Dir(filepath.Dir(fd))
			comm, err := os.ReadFile(filepath.Join(process, "comm"))
			if err == nil {
				sockets[i].Process = fmt.Sprintf("%s (pid %s)", strings.TrimSpace(string(comm)), filepath.Base(process))
			}
		}
	}
}
