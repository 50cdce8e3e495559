package dataplane

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	// pollSoon is how often PollBinds looks at first, pollLate at last: each look costs the kernel a walk through the table of
	// UDP sockets of one network namespace.
	pollSoon = 2 * time.Millisecond
	pollLate = 100 * time.Millisecond
)

// PollBinds raises EventBind for the UDP ports of the network namespace of process pid as it finds them, until ctx ends or the
// process does. It is for kernels where TracesBinds is false; elsewhere it returns at once.
func (d *Dataplane) PollBinds(ctx context.Context, ip netip.Addr, pid int) error {
	ctx, leave, err := d.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if d.TracesBinds() {
		return nil
	}
	d.mu.Lock()
	e, ok := d.local(ip)
	d.mu.Unlock()
	if !ok {
		return fmt.Errorf("look for the UDP sockets of %v: %w", ip, ErrNoEndpoint)
	}
	seen := map[uint16]bool{}
	for wait := pollSoon; ; wait = min(wait+wait/8, pollLate) {
		ports, err := udpPorts(pid)
		if err != nil {
			return nil // the process has ended
		}
		for _, port := range ports {
			if !seen[port] {
				seen[port] = true
				d.events.tell(Event{Kind: EventBind, Time: time.Now(), Owner: e.Owner, IP: ip, Proto: UDP, Port: port})
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// udpPorts are the ports of UDP sockets that can be reached from outside.
func udpPorts(pid int) ([]uint16, error) {
	var all []uint16
	for _, table := range []string{"udp", "udp6"} {
		f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/net/" + table)
		if os.IsNotExist(err) && table == "udp6" {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, err
		}
		ports, err := parseUDP(bufio.NewScanner(f))
		f.Close()
		if err != nil {
			return nil, err
		}
		all = append(all, ports...)
	}
	return all, nil
}

// parseUDP reads a table of /proc/net: the local address in hex, in words of the machine's byte order, and port are in
// the second column.
func parseUDP(lines *bufio.Scanner) (ports []uint16, err error) {
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		host, port, ok := strings.Cut(fields[1], ":")
		b, err := hex.DecodeString(host)
		if !ok || err != nil || len(b) != 4 && len(b) != 16 {
			continue // the heading
		}
		for i := 0; i < len(b); i += 4 {
			binary.BigEndian.PutUint32(b[i:], binary.NativeEndian.Uint32(b[i:]))
		}
		addr, _ := netip.AddrFromSlice(b)
		if n, err := strconv.ParseUint(port, 16, 16); err == nil && n > 0 && !addr.Unmap().IsLoopback() {
			ports = append(ports, uint16(n))
		}
	}
	return ports, lines.Err()
}
